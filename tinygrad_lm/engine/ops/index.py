"""Reading at positions, and its mirror: placing gradients at positions, where those that meet add
up, in a fixed order: two runs give the same bits. Bounds are checked, because an array library may
wrap indices around silently."""

from __future__ import annotations

import math

from ..arrays import LIBRARIES, check_bounds, library, rounded, widened, with_kernels
from ..arrays.replay import one_call
from ..core.op import primitive
from ..sparse import SparseGrad
from .shape import padded


def is_basic(key):
    """Made of integers, slices, None and ... only: such a key gives a view."""
    for k in key:
        if type(k) in LIBRARIES or isinstance(k, (list, bool)):
            return False
    return True


def sum_by_id(g, ids, rows):
    """out[r] = the sum of g[i] where ids[i] == r: g (N, ...), ids (N,) in 0 ... rows - 1."""
    if type(g) not in LIBRARIES:
        return place(g, shape=(rows, *g.shape[1:]), key=(ids,))
    wide = widened(g)
    out = library(g).zeros((rows, *g.shape[1:]), wide.dtype)
    add_rows(out, ids, wide)
    return rounded(out, g.dtype)


@one_call
@with_kernels
def add_rows(total, ids, g):
    """total[ids[i]] += g[i] for one i after another: total (R, ...) without gaps, g (N, ...), ids
    (N,) in 0 ... R - 1."""
    # Sorted, equal ids are neighbours: add the first of each, the second of each, ...
    lib = library(g)
    order = lib.argsort(ids, kind="stable")
    ids = ids[order]
    first = lib.concatenate([lib.ones(min(len(ids), 1), bool), ids[1:] != ids[:-1]])
    starts = lib.flatnonzero(first)
    counts = lib.diff(lib.append(starts, len(ids))).tolist()
    rank = lib.arange(len(ids)) - lib.repeat(starts, counts)
    for r in range(max(counts, default=0)):
        here = rank == r
        total[ids[here]] += g[order[here]]


def add_at(total, key, g):
    """total[key] += g, with repeated positions adding up, in a fixed order."""
    arrays = [k for k in key if type(k) in LIBRARIES and k.dtype != bool]
    if not arrays:  # nothing repeats
        total[key] += g
    elif not total.flags.c_contiguous or widened(total[:0]).dtype != total.dtype:
        whole = library(total).zeros(total.shape, widened(total[:0]).dtype)
        add_at(whole, key, widened(g))
        total += rounded(whole, total.dtype)
    else:
        lead = axes_of_key(key, total.ndim)
        places, width = total.shape[:lead], math.prod(total.shape[lead:])
        ids = flat_ids(places, key, arrays)
        rows = math.prod(places)
        add_rows(total.reshape(rows, width), ids, g.reshape(len(ids), width))


def axes_of_key(key, ndim):
    """How many of the leading axes a key is about."""
    if any(k is None or k is Ellipsis or isinstance(k, bool) for k in key):
        return ndim
    return sum(k.ndim if type(k) in LIBRARIES and k.dtype.kind == "b" else 1 for k in key)


def flat_ids(places, key, arrays):
    """Where in an array of shape `places`, counted row by row, the elements of [key] are."""
    if len(arrays) < len(key):
        lib = library(arrays[0])
        return lib.arange(math.prod(places)).reshape(places)[key].reshape(-1)
    found = 0
    for k, n in zip(key, places, strict=True):  # %: a negative one counts from the end
        found = found * n + k.astype("int64") % n
    return found.reshape(-1)


def placed(g, shape, key):
    """Zeros of a shape with g added at a key: a SparseGrad, added where it is needed; of a Tensor a
    recorded op."""
    if type(g) not in LIBRARIES:
        return place(g, shape=shape, key=key)
    cut = key if all(type(k) is slice and k.step in (None, 1) for k in key) else ()
    return SparseGrad(g, shape, lambda total: add_at(total, key, g), cut, g)


