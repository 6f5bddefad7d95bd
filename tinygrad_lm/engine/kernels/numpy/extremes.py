"""The largest or smallest of all elements, or of each row. Those that tie are found in the gradient
itself, first as ones, so that it is gone through while it is in cache."""

import numpy

from ...arrays import kernel
from ...ops import reduce
from .blocks import floating, in_blocks

MOST = 1 << 24  # ones that float32 can count
LIGHT = 4  # elements that take as long as one in other kernels


@kernel(reduce.amax, numpy.ndarray)
def amax(x, *, axis=None, keepdims=False):
    return extreme(tops_by(numpy.maximum), x, axis, keepdims)


@kernel(reduce.amin, numpy.ndarray)
def amin(x, *, axis=None, keepdims=False):
    return extreme(tops_by(numpy.minimum), x, axis, keepdims)


def tops_by(best):
    """By numpy.maximum or numpy.minimum: the best number of each row, or of all."""

    def tops(rows, last):
        axis, cost = -1 if last else None, cost_of(rows)
        found = in_blocks(lambda x: best.reduce(x, axis=axis), rows, cost=cost)
        return numpy.concatenate(found) if last else best.reduce(numpy.stack(found))

    return tops


def cost_of(rows):
    return -(-rows.shape[1] // LIGHT)


def extreme(tops, x, axis, keepdims):
    """Along all axes or the last one; tops(rows, last): the best of each row, or of all."""
    last = x.ndim > 1 and axis in (-1, x.ndim - 1, (x.ndim - 1,))
    if not floating(x) or not 0 < x.size <= MOST or not (last or axis is None or x.ndim == 1):
        return NotImplemented
    shape = (*x.shape[:-1], *[1] * keepdims) if last else (1,) * (x.ndim * keepdims)
    rows = numpy.ascontiguousarray(x).reshape(-1, x.shape[-1] if x.ndim else 1)
    top, cost = tops(rows, last), cost_of(rows)

    def dx(g):
        # dx = g / n where n elements are the extreme one, or NaN; 0 elsewhere
        out = numpy.empty(rows.shape, rows.dtype)
        if last:
            in_blocks(share_in_rows, rows, top, g.reshape(-1), out, cost=cost)
        else:
            counts = in_blocks(lambda x, out: tied(x, top, out).sum(), rows, out, cost=cost)
            part = g.reshape(()) * share_of(numpy.stack(counts).sum())
            in_blocks(lambda out: numpy.multiply(out, part, out=out), out, cost=cost)
        return out.reshape(x.shape)

    return top.reshape(shape), (dx,)


def tied(x, top, out):
    """Ones where x is top or NaN, zeros elsewhere, and how many ones along the last axis."""
    ties = x == top
    ties |= x != x
    out[...] = ties
    return out @ numpy.ones(x.shape[-1], out.dtype)  # faster than a sum, and as exact


def share_in_rows(x, top, g, out):
    counts = tied(x, top[:, None], out)
    out *= (g * share_of(counts))[:, None]


def share_of(count):
    """1 / count, divided in float64 as the composition does."""
    return (1 / count.astype(numpy.float64)).astype(count.dtype)
