"""Sorting, counting and finding in PyTorch's spelling. Sorts are stable: equal elements keep
their order; only what picks elements out (sort, topk, median) has a gradient."""

from __future__ import annotations

from typing import Any

from ..arrays import library
from ..core.tensor import Tensor, wrap
from ..ops import reduce as ops
from .common import ReturnType, axis_of, check_some, numpy_names, raw
from .names import named, one_op
from .shapes import squeeze


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    return ops.argsort(input, axis=axis_of(input, dim, "argsort"), descending=descending)


@one_op
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> ReturnType:
    """(values, indices) in order; equal elements keep theirs."""
    indices = argsort(input, dim, descending)
    axis = axis_of(input, dim, "sort")
    values = ops.take_along_axis(input, indices=indices.array, axis=axis)
    return ReturnType.of("sort", values=values, indices=indices)


@one_op
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ReturnType:
    """(values, indices) of the k largest (smallest) along dim."""
    axis = axis_of(input, dim, "topk")
    if not 0 <= k <= input.array.shape[axis]:
        raise RuntimeError(
            f"[topk] k must be in 0 ... {input.array.shape[axis]}, the size of dim {dim}, got {k}"
        )
    order = argsort(input, dim, descending=largest).array
    indices = order[(*(slice(None),) * axis, slice(0, k))].copy()
    values = ops.take_along_axis(input, indices=indices, axis=axis)
    return ReturnType.of("topk", values=values, indices=wrap(indices))


@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower of two; with dim, (values, indices) along it."""
    if dim is None:
        check_some(input, "median")
        flat = input.reshape(-1)
        return named(median(flat, 0)[0], "MedianBackward0")
    axis = axis_of(input, dim, "median")
    if not input.ndim:
        return ReturnType.of("median", values=input, indices=wrap(input.array.astype("int64") * 0))
    order = argsort(input, dim).array
    middle = (order.shape[axis] - 1) // 2
    indices = order[(*(slice(None),) * axis, slice(middle, middle + 1))].copy()
    values = ops.take_along_axis(input, indices=indices, axis=axis)
    found = wrap(indices)
    if not keepdim:
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
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """The different elements in order; also the place of each element in them, and their counts."""
    lib = library(input.array)
    found = lib.unique(input.array, return_inverse=True, return_counts=True)
    values, inverse, counts = map(wrap, found)
    inverse = wrap(inverse.array.reshape(input.array.shape))
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
    return wrap(library(ids).bincount(ids, weights=raw(weights), minlength=minlength))


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
