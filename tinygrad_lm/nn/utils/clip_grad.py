"""Clipping the gradients of all parameters at once, by their common norm or value by value."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy

from ...engine.arrays import (
    ON_CUDA,
    Array,
    device_of,
    get_num_threads,
    is_numpy,
    kernel,
    library,
    mark_written,
    quietly,
    to_device,
    with_kernels,
)
from ...engine.arrays.replay import one_call
from ...engine.core.tensor import Tensor, wrap
from ...engine.kernels.c import fast
from ...engine.pytorch.creation import tensor


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
    total = _total(gradients, norm_type, "clip_grad_norm_", error_if_nonfinite)
    _clip_all(total.array, gradients, float(max_norm))
    return total


def clip_grad_norm(*args: Any, **kwargs: Any) -> Tensor:
    """The former name of `clip_grad_norm_`; warns."""
    warnings.warn(
        "[clip_grad_norm] the name is clip_grad_norm_, with an underscore; use that",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(*args, **kwargs)


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The common norm of tensors, as in `clip_grad_norm_`: 0-d, nobody waits for a GPU."""
    several = [tensors] if isinstance(tensors, Tensor) else tensors
    arrays = [t.array for t in several]
    return _total(arrays, norm_type, "get_total_norm", error_if_nonfinite)


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """The scaling of `clip_grad_norm_`, by a norm that is known: times max_norm / total_norm where
    that is below 1."""
    _clip_all(total_norm.array, _gradients(parameters), float(max_norm))


def _total(arrays: list[Array], norm_type: float, name: str, error_if_nonfinite: bool) -> Tensor:
    if not arrays:
        return tensor(0.0)
    norms = [_norm(group, float(norm_type)) for group in _by_device(arrays)]
    total = norms[0]
    if norms[1:]:
        total = _norm([to_device(n, device_of(total)) for n in norms], float(norm_type))
    if error_if_nonfinite and not bool(library(total).isfinite(total)):
        raise RuntimeError(
            f"[{name}] the norm must be finite, got {float(total)}; look for the first "
            "NaN or lower the learning rate, or pass error_if_nonfinite=False"
        )
    return wrap(total)


def _by_device(arrays: list[Array]) -> list[list[Array]]:
    """Those of each device together."""
    groups: dict[Any, list[Array]] = {}
    for a in arrays:
        groups.setdefault(None if is_numpy(a) else getattr(a.device, "id", 0), []).append(a)
    return [*groups.values()]


def _norm(arrays: list[Array], p: float) -> Array:
    return quietly(total_norm, arrays[0], arrays, p)


def _clip_all(norm: Array, gradients: list[Array], longest: float) -> None:
    for group in _by_device(gradients):
        clip(to_device(norm, device_of(group[0])), group, longest)


@one_call
@with_kernels
def clip(norm: Array, gradients: list[Array], longest: float) -> None:
    """Arrays times longest / norm, in place, where that is below 1."""
    lib = library(norm)
    scale = lib.minimum(longest / (norm + 1e-6), 1.0)
    if lib is numpy and scale == 1:  # on a GPU, asking would wait for it
        return
    for g in gradients:
        if _is_fast(g):
            fast.map("scale", g.size, get_num_threads(), g, None, g, float(scale), 0.0, None)
        else:
            quietly(lib.multiply, g, scale, out=g, casting="same_kind")
        mark_written(g)


def _is_fast(g: Array) -> bool:
    """Whether the compiled loops, with their threads, take this array."""
    return fast is not None and type(g) is numpy.ndarray and g.dtype.char == "f" and (
        g.flags.c_contiguous
    )  # fmt: skip


@one_call
@with_kernels
def total_norm(first: Array, arrays: list[Array], p: float) -> Array:
    """The p-norm of everything, 0-d, in the dtype of the first array, at least float32."""
    lib, kind = library(first), first.dtype
    kind = numpy.dtype(numpy.float32) if kind.itemsize < 4 else kind
    arrays = [a.astype("float32") if a.itemsize < 4 else a for a in arrays]
    if p == math.inf:
        total = lib.stack([abs(a).max() for a in arrays if a.size]).max()
    elif p == 2 and all(map(_is_fast, arrays)):
        squares = numpy.empty((len(arrays), 1))
        for a, square in zip(arrays, squares):
            fast.squares(a.size, get_num_threads(), a, None, square)
        total = math.sqrt(sum(squares[:, 0].tolist()))
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


def _on_cuda() -> None:
    """Its kernels take all arrays at once."""
    import cupy

    from ...engine.kernels.cuda import tensors

    @kernel(total_norm, cupy.ndarray)
    def norm(first: Array, arrays: list[Array], p: float) -> Any:
        return tensors.norm(arrays) if p == 2 else NotImplemented

    @kernel(clip, cupy.ndarray)
    def scale(norm: Array, gradients: list[Array], longest: float) -> Any:
        found = tensors.clip(norm, gradients, longest)
        if found is not NotImplemented:
            for g in gradients:
                mark_written(g)
        return found


ON_CUDA.append(_on_cuda)
