"""The door for scripts written for PyTorch: `torch` and its submodules answered by this project.

    python -m tinygrad_lm.as_torch SCRIPT [ARGS...]      runs a script
    python -m tinygrad_lm.as_torch --coverage FILE       says which torch names it uses
    import tinygrad_lm.as_torch as t; t.install()        in a notebook or a test

It only registers names: every torch module is one of this package's, the same object.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.abc
import json
import opcode
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from .aliases import PACKAGE, PYTORCH

VERSION = "2.13.0"  # of PyTorch, for scripts that ask; whose numbers and names are ours

# Every torch.X there is: the package has tinygrad_lm.X, or `aliases.py` says what that is.
SUBMODULES = sorted(
    "autograd backends.cuda backends.cudnn backends.mps cuda.amp nn nn.functional nn.init "
    "nn.parallel nn.utils optim optim.lr_scheduler optim.optimizer optim.swa_utils "
    "utils.tensorboard".split()
    + [*PYTORCH]
)
NEED_TORCH = {
    "transformers": "load its weights with load_safetensors into models.gpt",
    "torchvision": "read the data with NumPy",
    "torchaudio": "read the data with NumPy",
}


class NotHere(importlib.abc.MetaPathFinder):
    """Refuses torch modules that are not there, before Python finds a file of this package by its
    name and loads it a second time; and packages that need the real PyTorch."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        top = name.partition(".")[0]
        if top in NEED_TORCH:
            raise ModuleNotFoundError(
                f"[as_torch] {top} needs PyTorch itself and does not work through the alias; "
                f"{NEED_TORCH[top]}, or run the script with PyTorch",
                name=name,
            )
        if top == "torch":
            known = [f"torch.{part}" for part in SUBMODULES]
            raise ModuleNotFoundError(f"No module named {name!r}{_close(name, known)}", name=name)


def install() -> ModuleType:
    """Register this package as `torch`, with its submodules, for every later import; returns it.
    Its `__version__` is then that of the PyTorch it stands for, with our own behind a +.

    RuntimeError where the real torch was imported before: its classes would mix with these.
    """
    package = importlib.import_module(PACKAGE)
    found = sys.modules.get("torch")
    if found is package:
        return package
    if found is not None:
        raise RuntimeError(
            "[install] it must run before anything imports torch, but "
            f"{getattr(found, '__file__', 'another torch')} is loaded; move it to the first line?"
        )
    modules = {"torch": package}
    for part in SUBMODULES:
        modules[f"torch.{part}"] = importlib.import_module(f"{PACKAGE}.{part}")
    for name, module in modules.items():
        if not hasattr(module, "__getattr__") or module is package:
            module.__getattr__ = _hint(name, module)  # type: ignore[method-assign]
    vars(package)["__version__"] = f"{VERSION}+tinygrad_lm.{vars(package)['__version__']}"
    sys.modules.update(modules)
    sys.meta_path.insert(0, NotHere())
    return package


def _hint(name: str, module: ModuleType) -> Any:
    def missing(attribute: str) -> Any:
        if name == "torch" and attribute in PYTORCH:
            return importlib.import_module(f"{PACKAGE}.{attribute}")
        close = "" if attribute[:2] == "__" else _close(attribute, dir(module))
        caller = sys._getframe(1)
        if caller.f_code.co_code[caller.f_lasti] == opcode.opmap["IMPORT_FROM"]:
            # Python would turn an AttributeError into an ImportError that has lost the hint
            raise ImportError(f"cannot import name {attribute!r} from {name!r}{close}", name=name)
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}{close}")

    return missing


def _close(name: str, known: list[str]) -> str:
    lower: dict[str, list[str]] = {}
    for other in known:
        if other[:1] != "_":
            lower.setdefault(other.lower(), []).append(other)
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.7)
    names = [other for key in near for other in lower[key]]
    return f"; close: {', '.join(names)}" if names else ""


# ---------------------------------------------------------------- running a script


def run(script: str, arguments: list[str]) -> None:
    """Run a Python file as `python SCRIPT ARGUMENTS` would, with the alias installed."""
    install()
    main = ModuleType("__main__")
    main.__dict__.update(__file__=script, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    sys.argv[:] = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    try:
        code = compile(Path(script).read_bytes(), script, "exec", dont_inherit=True)
        exec(code, main.__dict__)
    except (Exception, KeyboardInterrupt) as error:
        # one frame less: the script's traceback, without this file in it
        error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1) from None


# ---------------------------------------------------------------- which names a file uses


def coverage(path: str) -> tuple[list[str], list[str]]:
    """(used, missing): the dotted torch names in a Python file or a notebook, sorted."""
    names: set[str] = set()
    aliases: dict[str, str] = {}
    for source in _cells(Path(path)):
        tree = ast.parse(source, path)
        names.update(_imported(tree, aliases))
        names.update(_attributes(tree, aliases))
    used = sorted(name for name in names if not any(n.startswith(f"{name}.") for n in names))
    return used, [name for name in used if not _exists(name)]


def _cells(path: Path) -> Iterator[str]:
    """The Python of a file; of a notebook, each code cell without its % and ! lines."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        yield text
        return
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            if not source.lstrip().startswith("%%"):
                yield re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M)


def _imported(tree: ast.AST, aliases: dict[str, str]) -> Iterator[str]:
    """The torch names that are imported; `aliases` learns under which names they go."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                if item.name.partition(".")[0] == "torch":
                    aliases[item.asname or "torch"] = item.name if item.asname else "torch"
                    yield item.name
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if node.module.partition(".")[0] == "torch":
                for item in node.names:
                    full = node.module if item.name == "*" else f"{node.module}.{item.name}"
                    aliases[item.asname or item.name] = full
                    yield full


def _attributes(tree: ast.AST, aliases: dict[str, str]) -> Iterator[str]:
    for node in ast.walk(tree):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name) and node.id in aliases:
            yield ".".join([aliases[node.id], *reversed(parts)])


def _find(name: str) -> Any:
    parts = name.split(".")[1:]
    found: Any = importlib.import_module(PACKAGE)
    for i, part in enumerate(parts):
        if (path := ".".join(parts[: i + 1])) in SUBMODULES:
            found = importlib.import_module(f"{PACKAGE}.{path}")
        else:
            found = getattr(found, part)
    return found


def _exists(name: str) -> bool:
    try:
        _find(name)
    except AttributeError:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_lm.as_torch",
        description="Run a script that imports torch on tinygrad_lm instead.",
    )
    parser.add_argument("--coverage", metavar="FILE", help="say which torch names FILE uses")
    parser.add_argument("script", nargs="?", help="a Python file")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="what the script gets as sys.argv")
    options = parser.parse_args(arguments)
    path = options.coverage or options.script
    if path is None or not Path(path).is_file():
        parser.error(f"a file must be given, got {path or 'none'}")
    if options.script and not options.coverage:
        run(options.script, options.args)
        return 0
    used, missing = coverage(path)
    for name in used:
        parent, _, last = name.rpartition(".")
        close = _close(last, dir(_find(parent))) if name in missing and _exists(parent) else ""
        print(f"{'missing' if name in missing else 'present'}  {name}{close}")
    print(f"{len(used)} torch names used, {len(missing)} missing")
    return 1 if missing else 0


if __name__ == "__main__":
    # under its own name, so that there is one copy of this module whoever imports it
    sys.exit(importlib.import_module("tinygrad_lm.as_torch").main())
