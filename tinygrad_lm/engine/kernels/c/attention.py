"""Attention by the loops of `attention.h`: a head at a time, a block of queries at a time. Masks
other than the causal one are left to the NumPy kernel.
"""

import math

import numpy

from ...arrays import get_num_threads, kernel
from ...ops import fused
from . import fast


@kernel(fused.scaled_dot_product_attention, numpy.ndarray)
def attention(q, k, v, mask=None, *, causal=False, scale=None, keep=None, p=0.0):
    """q (B, H, T, D), k (B, H, S, D), v (B, H, S, E) -> (B, H, T, E), which lies in memory as
    (B, T, H, E). Kept are the inputs, the value and one number per query."""
    if mask is not None or not q.ndim == k.ndim == v.ndim == 4 or not (q.size and v.size):
        return NotImplemented
    (B, H, T, D), (S, E) = q.shape, v.shape[2:]
    if k.shape != (B, H, S, D) or v.shape[:2] != (B, H):
        return NotImplemented
    if any(x.dtype.char != "f" for x in (q, k, v)):
        return NotImplemented
    if keep is not None and (keep.shape != (B, H, T, S) or not keep.flags.c_contiguous):
        return NotImplemented
    q, k, v = map(_dense_rows, (q, k, v))
    scale = 1 / math.sqrt(D) if scale is None else scale
    share = 1 / (1 - p) if p < 1 else 0.0
    settings = B, H, T, S, D, E, get_num_threads(), scale, bool(causal), share, keep
    out, shift = _heads(B, T, H, E), numpy.empty((B, H, T), q.dtype)
    fast.attention(*settings, q, k, v, out, shift)

    def pullback(g):
        # With the weights w: dv = w^T g, dw = g v^T, dscores = w (dw - sum(dw w)) as in softmax,
        # dq = dscores k scale, dk = dscores^T q scale.
        if (T, D) == (S, E):  # in one array: if q, k, v were split from one, this is its gradient
            dq, dk, dv = numpy.empty((B, T, 3, H, D), q.dtype).transpose(2, 0, 3, 1, 4)
        else:
            dq, dk, dv = _heads(B, T, H, D), _heads(B, S, H, D), _heads(B, S, H, E)
        fast.attention(*settings, q, k, v, out, shift, _dense_rows(g), dq, dk, dv)
        return dq, dk, dv, None

    return out, pullback


def _heads(B, T, H, D):
    """(B, H, T, D) in the memory of (B, T, H, D): how the layers around read it, without a copy."""
    return numpy.empty((B, T, H, D), numpy.float32).swapaxes(1, 2)


def _dense_rows(x):
    """x itself where its last axis has no gaps and steps are whole numbers, else a copy."""
    dense = x.strides[3] == x.itemsize or x.shape[3] == 1
    whole = not any(step % x.itemsize for step in x.strides)
    return x if dense and whole else numpy.ascontiguousarray(x)
