"""Second derivatives under the alias. PyTorch keeps in every forward pass what they need; here that
is slower (a training step of a small MLP takes several times as long), so it is done in a run whose
sources say `create_graph` somewhere: the script, the files it imports that are no installed
packages, the cells of a notebook. From there on, and in the main thread, it is as inside
`autograd.higher_order()`, which who passes create_graph by position has to write."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from ..aliases import PACKAGE
from ..autograd import higher_order
from ..engine.core.recording import mode


def look_at(source: str) -> None:
    """Where the source asks for second derivatives, go inside `higher_order`, for good."""
    if "create_graph" in source and mode.create_graph is None:
        higher_order().__enter__()


def look_into(file: str | None) -> None:
    """`look_at` a file of Python or a notebook that is no installed package's."""
    path = Path(file or "")
    if path.suffix in (".py", ".ipynb") and not {"site-packages", "dist-packages"} & {*path.parts}:
        look_at(path.read_text(encoding="utf-8", errors="replace"))


def watch() -> None:
    """From now on; the script and the cell that are running are read at once."""
    main = sys.modules["__main__"]
    if not getattr(main.__spec__, "name", "").startswith(PACKAGE):
        look_into(getattr(main, "__file__", None))
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        look_at(shell.user_ns["In"][-1])
        shell.events.register("pre_run_cell", lambda cell: look_at(cell.raw_cell))
    sys.meta_path.insert(0, Reader())


class Reader(MetaPathFinder):
    """Stands in Python's search for modules, reads the files it finds, and finds nothing itself."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] not in {"torch", PACKAGE, *sys.stdlib_module_names}:
            spec = PathFinder.find_spec(name, path)
            look_into(spec.origin if spec else None)
