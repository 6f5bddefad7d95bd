"""Starting a backward walk: from which tensors, with which gradients, and for whom.
`Tensor.backward` and `autograd.grad` are here; the walk itself is in `autograd.py`."""

from __future__ import annotations

from typing import Any

from . import backend
from .autograd import Node, walk
from .backend import LIBRARIES, quietly
from .modes import mode
from .tensor import Tensor, wrap


def backward_from(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add d self / d leaf into `.grad` of every leaf that requires it.

    gradient: of self's shape; may be left out for one element (it is 1).
    """
    backward([self], [gradient], retain_graph, create_graph)


def _roots(tensors: list, gradients: list, create_graph: bool) -> list[tuple[Any, Any]]:
    """(node or leaf, starting gradient) for each tensor, with the starting gradient checked."""
    roots = []
    for tensor, gradient in zip(tensors, gradients, strict=True):
        if not tensor.requires_grad:
            raise RuntimeError(
                "[backward] the tensor must require a gradient, this one does not; was it computed "
                "under no_grad, or from tensors without requires_grad=True?"
            )
        if gradient is None:
            if tensor.array.size != 1:
                raise RuntimeError(
                    "[backward] without a gradient the tensor must be a scalar (grad can be "
                    "implicitly created only for scalar outputs), got shape "
                    f"{tuple(tensor.shape)}; pass gradient= or reduce it with sum() or mean()"
                )
            one = backend.library(tensor.array).asarray(1, tensor.array.dtype)
            start = one.reshape(tensor.array.shape)
        else:
            if not isinstance(gradient, Tensor):
                raise TypeError(
                    f"[backward] gradient must be a Tensor, got {type(gradient).__name__}"
                )
            if gradient.array.shape != tensor.array.shape:
                raise RuntimeError(
                    f"[backward] gradient must have the tensor's shape {tuple(tensor.shape)}, "
                    f"got {tuple(gradient.shape)}"
                )
            if gradient.dtype is not tensor.dtype:
                gradient = gradient.to(tensor.dtype)
            start = gradient if create_graph and gradient.needs_grad else gradient.array
        roots.append((tensor.node or tensor, start))
    return roots


def backward(
    tensors: list,
    gradients: list | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    wanted: dict[int, Any] | None = None,
) -> dict[int, Any]:
    """Walk back from several tensors at once; see `Tensor.backward` and `autograd.grad`."""
    roots = _roots(tensors, gradients or [None] * len(tensors), create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    if create_graph:
        _check_differentiable(roots)
        return walk(
            [(node, g if isinstance(g, Tensor) else wrap(g)) for node, g in roots],
            retain, wanted, _as_tensor,
        )  # fmt: skip
    before, mode.recording = mode.recording, False
    try:
        found = quietly(walk, roots, retain, wanted, _as_tensor)
    finally:
        mode.recording = before
    return {key: g.array if isinstance(g, Tensor) else g for key, g in found.items()}


def _as_tensor(g: Any) -> Tensor:
    return g if isinstance(g, Tensor) else wrap(g)


def _check_differentiable(roots: list[tuple[Any, Any]]) -> None:
    pending, known = [node for node, _ in roots], set()
    while pending:
        node = pending.pop()
        if not isinstance(node, Node) or id(node) in known:
            continue
        known.add(id(node))
        if not node.tensors:
            raise RuntimeError(
                f"[create_graph] the forward pass must be recorded for it, but {node!r} was not; "
                "compute it inside `with autograd.higher_order():`"
            )
        pending.extend(node.parents)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of outputs with respect to inputs, returned instead of added to `.grad`.

    With `create_graph=True` they can be differentiated again, if the forward pass was computed
    inside `autograd.higher_order()`.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if isinstance(grad_outputs, Tensor) or grad_outputs is None:
        grad_outputs = [grad_outputs] * len(outputs)
    for x in inputs:
        if not x.requires_grad:
            raise RuntimeError("[grad] every input must require a gradient, one does not")
    wanted = {id(x.node or x): x for x in inputs}
    found = backward(outputs, list(grad_outputs), retain_graph, create_graph, wanted)
    results: list[Tensor | None] = []
    for x in inputs:
        g: Any = found.get(id(x.node or x))
        if g is None and not allow_unused:
            raise RuntimeError(
                "[grad] every input must have been used to compute the outputs, one was not; "
                "pass allow_unused=True to get None for it"
            )
        if type(g) in LIBRARIES:
            g = wrap(g.copy())
        results.append(g)
    return tuple(results)
