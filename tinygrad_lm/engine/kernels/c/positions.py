"""Sums so far, reading, adding and writing at positions along an axis, and where the largest are,
by the loops of `positions.h`. Other dtypes than float32, and rarer forms, are left to NumPy."""

from __future__ import annotations

import math

import numpy

from ...arrays import exist, get_num_threads, is_numpy, kernel
from ...ops import fused, index, reduce
from ...sparse import SparseGrad
from . import fast
from .maps import apply
from .rows import dense

READ, ADD, WRITE = range(3)  # as in positions.h
FEW = 64  # MOST_BEST there
WHOLE = slice(None)


@kernel(exist, numpy.ndarray)
def ids_fit(ids, size, first=0):
    if ids.dtype != numpy.int64 or not ids.flags.c_contiguous:
        return NotImplemented
    return fast.ids_fit(ids.size, ids, first, size, first)


@kernel(reduce.cumsum, numpy.ndarray)
def cumsum(x, *, axis):
    """Added up in float64, as PyTorch does."""
    if x.dtype.char != "f" or not x.size or not x.ndim:
        return NotImplemented
    axis %= x.ndim
    shape = x.shape
    sizes = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), get_num_threads()

    def sums(x, back):
        (x,) = dense(x)
        out = numpy.empty(shape, x.dtype)
        fast.sums_so_far(*sizes, back, x, out)
        return out

    return sums(x, False), (lambda g: sums(g, True),)


class Spots:
    """Positions along an axis of an array of a shape: `ids` has the array's other axes, or is one
    line that all of them share; `name` is the op's."""

    def __init__(self, name, shape, ids, axis, shared):
        before, n, after = shape[:axis], shape[axis], shape[axis + 1 :]
        self.lines, self.ids, self.shared = shape, ids, shared
        self.shape = (*before, *ids.shape, *after) if shared else ids.shape
        m = ids.size if shared else ids.shape[axis]
        self.sizes = name, math.prod(before), n, m, math.prod(after), get_num_threads()

    def meet(self, how, lines, spots, wrap=False):
        fast.at_ids(*self.sizes, how, wrap, self.shared, lines, spots, self.ids)

    def read(self, x, wrap=False):
        """The elements of x, or NotImplemented where an id is out of range."""
        spots = numpy.empty(self.shape, x.dtype)
        try:
            self.meet(READ, x, spots, wrap)
        except IndexError:
            return NotImplemented  # the op says which one is wrong
        return spots

    def spread(self, g):
        return spread(g, self.lines, self.sizes, self.shared, self.ids)


def spread(g, shape, sizes, shared, ids):
    """The way back: zeros of a shape with g added at ids."""
    g = numpy.ascontiguousarray(g)

    def add_to(total):
        whole = total if total.flags.c_contiguous else numpy.zeros(shape, total.dtype)
        fast.at_ids(*sizes, ADD, True, shared, whole, g, ids)
        if whole is not total:
            total += whole

    return SparseGrad(g, shape, add_to)


def spots_of(name, x, ids, axis):
    """Where ids, which has the axes of x, are in x; None where that is not for these loops."""
    if x.dtype.char != "f" or ids.dtype.char != "l" or not (x.ndim and x.size and ids.size):
        return None
    axis %= x.ndim
    if x.ndim > 1:
        others = [s for d, s in enumerate(ids.strides) if d != axis and ids.shape[d] > 1]
        if x.shape[:axis] != ids.shape[:axis] or x.shape[axis + 1 :] != ids.shape[axis + 1 :]:
            return None
        if others and not any(others):  # one line, broadcast
            line = ids[tuple(slice(None) if d == axis else 0 for d in range(x.ndim))]
            return Spots(name, x.shape, numpy.ascontiguousarray(line), axis, True)
    return Spots(name, x.shape, numpy.ascontiguousarray(ids), axis, False)


def picked(name, x, ids, axis, wrap):
    """x at ids along an axis, where with `wrap` those below 0 count from the end; the way back."""
    spots = spots_of(name, x, ids, axis)
    if spots is None:
        return NotImplemented
    out = spots.read(*dense(x), wrap)
    return out if out is NotImplemented else (out, (spots.spread,))


@kernel(reduce.take_along_axis, numpy.ndarray)
def take_along_axis(x, *, indices, axis):
    return picked("take_along_dim", x, indices, axis, True)


@kernel(index.gather, numpy.ndarray)
def gather(x, *, indices, axis):
    return picked("gather", x, indices, axis, False)


