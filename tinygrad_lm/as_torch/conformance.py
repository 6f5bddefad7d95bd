"""The table of all public names of PyTorch: which are here, without which keywords, shown by which
test; which are refused, and why; which are missing."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.core.op import Op
from . import refused
from .coverage import exists, find
from .names import sections

TESTS = Path(__file__).parents[2] / "tests"
STATES = ("present", "in part", "refused", "missing")
# The first two are taken around a function (`engine/pytorch/out.py`), and every tensor is dense.
NOT_COMPARED = ("out", "pin_memory", "layout")
# They are there to say why they are not.
ONLY_REFUSE = """
torch.lu torch.Tensor.lu torch.functional.lu torch.linalg.eig torch.linalg.eigvals torch.linalg.lu
torch.linalg.lu_factor
""".split()
CLASSES = ("torch.Tensor", "torch.nn.Module", "torch.optim.Optimizer", "torch.Generator")
# In the lines of code that tests hold as text.
HEADS = {"torch": "torch", "library": "torch", "nn": "torch.nn", "F": "torch.nn.functional"}
HEADS |= {
    "optim": "torch.optim",
    "lr_scheduler": "torch.optim.lr_scheduler",
    "init": "torch.nn.init",
}
CHAIN = re.compile(r"(?<![\w.])([A-Za-z_]\w*)?((?:\.[A-Za-z_]\w*)+)")
QUOTED = re.compile(r"""["' ](\w*[a-zA-Z]_\w*|[A-Z]\w+)(?=["' ])""")
HEAD = """# PyTorch's names here

Every public name of PyTorch 2.13 in the modules that scripts use. **Present**: it is here and takes
every keyword; **in part**: without the keywords that are named; **refused**: on purpose, with the
sentence that a script meets; **missing**: not here yet. Shown by a law (a record of the op, whose
value and gradient are checked), by parity (a test against PyTorch), or else by another test that
names it. Not compared: the first argument `input`; `out=` and `pin_memory=`, which are taken around
the functions, by tables that tests compare with this list; and `layout=`, for every tensor is
dense. A test keeps this file true; it is written by

    python -m tinygrad_lm.as_torch --conformance > benchmarks/results/conformance.md

"""


@dataclass
class Row:
    """One name: its state, what is to say about that, and the test that shows it."""

    name: str
    state: str
    note: str = ""
    shown: str = ""


def table() -> str:
    """The whole page as Markdown."""
    shown = tests()
    chapters = {where: list(rows(where, shown)) for where in sections()}
    total: Counter[str] = Counter()
    lines = ["| module | names | present | law or parity | in part | refused | missing |"]
    lines.append("| --- |" + " ---: |" * 6)
    for where, found in chapters.items():
        count = Counter(row.state for row in found)
        proven = sum(row.shown.startswith(("law", "parity")) for row in found)
        count.update({"names": len(found), "law or parity": proven})
        total.update(count)
        lines.append(_cells(f"`{where}`", *_figures(count)))
    lines.append(_cells("all", *_figures(total)))
    for where, found in chapters.items():
        lines += ["", f"## {where}", ""]
        if sentence := refused.module(where):
            names = ", ".join(f"`{row.name}`" for row in found if row.state == "refused")
            lines += [f"Refused: {sentence}.", "", names]
            found = [row for row in found if row.state != "refused"]
        if found:
            lines += ["", "| name | state | | shown by |", "| --- | --- | --- | --- |"]
            lines += [_cells(f"`{r.name}`", r.state, r.note, r.shown) for r in found]
    return HEAD + re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _figures(count: Counter[str]) -> list[str]:
    order = ("names", "present", "law or parity", "in part", "refused", "missing")
    return [str(count[what]) for what in order]


def _cells(*texts: str) -> str:
    return "| " + " | ".join(texts) + " |"


def rows(where: str, shown: dict[str, str]) -> Iterator[Row]:
    """A module's or class's names."""
    for name, keywords in sorted(sections()[where].items()):
        full = f"{where}.{name}"
        if full in ONLY_REFUSE:
            yield Row(name, "refused", _said(find(full)))
        elif exists(full):
            lacking = [k for k in keywords if k not in NOT_COMPARED and not takes(find(full), k)]
            note = "not taken: " + ", ".join(f"`{k}`" for k in lacking) if lacking else ""
            yield Row(name, "in part" if lacking else "present", note, shown.get(full, ""))
        elif sentence := refused.why(full):
            yield Row(name, "refused", sentence)
        else:
            yield Row(name, "missing")


def _said(function: Any) -> str:
    """The sentence with which a function refuses."""
    try:
        function()
    except NotImplementedError as error:
        return str(error).partition("] ")[2]
    raise AssertionError(f"[{function.__name__}] it must refuse to be in ONLY_REFUSE")


def takes(value: Any, keyword: str) -> bool:
    """Whether a function or class has the keyword, as far as its signature tells."""
    op = inspect.unwrap(value, stop=lambda part: isinstance(part, Op))
    if isinstance(op, Op) and keyword == "other":  # `Op.call` knows the word
        return op.arity == 2
    try:
        parameters = inspect.signature(value).parameters
    except (TypeError, ValueError):
        return True
    return keyword in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


# ---------------------------------------------------------------- which tests name what


def tests() -> dict[str, str]:
    """The test that shows a name, for each name that has one; nothing without a checkout."""
    shown: dict[str, str] = {}
    laws = _laws()
    for where, names in sections().items():
        for name in names:
            if where in ("torch", "torch.Tensor", "torch.nn.functional") and name in laws:
                shown[f"{where}.{name}"] = f"law {laws[name]}"
    files = sorted(TESTS.glob("*/test_*.py"), key=lambda path: (path.parent.name != "parity", path))
    for path in files:
        kind = "parity" if path.parent.name == "parity" else "test"
        for name in mentions(path.read_text(encoding="utf-8")):
            shown.setdefault(name, f"{kind} {path.name}")
    return shown


def _laws() -> dict[str, str]:
    """{op: file} of the records: the keys of the tables at the top level of `op_specs*.py`."""
    found: dict[str, str] = {}
    for path in sorted(TESTS.glob("laws/op_specs*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            value = getattr(node, "value", None)
            for key in value.keys if isinstance(value, ast.Dict) else ():
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    found.setdefault(key.value, path.name)
    return found


def mentions(source: str) -> set[str]:
    """The listed names that a test uses, in its code or in a text that holds lines of code."""
    heads, text = _heads(source)
    listed = sections()
    found = set()
    for head, chain in CHAIN.findall(text):
        parts = chain[1:].split(".")
        place = heads.get(head)
        for i, part in enumerate(parts):
            above = ".".join([place, *parts[:i]]) if place else ""
            if above in listed:
                found.add(f"{above}.{part}")
            elif place is None:  # on an object
                owners = [name for name in CLASSES if part in listed[name]]
                found.update(f"{name}.{part}" for name in owners[:1])
    owners_of = defaultdict(list)
    for where in listed.keys() - {*CLASSES}:
        for name in listed[where]:
            owners_of[name].append(f"{where}.{name}")
    for word in QUOTED.findall(text):  # getattr(torch.optim, "Adam")
        found.update(owners_of[word])
    return {name for name in found if name.rpartition(".")[2] in listed[name.rpartition(".")[0]]}


def _heads(source: str) -> tuple[dict[str, str], str]:
    """What the names stand for that a file imports ("" for other modules), and its text without
    comments and docstrings."""
    heads, lines = dict(HEADS), source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            above = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for item in node.names:
                full = re.sub(r"^tinygrad_lm\b", "torch", above + item.name)
                is_torch = full.partition(".")[0] == "torch"
                name = item.asname or (item.name if above else item.name.partition(".")[0])
                heads[name] = (full if item.asname or above else "torch") if is_torch else ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            assert node.end_lineno
            for i in range(node.lineno - 1, node.end_lineno):
                lines[i] = ""
    return heads, "\n".join(line.partition("  # ")[0] for line in lines)
