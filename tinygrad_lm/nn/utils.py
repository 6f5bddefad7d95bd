"""Things done to all parameters at once: clipping gradients, and one flat vector of them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy

from ..engine.arrays import Array, get_num_threads, library, mark_written, quietly
from ..engine.core.tensor import Tensor, wrap
from ..engine.kernels.c import fast
from ..engine.pytorch.creation import tensor
from ..engine.pytorch.grad_mode import no_grad
from ..engine.pytorch.joining import cat


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Array]:
    several = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad.array for p in several if p.grad is not None]


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
        return tensor(0.0)
    total = quietly(_total_norm, gradients, float(norm_type))
    lib = library(total)
    if error_if_nonfinite and not bool(lib.isfinite(total)):
        raise RuntimeError(
            f"[clip_grad_norm_] the norm must be finite, got {float(total)}; look for the first "
            "NaN or lower the learning rate, or pass error_if_nonfinite=False"
        )
    scale = lib.minimum(float(max_norm) / (total + 1e-6), 1.0)
    if lib is numpy and scale == 1:  # on a GPU, asking would wait for it
        return wrap(total)
    for g in gradients:
        if _is_fast(g):
            fast.scale(g.size, get_num_threads(), g, float(scale))
        else:
            quietly(lib.multiply, g, scale, out=g, casting="same_kind")
        mark_written(g)
    return wrap(total)


def _is_fast(g: Array) -> bool:
    """Whether the compiled loops, with their threads, take this array."""
    return fast is not None and type(g) is numpy.ndarray and g.dtype.char == "f" and (
        g.flags.c_contiguous
    )  # fmt: skip


def _total_norm(arrays: list[Array], p: float) -> Array:
    """The p-norm of everything, 0-d, in the dtype of the first array."""
    lib, kind = library(arrays[0]), arrays[0].dtype
    arrays = [a.astype("float32") if a.itemsize < 4 else a for a in arrays]
    if p == math.inf:
        total = lib.stack([abs(a).max() for a in arrays if a.size]).max()
    elif p == 2 and all(map(_is_fast, arrays)):
        total = math.sqrt(sum(fast.squares(a.size, get_num_threads(), a) for a in arrays))
    elif p == 2:  # flat views, also of matrices that are stored column by column
        flat = [(a if a.flags.c_contiguous else a.T).reshape(-1) for a in arrays]
        total = lib.sqrt(sum(lib.vdot(a, a) for a in flat))
    else:
        total = sum((abs(a) ** p).sum() for a in arrays) ** (1 / p)
    return lib.asarray(total, kind)


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Every element of every gradient into [-clip_value, clip_value], in place."""
    for g in _gradients(parameters):
        library(g).clip(g, -clip_value, clip_value, out=g)
        mark_written(g)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters one after another, (total,)."""
    return cat([p.reshape(-1) for p in parameters])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """The other way: write pieces of vec (total,) into the parameters."""
    start = 0
    for p in parameters:
        p.copy_(vec[start : start + p.numel()].reshape(p.shape))
        start += p.numel()
