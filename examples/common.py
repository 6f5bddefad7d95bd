"""What the steps of the ladder share: their arguments, their data, and how they print a figure
beside its reference. Everything that is taught is in the step itself.
"""

import argparse
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

import tinygrad_lm as torch
from tinygrad_lm.data import load_text
from tinygrad_lm.nn import functional as F
from tinygrad_lm.text.tokenizers import CharTokenizer

SEED = 2147483647  # the seed of the lectures' notebooks
EVERY = 10  # seconds between two signs of life in a pipe


def arguments(
    doc: str,
    steps: int,
    full: int,
    data: str = "names",
    seed: int = SEED,
    extra: dict[str, str] | None = None,
    **choices: list[str],
) -> argparse.Namespace:
    """The command line of a step: `--steps` (the fast default, or `full` with `--full`), `--data`,
    `--device`, `--seed`, `--out`, `--models`, one more option per `choices`, the first being the
    default, and one for any text per `extra`, which has its help. data: what the references were
    measured on, "" for a step that makes its own.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    texts = f"names, shakespeare, builtin or a file (default {data})"
    add("--data", default=data, help=texts if data else "not used here")
    add("--device", default="cpu", help="cpu or cuda (default cpu)")
    add("--seed", type=int, default=seed, help=f"default {seed}")
    add("--steps", type=int, default=steps, help=f"training steps (default {steps}, fast)")
    add("--full", action="store_true", help=f"the lecture's length: --steps {full}")
    add("--out", type=Path, default=Path("out"), help="folder for pictures (default out)")
    add("--models", type=Path, default=Path("out"), help="folder for models (default out)")
    add("--json", type=Path, help="append figures and pictures to this file, one JSON per line")
    for name, known in choices.items():
        add(f"--{name}", choices=known, default=known[0], help=f"default {known[0]}")
    for name, text in (extra or {}).items():
        add(f"--{name}", help=text)
    args = parser.parse_args()
    args.steps, args.whole, args.usual = full if args.full else args.steps, full, data
    if args.steps < 1:
        parser.error(f"[--steps] must be at least 1, got {args.steps}; try --steps {steps}")
    torch.set_default_device(args.device)
    torch.manual_seed(args.seed)
    return args


def progress(steps: int) -> Iterable[int]:
    """range(steps) with a bar on a terminal; in a pipe with a line now and then, so that a long run
    does not look as if it had stopped."""
    if sys.stderr.isatty():
        yield from tqdm(range(steps), mininterval=0.5, leave=False)
        return
    said = time.monotonic()
    for step in range(steps):
        if time.monotonic() - said > EVERY:
            print(f"... step {step} of {steps}", file=sys.stderr, flush=True)
            said = time.monotonic()
        yield step


# ---------------------------------------------------------------------------- what comes out


def result(
    args: argparse.Namespace,
    what: str,
    ours: float,
    reference: float | None = None,
    floor: float | None = None,
    line: str | None = None,
    trained: bool = True,
) -> None:
    """Print one figure beside the course's and beside what needs no model; or `line`, which has it
    among others. A figure that training gives says after how many steps, where they are not all."""
    shown = {"ours": ours, "reference": reference, "floor": floor}
    cells = [f"{key} {shortly(x)}" if x is not None else "" for key, x in shown.items()]
    if trained and args.steps != args.whole and reference is not None:
        cells[0] += f" (short: {args.steps:,} steps)"
        cells[1] += f" ({args.whole:,} steps)"
    if args.usual not in ("", args.data) and reference is not None:
        cells[1] += f" (on {args.usual})"
    print(line or f"{what:44s} {'  '.join(cells)}".rstrip(), flush=True)
    _append(args, {"what": what, **shown})


def shortly(x: float) -> str:
    return f"{x:.4f}" if abs(x) >= 1e-3 or x == 0 else f"{x:.1e}"


def picture(args: argparse.Namespace, name: str, plot: Callable, *what: Any, **how: Any) -> None:
    """`plot(*what, path=OUT/name, **how)`, or one line where matplotlib is missing."""
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / name
    try:
        drawn = plot(*what, path=path, **how)
    except ImportError as error:
        print(f"no picture: {error}")
        return
    print(f"picture: {path}")
    titles = [axes.get_title() for axes in getattr(drawn, "axes", [])]
    titles += [drawn.get_suptitle()] if titles else []
    _append(args, {"picture": name, "title": max(titles, key=len, default="")})


def _append(args: argparse.Namespace, row: dict[str, Any]) -> None:
    if args.json:
        with args.json.open("a") as file:
            file.write(json.dumps(row) + "\n")


# ---------------------------------------------------------------------------- what goes in


def read_text(args: argparse.Namespace) -> str:
    """The text of `--data`; a corpus that cannot be downloaded is replaced by the built-in one."""
    try:
        return load_text(args.data)
    except OSError:
        if args.data not in ("names", "shakespeare"):
            raise
    print(f"{args.data} could not be downloaded: taking the text that every Python carries,")
    print("so the figures below are not comparable with the references.")
    args.data = "builtin"
    return load_text("builtin")


class Names:
    """Words to learn to make more of: the lines of `--data`, split 80/10/10 as in the lectures.

    Of a text that is no list of words, the different lower-case words are taken. `characters[0]`
    is the "." before and after every word; `stoi` and `itos` map characters and ids.
    """

    def __init__(self, args: argparse.Namespace):
        text = read_text(args)
        self.words = [line for line in text.splitlines() if line]
        if "." in text or " " in text:
            found = dict.fromkeys(w for w in text.split() if w.isalpha() and w.islower())
            self.words = [w for w in found if 3 <= len(w) <= 15]
        if len(self.words) < 10:
            raise SystemExit(
                f"[--data] must hold at least 10 words, got {len(self.words)} from {args.data}; "
                "one name per line?"
            )
        self.characters = ["."] + sorted(set("".join(self.words)))
        self.stoi = {s: i for i, s in enumerate(self.characters)}
        self.itos = dict(enumerate(self.characters))
        shuffled = self.words.copy()
        random.seed(42)
        random.shuffle(shuffled)
        n1, n2 = int(0.8 * len(shuffled)), int(0.9 * len(shuffled))
        self.train, self.dev, self.test = shuffled[:n1], shuffled[n1:n2], shuffled[n2:]

    def windows(self, words: list[str], block: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Every place in `words`: the ids of the `block` characters before it (N, block), and the
        id of the character at that place (N,)."""
        X, Y = [], []
        for word in words:
            context = [0] * block
            for character in word + ".":
                X.append(context)
                Y.append(self.stoi[character])
                context = context[1:] + [Y[-1]]
        return torch.tensor(X), torch.tensor(Y)

    def bigram_loss(self, counted: list[str], words: list[str]) -> float:
        """The floor: pairs counted in one list (and one more each) used to predict another."""
        pairs = Counter(p for w in counted for p in zip("." + w, w + "."))
        firsts = Counter(a for (a, _), n in pairs.items() for _ in range(n))
        V = len(self.characters)
        asked = [p for w in words for p in zip("." + w, w + ".")]
        return -sum(math.log((pairs[p] + 1) / (firsts[p[0]] + V)) for p in asked) / len(asked)

    def sample(self, logits: Callable, block: int, count: int = 10, longest: int = 30) -> list[str]:
        """`count` new words from a model that gives logits (1, V) for a context (1, block)."""
        words = []
        for _ in range(count):
            ids = [0] * block
            while len(ids) == block or (ids[-1] and len(ids) < block + longest):
                with torch.no_grad():
                    probs = F.softmax(logits(torch.tensor([ids[-block:]])), dim=1)
                ids.append(torch.multinomial(probs, 1).item())
            words.append("".join(self.itos[i] for i in ids[block:] if i))
        return words


