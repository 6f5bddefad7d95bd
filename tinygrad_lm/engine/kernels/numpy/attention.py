"""Attention over blocks of the batch and of the queries that stay in cache; keys that a causal
block cannot see are left out.

Scores are laid out with the keys first, (S, block, H, T), because NumPy takes maxima along the
first axis an order of magnitude faster than along the last. Weights too many to keep are made again
in the backward pass from the scores and their shift.
"""

import math

import numpy

from ...arrays import kernel
from ...core.recording import mode
from ...ops import fused
from .blocks import BLOCK, floating, in_blocks

KEPT = 1 << 20  # weights that one call may keep for backward
QUERIES = 32  # the fewest queries in a block: fewer make the products too narrow


@kernel(fused.scaled_dot_product_attention, numpy.ndarray)
def attention(q, k, v, mask=None, *, causal=False, scale=None, keep=None, p=0.0):
    """q (B, H, T, D), k (B, H, S, D), v (B, H, S, E) and a boolean mask that broadcasts to
    (B, H, T, S) -> (B, H, T, E), which lies in memory as (B, T, H, E)."""
    if not (q.ndim == k.ndim == v.ndim == 4 and floating(q, k, v)) or not (q.size and v.size):
        return NotImplemented
    (B, H, T, D), (S, E) = q.shape, v.shape[2:]
    if k.shape != (B, H, S, D) or v.shape[:2] != (B, H):
        return NotImplemented
    if mask is not None and (mask.dtype != bool or mask.ndim > 4 or causal):
        return NotImplemented
    hidden, masked = _hidden(mask, causal, B, T, S), causal or mask is not None
    scale = q.dtype.type(1 / math.sqrt(D) if scale is None else scale)
    scaled = q * scale
    share = None if keep is None else q.dtype.type(1 / (1 - p) if p < 1 else 0)
    blocks = _query_blocks(H, T, S, causal)
    out = numpy.empty((B, T, H, E), q.dtype).swapaxes(1, 2)
    shift = numpy.empty((B, H, T), q.dtype)  # what a score loses so that the weights sum to 1
    kept: dict | None = {} if mode.recording and B * H * T * S <= KEPT else None
    batch = range(B)

    def scores(q, k, hidden, now, end):
        found = numpy.empty((end, len(q), H, now.stop - now.start), q.dtype)
        numpy.matmul(k[:, :, :end], q[:, :, now].swapaxes(2, 3), out=found.transpose(1, 2, 0, 3))
        return cover(found, hidden, now, end, -numpy.inf)

    def cover(scores, hidden, now, end, value):
        """A value where a query may not look, whatever was there."""
        if masked:
            numpy.copyto(scores, value, where=hidden[:, :, :end, now].transpose(2, 0, 1, 3))
        return scores

    def dropped(weights, batch, now, end):
        """Weights as the values see them, (S, block, H, T)."""
        if share is None:
            return weights
        chosen = keep[batch[0] : batch[-1] + 1, :, now, :end].transpose(3, 0, 1, 2)
        return weights * chosen * share

    def forward(batch, q, k, v, hidden, out, shift):
        for now, end in blocks:
            weights = scores(q, k, hidden, now, end)
            top = weights.max(axis=0)
            top[top == -numpy.inf] = 0  # a row that may look nowhere
            weights -= top
            numpy.exp(weights, out=weights)
            total = numpy.ones(end, q.dtype) @ weights.reshape(end, -1)
            total = total.reshape(top.shape)
            total[total == 0] = 1
            numpy.add(top, numpy.log(total), out=shift[:, :, now])
            numpy.divide(1, total, out=total)
            weights *= total
            if kept is not None:
                kept[batch[0], now.start] = weights
            seen = dropped(weights, batch, now, end).transpose(1, 2, 3, 0)
            numpy.matmul(seen, v[:, :, :end], out=out[:, :, now])

    in_blocks(forward, batch, scaled, k, v, hidden, out, shift, cost=H * T * S)

    def pullback(g):
        dq, dk, dv = _gradients(q, k, v)

        def backward(batch, q, k, v, hidden, out, shift, g, dq, dk, dv):
            # With the weights w: dv = w^T g, dw = g v^T, dscores = w (dw - sum(g out)),
            # dk = dscores^T q scale, dq = dscores k scale; the scale of dk is already in q.
            along = numpy.einsum("bhte,bhte->bht", g, out)
            for now, end in reversed(blocks):
                if kept is not None:
                    weights = kept[batch[0], now.start]
                else:
                    weights = scores(q, k, hidden, now, end)
                    weights -= shift[:, :, now]
                    numpy.exp(weights, out=weights)
                seen = dropped(weights, batch, now, end)
                _accumulate(seen, g[:, :, now], dv, end, now.stop == T)
                slopes = numpy.empty_like(weights)
                gt = g[:, :, now].swapaxes(2, 3)
                numpy.matmul(v[:, :, :end], gt, out=slopes.transpose(1, 2, 0, 3))
                slopes = dropped(slopes, batch, now, end)
                slopes -= along[:, :, now]
                slopes *= weights
                cover(slopes, hidden, now, end, 0)
                _accumulate(slopes, q[:, :, now], dk, end, now.stop == T)
                numpy.matmul(slopes.transpose(1, 2, 3, 0), k[:, :, :end], out=dq[:, :, now])
            dq *= scale

        in_blocks(backward, batch, scaled, k, v, hidden, out, shift, g, dq, dk, dv, cost=H * T * S)
        return dq, dk, dv, None

    return out, pullback


def _hidden(mask, causal, B, T, S):
    """Where a query may not look, (B, 1 or H, S, T)."""
    if mask is None and not causal:
        return numpy.broadcast_to(numpy.zeros(1, bool), (B, 1, S, T))
    seen = numpy.tri(T, S, dtype=bool) if mask is None else mask
    hidden = numpy.ascontiguousarray(~seen.swapaxes(-1, -2))
    hidden = hidden.reshape((1,) * (4 - hidden.ndim) + hidden.shape)
    return numpy.broadcast_to(hidden, (B, hidden.shape[1], S, T))


def _gradients(q, k, v):
    """Arrays of the shapes of q, k, v, (B, T, H, D) in memory; where they are alike, in one array:
    if q, k, v were split from one, this is its gradient."""
    if q.shape == k.shape == v.shape:
        B, H, T, D = q.shape
        return numpy.empty((B, T, 3, H, D), q.dtype).transpose(2, 0, 3, 1, 4)
    return [numpy.empty_like(x.swapaxes(1, 2), order="C").swapaxes(1, 2) for x in (q, k, v)]


def _query_blocks(H, T, S, causal):
    """Pairs (queries as a slice, how many keys they may see), few enough scores for the cache."""
    size = max(QUERIES, BLOCK // (H * S))
    size = -(-T // -(-T // size))
    starts = range(0, T, size)
    return [(slice(t, min(t + size, T)), min(S, t + size, T) if causal else S) for t in starts]


def _accumulate(weights, values, total, end, first):
    """total[:end] (+)= weights^T values; the first block writes, and clears what it cannot see."""
    weights = weights.transpose(1, 2, 0, 3)
    if first:
        numpy.matmul(weights, values, out=total[:, :, :end])
        total[:, :, end:] = 0
    else:
        total[:, :, :end] += weights @ values
