"""Dropout that keeps one byte per element for backward: the mask, not the mask times the scale."""

import numpy

from ...arrays import kernel
from ...ops import fused
from .blocks import floating, in_blocks


@kernel(fused.dropout, numpy.ndarray)
def dropout(x, *, keep, p):
    """x / (1 - p) where keep holds, 0 elsewhere."""
    if not floating(x) or keep.shape != x.shape or not x.size:
        return NotImplemented
    scale, chosen = x.dtype.type(1 / (1 - p) if p < 1 else 0), keep.reshape(-1)

    def apply(x):
        out = numpy.empty(x.size, x.dtype)
        in_blocks(_apply, x.reshape(-1), chosen, out)
        return out.reshape(x.shape)

    def _apply(x, chosen, out):
        numpy.multiply(x, chosen, out=out)
        out *= scale

    return apply(x), (apply,)  # dx = g / (1 - p) where keep holds, 0 elsewhere