class Text:
    """The characters of `--data` as ids: `train`, and the last tenth as `val`, int64 each."""

    def __init__(self, args: argparse.Namespace):
        text = read_text(args)
        self.tokenizer = CharTokenizer.from_text(text)
        self.size = self.tokenizer.vocab_size
        ids = torch.tensor(self.tokenizer.encode(text))
        cut = int(0.9 * len(ids))
        self.train, self.val = ids[:cut], ids[cut:]

    def batch(self, split: str, B: int, T: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows (B, T) from random places of a split, and the characters that follow, (B, T)."""
        ids = getattr(self, split)
        if len(ids) <= T:
            raise SystemExit(f"[--data] each split must be longer than {T}, got {len(ids)}")
        places = torch.randint(len(ids) - T, (B,))[:, None] + torch.arange(T)
        return ids[places], ids[places + 1]

    def bigram_loss(self) -> float:
        """The floor: pairs counted in `train` (and one more each) used to predict `val`."""
        V = self.size
        pairs = torch.bincount(self.train[:-1] * V + self.train[1:], minlength=V * V)
        counts = pairs.view(V, V).float() + 1
        log_probs = (counts / counts.sum(1, keepdim=True)).log()
        return -log_probs[self.val[:-1], self.val[1:]].mean().item()


@torch.no_grad()
def mean_loss(logits: Callable, X: torch.Tensor, Y: torch.Tensor, chunk: int = 8192) -> float:
    """The cross-entropy over all of X and Y, a chunk at a time, without a graph."""
    total = 0.0
    for i in range(0, len(X), chunk):
        x, y = X[i : i + chunk], Y[i : i + chunk]
        total += F.cross_entropy(logits(x), y).item() * len(x)
    return total / len(X)
