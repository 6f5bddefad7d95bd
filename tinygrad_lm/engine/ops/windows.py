"""Windows over an axis, what convolution and pooling look through, and their mirrors. An element
that several windows see gets the sum of their gradients.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import add

from ..arrays import LIBRARIES, in_float32, is_numpy, library, overlaps, rounded, row_major
from ..arrays import as_strided as strided
from ..core.op import primitive
from .index import sum_by_id


@primitive(view=True)
def unfold(x, *, axis, size, step=1, dilation=1):
    """out[... o ..., k] = x[... o step + k dilation ...]: each window of an axis, the number of
    windows in its place and what is in them last. Where windows overlap they cannot be written."""
    # dx = fold(g)
    length, span = x.shape[axis], dilation * (size - 1) + 1
    if step < 1 or size < 0 or span > length:
        raise RuntimeError(
            f"[unfold] a window must fit into the axis and move on, got {size} elements "
            f"over {span} of {length}, and step {step}"
        )
    how = {"axis": axis, "step": step, "dilation": dilation}
    return unfolded(x, size=size, **how), (lambda g: folded(g, length=length, **how),)


@primitive
def fold(g, *, axis, length, step=1, dilation=1):
    """Windows, what is in them last, added up into an axis of a length: the mirror of unfold."""
    # dg = unfold(h)
    size = g.shape[-1]
    needed = dilation * (size - 1) + step * (g.shape[axis] - 1) + 1
    if needed > length:
        raise RuntimeError(
            f"[fold] an axis of {length} must hold all windows, got {g.shape[axis]} of {size}"
        )
    how = {"axis": axis, "step": step, "dilation": dilation}
    seen = (*(slice(None),) * axis, slice(needed))

    def dg(h):  # which products read several times
        return row_major(unfolded(h[seen], size=size, **how))

    return folded(g, length=length, **how), (dg,)


def unfolded(x, axis, size, step, dilation):
    """`unfold` of an array; of a Tensor the recorded op."""
    if type(x) not in LIBRARIES:
        return unfold(x, axis=axis, size=size, step=step, dilation=dilation)
    count = (x.shape[axis] - dilation * (size - 1) - 1) // step + 1
    shape, strides = [*x.shape, size], [*x.strides, x.strides[axis] * dilation]
    shape[axis], strides[axis] = count, x.strides[axis] * step
    return strided_view(x, shape, strides)


def folded(g, axis, length, step, dilation):
    """`fold` of an array; of a Tensor the recorded op."""
    if type(g) not in LIBRARIES:
        return fold(g, axis=axis, length=length, step=step, dilation=dilation)
    wide, lead = in_float32(g), (slice(None),) * axis
    whole = library(g).zeros((*g.shape[:axis], length, *g.shape[axis + 1 : -1]), wide.dtype)
    reach = step * (g.shape[axis] - 1) + 1
    for k in range(g.shape[-1]):
        first = k * dilation
        whole[(*lead, slice(first, first + reach, step))] += wide[..., k]
    return rounded(whole, g.dtype)


def _inside(bounds, length):
    """Whether each pair has elements, all of them in 0 ... length - 1."""
    return all(0 <= a < b <= length for a, b in bounds)


@primitive(cast="wide")
def window_sums(x, *, axis, bounds):
    """out[... j ...] = the sum of x along an axis from the first to the second of bounds[j]."""
    # dx[... k ...] = the sum of g over the windows that saw k
    length = x.shape[axis]
    if not _inside(bounds, length):
        raise RuntimeError(
            f"[window_sums] windows must have elements in 0 ... {length - 1}, got {bounds!r:.60}"
        )
    how = {"axis": axis, "bounds": bounds}
    return summed_windows(x, **how), (lambda g: spread_windows(g, length=length, **how),)


@primitive(cast="wide")
def window_spread(g, *, axis, bounds, length):
    """Windows' numbers added to each element, along an axis of a length, that they see: the mirror
    of window_sums."""
    # dg = window_sums(h)
    if g.shape[axis] != len(bounds) or not _inside(bounds, length):
        raise RuntimeError(
            f"[window_spread] needs bounds in {length} elements for {g.shape[axis]} windows, got "
            f"{bounds!r:.60}"
        )
    how = {"axis": axis, "bounds": bounds}
    return spread_windows(g, length=length, **how), (lambda h: summed_windows(h, **how),)


def summed_windows(x, axis, bounds):
    """`window_sums` of an array; of a Tensor the recorded op."""
    if type(x) not in LIBRARIES:
        return window_sums(x, axis=axis, bounds=bounds)
    parts = [x[part] for part in _elements(axis, bounds)]
    if parts:  # all first elements, plus all second ones ...
        return row_major(reduce(add, parts))
    lead = (slice(None),) * axis
    return library(x).stack([x[(*lead, slice(a, b))].sum(axis) for a, b in bounds], axis)


def spread_windows(g, axis, bounds, length):
    """`window_spread` of an array; of a Tensor the recorded op."""
    if type(g) not in LIBRARIES:
        return window_spread(g, axis=axis, bounds=bounds, length=length)
    whole = library(g).zeros((*g.shape[:axis], length, *g.shape[axis + 1 :]), g.dtype)
    parts = _elements(axis, bounds)
    for part in parts:
        whole[part] += g
    if not parts:
        lead = (slice(None),) * axis
        for j, (a, b) in enumerate(bounds):
            whole[(*lead, slice(a, b))] += g[(*lead, slice(j, j + 1))]
    return whole


def _elements(axis, bounds):
    """The keys of the first elements of all windows, of the second ones ...; none where windows are
    not alike and evenly apart, or fewer than their elements."""
    starts, sizes = [a for a, _ in bounds], {b - a for a, b in bounds}
    steps = {b - a for a, b in zip(starts, starts[1:])} or {1}
    if len(sizes) > 1 or len(steps) > 1 or min(steps) < 1 or len(bounds) < min(sizes):
        return []
    lead, step = (slice(None),) * axis, min(steps)
    return [(*lead, slice(starts[0] + k, starts[-1] + k + 1, step)) for k in range(min(sizes))]


def strided_view(x, shape, strides):
    """The memory of x in another shape with these steps, in bytes."""
    out = strided(x, shape, strides)
    if is_numpy(out) and overlaps(out):  # CuPy's has no such flag, `is_writable` looks
        out.flags.writeable = False
    return out


@primitive(view=True)
def as_strided(x, *, shape, strides, offset=0):
    """out[i, j] = x[offset + i strides[0] + j strides[1]], x's elements counted row by row."""
    # dx = g added at those positions
    size, before = math.prod(x.shape), x.shape
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min([offset, *strides, *shape]) < 0 or (0 not in shape and last >= size):
        raise RuntimeError(
            f"[as_strided] all must lie within the tensor's own {size} elements, got shape "
            f"{tuple(shape)} with strides {tuple(strides)} from {offset} on"
        )

    def dx(g):
        lib = library(getattr(g, "array", g))
        ids = _seen(lib.arange(size), shape, strides, offset).reshape(-1)
        return sum_by_id(g.reshape(math.prod(shape)), ids, size).reshape(before)

    return _seen(x, shape, strides, offset), (dx,)


def _seen(x, shape, strides, offset):
    if type(x) not in LIBRARIES:
        return as_strided(x, shape=shape, strides=strides, offset=offset)
    flat = row_major(x).reshape(-1)
    return strided_view(flat[offset:], shape, [step * x.itemsize for step in strides])
