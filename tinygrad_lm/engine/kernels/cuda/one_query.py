"""Attention of one query to each head, which is all that a token takes when text is written with a
cache: keys and values are read once, where they lie, and none that may not be seen."""

import math

import cupy
import numpy

from ...arrays import kernel
from ...core.recording import mode
from ...ops import fused
from .attention import rows
from .source import FLOATS, Source, c_name, takes

SOURCE = Source("one_query", T=FLOATS)
MOST = 8192  # keys, of which a weight each fits into shared memory
WIDEST = 256


@kernel(fused.scaled_dot_product_attention, cupy.ndarray)
def attention(q, k, v, mask=None, *, causal=False, scale=None, keep=None, p=0.0):
    """q (B, H, 1, D), k and v (B, H, S, D), a boolean mask that broadcasts to (B, H, 1, S) ->
    (B, H, 1, D), which lies as (B, 1, H, D). Not where gradients are wanted."""
    if mode.recording or causal or keep is not None or not takes(q, k, v):
        return NotImplemented
    if q.ndim != 4 or q.shape[2] != 1 or k.shape != v.shape or not k.size:
        return NotImplemented
    B, H, S, D = k.shape
    if q.shape != (B, H, 1, D) or D % 8 or D > WIDEST or S > MOST or B >= 1 << 16:  # a grid's y
        return NotImplemented
    if mask is not None and (mask.dtype != bool or mask.ndim > 4):
        return NotImplemented
    q, k, v = rows(q), rows(k), rows(v)
    out = cupy.empty((B, 1, H, D), q.dtype).swapaxes(1, 2)
    seen, steps = 0, (0, 0, 0)
    if mask is not None:
        seen = cupy.broadcast_to(mask, (B, H, 1, S))
        steps = (*seen.strides[:2], seen.strides[3])
    sizes = [s // x.itemsize for x, n in ((q, 2), (k, 3), (v, 3), (out, 2)) for s in x.strides[:n]]
    layout = numpy.array([*sizes, *steps], numpy.int64).view("V104")
    scale = (1 / math.sqrt(D) if scale is None else float(scale)) * math.log2(math.e)
    given = (q, k, v, seen, out, layout, numpy.int32(S), numpy.int32(D), numpy.float32(scale))
    memory = 4 * (S + D + 8 * 256)
    SOURCE.kernel("one_query", T=c_name(q))((H, B), (256,), given, shared_mem=memory)
    return out, (None, None, None, None)
