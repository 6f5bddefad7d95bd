"""Max pooling element by element of the window: a maximum of all first elements and all second ones
is found in one pass, and so on."""

from itertools import product
from math import prod
from operator import mul

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
    # one number per axis: where windows end, what lies around them, how far their starts go
    ends = [d * (k - 1) + s * (m - 1) + 1 for d, k, s, m in zip(dilation, size, step, counts)]
    around = [max(end, p + n) for end, p, n in zip(ends, padding, sizes)]
    inside = (slice(None), *[slice(p, p + n) for p, n in zip(padding, sizes)])
    reach = [s * (m - 1) + 1 for s, m in zip(step, counts)]
    elements = [[k * d for k, d in zip(at, dilation)] for at in product(*map(range, size))]
    rows = x.reshape(-1, *sizes)
    out = numpy.empty((len(rows), *counts), x.dtype)
    chosen = numpy.zeros(out.shape, numpy.uint8)

    def forward(x, out, chosen):
        if around != list(sizes):
            whole = numpy.full((len(x), *around), -numpy.inf, x.dtype)
            whole[inside], x = x, whole
        value, better = numpy.empty_like(out), numpy.empty(out.shape, bool)
        for i, at in enumerate(elements):
            value[...] = x[(slice(None), *[slice(a, a + r, s) for a, r, s in zip(at, reach, step)])]
            if i:
                numpy.greater(value, out, out=better)
                numpy.maximum(chosen, better.view(numpy.uint8) * numpy.uint8(i), out=chosen)
                numpy.maximum(value, out, out=out)
            else:
                out[...] = value

    in_blocks(forward, rows, out, chosen)
    if not numpy.isfinite(out).all():
        return NotImplemented
    widths = [prod(sizes[a + 1 :]) for a in range(axes)]  # elements from one to the next, per axis
    first = sum(
        ((numpy.arange(m) * s - p) * w).reshape(-1, *[1] * (axes - a - 1))
        for a, (m, s, p, w) in enumerate(zip(counts, step, padding, widths))
    )
    offsets = numpy.array([sum(map(mul, at, widths)) for at in elements])

    def backward(g, chosen, dx):
        starts = numpy.arange(len(g)) * prod(sizes)
        ids = offsets[chosen] + first + starts.reshape(-1, *[1] * axes)
        numpy.add.at(dx.reshape(-1), ids.reshape(-1), g.reshape(-1))

    def pullback(g):
        dx = numpy.zeros(rows.shape, g.dtype)
        in_blocks(backward, g.reshape(out.shape), chosen, dx)
        return dx.reshape(x.shape)

    return out.reshape(*lead, *counts), (pullback,)
