"""Norms of groups of channels: the statistics by layer norm's loop on the groups, and the loops of
`channels.h`, in which a channel has numbers of its own."""

from __future__ import annotations

import math

import numpy

from ...arrays import get_num_threads, kernel
from ...ops import group_norm as ops
from . import fast
from .rows import dense


@kernel(ops.group_norm, numpy.ndarray)
def group_norm(x, weight=None, bias=None, *, groups, eps=1e-5):
    """x (B, C, ...), weight and bias (C,)."""
    arrays = dense(x, weight, bias)
    if arrays is None or x.ndim < 2 or not x.size or groups < 1 or x.shape[1] % groups:
        return NotImplemented
    if any(p is not None and p.shape != x.shape[1:2] for p in (weight, bias)):
        return NotImplemented
    (x, weight, bias), shape, threads = arrays, x.shape, get_num_threads()
    B, C = shape[:2]
    channels = B * C, math.prod(shape[2:]), threads
    n = C // groups * channels[1]
    out, (mean, scale) = numpy.empty(shape, x.dtype), numpy.empty((2, B * groups, 1), x.dtype)
    fast.norm(B * groups, n, threads, x, None, None, out, mean, scale, eps)
    weight = numpy.ones(C, x.dtype) if weight is None else weight
    gain = scale.reshape(B, groups, 1) * weight.reshape(groups, -1)  # of a channel of an image
    mean = numpy.broadcast_to(mean, (B * groups, C // groups)).copy()
    shift = numpy.empty((B, C), x.dtype)
    shift[...] = 0 if bias is None else bias
    fast.mix(*channels, x, None, mean, gain, None, shift, out)

    def pullback(g):
        # dx = s (h - mean(h) - y mean(h y)), y = (x - mean) s, h = weight g, s = scale
        (g,) = dense(g)
        dx, (sums, products) = numpy.empty(shape, x.dtype), numpy.empty((2, B * C), x.dtype)
        fast.channels(*channels, x, g, mean, sums, products)
        sums, products = sums.reshape(gain.shape), products.reshape(gain.shape)
        each = scale.reshape(B, groups, 1)
        means = (gain * sums).sum(-1, keepdims=True) / n
        slopes = (gain * products).sum(-1, keepdims=True) * each * each / n
        rows = [numpy.broadcast_to(-a, gain.shape).copy() for a in (slopes, means)]
        fast.mix(*channels, x, g, mean, rows[0], gain, rows[1], dx)
        return dx, (products * each).sum(0).reshape(C), sums.sum(0).reshape(C)

    return out, pullback
