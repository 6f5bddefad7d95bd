"""Norms by channels, in batches and in groups, by the loops of `channels.h`."""

from __future__ import annotations

import numpy

from ...arrays import get_num_threads, kernel
from ...ops import fused
from ...ops import group_norm as ops
from . import fast
from .rows import dense


@kernel(fused.batch_norm, numpy.ndarray)
def batch_norm(x, weight=None, bias=None, *, mean=None, var=None, eps=1e-5):
    """x (N, C) or (N, C, ...), by the batch's own statistics."""
    return _norm(x, weight, bias, 0, eps) if mean is None else NotImplemented


@kernel(ops.group_norm, numpy.ndarray)
def group_norm(x, weight=None, bias=None, *, groups, eps=1e-5):
    """x (B, C, ...), weight and bias (C,)."""
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        return NotImplemented
    return _norm(x, weight, bias, groups, eps)


def _norm(x, weight, bias, groups, eps):
    """0 groups: a channel of all images is normalized together."""
    arrays = dense(x, weight, bias)
    if arrays is None or x.ndim < 2 or not x.size:
        return NotImplemented
    if any(p is not None and p.shape != x.shape[1:2] for p in (weight, bias)):
        return NotImplemented
    (x, weight, bias), (B, C) = arrays, x.shape[:2]
    sizes, units = (B, C, x.size // (B * C), groups, get_num_threads()), B * groups or C
    weight = numpy.ones(C, x.dtype) if weight is None else weight
    bias = numpy.zeros(C, x.dtype) if bias is None else bias
    out, mean, scale = (numpy.empty(n, x.dtype) for n in (x.shape, units, units))
    fast.channels(*sizes, x, weight, bias, None, mean, scale, out, None, None, eps)

    def pullback(g):
        # dx = s (h - mean(h) - y mean(h y)), y = (x - mean) s, h = weight g, s = scale
        (g,) = dense(g)
        dx, dweight, dbias = (numpy.empty(a.shape, a.dtype) for a in (x, weight, weight))
        fast.channels(*sizes, x, weight, None, g, mean, scale, dx, dweight, dbias, eps)
        return dx, dweight, dbias

    return out, pullback
