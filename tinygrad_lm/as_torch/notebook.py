"""A notebook without Jupyter: its code cells, without the lines that speak to Jupyter or a shell,
run in one namespace; the last expression of a cell is printed. No command of a shell is run."""

from __future__ import annotations

import ast
import io
import json
import linecache
import os
import re
import sys
import tokenize
import traceback
import warnings
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy

from ..aliases import Alias
from ..pages import second_derivatives

RUN = re.compile(r"(\s*)%(?:time|timeit)\b((?:\s+-[a-z]\s*\d*)*)\s*(.*)")  # a line that runs
WHOLE = re.compile(r"%%(?:time|timeit|capture|prun)\b.*")  # the head of a cell that runs
WRITES = {"matplotlib": "plt.savefig(...)", "graphviz": "render(...)"}  # a picture to a file
LEFT_OUT = re.compile(r"(\s*)(?:[%!?]|[\w.]+\s*=\s*[%!]|[\w.]+\?+\s*$)")


def cells(path: str | Path) -> Iterator[tuple[int, str, list[tuple[int, str]]]]:
    """Of each code cell: its number among them, its Python, and (line, text) of what is left out,
    in whose place there is `pass`."""
    try:
        book = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        code = [c["source"] for c in book["cells"] if c["cell_type"] == "code"]
        sources = ["".join(source) for source in code]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"[notebook] a notebook of format 4 must have cells with their source, got {path}: "
            f"{error!r}; save it again?"
        ) from None
    for number, source in enumerate(sources, 1):
        yield (number, *python_of(source))


def python_of(source: str) -> tuple[str, list[tuple[int, str]]]:
    """A cell's Python, line by line where it was, and (line, text) of what is left out."""
    lines = source.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if lines and WHOLE.fullmatch(lines[first]):
        lines[first] = ""
    elif lines and lines[first].startswith("%%"):
        return "pass", [(first + 1, lines[first])]
    if _parses("\n".join(lines)):
        return "\n".join(lines), []  # a % or ! that begins a line belongs to a text or a sum
    left_out = []
    for i, line in enumerate(lines):
        if found := RUN.fullmatch(line):
            lines[i] = found[1] + (found[3] or "pass")
        elif found := LEFT_OUT.match(line):
            left_out.append((i + 1, line.strip()))
            end = i
            while lines[end].endswith("\\") and end + 1 < len(lines):
                end += 1
            lines[i : end + 1] = [found[1] + "pass"] * (end + 1 - i)
    return "\n".join(lines), left_out


def _parses(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except SyntaxError:
        return False
    return True


def execute(path: str, space: dict) -> None:
    """Run a notebook's cells in a namespace; what is left out is said on stderr."""
    second_derivatives.look_into(path)
    _prepare(space)
    last = None
    for number, source, left_out in cells(path):
        name = f"{Path(path).name}, cell {number}"
        for line, text in left_out:
            _say(f"{name}, line {line} left out: {text}")
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        value = _value(source, name, space)
        if value is not None:
            if space.get("_") is last:  # and no variable of the notebook's own
                space["_"] = last = value
            display(value)
        if plots := sys.modules.get("matplotlib.pyplot"):
            plots.close("all")  # as Jupyter does once it has shown them


def _value(source: str, name: str, space: dict) -> Any:
    """Run a cell; what its last line is worth, as far as Jupyter shows it."""
    body = compile(source, name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True).body  # type: ignore
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), name, "exec", dont_inherit=True), space)
    if last:
        value = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), space)
        return None if _ends_in_semicolon(source) else value
    return None


def show_error(kind: type, error: BaseException, trace: Any) -> None:
    """A traceback in which a place is called `FILE.ipynb, cell N, line M`."""
    text = "".join(traceback.format_exception(error))
    _say(re.sub(r'File "(.+\.ipynb, cell \d+)", line', r"\1, line", text).rstrip())


def _ends_in_semicolon(source: str) -> bool:
    skip = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type not in skip][-1:] == [";"]


def display(*values: Any, **settings: Any) -> None:
    """What Jupyter shows, as text."""
    for value in values:
        show = getattr(value, "_ipython_display_", None)
        print(repr(value)) if show is None or isinstance(value, type) else show()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _prepare(space: dict) -> None:
    """What a notebook finds in Jupyter: `display`, and libraries that draw, into nothing here."""
    space["display"] = display
    os.environ.setdefault("MPLBACKEND", "Agg")
    warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
    sys.meta_path.insert(0, Pictures())


class Pictures(MetaPathFinder, Loader):
    """Says, when what draws is first imported, that pictures are not shown; where it or IPython is
    not installed, modules take their place that draw nothing. A bar of progress is of text."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if name == "tqdm.notebook":
            return ModuleSpec(name, Alias("tqdm.std"))
        if top not in (*WRITES, "IPython"):
            return None
        installed = PathFinder.find_spec(top)
        if write := WRITES.get(name):
            more = f"{write} writes one" if installed else f"{name} is not installed"
            _say(f"pictures are not shown; {more}")
        return None if installed else ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        made = ModuleType(spec.name)
        made.__getattr__ = lambda name: Nothing(name)  # type: ignore[method-assign]
        if spec.name == "IPython.display":
            vars(made)["display"] = display
        return made

    def exec_module(self, module: ModuleType) -> None:
        pass


class Nothing:
    """Takes the place of what draws: whatever is done with it gives nothing of the kind."""

    def __init__(self, name: str):
        if name[:1] == "_":
            raise AttributeError(name)
        self.__name = name

    def __call__(self, *args: Any, **settings: Any) -> Any:
        if self.__name == "subplots":
            return _subplots(*args, **settings)
        return None if self.__name in ("show", "clear_output") else Nothing(self.__name)

    def __getattr__(self, name: str) -> Nothing:
        return Nothing(name)

    def __getitem__(self, place: Any) -> Nothing:
        return self

    def __setitem__(self, place: Any, value: Any) -> None:
        pass

    def __iter__(self) -> Iterator:
        return iter(())

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def __repr__(self) -> str:
        return f"<{self.__name}, not shown>"


def _subplots(nrows: int = 1, ncols: int = 1, **settings: Any) -> tuple[Nothing, Any]:
    axes = numpy.empty((nrows, ncols), object)
    axes.fill(Nothing("axes"))
    return Nothing("figure"), axes.squeeze() if axes.size > 1 else axes.item()
