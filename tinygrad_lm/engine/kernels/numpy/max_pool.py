"""Max pooling element by element of the window: a maximum of all first elements and all second ones
is found in one pass, and so on."""

from itertools import product
from math import prod

import numpy

from ...arrays import kernel
from ...ops import convolution
from .blocks import floating, in_blocks


@kernel(convolution.max_pool, numpy.ndarray)
def max_pool(x, *, size, step, padding, dilation, counts):
    """x (..., *sizes). Where not all results are finite, the composition says which was chosen."""
    axes = len(size)
    lead, sizes = x.shape[:-axes], x.shape[-axes:]
    if not floating(x) or not x.size or prod(size) > 255:
        return NotImplemented
    # a row of numbers per axis: of a window's elements, of its windows, of what lies around them
    ends = [d * (k - 1) + s * (m - 1) + 1 for d, k, s, m in zip(dilation, size, step, counts)]
    around = [max(end, p + n) for end, p, n in zip(ends, padding, sizes)]
    inside = (slice(None), *[slice(p, p + n) for p, n in zip(padding, sizes)])
    reach = [s * (m - 1) + 1 for s, m in zip(step, counts)]
    places = [
        (
            slice(None),
            *[slice(k * d, k * d + r, s) for k, d, r, s in zip(at, dilation, reach, step)],
        )
        for at in product(*map(range, size))
    ]
    rows = x.reshape(-1, *sizes)
    out = numpy.empty((len(rows), *counts), x.dtype)
    chosen = numpy.zeros(out.shape, numpy.uint8)

    def forward(x, out, chosen):
        if around != list(sizes):
            whole = numpy.full((len(x), *around), -numpy.inf, x.dtype)
            whole[inside], x = x, whole
        out[...] = x[places[0]]
        for i, place in enumerate(places[1:], 1):
            numpy.copyto(chosen, i, where=x[place] > out)
            numpy.maximum(out, x[place], out=out)

    def backward(g, chosen, dx):
        whole = numpy.zeros((len(g), *around), g.dtype)
        for i, place in enumerate(places):
            numpy.add(whole[place], g, out=whole[place], where=chosen == i)
        dx[...] = whole[inside]

    in_blocks(forward, rows, out, chosen)
    if not numpy.isfinite(out).all():
        return NotImplemented

    def pullback(g):
        dx = numpy.empty(rows.shape, g.dtype)
        in_blocks(backward, g.reshape(out.shape), chosen, dx)
        return dx.reshape(x.shape)

    return out.reshape(*lead, *counts), (pullback,)
