"""The whole ladder at full length, one command; it writes the map and the figures in README.md.

Every run is a process of its own. What is finished is kept in out/ladder and skipped next time, so
that this can be stopped at any moment.

    python examples/run_all.py                # what is not done yet, then the page
    python examples/run_all.py --fresh        # everything again
    python examples/run_all.py --only 03 04   # these steps
    python examples/run_all.py --table        # the page alone, from what is finished
"""

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from common import shortly
from tqdm import tqdm

import tinygrad_lm as torch

HERE = Path(__file__).resolve().parent
FIGURES = ("ours", "reference", "floor")
HEAD = "file | lecture, minutes | what it teaches | command | time"
COURSE = "https://karpathy.ai/zero-to-hero.html"
VIDEOS = {
    "micrograd": "VMj-3S1tku0",
    "makemore part 1": "PaCmpygFfXo",
    "makemore part 2": "TCH_1BHY58I",
    "makemore part 3": "P6sfmUTpUmc",
    "makemore part 4": "q8SA3rM6ckI",
    "makemore part 5": "t3YJ5hKiMQ0",
    "Let's build GPT": "kCc8FmEb1nY",
    "Let's reproduce GPT-2": "l8pRSuU81PU",
    "the GPT Tokenizer": "zduSFxRajkE",
}
PAGES = {"microgpt": "https://karpathy.github.io/2026/02/12/microgpt/"}


class Step(NamedTuple):
    file: str
    lecture: str  # a key of VIDEOS or PAGES, and perhaps a part of it after a comma
    minutes: str  # "" of a page
    teaches: str
    compared: str  # what the references are, and how long both were trained
    runs: tuple[str, ...] = ("--full",)  # the options of each run


MAKEMORE, GPT = "makemore", "Let's build GPT"
ROAD = ("bigram", "head", "multihead", "feedforward", "blocks", "residual", "layernorm", "full")
LADDER = [
    Step("00_microgpt.py", "microgpt", "",
         "a whole GPT one number at a time, then tensors, fused ops, kernels and batches: the same "
         "losses, in a fraction of the time",
         "References: what microgpt prints for its 1,000 names, as many as here. A form is so many "
         "times faster, per name, than the same in micrograd's `Value`s, each of which holds a "
         "Tensor; microgpt's own are floats, as in the second row. Medians of 13 steps of scalars "
         "and 1,000 of the others; where others use the cores, a factor may come out half or twice "
         "as large. No loss differs from the first form's by 0.00005; 32 names a step are another "
         "algorithm and not compared. The floor counts pairs in the names that were learned from; "
         "dev is the tenth of all names that no form has seen."),
    Step("01_micrograd.py", "micrograd", "0:08 to 2:21",
         "numbers with gradients, the chain rule, a network of scalars, its decision boundary",
         "References: micrograd's README, and its demo for the two moons: 100 steps over all 100 "
         "points, as here. The floor is a random guess between the two classes."),
    Step("02_bigram.py", f"{MAKEMORE} part 1", "0:12 to 1:56",
         "counting, sampling, broadcasting, the loss; the same as a net",
         "References: the lecture's losses. The net takes 500 steps here; the lecture's notebook "
         "does not record how many it took. Without its regulariser the net can only approach the "
         "loss of the counted pairs, which is its reference. The floor is ln 27: every character "
         "equally likely."),
    Step("03_mlp.py", f"{MAKEMORE} part 2", "0:09 to 1:14",
         "embeddings, views and memory, learning rate, splits, sizes",
         "References: the lecture's network after 200,000 steps, as many as here. The first row is "
         "the same network; the second answers the lecture's challenge with a larger one "
         "([note 1](#notes))."),
    Step("04_activations.py", f"{MAKEMORE} part 3", "0:04 to 1:51",
         "what a good start is, and how to see that it is one; batch norm",
         "References: the lecture's losses after each of its changes, 200,000 steps each, as many "
         "as here."),
    Step("05_backprop_by_hand.py", f"{MAKEMORE} part 4", "0:07 to 1:54",
         "every gradient of an MLP with batch norm, by hand",
         "The gradients are compared with the engine's own; 0 would be bit for bit the same. The "
         "reference of the trained network is that of step 4 with batch norm: 200,000 steps, as "
         "many as here."),
    Step("06_wavenet.py", f"{MAKEMORE} part 5", "0:06 to 0:47",
         "eight characters joined in pairs, views not copies, what a batch norm averages over",
         "References: the lecture's flat network with eight characters, and its last and largest "
         "tree, 200,000 steps each, as many as here."),
    Step("07_rnn.py", f"{MAKEMORE} part 5, what comes next", "0:54",
         "RNN, GRU and LSTM on whole words, padding that is not counted, how far back a gradient "
         "reaches",
         "4,000 steps each. The lecture names these networks and trains none of them, so there is "
         "no reference; the lectures' MLP reaches 2.1701 on the same dev words, their tree 1.9937."
         ),
    Step("08_attention.py", GPT, "0:42 to 1:19",
         "attention in four equal versions, triangular matrices, scaling, positions",
         "The four versions and the fused op are compared with each other. Reference: the stage "
         "`head` of step 9, which learns its positions; 4,500 steps each, as many as here."),
    Step("09_gpt_road.py", GPT, "0:22 to 1:42",
         "from bigrams to a GPT, one addition per stage, with the lecture's own random numbers",
         "References: the lecture's last evaluation of each stage, at the same step as ours: 2,700 "
         "for `bigram`, 4,999 for `full`, 4,500 for the others ([notes 2 to 5](#notes)).",
         tuple(f"--stage {stage} --full" for stage in ROAD)),
    Step("10_your_text.py", f"{GPT}, nanoGPT", "1:46",
         "a GPT on any text, from the library's parts; where its heads look",
         "References: PyTorch 2.13.0 with the same configuration (nanoGPT's for CPUs) and the same "
         "seed, 2,000 steps, as many as here."),
    Step("11_addition.py", f"{GPT}, an exercise", "1:37",
         "sums, their digits backwards, a loss that leaves out the question",
         "Reference: minGPT's adder, which is trained for a length of its own; here it is 3,000 "
         "steps for each row. The floor is a random guess.",
         ("--digits 3 --full",)),
    Step("12_fine_tuning.py", f"{GPT}, an exercise", "1:48",
         "much of one text, then a little of another",
         "Losses on a part of the short text that no model has seen, compared with each other; "
         "there is no published reference. 2,000 steps on the long text, 500 on the short one "
         "([note 6](#notes))."),
    Step("13_gpt2.py", "Let's reproduce GPT-2, its weights", "0:03 to 0:13",
         "GPT-2's files: loaded, continued, fine-tuned with all weights or few, handed on",
         "Bits per byte of text that no model has learned from; there is no published reference. "
         "The small model that stands for GPT-2 here has read the manual for 3,000 steps; 200 "
         "steps on 40,000 characters (of more, it learns them by heart)."),
    Step("14_chat.py", "the GPT Tokenizer, and nanochat's road in small", "0:05 to 1:10",
         "a tokenizer of one's own, special tokens, dialogues of which only the answers are graded",
         "50 questions that no model has been trained on; there is no published reference. 3,000 "
         "steps on the text, 1,500 on dialogues."),
]  # fmt: skip


