"""Says which torch names files, notebooks and folders of them use, and which are missing here."""

from __future__ import annotations

import ast
import importlib
import io
import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from ..aliases import PACKAGE
from . import close, notebook, real_name, refused
from .names import is_nowhere, sections
from .scopes import Reader

# Objects that a file may well have at hand; what they can do says nothing about a Tensor.
OTHERS: tuple[Any, ...] = (numpy, numpy.ndarray, str, bytes, list, dict, set, tuple, int, float)
OTHERS = (*OTHERS, complex, io.StringIO, Path, random.Random, Counter, ast.AST)


@dataclass
class Names:
    """The torch names of one file: how often each is used, and those that are not here. Apart from
    them what PyTorch does not have either, and what may be a missing method of Tensor."""

    used: Counter[str]
    missing: list[str]
    nowhere: list[str]
    perhaps: list[str]


def names_of(path: str | Path) -> Names:
    """Read a Python file or a notebook. OSError, ValueError or SyntaxError where that fails."""
    path = Path(path)
    if path.suffix == ".ipynb":
        source = "\n".join(python for _, python, _ in notebook.cells(path))
    else:
        source = path.read_text(encoding="utf-8-sig")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" and the like: it is not ours to say
        use = Reader(ast.parse(source, str(path))).use
    found = {name: n for name, n in use.names.items() if name.partition(".")[0] == "torch"}
    longest = {name for name in found if not any(other.startswith(f"{name}.") for other in found)}
    used = Counter({name: found[name] for name in longest})
    absent = [name for name in sorted(used) if not exists(name)]
    nowhere = [name for name in absent if is_nowhere(name)]
    perhaps = _perhaps(set(use.methods) - use.defined) if found else []
    return Names(used, [name for name in absent if name not in nowhere], nowhere, perhaps)


def _perhaps(methods: set[str]) -> list[str]:
    """Those that a Tensor of PyTorch has, ours has not, and nothing else that is known has."""
    tensor = importlib.import_module(PACKAGE).Tensor
    lacking = {m for m in methods & sections()["torch.Tensor"].keys() if not hasattr(tensor, m)}
    others = {name for name in lacking for other in OTHERS if hasattr(other, name)}
    return [f"torch.Tensor.{name}" for name in sorted(lacking - others)]


def find(name: str) -> Any:
    """What the alias gives for a dotted torch name. AttributeError where it is missing."""
    above, _, last = name.rpartition(".")
    if real := real_name(name):
        return importlib.import_module(real)
    if name in refused.ANSWERS or refused.module(name) and not refused.module(above):
        return object()
    if not above:
        raise AttributeError(name)
    return getattr(find(above), last)


def exists(name: str) -> bool:
    """Whether a script finds the name."""
    try:
        find(name)
    except AttributeError:
        return False
    return True


def hint(name: str) -> str:
    """What to say beside a missing name: why it is not here, or what is close to it."""
    above, _, last = name.rpartition(".")
    if sentence := refused.why(name):
        return f"; {sentence}"
    return close(last, dir(find(above))) if exists(above) else ""


def report(paths: list[str]) -> int:
    """Print what is known of one file, or of many; 1 where something is missing, else 0."""
    if len(paths) > 1 or Path(paths[0]).is_dir():
        return _report_many(paths)
    try:
        names = names_of(paths[0])
    except (OSError, ValueError, SyntaxError) as error:
        print(f"cannot be read: {paths[0]}: {error}", file=sys.stderr)
        return 1
    for name in sorted(names.used):
        if name in names.nowhere:
            print(f"neither  {name}: not in PyTorch 2.13 either")
        else:
            is_missing = name in names.missing
            print(f"missing  {name}{hint(name)}" if is_missing else f"present  {name}")
    for name in names.perhaps:
        print(f"perhaps missing  {name}{hint(name)}")
    print(f"{len(names.used)} torch names used, {len(names.missing)} missing")
    return 1 if names.missing else 0


def files(paths: list[str]) -> Iterator[Path]:
    """Each file, and the scripts and notebooks of each folder, but of hidden ones in it."""
    for path in map(Path, paths):
        below = (p for p in path.rglob("*") if p.suffix in (".py", ".ipynb") and p.is_file())
        yield from (
            sorted(
                p for p in below if not any(part[0] == "." for part in p.relative_to(path).parts)
            )
            if path.is_dir()
            else [path]
        )


def _report_many(paths: list[str]) -> int:
    """A line a file, the missing names by how many files lack them, the total."""
    counts: dict[str, Counter[str]] = {"missing": Counter(), "neither": Counter()}
    counts |= {"perhaps missing": Counter()}
    uses: Counter[str] = Counter()
    asked = complete = 0
    unread = []
    for path in files(paths):
        try:
            names = names_of(path)
        except (OSError, ValueError, SyntaxError) as error:
            unread.append(f"cannot be read: {path}: {error}")
            continue
        if not names.used:
            continue
        asked, complete = asked + 1, complete + (not names.missing)
        present = len(names.used) - len(names.missing) - len(names.nowhere)
        print(f"{present:4} present {len(names.missing):3} missing  {path}")
        for count, found in zip(counts.values(), (names.missing, names.nowhere, names.perhaps)):
            count.update(found)
        uses.update(names.used)
    for title, count in counts.items():
        for name, number in sorted(count.items(), key=lambda one: (-one[1], -uses[one[0]], one[0])):
            more = ": not in PyTorch 2.13 either" if title == "neither" else hint(name)
            times = f", {uses[name]} uses" if uses[name] else ""
            print(f"{title}  {name}: {number} files{times}{more}")
    print(*unread, sep="\n", end="\n" * bool(unread))
    percent = 100 * complete / asked if asked else 100
    print(f"{complete} of {asked} files have every name ({percent:.0f} %)")
    return 1 if complete < asked or unread else 0
