"""Layer norm and RMS norm: a row is read once and held in registers. What is kept for backward is
the input, and two float32 numbers of each row."""

import math

import cupy

from ...arrays import kernel
from ...ops import fused
from .columns import add_parts
from .source import C_NAMES, FLOATS, Source, blocks, packed, takes

SOURCE = Source("layer_norm", T=FLOATS, ROW=(32, 256), K=(1, 2, 3, 4))
BLOCKS = 264  # of the backward kernel: two for each processor of the largest GPUs


@kernel(fused.layer_norm, cupy.ndarray)
def layer_norm(x, weight=None, bias=None, *, axes=1, eps=1e-5):
    """x (..., C), weight and bias (C,), where C stands for the last `axes` axes."""
    return _norm(x, weight, bias, axes, eps, 0)


@kernel(fused.rms_norm, cupy.ndarray)
def rms_norm(x, weight=None, *, axes=1, eps=1e-6):
    """x (..., C) and weight (C,), where C stands for the last `axes` axes."""
    found = _norm(x, weight, None, axes, eps, 1)
    return found if found is NotImplemented else (found[0], lambda g: found[1](g)[:2])


def _norm(x, weight, bias, axes, eps, rms):
    if not takes(x, weight, bias) or not x.size or not 0 < axes <= x.ndim:
        return NotImplemented
    if any(p is not None and p.shape != x.shape[-axes:] for p in (weight, bias)):
        return NotImplemented
    width = math.prod(x.shape[-axes:])
    threads = 32 if width <= 1024 else 256  # that share a row
    tiles = blocks(width, 8 * threads)
    if tiles > 4:
        return NotImplemented
    x, rows = packed(x), x.size // width
    weighting, shift = (0 if p is None else packed(p) for p in (weight, bias))
    chosen = {"T": C_NAMES[x.dtype.name], "ROW": threads, "K": tiles}
    each = 256 // threads
    y, stats = cupy.empty_like(x), cupy.empty((rows, 2), "float32")
    arguments = (x, weighting, shift, y, stats, rows, width, float(eps), rms)
    SOURCE.kernel("forward", **chosen)((blocks(rows, each),), (256,), arguments)

    def pullback(g):
        count = min(BLOCKS, blocks(rows, each))
        sums_wanted = weight is not None or bias is not None
        dx = cupy.empty_like(x)
        parts = cupy.empty((count, 2 * width), "float32") if sums_wanted else 0
        arguments = (x, packed(g), weighting, stats, dx, parts, rows, width, rms)
        SOURCE.kernel("backward", **chosen)((count,), (256,), arguments)
        if not sums_wanted:
            return dx, None, None
        dweight, dbias = (cupy.empty(x.shape[-axes:], x.dtype) for _ in range(2))
        add_parts(parts, dweight, dbias)
        return dx, None if weight is None else dweight, None if bias is None else dbias

    return y, pullback
