"""The command line: `tinygrad-lm prepare`, `train`, `sample`, `chat`, `eval`, `serve`, `export`, or
`python -m tinygrad_lm`.

Flags are made from the fields of `TrainConfig`. What a user can get wrong is one line on stderr and
exit code 2.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .engine.arrays import out_of_memory
from .ranks import faults
from .ranks.environment import place
from .ranks.group import Group, world
from .ranks.together import alone, is_everywhere, is_told_elsewhere, together
from .text.terminal import escaped, fill_closed_streams, shown

FLAGS = {"init_from": ["--init-from", "--init"]}  # fields of TrainConfig with a second spelling
WHAT = {"data": "FILE", "out": "DIR", "init_from": "DIR", "tokenizer": "KIND"}  # their values
SAID = {  # what a message says in Python, and how it is said here
    "overwrite=True": "--overwrite",
    "pass greedy=True": "pass --greedy",
    "start_of_text(tokenizer) is one": "leave --prompt out?",
    "max_new_tokens": "--max-new-tokens",
}
PLACE = "a training run's --out, a folder with GPT-2's files, or gpt2, gpt2-medium, ..."


class WrongFlag(Exception):
    """Its text is all that is said."""


class Parser(argparse.ArgumentParser):
    """Errors in one line, with the flag that was probably meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise WrongFlag(escaped(f"{self.prog}: {message}; see {self.prog} --help"))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Ask before the parser above can: only this one has the flags' names."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            names = [name for action in self._actions for name in action.option_strings]
            flag = unknown[0].split("=")[0].replace("_", "-")
            close = difflib.get_close_matches(flag, names, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            self.error(f"there is no {unknown[0]}{meant}")
        for name, value in vars(known).items():
            if value == []:  # Python 3.11 and older make that of --flag=--
                self.error(f"argument --{name.replace('_', '-')}: expected one argument")
        return known, unknown


def parser() -> Parser:
    """All commands and flags; a flag that is not given leaves no trace in the result."""
    top = Parser(prog="tinygrad-lm", description="Train a GPT on text, and let it write.")
    version = sys.modules[__package__].__version__  # the package imports this file
    top.add_argument("--version", action="version", version=version)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    for add in (_add_prepare, _add_sample, _add_chat, _add_eval, _add_serve, _add_export):
        add(commands)
    return top


def _add_train(commands: Any) -> None:
    from .training import PRESETS, TrainConfig

    train = commands.add_parser(
        "train", help="train on a text", argument_default=argparse.SUPPRESS,
        description="Train a GPT on a text; without flags on text that Python itself carries.",
    )  # fmt: skip
    names = ", ".join(PRESETS)
    train.add_argument("--preset", choices=[*PRESETS], metavar="NAME", help=f"start from {names}")
    existing = train.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue the run in --out")
    existing.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    for field in dataclasses.fields(TrainConfig):
        kind, default = field.metadata["kind"], field.default
        text = field.metadata["help"] + ("" if default in (None, "") else f" ({default})")
        details = (
            {"action": argparse.BooleanOptionalAction}
            if kind is bool
            else {"type": kind, "metavar": WHAT.get(field.name, kind.__name__.upper())}
        )
        flags = FLAGS.get(field.name, ["--" + field.name.replace("_", "-")])
        train.add_argument(*flags, dest=field.name, help=text.replace("%", "%%"), **details)
    train.set_defaults(run=_train)


def _add_prepare(commands: Any) -> None:
    what = "Make token shards of texts of any size; the same command goes on where it was stopped."
    prepare = commands.add_parser("prepare", help="make token shards of texts", description=what)
    add = prepare.add_argument
    add("files", nargs="+", metavar="FILE", help="a UTF-8 text")
    add("--out", required=True, metavar="DIR", help="the folder, made if it is not there")
    text = "char, byte, bpe (made from the texts), or a file or folder with one"
    add("--tokenizer", required=True, metavar="KIND", help=text)
    add("--vocab-size", type=int, default=1024, metavar="N", help="tokens that bpe makes (1024)")
    add("--workers", type=int, metavar="N", help="processes (one per core)")
    add("--shard-size", type=int, default=16, metavar="N", help="MiB of text per shard (16)")
    prepare.set_defaults(run=_prepare)


def _with_model(commands: Any, name: str, what: str, run: Any) -> Any:
    """A command about a trained model; `add_argument` of its parser."""
    command = commands.add_parser(name, help=what[0].lower() + what[1:-1], description=what)
    add = command.add_argument
    add("--checkpoint", required=True, metavar="DIR", help=PLACE)
    add("--which", choices=["best", "last"], default="best", help="which checkpoint (best)")
    add("--device", help="where to compute: cpu, cuda, ...")
    text = "how matrices are kept: bfloat16 takes half the memory and, in writing, less time"
    add("--weights", choices=["float32", "bfloat16"], default="float32", help=f"{text} (float32)")
    command.set_defaults(run=run)
    return add


def _add_sample(commands: Any) -> None:
    add = _with_model(commands, "sample", "Let a trained model write.", _sample)
    add("--prompt", metavar="TEXT", help="what the text begins with (else a new line)")
    add("--num-samples", type=int, default=1, metavar="N", help="how many texts (1)")
    _add_settings(add, length=500)


def _add_chat(commands: Any) -> None:
    what = "Talk to a model that has learned from dialogues, a line at a time; Ctrl-D ends."
    add = _with_model(commands, "chat", what, _chat)
    _add_settings(add, length=None)


def _add_settings(add: Any, length: int | None) -> None:
    """How a model writes. length: by default; None: what the context allows, at most 100."""
    usual = length or "100, or half of the context"
    add("--max-new-tokens", type=int, default=length, metavar="N", help=f"length ({usual})")
    add("--temperature", type=float, default=0.8, metavar="T", help="below 1: safer (0.8)")
    add("--top-k", type=int, metavar="K", help="choose among the K likeliest tokens only")
    add("--top-p", type=float, metavar="P", help="choose among the likeliest that hold share P")
    add(
        "--min-p",
        type=float,
        metavar="P",
        help="leave out what is P times less likely than the best",
    )
    repeat = {"metavar": "R", "help": "above 1: repeat less (1)"}
    add("--repetition-penalty", type=float, default=1.0, **repeat)
    add("--greedy", action="store_true", help="always take the likeliest token")
    add("--stop", metavar="TEXT", action="append", help="end before this text (may be given again)")
    add("--seed", type=int, default=1337, metavar="N", help="seed of the random numbers (1337)")


def _add_eval(commands: Any) -> None:
    what = "Measure how well a model expects a text (--data), or endings (--completions)."
    add = _with_model(commands, "eval", what, _eval)
    add("--data", help="a UTF-8 file, or shakespeare, names, builtin; or a token file")
    add("--stride", type=int, metavar="N", help="tokens between windows (half of block_size)")
    add(
        "--completions",
        metavar="FILE",
        help="JSONL of ctx, endings, label: which ending is likelier",
    )
    add("--limit", type=int, metavar="N", help="only so many of its rows")


def _add_serve(commands: Any) -> None:
    add = _with_model(commands, "serve", "Try a model on a page in the browser.", _serve)
    add("--host", default="127.0.0.1", help="who may reach it (127.0.0.1: this machine alone)")
    add("--port", type=int, default=8000, metavar="N", help="port (8000); 0: any free one")


def _add_export(commands: Any) -> None:
    what = "Write a model as a folder that transformers loads."
    add = _with_model(commands, "export", what, _export)
    add("--out", required=True, metavar="DIR", help="the folder, made if it is not there")
    add("--overwrite", action="store_true", help="replace such files that are there")


def _train(given: dict[str, Any]) -> int:
    from .training import PRESETS, TrainConfig, saved_config, train
    from .training.run import pretrained_shape

    group = world()  # before anything that starts a thread
    resume, overwrite = given.pop("resume", False), given.pop("overwrite", False)
    preset = given.pop("preset", None)
    if resume and preset is None:
        folder = given.get("out", TrainConfig.out)
        saved = alone(group, lambda: saved_config(folder))
        config = together(group, lambda: dataclasses.replace(saved, **{"out": folder, **given}))
    else:

        def configured() -> TrainConfig:
            shape = pretrained_shape(given["init_from"]) if given.get("init_from") else {}
            return TrainConfig(**{**PRESETS.get(preset or "quick", {}), **shape, **given})

        config = together(group, configured)
    train(config, resume=resume, overwrite=overwrite)
    if group.rank == 0:
        out = config.out
        print(shown(f"saved in {out}; tinygrad-lm sample --checkpoint {out} writes more"))
    return 0


def _prepare(given: dict[str, Any]) -> int:
    from .training.prepare import prepare

    made = prepare(**given)
    if count := made["within_words"]:
        print(f"{count:,} times no word ended for long: there the whole text may have other tokens")
    what = f"{made['tokens']:,} tokens in {len(made['shards']):,} shards"
    print(shown(f"{what}; tinygrad-lm train --data {given['out']} trains on them"))
    return 0


def _model(given: dict[str, Any]) -> tuple[Any, Any]:
    """The model and the tokenizer that a command is about."""
    from .engine.arrays import dtype_named
    from .models.checkpoints import load_gpt

    model, tokenizer = load_gpt(given["checkpoint"], given["which"], given["device"])
    if given["weights"] != "float32":
        model.store_weights(dtype_named(given["weights"]))
    return model, tokenizer


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """The flags of `_add_settings`, checked, as options of `stream_text`."""
    from .engine.random.generator import Generator
    from .text.generation import OPTIONS
    from .text.sampling import Sampling

    Sampling(**{name: given[name] for name in OPTIONS})
    options = {name: given[name] for name in ("max_new_tokens", "stop", *OPTIONS)}
    return {**options, "generator": Generator().manual_seed(given["seed"])}


def _sample(given: dict[str, Any]) -> int:
    from .text.generation import end_of_text, start_of_text, stream_text

    if given["num_samples"] < 1:
        raise ValueError(f"[sample] num_samples must be >= 1, got {given['num_samples']}; try 1")
    options = _settings(given)
    model, tokenizer = _model(given)
    prompt = start_of_text(tokenizer) if given["prompt"] is None else given["prompt"]
    for _ in range(given["num_samples"]):
        pieces = stream_text(model, tokenizer, prompt, stop_ids=end_of_text(tokenizer), **options)
        print(shown(prompt), end="", flush=True)
        for piece in pieces:
            print(shown(piece.text), end="", flush=True)
        print("\n---------------", flush=True)
    return 0


def _chat(given: dict[str, Any]) -> int:
    """A line from the standard input, an answer, and so on until the input ends."""
    from .text.chat import reply

    options, terminal = _settings(given), sys.stdin.isatty()
    model, tokenizer = _model(given)
    if options["max_new_tokens"] is None:
        options["max_new_tokens"] = min(100, model.config.block_size // 2)
    messages: list[dict[str, str]] = []
    # What cannot work is refused before a word is said.
    reply(model, tokenizer, [{"role": "user", "content": "?"}], **options)
    while True:
        print("> " if terminal else "", end="", flush=True)
        if not (line := sys.stdin.readline()):
            return 0
        if not line.strip():
            continue
        messages.append({"role": "user", "content": line.strip()})
        answer = ""
        try:
            pieces = reply(model, tokenizer, messages, **options)
        except ValueError as error:  # a message that is too long, say: the dialogue goes on
            print(f"tinygrad-lm chat: {escaped(str(error))}", file=sys.stderr)
            messages.pop()
            continue
        for piece in pieces:
            answer += piece.text
            print(shown(piece.text), end="", flush=True)
        print(flush=True)
        messages.append({"role": "assistant", "content": answer})


def _eval(given: dict[str, Any]) -> int:
    from tqdm import tqdm

    from .training.corpus import Corpus
    from .training.evaluation import perplexity, score_completions

    if not given["data"] and not given["completions"]:
        raise ValueError("[eval] there must be --data or --completions, got neither; which text?")
    corpus = Corpus(given["data"]) if given["data"] else None
    model, tokenizer = _model(given)
    if corpus is not None:
        text = corpus.text if corpus.is_text else corpus.ids(tokenizer)
        with tqdm(disable=None, unit=" tokens", leave=False) as bar:
            found = perplexity(model, tokenizer, text, given["stride"], progress=_moving(bar))
        print(shown(f"{given['data']}, by {given['checkpoint']}"))
        print(f"{found.tokens:,} tokens: loss {found.loss:.4f} nats per token")
        print(f"perplexity {found.perplexity:.4f}")
        if found.bits_per_byte is not None:
            print(f"bits per byte {found.bits_per_byte:.4f}")
    if given["completions"]:
        with tqdm(disable=None, unit=" rows", leave=False) as bar:
            options = {"limit": given["limit"], "progress": _moving(bar)}
            scored = score_completions(model, tokenizer, given["completions"], **options)
        names = ("as a whole", "per token", "per byte")
        for what, share, error in zip(names, scored[1:4], scored.standard_errors):
            print(f"accuracy {what} {share:.2%} +- {error:.2%} of {scored.rows:,} rows")
    return 0


def _moving(bar: Any) -> Any:
    """A progress bar as progress(done, total)."""

    def move(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return move


def _serve(given: dict[str, Any]) -> int:
    from .serving import serve

    serve(*_model(given), given["host"], given["port"], name=given["checkpoint"])
    return 0


def _export(given: dict[str, Any]) -> int:
    model, tokenizer = _model(given)
    model.save_pretrained(given["out"], tokenizer, overwrite=given["overwrite"])
    print(shown(f"written to {given['out']}; GPT2LMHeadModel.from_pretrained reads it"))
    if tokenizer.kind != "bpe":
        print(
            f"without a tokenizer, of which transformers reads bpe alone, and not {tokenizer.kind}"
        )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0, 2 for wrong input, 128 and a signal's number when stopped
    (141: nobody reads the output)."""
    fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows a ? for it
        getattr(stream, "reconfigure", lambda **how: None)(errors="replace")
    command = "train"  # the one for several ranks
    try:
        # What is wrong on one of several ranks is wrong on all: they would wait for it.
        group = world() if (here := place()) and here.size > 1 else Group()
        given = vars(together(group, lambda: parser().parse_args(arguments)))
        command = given.pop("command")
        return given.pop("run")(given)
    except (Exception, KeyboardInterrupt) as error:
        code = _code(command, error)
        if not is_everywhere(error):
            faults.leaving(code)
    if code in (129, 141):  # the reader has left, as `head` does: what is left goes nowhere
        for stream in filter(None, (sys.stdout, sys.stderr)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _code(command: str, error: BaseException) -> int:
    """The exit code for what a command raised, once it is told; what is a bug is raised again."""
    if isinstance(error, BrokenPipeError):
        return 141
    if isinstance(error, KeyboardInterrupt):
        return getattr(error, "exit_code", 130)
    if is_told_elsewhere(error):
        return 2
    if isinstance(error, WrongFlag):
        print(error, file=sys.stderr)
        return 2
    if isinstance(error, MemoryError):
        error = out_of_memory(command, error)
    if not str(error).startswith("["):  # not one of our messages: a bug, with all there is
        raise error
    message = " ".join(escaped(str(error)).split())
    for python, flag in SAID.items():
        message = message.replace(python, flag)
    print(f"tinygrad-lm {command}: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
