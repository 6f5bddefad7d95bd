"""`autograd.backward` and `autograd.grad`: gradients of several tensors at once, added to `.grad`
or returned. The walk itself is in `core/graph.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import LIBRARIES
from ..core.tensor import Tensor, gradients, wrap


def backward(
    tensors: list[Tensor],
    grad_tensors: list[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add d tensors / d leaf into `.grad` of every leaf, walking back from all of them at once."""
    upstream = grad_tensors or [None] * len(tensors)
    _check_pairs("backward", tensors, upstream)
    for leaf, g in gradients(tensors, upstream, retain_graph, create_graph).items():
        leaf.accumulate(g)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
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
    _check_pairs("grad", outputs, list(grad_outputs))
    wanted = {x.node or x for x in inputs}
    found = gradients(outputs, list(grad_outputs), retain_graph, create_graph, wanted)
    results: list[Tensor | None] = []
    for x in inputs:
        g: Any = found.get(x.node or x)
        if g is None and not allow_unused:
            raise RuntimeError(
                "[grad] every input must have been used to compute the outputs, one was not; "
                "pass allow_unused=True to get None for it"
            )
        if type(g) in LIBRARIES:
            g = wrap(g)
            found[x.node or x] = g.array.copy()  # for an input that is named twice
        results.append(g)
    return tuple(results)


def _check_pairs(name: str, tensors: list, upstream: list) -> None:
    if len(tensors) != len(upstream):
        raise RuntimeError(
            f"[{name}] there must be one gradient per tensor, got {len(upstream)} gradients for "
            f"{len(tensors)} tensors; None stands for the 1 of a single element"
        )
