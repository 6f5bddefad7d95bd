"""PyTorch's path to its compiler. Ops here run as they are called, so what comes in is what comes
out; scripts that compile keep working."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: dict | None = None,
    name: str | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool = False,
    shapes_spec: Any = None,
) -> Any:
    """The module or function itself, as a call or a decorator: fused ops have their kernels
    already, and nothing is left to compile."""
    return (lambda function: function) if model is None else model


def disable(
    fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None
) -> Any:
    """The function itself: nothing is ever compiled."""
    return compile(fn)


def is_compiling() -> bool:
    return False


is_dynamo_compiling = is_exporting = is_compiling


def reset() -> None:
    """Nothing was compiled that could be forgotten."""


def cudagraph_mark_step_begin() -> None:
    """No graph of a GPU is recorded behind one's back; see `tinygrad_lm.capture`."""
