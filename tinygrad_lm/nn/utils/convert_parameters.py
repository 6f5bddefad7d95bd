"""All parameters as one flat vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ...engine.core.tensor import Tensor
from ...engine.pytorch.grad_mode import no_grad
from ...engine.pytorch.joining import cat


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters one after another, (total,)."""
    return cat([p.reshape(-1) for p in parameters])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """The other way: write pieces of vec (total,) into the parameters."""
    if not isinstance(vec, Tensor):
        raise TypeError(
            f"[vector_to_parameters] vec must be a Tensor, got {type(vec).__name__}; "
            "make one with tensor(...)"
        )
    start = 0
    for p in parameters:
        p.copy_(vec[start : start + p.numel()].reshape(p.shape))
        start += p.numel()
