"""Things done to all parameters at once: clipping gradients, and one flat vector of them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..engine.autograd import mark_written
from ..engine.backend import library, quietly, to_device
from ..engine.functions.joining import cat
from ..engine.modes import no_grad
from ..engine.tensor import Tensor, wrap


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    several = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in several if p.grad is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients in place so that their common norm is at most max_norm (Pascanu et al.,
    2013, arXiv 1211.5063). Returns the norm before, a 0-d Tensor.

    norm_type: p of the p-norm, inf for the largest absolute value. foreach is PyTorch's switch
    between two ways to the same result; there is one here. Raises RuntimeError for a norm that is
    not finite if error_if_nonfinite.
    """
    gradients = _gradients(parameters)
    if not gradients:
        return Tensor([0.0]).reshape(())
    total = quietly(_total_norm, [g.array for g in gradients], float(norm_type))
    lib = library(total)
    if error_if_nonfinite and not bool(lib.isfinite(total)):
        raise RuntimeError(
            f"[clip_grad_norm_] the norm must be finite, got {float(total)}; look for the first NaN "
            "or lower the learning rate, or pass error_if_nonfinite=False"
        )
    scale = lib.minimum(float(max_norm) / (total + 1e-6), 1.0)
    for g in gradients:
        factor = to_device(scale, g.device).astype(g.array.dtype)
        quietly(lambda array, by: library(array).multiply(array, by, out=array), g.array, factor)
        mark_written(g.array)
    return wrap(total)


def _total_norm(arrays: list, p: float):
    """The p-norm of everything, as a 0-d array in the arrays' own dtype."""
    lib, first = library(arrays[0]), arrays[0]
    if p == math.inf:
        norms = [abs(a).max() if a.size else lib.zeros((), a.dtype) for a in arrays]
    elif p == 2:
        flat = [a.reshape(-1) for a in arrays]
        norms = [lib.sqrt(lib.vdot(a, a)) for a in flat]
    else:
        norms = [(abs(a) ** p).sum() ** (1 / p) for a in arrays]
    together = lib.stack([to_device(lib.asarray(n), None) for n in norms])
    if p == math.inf:
        total = together.max()
    else:
        total = (together**p).sum() ** (1 / p)
    return lib.asarray(total, first.dtype)


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Every element of every gradient into [-clip_value, clip_value], in place."""
    for g in _gradients(parameters):
        library(g.array).clip(g.array, -clip_value, clip_value, out=g.array)
        mark_written(g.array)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters behind one another, (total,)."""
    return cat([p.reshape(-1) for p in parameters])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """The other way: write pieces of vec (total,) into the parameters."""
    start = 0
    for p in parameters:
        p.copy_(vec[start : start + p.numel()].reshape(p.shape))
        start += p.numel()
