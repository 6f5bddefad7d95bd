"""The command `python -m tinygrad_lm.as_torch`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from ..ranks import faults
from ..ranks.group import world


def main(arguments: list[str] | None = None) -> int:
    """Run a script or a notebook, or say what is known of the names that files use."""
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_lm.as_torch",
        description="Run a script or a notebook that imports torch on tinygrad_lm instead.",
    )
    parser.add_argument(
        "--coverage",
        nargs="+",
        metavar="PATH",
        help="say which torch names files, notebooks and folders of them use",
    )
    parser.add_argument(
        "--conformance", action="store_true", help="print a table of all names of PyTorch"
    )
    parser.add_argument("file", nargs="?", help="a Python file or a notebook")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="what the file gets as sys.argv")
    options = parser.parse_args(arguments)
    # under its own name, so that there is one copy of each module whoever imports it
    if options.conformance:
        print(importlib.import_module("tinygrad_lm.as_torch.conformance").table(), end="")
        return 0
    for path in options.coverage or [options.file]:
        if path is None or not (Path(path).is_file() or options.coverage and Path(path).is_dir()):
            parser.error(f"no file {path!r}" if path else "a file must be given")
    if options.coverage:
        return importlib.import_module("tinygrad_lm.as_torch.coverage").report(options.coverage)
    try:
        world()
    except (ImportError, RuntimeError) as error:
        parser.error(str(error))
    try:
        importlib.import_module("tinygrad_lm.as_torch.run").run(options.file, options.args)
    except SystemExit as end:
        faults.leaving(end.code)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
