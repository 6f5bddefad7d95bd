"""RMS norm in few passes; sums along the last axis are products with a vector. Other axes are
left to the composition."""

import math

import numpy

from ...arrays import kernel, summed
from ...ops import fused
from .blocks import floating, in_blocks


@kernel(fused.rms_norm, numpy.ndarray)
def rms_norm(x, weight=None, *, axes=1, eps=1e-6):
    """x (..., C) and weight (C,), where C stands for the last `axes` axes."""
    if not floating(x, weight) or not x.size or not 0 < axes <= x.ndim:
        return NotImplemented
    if weight is not None and weight.shape != x.shape[-axes:]:
        return NotImplemented
    n = math.prod(x.shape[-axes:])
    rows = x.reshape(-1, n)
    vector = numpy.ones(n, x.dtype) if weight is None else weight.reshape(n)
    out, scale = numpy.empty_like(rows), numpy.empty((len(rows), 1), x.dtype)

    def forward(x, scale, out):
        scale[:, 0] = 1 / numpy.sqrt(numpy.vecdot(x, x) / n + eps)
        numpy.multiply(x, scale, out=out)
        if weight is not None:
            out *= vector

    in_blocks(forward, rows, scale, out)

    def pullback(g):
        dx = numpy.empty_like(rows)

        def backward(g, x, scale, dx):
            # dx = scale (h - normal mean(h normal)) with h = weight g, normal = scale x
            product = g * x
            dweight = summed(product * scale, 0) if weight is not None else 0
            along = (product @ vector)[:, None] / n * scale * scale
            numpy.multiply(x, along, out=product)
            numpy.multiply(g, vector, out=dx)
            dx -= product
            dx *= scale
            return dweight

        parts = in_blocks(backward, g.reshape(-1, n), rows, scale, dx)
        dweight = None if weight is None else sum(parts).reshape(weight.shape)
        return dx.reshape(g.shape), dweight

    return out.reshape(x.shape), pullback
