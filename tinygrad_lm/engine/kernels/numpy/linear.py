"""x W^T + b with all leading axes of x flattened, so that each product is one matrix product."""

import numpy

from ...arrays import kernel, summed
from ...ops import fused
from .blocks import floating


@kernel(fused.linear, numpy.ndarray)
def linear(x, weight, bias=None):
    """x (..., C) @ weight (O, C).T + bias (O,)."""
    if weight.ndim != 2 or not floating(x, weight, bias) or x.shape[-1:] != weight.shape[1:]:
        return NotImplemented
    if not x.size or not weight.size or (bias is not None and bias.shape != weight.shape[:1]):
        return NotImplemented
    shape, rows = x.shape, x.reshape(-1, x.shape[-1])
    out = rows @ weight.T
    if bias is not None:
        out += bias
    outputs = out.shape

    # dx = g weight, dweight = g^T x, dbias = sum(g)
    def dx(g):
        return (g.reshape(outputs) @ weight).reshape(shape)

    def dweight(g):
        return g.reshape(outputs).T @ rows

    def dbias(g):
        return summed(g.reshape(outputs), 0)

    return out.reshape(*shape[:-1], len(weight)), (dx, dweight, dbias)