@primitive
def place(g, *, shape, key):
    """Zeros of a shape with g added at a key: the mirror of getitem."""
    if type(g) not in LIBRARIES:
        total = place(g, shape=shape, key=key)
    else:
        total = library(g).zeros(shape, g.dtype)
        add_at(total, key, g)
    return total, (lambda h: h[key],)


def placed_along(g, shape, indices, axis):
    """The mirror of take_along_axis."""
    return placed(g, shape, grids_along(indices, axis % len(shape) if shape else 0))


def grids_along(indices, axis):
    """The key for which x[key] takes the indices along one axis, position by position elsewhere."""
    lib = library(indices)
    grids = [
        lib.arange(n).reshape([-1 if i == d else 1 for i in range(indices.ndim)])
        for d, n in enumerate(indices.shape)
    ]
    grids[axis] = indices
    return tuple(grids)


@primitive(view=True)
def getitem(x, *, key):
    """x[key]: integers, slices, None, ..., integer arrays and boolean masks in any mixture."""
    # dx = zeros with g added at the key
    shape, basic = x.shape, is_basic(key)
    out = x[key]
    if type(out) not in LIBRARIES:  # NumPy hands out a scalar where a 0-d view is meant
        out = x[(*key, ...)] if type(x) in LIBRARIES else out
    elif not (basic or out.flags.c_contiguous):
        out = out.copy(order="C")  # NumPy leaves the indexed axes first in memory
    return out, (lambda g: placed(g, shape, key),)


@primitive
def take(x, *, indices, axis):
    """Whole slices of x along an axis (PyTorch's `index_select`)."""
    lib, shape = library(x), x.shape
    check_bounds(indices, shape[axis], "index_select")

    def dx(g):
        whole = sum_by_id(lib.moveaxis(g, axis, 0), indices, shape[axis])
        return lib.moveaxis(whole, 0, axis)

    return lib.take(x, indices, axis=axis), (dx,)


@primitive(cast="wide")
def scatter_add(x, source, *, indices, axis):
    """x plus source added at positions along an axis; the mirror of take_along_axis."""
    check_bounds(indices, x.shape[axis], "scatter_add")
    rest = [(0, n - m) for n, m in zip(source.shape, indices.shape)]
    out = _scattered(x, source, indices, axis)
    return out, (lambda g: g, lambda g: padded(_along(g, indices, axis), rest))


def _scattered(x, source, indices, axis):
    if type(x) not in LIBRARIES:
        return scatter_add(x, source, indices=indices, axis=axis)
    out, region = x.copy(), tuple(slice(0, n) for n in indices.shape)
    placed_along(source[region], x.shape, indices, axis).add_to(out)
    return out


@primitive
def scatter(x, source, *, indices, axis):
    """x with source, or one number, written at positions along an axis; of those that meet one
    stays, on the CPU the last."""
    # dx = g, 0 at the positions; dsource = g at the positions
    check_bounds(indices, x.shape[axis], "scatter")
    rest = [(0, n - m) for n, m in zip(source.shape, indices.shape)]

    def dx(g):
        return _written(g, library(g).zeros_like(source), indices, axis)

    out = _written(x, source, indices, axis)
    return out, (dx, lambda g: padded(_along(g, indices, axis), rest))


def _written(x, source, indices, axis):
    if type(x) not in LIBRARIES:
        return scatter(x, source, indices=indices, axis=axis)
    out, region = x.copy("C"), tuple(slice(0, n) for n in indices.shape)
    out[grids_along(indices, axis)] = source[region]
    return out


def _along(x, indices, axis):
    """take_along_axis where indices may be smaller than x on the other axes."""
    cut = tuple(
        slice(None) if d == axis % x.ndim else slice(0, n) for d, n in enumerate(indices.shape)
    )
    return library(x).take_along_axis(x[cut], indices, axis)


@primitive
def gather(x, *, indices, axis):
    """out[i][j] = x[indices[i][j]][j] for axis 0; indices may be smaller than x elsewhere."""
    shape = x.shape
    check_bounds(indices, shape[axis], "gather")
    return _along(x, indices, axis), (lambda g: placed_along(g, shape, indices, axis),)
