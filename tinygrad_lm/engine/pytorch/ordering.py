"""Sorting, counting and finding in PyTorch's spelling. Sorts are stable: equal elements keep
their order; only what picks elements out (sort, topk, median) has a gradient."""

from __future__ import annotations

from typing import Any

from ..arrays import float32, in_float32, library, rounded
from ..core.tensor import Tensor, wrap
from ..ops import elementwise
from ..ops import reduce as ops
from .common import ReturnType, axis_of, check_some, numpy_names, raw
from .names import named, one_op
from .shapes import squeeze


@numpy_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    axis = axis_of(input, dim, "argsort")
    if not input.ndim:
        return wrap(library(input.array).zeros((), "int64"))
    return ops.argsort(input, axis=axis, descending=descending)


def _picked(input: Tensor, indices: Any, axis: int) -> Tensor:
    """The elements at positions along an axis; of no axes, the one there is."""
    if not input.ndim:
        return elementwise.clone(input)
    return ops.take_along_axis(input, indices=indices, axis=axis)


@numpy_names
@one_op
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> ReturnType:
    """(values, indices) in order; equal elements keep theirs, NaN is the largest."""
    indices = argsort(input, dim, descending)
    values = _picked(input, indices.array, axis_of(input, dim, "sort"))
    return ReturnType.of("sort", values=values, indices=indices)


@numpy_names
@one_op
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ReturnType:
    """(values, indices) of the k largest (smallest) along dim."""
    axis = axis_of(input, dim, "topk")
    size = input.array.shape[axis] if input.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"[topk] k must be in 0 ... {size}, the size of dim {dim}, got {k}")
    if input.ndim:
        order = ops.argsort(input, axis=axis, descending=largest, first=k).array
    else:
        order = argsort(input).array
    return ReturnType.of("topk", values=_picked(input, order, axis), indices=wrap(order))


@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower of two, or NaN if there is one; with dim, (values, indices)
    along it. Of all elements, those that equal the median share the gradient."""
    if dim is None:
        check_some(input, "median")
        flat = input.reshape(-1)
        middle = median(flat.detach(), 0)[0].array
        equal = (flat.array == middle) | (flat.array != flat.array)
        return named(ops.amax(flat[wrap(equal)]), "MedianBackward0")
    axis = axis_of(input, dim, "median")
    order = argsort(input, dim).array
    if input.ndim:
        x, lib = input.array, library(order)
        middle = (order.shape[axis] - 1) // 2
        missing = x != x
        order = lib.where(
            missing.any(axis=axis, keepdims=True),
            missing.argmax(axis=axis, keepdims=True),
            order[(*(slice(None),) * axis, slice(middle, middle + 1))],
        )
    values, found = _picked(input, order, axis), wrap(order)
    if input.ndim and not keepdim:
        values, found = squeeze(values, axis), squeeze(found, axis)
    return ReturnType.of("median", values=named(values, "MedianBackward1"), indices=found)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of the elements that are not zero: (N, ndim), or one (N,) per axis."""
    lib = library(input.array)
    found = lib.stack(lib.atleast_1d(input.array).nonzero())
    if as_tuple:
        return tuple(wrap(i) for i in found)
    return wrap(found[: input.ndim].T)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements in order, or the different slices along dim; also the place of each in
    them, and their counts."""
    x, lib = in_float32(input.array), library(input.array)  # CuPy sorts no bfloat16
    axis = None if dim is None else axis_of(input, dim, "unique")
    found = lib.unique(x, return_inverse=True, return_counts=True, axis=axis)
    values, inverse, counts = map(wrap, (rounded(found[0], input.array.dtype), *found[1:]))
    inverse = wrap(inverse.array.reshape(x.shape if dim is None else -1))
    chosen = [values, *([inverse] * return_inverse), *([counts] * return_counts)]
    return tuple(chosen) if chosen[1:] else values


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, ... occurs in a vector of integers."""
    ids = input.array
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or (ids.size and int(ids.min()) < 0):
        raise RuntimeError(
            f"[bincount] needs a vector of non-negative integers, got {input.dtype} of shape "
            f"{tuple(input.shape)}"
        )
    out = library(ids).bincount(ids, weights=raw(weights), minlength=minlength)
    return wrap(out.astype("float32") if weights is not None and weights.dtype is float32 else out)


def histogram(
    input: Tensor,
    bins: int | Tensor = 100,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> ReturnType:
    """(hist, bin_edges): counts, sums of weights, or densities of all elements, as floats."""
    if not input.is_floating_point():
        raise NotImplementedError(
            f"[histogram] needs a floating-point tensor, got {input.dtype}; use float() or bincount"
        )
    x = input.detach().array.reshape(-1)
    if weight is not None and weight.shape != input.shape:
        raise RuntimeError(f"[histogram] weight must be {input.shape}, got {weight.shape}")
    how = {"weights": None if weight is None else raw(weight).reshape(-1), "density": density}
    if not isinstance(bins, int) and range is not None:
        raise RuntimeError("[histogram] range must be left out when the bin edges are given")
    hist, edges = library(x).histogram(x, bins=raw(bins), range=range, **how)
    return ReturnType.of(
        "histogram", hist=wrap(hist.astype(x.dtype)), bin_edges=wrap(edges.astype(x.dtype))
    )
