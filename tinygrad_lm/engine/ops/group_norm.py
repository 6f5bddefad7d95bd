"""The norm of groups of channels, as a composition."""

from __future__ import annotations

import math

from ..core.op import fused
from .fused import layer_norm


@fused
def group_norm(x, weight=None, bias=None, *, groups, eps=1e-5):
    """x (B, C, ...): each of the groups of channels of an image to mean 0 and variance 1, then
    weight and bias (C,) (Wu and He, 2018, arXiv 1803.08494)."""
    # dx = s (h - mean(h) - y mean(h y)) as in `layer_norm`, the means over each group;
    # dweight = sum(g y), dbias = sum(g)
    shape = x.shape
    if len(shape) < 2 or groups < 1 or shape[1] % groups:
        raise RuntimeError(
            f"[group_norm] needs (B, C, ...) with C a multiple of {groups}, got {tuple(shape)}"
        )
    out = layer_norm(x.reshape(shape[0], groups, math.prod(shape[1:]) // groups), eps=eps)
    out, along = out.reshape(shape), (-1, *[1] * (len(shape) - 2))
    if weight is not None:
        out = out * weight.reshape(along)
    return out if bias is None else out + bias.reshape(along)
