"""Batch norm by the batch's own statistics in few passes; by given ones it is left to the
composition."""

import numpy

from ...arrays import kernel, summed
from ...ops import fused
from .blocks import floating, in_blocks


@kernel(fused.batch_norm, numpy.ndarray)
def batch_norm(x, weight=None, bias=None, *, mean=None, var=None, eps=1e-5):
    """x (N, C) or (N, C, ...), which is (N, C, L) here."""
    if x.ndim < 2 or mean is not None or not floating(x, weight, bias) or not x.size:
        return NotImplemented
    if any(p is not None and p.shape != x.shape[1:2] for p in (weight, bias)):
        return NotImplemented
    shape, n = x.shape, x.size // x.shape[1]
    over, along = (0, (-1,)) if x.ndim == 2 else ((0, 2), (-1, 1))
    normal = x.reshape(*shape[:2], -1) if x.ndim > 2 else x
    normal = normal - (summed(normal, over) / n).reshape(along)
    scale = 1 / numpy.sqrt(summed(normal * normal, over) / n + eps)
    scale = scale.astype(x.dtype).reshape(along)
    weight, bias = (None if p is None else p.reshape(along) for p in (weight, bias))
    out = numpy.empty_like(normal)

    def forward(normal, out):
        normal *= scale
        numpy.multiply(normal, 1 if weight is None else weight, out=out)
        if bias is not None:
            out += bias

    in_blocks(forward, normal, out)

    def pullback(g):
        # dx = scale weight (g - mean(g) - normal mean(g normal))
        g = g.reshape(normal.shape)
        dbias, dweight = summed(g, over), summed(g * normal, over)
        dx, gain = numpy.empty_like(g), scale if weight is None else scale * weight
        means = [(total / n).reshape(along) for total in (dbias, dweight)]

        def backward(g, normal, dx):
            numpy.multiply(normal, means[1], out=dx)
            numpy.subtract(g, dx, out=dx)
            dx -= means[0]
            dx *= gain

        in_blocks(backward, g, normal, dx)
        return dx.reshape(shape), dweight, dbias

    return out.reshape(shape), pullback