@kernel(fused.embedding, numpy.ndarray)
def slices(x, *, ids, axis=0, wrap=True, whole=None, name="getitem"):
    """Whole slices of x along an axis, at ids of any shape, which with `wrap` may count from the
    end. The gradient, in the shape `whole` if that is another one, is added slice by slice, in
    order, to what has already arrived."""
    if x.dtype.char != "f" or ids.dtype.char != "l" or not (x.size and ids.size):
        return NotImplemented
    shape, flat = x.shape, numpy.ascontiguousarray(ids)
    before, n, after = shape[:axis], shape[axis], shape[axis + 1 :]
    sizes = name, math.prod(before), n, flat.size, math.prod(after), get_num_threads()
    out = numpy.empty((*before, *ids.shape, *after), x.dtype)
    try:
        fast.at_ids(*sizes, READ, wrap, True, numpy.ascontiguousarray(x), out, flat)
    except IndexError:
        return NotImplemented  # the op says which one is wrong
    return out, (lambda g: spread(g, whole or shape, sizes, True, flat),)


@kernel(index.take, numpy.ndarray)
def take(x, *, indices, axis):
    return slices(x, ids=indices, axis=axis % x.ndim, wrap=False, name="index_select")


@kernel(index.getitem, numpy.ndarray)
def getitem(x, *, key):
    """At ids along one axis, the only thing in the key but whole axes before it; or at a mask."""
    ids = key[-1] if key and x.dtype.char == "f" else None
    if not is_numpy(ids) or not x.flags.c_contiguous:
        return NotImplemented
    if any(type(k) is not slice or k != WHOLE for k in key[:-1]):
        return NotImplemented
    if ids.dtype.kind != "b":
        return slices(x, ids=ids, axis=len(key) - 1)
    if len(key) > 1 or not 0 < ids.ndim <= x.ndim or ids.shape != x.shape[: ids.ndim]:
        return NotImplemented
    rows = x.reshape(-1, *x.shape[ids.ndim :])
    return slices(rows, ids=ids.reshape(-1).nonzero()[0], whole=x.shape)


@kernel(index.add_rows, numpy.ndarray)
def add_rows(total, ids, g):
    """total[ids[i]] += g[i], row after row: total (R, ...), g (N, ...), ids (N,)."""
    if total.dtype.char != "f" or g.dtype.char != "f" or ids.dtype.char != "l" or not g.size:
        return NotImplemented
    Spots("add_rows", total.shape, numpy.ascontiguousarray(ids), 0, True).meet(
        ADD, total, *dense(g), True
    )
    return None


@kernel(reduce.argmax, numpy.ndarray)
def argmax(x, *, axis=None, keepdims=False):
    return largest(x, axis, keepdims, False)


@kernel(reduce.argmin, numpy.ndarray)
def argmin(x, *, axis=None, keepdims=False):
    return largest(x, axis, keepdims, True)


def largest(x, axis, keepdims, negative):
    """Where the largest, or that of -x, is along an axis; along the last NumPy is fast."""
    if x.dtype.char != "f" or type(axis) is not int or not x.ndim:
        return NotImplemented
    axis %= x.ndim
    before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if math.prod(after) == 1 or not 0 < x.size < 1 << 31:
        return NotImplemented
    order = numpy.empty((*before, *[1] * keepdims, *after), numpy.int64)
    sizes = math.prod(before), n, 1, math.prod(after), get_num_threads()
    fast.largest(*sizes, negative, *dense(x), order)
    return order, None


@kernel(reduce.argsort, numpy.ndarray)
def argsort(x, *, axis=-1, descending=False, first=None):
    """Where the few largest of each row are, in order; NumPy sorts many short rows as fast."""
    if x.dtype.char != "f" or not descending or not first or axis not in (-1, x.ndim - 1):
        return NotImplemented
    n, count = x.shape[-1], first
    if count > FEW or (n < 16 * count and x.size > 1 << 10) or not 0 < x.size < 1 << 31:
        return NotImplemented
    order = numpy.empty((*x.shape[:-1], count), numpy.int64)
    fast.largest(x.size // n, n, count, 1, get_num_threads(), False, *dense(x), order)
    return order, None


def met(name, how, x, source, ids, axis):
    """x after its elements at ids have met those of source, and where they are; or None twice."""
    spots = spots_of(name, x, ids, axis)
    if spots is None or source.shape != ids.shape or source.dtype != x.dtype:
        return None, None
    out = apply("scale", *dense(x))  # copied by all threads
    try:
        spots.meet(how, out, *dense(source))
    except IndexError:
        return None, None  # the op says which one is wrong
    return out, spots


@kernel(index.scatter_add, numpy.ndarray)
def scatter_add(x, source, *, indices, axis):
    out, spots = met("scatter_add", ADD, x, source, indices, axis)
    if spots is None:
        return NotImplemented
    return out, (lambda g: g, lambda g: spots.read(*dense(g)))


@kernel(index.scatter, numpy.ndarray)
def scatter(x, source, *, indices, axis):
    out, spots = met("scatter", WRITE, x, source, indices, axis)
    if spots is None:
        return NotImplemented

    def dx(g):
        out = apply("scale", *dense(g))
        spots.meet(WRITE, out, numpy.zeros(spots.shape, g.dtype))
        return out

    return out, (dx, lambda g: spots.read(*dense(g)))
