"""Pooling by the loops of `images.h`. Where the largest lie is kept for the way back, which adds at
these positions."""

from __future__ import annotations

import math
from array import array
from functools import lru_cache

import numpy

from ...arrays import get_num_threads, kernel
from ...ops import pooling as ops
from . import fast
from .positions import ADD
from .rows import dense

LARGEST, MEAN, SPREAD = range(3)  # as in images.h


@lru_cache(1024)
def layout(sizes, windows, divisors):
    """Of a plane with three axes the sizes, how many windows there are, and their numbers."""
    ones = (1,) * (3 - len(windows))
    counts = tuple(map(len, windows))
    rows = [0, 1, 1, 1] * len(ones)
    for ranges, each in zip(windows, divisors or [(1,) * m for m in counts]):
        for r, over in zip(ranges, each, strict=True):
            rows += [r.start, r.stop, r.step, over]
    return (*ones, *sizes, *ones, *counts), counts, array("q", rows)


def planned(x, windows, divisors=None):
    """x without gaps, the first arguments of `fast.pool`, and the shape of the result; or None."""
    axes = len(windows)
    lead, plane = x.shape[:-axes], math.prod(x.shape[-axes:])
    if x.dtype.char != "f" or not x.size or axes > 3 or plane >= 2**31:  # positions are 32 bits
        return None
    sizes, counts, rows = layout(x.shape[-axes:], windows, divisors)
    (x,) = dense(x)
    return x, (math.prod(lead), *sizes, get_num_threads()), rows, lead + counts


def chosen(x, windows):
    """The largest element of each window, and where in its plane it is."""
    x, sizes, rows, shape = planned(x, windows)
    out, ids = numpy.empty(shape, x.dtype), numpy.empty(shape, numpy.int64)
    fast.pool(*sizes, LARGEST, rows, x, out, ids)
    return out, ids


@kernel(ops.largest, numpy.ndarray)
def largest(x, windows):
    return NotImplemented if planned(x, windows) is None else chosen(x, windows)[1]


@kernel(ops.max_pool, numpy.ndarray)
def max_pool(x, *, windows):
    if planned(x, windows) is None:
        return NotImplemented
    out, ids = chosen(x, windows)
    shape, m = x.shape, math.prod(out.shape[-len(windows) :])
    lines = "max_pool", out.size // m, x.size * m // out.size, m, 1, get_num_threads()

    def dx(g):
        whole = numpy.zeros(shape, g.dtype)
        fast.at_ids(*lines, ADD, False, False, whole, *dense(g), ids)
        return whole

    return out, (dx,)


@kernel(ops.avg_pool, numpy.ndarray)
def avg_pool(x, *, windows, divisors):
    plan = planned(x, windows, divisors)
    if plan is None:
        return NotImplemented
    shape = x.shape
    x, sizes, rows, found = plan
    out = numpy.empty(found, x.dtype)
    fast.pool(*sizes, MEAN, rows, x, out, None)

    def dx(g):
        whole = numpy.empty(shape, g.dtype)
        fast.pool(*sizes, SPREAD, rows, whole, *dense(g), None)
        return whole

    return out, (dx,)