def name_of(file: str, options: str) -> str:
    """A file name for a run: 09_gpt_road.py, --stage head --full -> 09_gpt_road-head."""
    words = [word for word in options.split() if not word.startswith("--")]
    return "-".join([Path(file).stem, *words])


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a finished run; none where it is unfinished, the last row telling how it went."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return rows if rows and "seconds" in rows[-1] else []


def run(file: str, options: str, folder: Path, call: dict[str, Any], bar: tqdm) -> str:
    """One run in a process of its own, the last line it printed beside the bar; returns what went
    wrong, or nothing."""
    name = name_of(file, options)
    log, rows = folder / f"{name}.log", folder / f"{name}.jsonl"
    rows.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / file), *options.split()]
    command += ["--out", str(HERE / "pictures"), "--json", str(rows)]
    start = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            while process.returncode is None:
                printed = log.read_text(errors="replace").split("\n")
                bar.set_postfix_str(f"{name}: {(printed[-2:-1] or [''])[0][:60]}")
                try:
                    process.wait(timeout=0.5)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
    seconds = time.perf_counter() - start
    if process.returncode:
        bar.write(f"{name}: FAILED, the others go on")
        tail = log.read_text(errors="replace")[-2000:]
        return (
            f"\n{tail}\n[run_all] {name} must end with 0, got {process.returncode}; "
            f"see {log}, then run again: what is finished is kept"
        )
    with rows.open("a") as out:
        out.write(json.dumps({"seconds": seconds, **call}) + "\n")
    bar.write(f"{name}: {took(seconds)}")
    return ""


