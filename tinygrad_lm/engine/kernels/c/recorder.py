"""The door to `recorder.c`: what it is given, and which functions it replaces. They are the
definition, and run where the C module is missing or switched off (TINYGRAD_LM_COMPILED=0)."""

from __future__ import annotations

from typing import Any

import numpy

from ...arrays import (
    LIBRARIES,
    as_array,
    check_unwritten,
    clock,
    dispatch,
    explained,
    fit,
    keep_wanted,
    mark_written,
    process,
    versions,
    writes,
)
from ...core import graph
from ...core.op import Op
from ...core.recording import mode
from ...core.tensor import Tensor
from . import load

recorder = load("_recorder")


def _fail(name: str, error: Exception, arrays: tuple, settings: dict | None) -> None:
    raise explained(name, error, arrays, settings) from error


GIVEN: dict[str, Any] = {
    # classes: C looks up where their slots are
    "Tensor": Tensor,
    "Op": Op,
    "Node": graph.Node,
    "Writes": versions.Writes,
    "Sparse": graph.Sparse,
    # what they work with
    "ndarray": numpy.ndarray,
    "LIBRARIES": LIBRARIES,
    "FLOATING": tuple(map(numpy.dtype, "fd")),
    "WARNINGS": process.WARNINGS,
    "IGNORE": process.IGNORE,
    "mode": mode,
    "switches": dispatch.Switches,
    "clock": clock,
    "writes": writes,
    # what they leave to Python
    "mark_written": mark_written,
    "as_array": as_array,
    "keep_wanted": keep_wanted,
    "fail": _fail,
    "fit": fit,
    "hooked": graph.hooked,
    "check_unwritten": check_unwritten,
    "spent": graph.spent,
    "accumulate": Tensor.accumulate,
}
# What C replaces, as it is in Python. `Op.call` is not among them: C answers op(...) itself,
# and calls it for what is unusual.
DEFINED = {"walk": graph.walk, "accumulate": Tensor.accumulate, "detach": Tensor.detach}


def install() -> None:
    """Put the functions in C in their places; the last step of loading the engine."""
    made = recorder.start(**GIVEN)
    graph.walk = recorder.walk
    of_tensor: Any = Tensor  # which type checkers would not let be changed
    of_tensor.accumulate = made["accumulate"]
    of_tensor.detach = made["detach"]
    of_tensor.data = property(of_tensor.detach, of_tensor.data.fset)
    for name, method in [*vars(Tensor).items()]:
        does, reflected = getattr(method, "operator", (None, False))
        if isinstance(does, str):  # a ufunc that writes into its first operand
            does = getattr(numpy, does)
        if does is not None:
            setattr(Tensor, name, recorder.operator(does, method, reflected))


if recorder is not None and graph.walk is not recorder.walk:  # once, also if this is reloaded
    install()
