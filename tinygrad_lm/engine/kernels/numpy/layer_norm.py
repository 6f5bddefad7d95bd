"""Layer norm in few passes. Sums along the last axis are products with a vector: NumPy's own
reductions of short rows are several times slower."""

import math

import numpy

from ...arrays import kernel, summed
from ...ops import fused
from .blocks import floating, in_blocks

LONGEST = 4096  # numbers of which a sum in one run keeps the digits


@kernel(fused.layer_norm, numpy.ndarray)
def layer_norm(x, weight=None, bias=None, *, axes=1, eps=1e-5):
    """x (..., C), weight and bias (C,), where C stands for the last `axes` axes."""
    if not floating(x, weight, bias) or not x.size or not 0 < axes <= x.ndim:
        return NotImplemented
    if any(p is not None and p.shape != x.shape[-axes:] for p in (weight, bias)):
        return NotImplemented
    n = math.prod(x.shape[-axes:])
    if n > LONGEST:
        return NotImplemented
    rows = x.reshape(-1, n)
    normal, scale = numpy.empty_like(rows), numpy.empty((len(rows), 1), rows.dtype)
    out = numpy.empty_like(rows)
    average = numpy.full(n, 1 / n, rows.dtype)

    def forward(x, normal, scale, out):
        numpy.subtract(x, (x @ average)[:, None], out=normal)
        variance = numpy.vecdot(normal, normal)
        variance /= n
        variance += eps
        numpy.sqrt(variance, out=variance)
        numpy.divide(1, variance, out=scale[:, 0])
        normal *= scale
        if weight is None:
            out[...] = normal
        else:
            numpy.multiply(normal, weight.reshape(n), out=out)
        if bias is not None:
            out += bias.reshape(n)

    in_blocks(forward, rows, normal, scale, out)
    shape = x.shape
    slope = average if weight is None else weight.reshape(n) / n

    def pullback(g):
        g = g.reshape(-1, n)
        dx = numpy.empty_like(g)

        def backward(g, normal, scale, dx):
            # dx = scale (h - mean(h) - normal mean(h normal)) with h = weight g
            product = g * normal
            dweight = 0 if weight is None else summed(product, 0)
            dbias = 0 if bias is None else summed(g, 0)
            along = product @ slope
            numpy.multiply(normal, along[:, None], out=product)
            product += (g @ slope)[:, None]
            if weight is None:
                numpy.subtract(g, product, out=dx)
            else:
                numpy.multiply(g, weight.reshape(n), out=dx)
                dx -= product
            dx *= scale
            return dweight, dbias

        sums = in_blocks(backward, g, normal, scale, dx)
        found = [dx.reshape(shape)]
        for parameter, parts in zip((weight, bias), zip(*sums)):
            found.append(None if parameter is None else sum(parts).reshape(parameter.shape))
        return found

    return out.reshape(shape), pullback
