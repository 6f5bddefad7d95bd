"""`autograd.backward` and `autograd.grad`: gradients of several tensors at once, added to `.grad`
or returned. The walk itself is in `core/graph.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import LIBRARIES, library
from ..core.tensor import Tensor, gradients, wrap


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Tensor | Sequence[Tensor | None] | None = None,
    inputs: Tensor | Sequence[Tensor] | dict[str, Tensor] | None = None,
) -> None:
    """Add d tensors / d leaf into `.grad` of every leaf, or of `inputs` only, walking back from all
    of them at once. grad_variables: the former name of grad_tensors."""
    if grad_variables is not None:
        if grad_tensors is not None:
            raise RuntimeError(
                "[backward] grad_variables is the former name of grad_tensors, and both were "
                "given; leave it out"
            )
        grad_tensors = grad_variables
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if isinstance(grad_tensors, Tensor):
        grad_tensors = [grad_tensors]
    upstream = list(grad_tensors or [None] * len(tensors))
    _check_pairs("backward", tensors, upstream)
    wanted = None if inputs is None else targets(inputs)
    found = gradients(tensors, upstream, retain_graph, create_graph, wanted)
    for target, g in found.items():
        (wanted[target] if wanted else target).accumulate(g)


def _listed(tensors: Any) -> list[Tensor]:
    """One tensor, several, or those of a dict, as a list."""
    if isinstance(tensors, Tensor):
        return [tensors]
    return list(tensors.values() if isinstance(tensors, dict) else tensors)


def targets(
    inputs: Tensor | Sequence[Tensor] | dict[str, Tensor], name: str = "backward"
) -> dict[Any, Tensor]:
    """Where a walk finds the gradient of each input, at its node or at the leaf itself -> input."""
    inputs = _listed(inputs)
    if not inputs:
        raise RuntimeError(f"[{name}] inputs must not be empty; leave them out for all leaves")
    for x in inputs:
        if not isinstance(x, Tensor) or not x.requires_grad:
            raise RuntimeError(f"[{name}] every input must require a gradient, got {x!r:.60}")
    return {x.node or x: x for x in inputs}


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor] | dict[str, Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """Gradients of outputs with respect to inputs, a tuple (for a dict of inputs a dict), instead
    of being added to `.grad`. An input that was not used is an error, None with allow_unused, zeros
    with materialize_grads. With `create_graph=True` they can be differentiated again, if the
    forward pass was computed inside `autograd.higher_order()`.
    """
    if is_grads_batched:
        raise NotImplementedError(
            "[grad] is_grads_batched must be False; call grad for each of the grad_outputs and "
            "stack what it returns, or use autograd.functional.jacobian"
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "[grad] allow_unused must be True or left out with materialize_grads, got False"
        )
    outputs, xs = _listed(outputs), _listed(inputs)
    if isinstance(grad_outputs, Tensor) or grad_outputs is None:
        grad_outputs = [grad_outputs] * len(outputs)
    _check_pairs("grad", outputs, list(grad_outputs))
    wanted = targets(xs, "grad")
    found = gradients(outputs, list(grad_outputs), retain_graph, create_graph, wanted)
    results: list[Tensor | None] = []
    for x in xs:
        g: Any = found.get(x.node or x)
        if g is None and materialize_grads:
            g = library(x.array).zeros_like(x.array)
        elif g is None and not allow_unused:
            raise RuntimeError(
                "[grad] every input must have been used to compute the outputs, one was not; "
                "pass allow_unused=True to get None for it"
            )
        if type(g) in LIBRARIES:
            g = wrap(g)
            found[x.node or x] = g.array.copy()  # for an input that is named twice
        results.append(g)
    return dict(zip(inputs, results)) if isinstance(inputs, dict) else tuple(results)


def _check_pairs(name: str, tensors: list, upstream: list) -> None:
    if len(tensors) != len(upstream):
        raise RuntimeError(
            f"[{name}] there must be one gradient per tensor, got {len(upstream)} gradients for "
            f"{len(tensors)} tensors; None stands for the 1 of a single element"
        )
