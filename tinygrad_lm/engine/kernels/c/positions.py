"""Sums so far, and reading, adding and writing at positions along an axis, by the loops of
`positions.h`. Other dtypes than float32, and rarer forms, are left to NumPy."""

from __future__ import annotations

import math

import numpy

from ...arrays import exist, get_num_threads, kernel
from ...ops import index, reduce
from ...sparse import SparseGrad
from . import fast
from .rows import dense

READ, ADD, WRITE = range(3)  # as in positions.h


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
    line that all of them share."""

    def __init__(self, shape, ids, axis, shared):
        before, n, after = shape[:axis], shape[axis], shape[axis + 1 :]
        self.lines, self.ids, self.shared = shape, ids, shared
        self.shape = (*before, *ids.shape, *after) if shared else ids.shape
        m = ids.size if shared else ids.shape[axis]
        self.sizes = math.prod(before), n, m, math.prod(after), get_num_threads()

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
        """The way back: zeros with g added."""
        (g,) = dense(g)

        def add_to(total):
            whole = total if total.flags.c_contiguous else numpy.zeros(self.lines, total.dtype)
            self.meet(ADD, whole, g, True)
            if whole is not total:
                total += whole

        return SparseGrad(g, self.lines, add_to)


def spots_of(x, ids, axis):
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
            return Spots(x.shape, numpy.ascontiguousarray(line), axis, True)
    return Spots(x.shape, numpy.ascontiguousarray(ids), axis, False)


def picked(x, ids, axis, wrap):
    """x at ids along an axis, where with `wrap` those below 0 count from the end; the way back."""
    spots = spots_of(x, ids, axis)
    if spots is None:
        return NotImplemented
    out = spots.read(*dense(x), wrap)
    return out if out is NotImplemented else (out, (spots.spread,))


@kernel(reduce.take_along_axis, numpy.ndarray)
def take_along_axis(x, *, indices, axis):
    return picked(x, indices, axis, True)


@kernel(index.gather, numpy.ndarray)
def gather(x, *, indices, axis):
    return picked(x, indices, axis, False)


@kernel(index.take, numpy.ndarray)
def take(x, *, indices, axis):
    """Whole slices: along the first axes `numpy.take` is as fast, but not its way back."""
    if x.dtype.char != "f" or indices.dtype.char != "l" or not (x.size and indices.size):
        return NotImplemented
    spots = Spots(x.shape, numpy.ascontiguousarray(indices), axis % x.ndim, True)
    out = spots.read(*dense(x))
    return out if out is NotImplemented else (out, (spots.spread,))


def met(how, x, source, ids, axis):
    """x after its elements at ids have met those of source, and where they are; or None twice."""
    spots = spots_of(x, ids, axis)
    if spots is None or source.shape != ids.shape or source.dtype != x.dtype:
        return None, None
    out = x.copy("C")
    try:
        spots.meet(how, out, *dense(source))
    except IndexError:
        return None, None  # the op says which one is wrong
    return out, spots


@kernel(index.scatter_add, numpy.ndarray)
def scatter_add(x, source, *, indices, axis):
    out, spots = met(ADD, x, source, indices, axis)
    if spots is None:
        return NotImplemented
    return out, (lambda g: g, lambda g: spots.read(*dense(g)))


@kernel(index.scatter, numpy.ndarray)
def scatter(x, source, *, indices, axis):
    out, spots = met(WRITE, x, source, indices, axis)
    if spots is None:
        return NotImplemented

    def dx(g):
        out = g.copy("C")
        spots.meet(WRITE, out, numpy.zeros(spots.shape, g.dtype))
        return out

    return out, (dx, lambda g: spots.read(*dense(g)))
