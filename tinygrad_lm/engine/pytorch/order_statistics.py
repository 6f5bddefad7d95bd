"""What follows from an order of the elements, in PyTorch's spelling: quantiles, the most frequent
element, places in a sorted row, runs of equal elements, counts in bins."""

from __future__ import annotations

import math
from typing import Any

from .. import arrays
from ..arrays import as_array, library
from ..core.tensor import Tensor, wrap
from ..ops import elementwise
from ..ops.running import argcummax
from .arithmetic import lerp
from .common import Operand, ReturnType, axis_of, check_some, numpy_names, to_tensor
from .indexing import gather, take_along_dim
from .names import named
from .ordering import argsort, median, sort
from .shapes import movedim, squeeze


def _chosen(name: str, input: Tensor, dim: int, keepdim: bool, places: Any) -> ReturnType:
    """(values, indices) at one place per row: an array of places with size 1 along dim."""
    axis = axis_of(input, dim, name)
    indices = wrap(places)
    values = gather(input, axis, indices) if input.ndim else elementwise.clone(input)
    if not keepdim and input.ndim:
        values, indices = squeeze(values, axis), squeeze(indices, axis)
    values = named(values, f"{name.title()}Backward{1 if name == 'nanmedian' else 0}")
    return ReturnType.of(name, values=values, indices=indices)


def msort(input: Tensor) -> Tensor:
    """Sorted along the first dim."""
    return sort(input, 0)[0]


@numpy_names
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ReturnType:
    """(values, indices) of the k-th smallest element along dim, counted from 1."""
    axis = axis_of(input, dim, "kthvalue")
    size = input.array.shape[axis] if input.ndim else 1
    if not 1 <= k <= size:
        raise RuntimeError(f"[kthvalue] k must be in 1 ... {size}, the size of dim {dim}, got {k}")
    order = argsort(input, dim)
    place = order.array if not input.ndim else order.narrow(axis, k - 1, 1).array.copy()
    return _chosen("kthvalue", input, dim, keepdim, place)


@numpy_names
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle one of the elements that are not NaN, the lower of two; with dim, (values,
    indices) along it."""
    if dim is None:
        check_some(input, "nanmedian")
        flat = input.reshape(-1)
        known = flat[wrap(flat.array == flat.array)]
        out = median(known) if known.numel() else nanmedian(flat, 0)[0]
        return named(out, "NanmedianBackward0")
    axis, x = axis_of(input, dim, "nanmedian"), input.array
    order = argsort(input, dim).array
    if input.ndim:  # NaN comes last
        known = (x == x).sum(axis=axis, keepdims=True)
        middle = library(x).maximum(known - 1, 0) // 2
        order = library(x).take_along_axis(order, middle, axis)
    return _chosen("nanmedian", input, dim, keepdim, order)


@numpy_names
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ReturnType:
    """(values, indices) of the most frequent element along dim, the smallest of those that tie, at
    its last place."""
    axis, lib = axis_of(input, dim, "mode"), library(input.array)
    order = argsort(input, dim).array
    if input.ndim and input.array.shape[axis] > 1:
        rows = lib.moveaxis(lib.take_along_axis(input.array, order, axis), axis, -1)
        places = lib.arange(rows.shape[-1])
        new = lib.concatenate([rows[..., :1] == rows[..., :1], rows[..., 1:] != rows[..., :-1]], -1)
        starts = argcummax(lib.where(new, places, -1), axis=-1).array
        most = (places - starts).argmax(axis=-1, keepdims=True)
        order = lib.take_along_axis(order, lib.moveaxis(most, -1, axis), axis)
    return _chosen("mode", input, dim, keepdim, order)


# ---------------------------------------------------------------- quantiles


@numpy_names
def quantile(
    input: Tensor,
    q: Operand,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The value below which the share q of the elements along dim (of all, without dim) lies,
    between two neighbours by `interpolation`. Several q make a first axis. NaN gives NaN."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


@numpy_names
def nanquantile(
    input: Tensor,
    q: Operand,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """`quantile` of the elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


WAYS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, way: str) -> Tensor:
    if way not in WAYS:
        raise RuntimeError(f"[{name}] interpolation must be one of {', '.join(WAYS)}, got {way!r}")
    if input.dtype not in (arrays.float32, arrays.float64) or not input.numel():
        raise RuntimeError(
            f"[{name}] input must be float32 or float64 and have elements, got {input.dtype} of "
            f"shape {tuple(input.shape)}"
        )
    shares = q if isinstance(q, Tensor) else input.new_tensor(q)
    if isinstance(q, Tensor) and q.dtype is not input.dtype or shares.ndim > 1:
        raise RuntimeError(
            f"[{name}] q must be a number or a vector of {input.dtype}, got {q!r:.60}"
        )
    if not bool(((shares.array >= 0) & (shares.array <= 1)).all()):
        raise RuntimeError(f"[{name}] q must be in 0 ... 1, got {q!r:.60}")
    shape = [1] * input.ndim  # of one result, with keepdim
    axis = 0 if dim is None else axis_of(input, dim, name)
    if dim is not None and input.ndim:
        shape = [1 if i == axis else n for i, n in enumerate(input.shape)]
    rows = input.reshape(-1) if dim is None or not input.ndim else movedim(input, axis, -1)
    out = _at_shares(rows, shares.reshape(-1).array, way, name == "quantile")
    out = movedim(out, -1, 0)  # (shares, ...)
    if keepdim:
        out = out.reshape(-1, *shape)
    return out if shares.ndim else squeeze(out, 0)


