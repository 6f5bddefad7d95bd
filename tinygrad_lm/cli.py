"""The command line: `tinygrad-lm train` and `tinygrad-lm sample`, and as `python -m tinygrad_lm`.

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
from .text.terminal import escaped, shown

# Flags of other programs, and what is so here.
NOT_HERE = {"--tokenizer": "every character is a token", "--vocab-size": "the text decides it"}


class Parser(argparse.ArgumentParser):
    """Errors in one line, with the flag that was probably meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{escaped(f'{self.prog}: {message}; see {self.prog} --help')}\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Ask before the parser above can: only this one has the flags' names."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            names = [name for action in self._actions for name in action.option_strings]
            flag = unknown[0].split("=")[0].replace("_", "-")
            close = difflib.get_close_matches(flag, names, n=1)
            meant = NOT_HERE.get(flag) or (close and f"did you mean {close[0]}?")
            self.error(f"there is no {unknown[0]}" + (f"; {meant}" if meant else ""))
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
    _add_sample(commands)
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
            else {"type": kind, "metavar": kind.__name__.upper()}
        )
        flag = "--" + field.name.replace("_", "-")
        train.add_argument(flag, help=text.replace("%", "%%"), **details)
    train.set_defaults(run=_train)


def _add_sample(commands: Any) -> None:
    sample = commands.add_parser(
        "sample", help="let a trained model write", description="Let a trained model write."
    )
    add = sample.add_argument
    add("--checkpoint", required=True, metavar="DIR", help="the --out of a training run")
    add("--prompt", metavar="TEXT", help="what the text begins with (else a new line)")
    add("--num-samples", type=int, default=1, metavar="N", help="how many texts (1)")
    add("--max-new-tokens", type=int, default=500, metavar="N", help="length (500)")
    add("--temperature", type=float, default=0.8, metavar="T", help="below 1: safer (0.8)")
    add("--top-k", type=int, metavar="K", help="choose among the K likeliest tokens only")
    add("--top-p", type=float, metavar="P", help="choose among the likeliest that hold share P")
    add("--greedy", action="store_true", help="always take the likeliest token")
    add("--stop", metavar="TEXT", help="end before this text")
    add("--seed", type=int, default=1337, metavar="N", help="seed of the random numbers (1337)")
    add("--which", choices=["best", "last"], default="best", help="which checkpoint (best)")
    add("--device", help="where to compute: cpu, cuda, ...")
    sample.set_defaults(run=_sample)


def _train(given: dict[str, Any]) -> int:
    from .training import PRESETS, TrainConfig, saved_config, train
    from .training.run import pretrained_shape

    resume, overwrite = given.pop("resume", False), given.pop("overwrite", False)
    preset = given.pop("preset", None)
    if resume and preset is None:
        folder = given.get("out", TrainConfig.out)
        config = dataclasses.replace(saved_config(folder), **{"out": folder, **given})
    else:
        shape = pretrained_shape(given["init_from"]) if given.get("init_from") else {}
        config = TrainConfig(**{**PRESETS.get(preset or "quick", {}), **shape, **given})
    train(config, resume=resume, overwrite=overwrite)
    print(shown(f"saved in {config.out}; tinygrad-lm sample --checkpoint {config.out} writes more"))
    return 0


def _sample(given: dict[str, Any]) -> int:
    from .engine.random.generator import Generator
    from .models.checkpoints import load_gpt
    from .text.generation import generate_text, start_of_text

    model, tokenizer = load_gpt(given["checkpoint"], given["which"], given["device"])
    generator = Generator().manual_seed(given["seed"])
    names = ("max_new_tokens", "temperature", "top_k", "top_p", "greedy", "stop")
    options = {name: given[name] for name in names}
    prompt = start_of_text(tokenizer) if given["prompt"] is None else given["prompt"]
    if given["num_samples"] < 1:
        raise ValueError(f"[sample] num_samples must be >= 1, got {given['num_samples']}; try 1")
    for _ in range(given["num_samples"]):
        text = generate_text(model, tokenizer, prompt, generator=generator, **options)
        print(shown(f"{text}\n---------------"), flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0, 2 for wrong input, 128 and a signal's number when stopped
    (141: nobody reads the output)."""
    _fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows a ? for it
        getattr(stream, "reconfigure", lambda **how: None)(errors="replace")
    given = vars(parser().parse_args(arguments))
    command = given.pop("command")
    try:
        return given.pop("run")(given)
    except BrokenPipeError:
        code = 141
    except KeyboardInterrupt as stop:
        code = getattr(stop, "exit_code", 130)
    except Exception as error:
        if isinstance(error, MemoryError):
            error = out_of_memory(command, error)
        if not str(error).startswith("["):  # not one of our messages: a bug, with all there is
            raise
        print(f"tinygrad-lm {command}: {' '.join(escaped(str(error)).split())}", file=sys.stderr)
        return 2
    if code in (129, 141):  # the reader has left, as `head` does: what is left goes nowhere
        for stream in filter(None, (sys.stdout, sys.stderr)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _fill_closed_streams() -> None:
    """Where a standard stream was closed, as cron does, its number must not become a file's."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


if __name__ == "__main__":
    sys.exit(main())
