"""Tensor: an array, a node in the graph, and a gradient; how to enter the graph and walk back.
What else a Tensor can do is in `pytorch/`, and is bound to this class from there."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any

from ..arrays import Array, Gradient, mark_written, out_of_memory, quietly, upstream_gradient
from . import graph  # graph.walk, not walk: C may replace it
from .graph import Node
from .recording import mode

if TYPE_CHECKING:  # the methods, for type checkers and editors; at run time `methods.py` binds them
    from ..pytorch.methods import Methods
else:
    Methods = object


ACCUMULATING = RLock()


class Tensor(Methods):
    """An array that may remember where it came from.

    `array` is NumPy's or CuPy's. `node` is what computed it, None for a leaf; `needs_grad` says
    whether a gradient is wanted, and `_grad` is what has arrived at a leaf, as `.grad` shows it.
    `base` is the tensor that a view looks into, `version` counts the recorded writes to a tensor,
    and `seen` is how many of those to its base a view has taken into its history."""

    __slots__ = "array node needs_grad _grad hooks base version seen __dict__ __weakref__".split()
    array: Array
    node: Node | None
    hooks: list[Callable] | None
    _grad: Tensor | None
    base: Tensor | None
    needs_grad: bool
    version: int
    seen: int
    library: Any  # NumPy's names over recorded ops: see `ops/over_tensors.py`
    look_into: Callable  # sets `base`: see `inplace.py`
    targets: Callable  # node or leaf -> which of the inputs: see `pytorch/grad.py`
    refresh: Callable  # records a view anew, after a write to its base

    @property
    def requires_grad(self) -> bool:
        if self.base is not None and self.seen != self.base.version:
            self.refresh()
        return self.needs_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    def detach(self) -> Tensor:
        """The same memory outside the graph."""
        return wrap(self.array)

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None) -> None:
        """Add d self / d leaf into `.grad` of every leaf that requires it, or of `inputs` only. The
        gradient to start with has self's shape; for one element it may be left out, and is 1."""
        wanted = None if inputs is None else self.targets(inputs)
        found = gradients([self], [gradient], retain_graph, create_graph, wanted)
        for target, g in found.items():
            (wanted[target] if wanted else target).accumulate(g)

    def accumulate(self, g: Gradient) -> None:
        """Add an arriving gradient, which nobody else holds, to `.grad`; one thread at a time."""
        with ACCUMULATING:
            if isinstance(g, Tensor):
                self._grad = g.clone() if self._grad is None else self._grad + g
            elif self._grad is None:
                self._grad = wrap(g)
            else:
                self._grad.array += g
                mark_written(self._grad.array)


def wrap(array: Array, tensor: Any = None) -> Any:
    """A Tensor around an array, outside the graph, sharing its memory; or `tensor`, made that."""
    if tensor is None:
        tensor = object.__new__(Tensor)
    tensor.array, tensor.needs_grad = array, False
    tensor.node = tensor.hooks = tensor._grad = tensor.base = None
    tensor.version = tensor.seen = 0
    return tensor


def gradients(
    tensors: list[Tensor], upstream: list, retain_graph: Any, create_graph: bool, wanted: Any = None
) -> dict[Any, Gradient]:
    """The gradients that `graph.walk` finds, by node or leaf: arrays that nobody else holds, also
    where a pullback returned a Tensor; or Tensors where pullbacks are recorded ops."""
    roots = [(t.node or t, first_gradient(t, g, create_graph)) for t, g in zip(tensors, upstream)]
    retain = create_graph if retain_graph is None else retain_graph
    if create_graph:
        return graph.walk(roots, retain, wanted)
    before = mode.recording, mode.retaining
    mode.recording, mode.retaining = False, bool(retain)
    try:
        found = quietly(graph.walk, roots, retain, wanted)
    except MemoryError as error:
        raise out_of_memory("backward", error) from error
    finally:
        mode.recording, mode.retaining = before
    return {t: g.array.copy() if isinstance(g, Tensor) else g for t, g in found.items()}


def first_gradient(tensor: Tensor, gradient: Any, create_graph: bool) -> Gradient:
    """The gradient that a walk starts with at this tensor: an array, with create_graph a Tensor."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "[backward] the tensor must require a gradient, this one does not; was it computed "
            "under no_grad, or from tensors without requires_grad=True?"
        )
    if create_graph and tensor.node is not None and not tensor.node.create_graph:
        raise RuntimeError(
            f"[create_graph] the forward pass must be recorded for it, but that of {tensor.node!r} "
            "was not; compute it inside `with autograd.higher_order():`"
        )
    if gradient is not None and not isinstance(gradient, Tensor):
        raise TypeError(f"[backward] gradient must be a Tensor, got {type(gradient).__name__}")
    g = upstream_gradient(tensor.array, gradient)
    if create_graph:
        return g if isinstance(g, Tensor) else wrap(g)
    return g.array if isinstance(g, Tensor) else g