def _at_shares(rows: Tensor, q: Any, way: str, strict: bool) -> Tensor:
    """rows (..., N), q (Q,) -> (..., Q); strict: a row with NaN gives NaN."""
    ordered, lib = sort(rows, -1)[0], library(rows.array)
    known = (rows.array == rows.array).sum(axis=-1, keepdims=True)
    if strict:  # NaN is the last element
        known = lib.where(known < rows.shape[-1], 0, known)
    last = lib.where(known > 0, known - 1, rows.shape[-1] - 1)
    rank = lib.where(known > 0, q * last.astype(q.dtype), last.astype(q.dtype))
    if way in ("lower", "higher", "nearest"):
        rank = {"lower": lib.floor, "higher": lib.ceil, "nearest": lib.rint}[way](rank)
    low = gather(ordered, -1, wrap(lib.floor(rank).astype("int64")))
    if way in ("lower", "higher", "nearest"):
        return low
    high = gather(ordered, -1, wrap(lib.ceil(rank).astype("int64")))
    part = 0.5 if way == "midpoint" else wrap((rank - lib.floor(rank)).astype(low.array.dtype))
    return lerp(low, high, part)


# ---------------------------------------------------------------- places and memberships


def argwhere(input: Tensor) -> Tensor:
    """Positions of the elements that are not zero: (N, ndim)."""
    return input.nonzero()


def isin(
    elements: Operand,
    test_elements: Operand,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Tensor:
    """Whether each element is one of test_elements (not, with invert)."""
    like = next((x for x in (elements, test_elements) if isinstance(x, Tensor)), None)
    x, y = (to_tensor(v, like).array for v in (elements, test_elements))
    return wrap(as_array(library(x).isin(x, y, assume_unique, invert)))


def searchsorted(
    sorted_sequence: Tensor,
    input: Operand,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where input would have to go into a sorted sequence, row by row of all but the last dim: in
    front of equal elements, or behind them with right=True."""
    if side not in (None, "left", "right") or (right and side == "left"):
        raise RuntimeError(
            f"[searchsorted] side must be 'left' or 'right' and agree with right, got {side!r} "
            f"and {right}"
        )
    values, line = to_tensor(input, sorted_sequence), sorted_sequence
    if sorter is not None:
        line = take_along_dim(line, sorter, -1)
    lead = line.array.shape[:-1]
    if line.ndim != 1 and values.array.shape[:-1] != lead:
        raise RuntimeError(
            "[searchsorted] the sequence must be a vector, or agree with input in all dims but the "
            f"last, got {tuple(line.shape)} and {tuple(values.shape)}"
        )
    lib, where = library(line.array), "right" if right or side == "right" else "left"
    if line.ndim == 1:
        found = lib.searchsorted(line.array, values.array, where)
    else:
        pairs = zip(_rows(line), _rows(values))
        found = lib.stack([lib.searchsorted(a, v, where) for a, v in pairs])
    found = as_array(found).reshape(values.array.shape)
    return wrap(found.astype("int32" if out_int32 else "int64"))


def _rows(x: Tensor) -> Any:
    return x.array.reshape(-1, x.array.shape[-1])


def bucketize(
    input: Operand, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """In which of the intervals between sorted boundaries each element lies; an element equal to a
    boundary is below it, or above it with right=True."""
    if boundaries.ndim != 1:
        raise RuntimeError(
            f"[bucketize] boundaries must be a vector, got shape {tuple(boundaries.shape)}"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of equal bins from min to max (of all elements, if those are
    equal); those outside are left out."""
    if not input.is_floating_point():
        raise NotImplementedError(f"[histc] needs a floating-point tensor, got {input.dtype}")
    x, low, high = input.array.reshape(-1), float(min), float(max)
    if low == high and x.size:
        low, high = float(x.min()), float(x.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high) and low < high and bins > 0):
        raise RuntimeError(
            f"[histc] bins and a finite range must be given, got {bins} from {low} to {high}"
        )
    lib = library(x)
    return wrap(lib.histogram(x[x == x], bins, (low, high))[0].astype(x.dtype))


def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """One of each run of equal neighbours (of equal slices along dim); also the run in which each
    element is, and the lengths of the runs."""
    x, lib = input.array, library(input.array)
    rows = x.reshape(-1) if dim is None else lib.moveaxis(x, axis_of(input, dim, "unique"), 0)
    rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    new = lib.concatenate([lib.ones(min(len(rows), 1), bool), (rows[1:] != rows[:-1]).any(axis=1)])
    starts = lib.flatnonzero(new)
    flat = input.reshape(-1) if dim is None else input
    values = flat.index_select(dim or 0, wrap(starts))
    inverse = wrap((new.astype("int64").cumsum() - 1).reshape(x.shape if dim is None else -1))
    counts = wrap(lib.diff(lib.append(starts, len(rows))))
    chosen = [values, *([inverse] * return_inverse), *([counts] * return_counts)]
    return tuple(chosen) if chosen[1:] else values