def this_call(args: argparse.Namespace) -> dict[str, Any]:
    """What a time depends on, kept with every run of this call."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    versions = f"python {platform.python_version()}, numpy {importlib.metadata.version('numpy')}"
    options = ["--fresh"] * args.fresh + (["--only", *args.only] if any(args.only) else [])
    return {
        "command": " ".join(["python examples/run_all.py", *options]),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": f"{processor}, threads: {torch.get_num_threads()}, cores: {os.cpu_count()}; "
        f"{versions}",
    }


def ladder_map(folder: Path) -> str:
    """A row per file, as Markdown: what to watch, what it teaches, how to run it, how long."""
    rows = []
    for step in LADDER:
        seconds = [found[-1]["seconds"] for found in finished(step, folder) if found]
        command, time_taken = f"`python examples/{step.file} {step.runs[-1]}`", took(sum(seconds))
        if len(step.runs) > 1:
            command += f", the last of {len(step.runs)} runs"
            time_taken += " in all"
        if len(seconds) < len(step.runs):
            time_taken = "not run yet"
        file = f"[{step.file}]({step.file})"
        rows.append([file, lecture(step), step.teaches, command, time_taken])
    return markdown(HEAD.split(" | "), rows)


def lecture(step: Step) -> str:
    """Its name with a link to the first minute, and the minutes; or to its page."""
    name, *part = step.lecture.split(", ")
    if name in PAGES:
        return f"[{name}]({PAGES[name]})"
    hours, minutes = step.minutes.split()[0].split(":")
    start = 60 * (60 * int(hours) + int(minutes))
    address = f"https://youtu.be/{VIDEOS[name]}?t={start}" if name in VIDEOS else COURSE
    return ", ".join([f"[{name}]({address})", *part, step.minutes])


def figures(folder: Path) -> str:
    """Per step, as Markdown: what is compared, a row per figure, and the pictures."""
    ends, parts = [], []
    for step in LADDER:
        done = finished(step, folder)
        ends += [rows[-1] for rows in done if rows]
        found = [row for rows in done for row in rows if "what" in row]
        shown = [k for k in FIGURES if k == "ours" or any(row.get(k) is not None for row in found)]
        lines = [[row["what"], *(cell(row.get(k)) for k in shown)] for row in found]
        missing = len(step.runs) - sum(map(bool, done))
        lines += [["not run yet", *[""] * len(shown)]] * missing
        parts += [f"### {step.file}", step.compared, markdown(["figure", *shown], lines)]
        if len(step.runs) > 1:
            commands = [f"- `python examples/{step.file} {options}`" for options in step.runs]
            parts.append("\n".join(f"{c}: {ending(rows)}" for c, rows in zip(commands, done)))
        elif pictures := links(done[0]):
            parts.append(f"Pictures: {pictures}.")
    return "\n\n".join([*how(ends), *parts])


def ending(rows: list[dict[str, Any]]) -> str:
    """How long a run took, and its pictures."""
    if not rows:
        return "not run yet"
    return ", ".join(filter(None, [took(rows[-1]["seconds"]), links(rows)]))


def links(rows: list[dict[str, Any]]) -> str:
    """The pictures of a run: 04_layers_half.png is called layers half."""
    names = [row["picture"] for row in rows if "picture" in row]
    titles = [Path(name).stem.partition("_")[2].replace("_", " ") for name in names]
    return ", ".join(f"[{title}](pictures/{name})" for title, name in zip(titles, names))


def finished(step: Step, folder: Path) -> list[list[dict[str, Any]]]:
    """The rows of each of its runs."""
    return [read_rows(folder / f"{name_of(step.file, options)}.jsonl") for options in step.runs]


def cell(x: float | None) -> str:
    return "" if x is None else shortly(x)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def how(ends: list[dict[str, Any]]) -> list[str]:
    """Which calls the figures come from, on what, and how long they took together."""
    lines = []
    known = [end for end in ends if "began" in end]
    for began, command in sorted({(end["began"], end["command"]) for end in known}):
        runs = [end for end in known if (end["began"], end["command"]) == (began, command)]
        lines.append(
            f"{len(runs)} of {sum(len(step.runs) for step in LADDER)} runs by `{command}` "
            f"in one call, begun {began}, one after the other: "
            f"{took(sum(end['seconds'] for end in runs))} on {runs[0]['machine']}."
        )
    return ["\\\n".join(lines)] if lines else []


def took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def write_page(folder: Path, readme: Path) -> None:
    """Replace what is between <!-- map --> and <!-- /map -->, and the same for the figures."""
    text = readme.read_text(encoding="utf-8")
    for name, section in (("map", ladder_map), ("figures", figures)):
        before, rest = text.split(f"<!-- {name} -->")
        after = rest.split(f"<!-- /{name} -->")[1]
        text = f"{before}<!-- {name} -->\n{section(folder)}\n<!-- /{name} -->{after}"
    readme.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of file names")
    parser.add_argument("--fresh", action="store_true", help="forget first what is finished")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--folder", type=Path, default=Path("out/ladder"), help="finished rows")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the step's process ends too
    args.folder.mkdir(parents=True, exist_ok=True)
    runs = [(s.file, options) for s in LADDER for options in s.runs if not args.table]
    wanted = [r for r in runs if r[0].startswith(tuple(args.only))]
    if args.fresh:
        for file, options in wanted:
            (args.folder / f"{name_of(file, options)}.jsonl").unlink(missing_ok=True)
    call, failed = this_call(args), ""
    try:
        with tqdm(wanted, desc="ladder", unit="run", disable=None) as bar:
            for file, options in wanted:
                if not read_rows(args.folder / f"{name_of(file, options)}.jsonl"):
                    failed += run(file, options, args.folder, call, bar)
                bar.update()
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; what is finished is kept: go on without --fresh") from None
    if not any(rows for step in LADDER for rows in finished(step, args.folder)):
        raise SystemExit(f"{args.readme} keeps its figures: no run is finished in {args.folder}")
    write_page(args.folder, args.readme)
    print(f"written: {args.readme}")
    if failed:
        raise SystemExit(failed)


if __name__ == "__main__":
    main()
