"""Max pooling some images at a time, which stay in cache and which threads share: of each window it
is kept which of its elements is the largest, in one byte."""

import math

import numpy

from ...arrays import kernel
from ...ops import pooling
from .blocks import floating, in_blocks


@kernel(pooling.largest, numpy.ndarray)
def largest(x, windows):
    if not fits(x, windows):
        return NotImplemented
    out, which, places = chosen(x, windows)
    return positions(which, places).reshape(out.shape)


@kernel(pooling.max_pool, numpy.ndarray)
def max_pool(x, *, windows):
    if not fits(x, windows):
        return NotImplemented
    out, which, places = chosen(x, windows)
    shape, n = x.shape, math.prod(x.shape[-len(windows) :])

    def backward(g, which, dx):
        ids = positions(which, places)
        ids += n * numpy.arange(len(ids))[:, None]
        numpy.add.at(dx.reshape(-1), ids.reshape(-1), g.reshape(-1))

    def pullback(g):
        dx = numpy.zeros((len(which), n), g.dtype)
        in_blocks(backward, g.reshape(which.shape), which, dx)
        return dx.reshape(shape)

    return out, (pullback,)


def fits(x, windows):
    most = math.prod(max(map(len, ranges)) for ranges in windows)
    return floating(x) and x.size > 0 and most < 256


def chosen(x, windows):
    """The largest element of each window; which of its elements that is, and where those are: both
    with a row of all windows, per image or per element."""
    axes, counts = len(windows), tuple(map(len, windows))
    planes = x.reshape(-1, *x.shape[-axes:])
    best = numpy.empty((len(planes), math.prod(counts)), x.dtype)
    which = numpy.zeros(best.shape, numpy.uint8)
    places = numpy.stack([place for _, place in pooling.elements(planes[:1], windows)])

    def forward(planes, best, which):
        value, better = numpy.empty_like(best), numpy.empty(best.shape, bool)
        for i, (x, _) in enumerate(pooling.elements(planes, windows)):
            (value if i else best).reshape(x.shape)[...] = x
            if i:
                numpy.greater(value, best, out=better)
                better |= value != value
                numpy.maximum(which, better.view(numpy.uint8) * numpy.uint8(i), out=which)
                numpy.maximum(best, value, out=best)

    in_blocks(forward, planes, best, which)
    return best.reshape(x.shape[:-axes] + counts), which, places.reshape(len(places), -1)


def positions(which, places):
    m = which.shape[1]
    return places.reshape(-1).take(which * numpy.int64(m) + numpy.arange(m))
