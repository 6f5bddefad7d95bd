"""Convolution over any number of axes, as a composition: windows and one product.

Shapes: B images, C channels (O of the result), any sizes behind them; a kernel has as many sizes,
as have stride, padding and dilation."""

from __future__ import annotations

import math

from ..core.op import fused
from .shape import pad, reshape, transpose
from .windows import fold, unfold


@fused
def convolution(x, weight, bias=None, *, stride, padding, dilation, groups=1):
    """The product of weight (O, C / groups, *kernel) and every window of x (B, C, *sizes), plus
    bias (O,): (B, O, *counts) (LeCun et al., 1989). Of `groups` parts of the channels each has its
    own part of the weight."""
    # dx = fold(weight^T g), dweight = g windows(x)^T, dbias = sum(g)
    outputs, channels, *kernel = weight.shape
    if x.ndim != weight.ndim or x.shape[1] != channels * groups or outputs % groups:
        raise RuntimeError(
            f"[convolution] weight {tuple(weight.shape)} in {groups} group(s) must fit the "
            f"channels and sizes of the input, got {tuple(x.shape)}"
        )
    columns = columns_of(x, kernel, stride, padding, dilation).contiguous()
    counts = columns.shape[x.ndim :]
    rows = weight.reshape(groups, outputs // groups, channels * math.prod(kernel))
    columns = columns.reshape(len(x), groups, rows.shape[-1], math.prod(counts))
    return _with_bias((rows @ columns).reshape(len(x), outputs, *counts), bias)


@fused
def conv_transpose(x, weight, bias=None, *, stride, padding, output_padding, dilation, groups=1):
    """The way back of a convolution, as a layer: each element of x (B, C, *counts) times weight
    (C, O / groups, *kernel), added up where the windows were, plus bias (O,); output_padding: more
    elements at the end of each axis (Zeiler et al., 2010)."""
    # dx = the convolution of g by weight, dweight = x windows(g)^T, dbias = sum(g)
    channels, outputs, *kernel = weight.shape
    if x.ndim != weight.ndim or x.shape[1] != channels or channels % groups:
        raise RuntimeError(
            f"[conv_transpose] weight {tuple(weight.shape)} in {groups} group(s) must fit the "
            f"channels and sizes of the input, got {tuple(x.shape)}"
        )
    B, _, *counts = x.shape
    sizes = [
        (n - 1) * s - 2 * p + d * (k - 1) + more + 1
        for n, s, p, d, k, more in zip(counts, stride, padding, dilation, kernel, output_padding)
    ]
    rows = weight.reshape(groups, channels // groups, outputs * math.prod(kernel))
    columns = rows.swapaxes(-1, -2) @ x.reshape(B, groups, channels // groups, math.prod(counts))
    columns = columns.reshape(B, groups * outputs, *kernel, *counts)
    return _with_bias(image_of(columns, sizes, stride, padding, dilation), bias)


def _with_bias(out, bias):
    if bias is None:
        return out
    if bias.shape != out.shape[1:2]:
        raise RuntimeError(
            f"[convolution] bias must be ({out.shape[1]},), one for each channel that comes out, "
            f"got {tuple(bias.shape)}"
        )
    return out + bias.reshape(-1, *[1] * (out.ndim - 2))


def columns_of(x, kernel, stride, padding, dilation):
    """Every window of x (B, C, *sizes) padded with zeros: (B, C, *kernel, *counts)."""
    if any(padding):
        x = pad(x, widths=[(0, 0)] * 2 + [(p, p) for p in padding])
    for i, (size, step) in enumerate(zip(kernel, stride, strict=True)):
        if size == step == 1:
            x = reshape(x, shape=(*x.shape, 1))
        else:
            x = unfold(x, axis=2 + i, size=size, step=step, dilation=dilation[i])
    return transpose(x, axes=_swapped(len(kernel)))


def image_of(columns, sizes, stride, padding, dilation):
    """The mirror of columns_of: (B, C, *kernel, *counts) added up into (B, C, *sizes)."""
    x = transpose(columns, axes=_swapped(len(sizes)))
    for i in reversed(range(len(sizes))):
        length = sizes[i] + 2 * padding[i]
        x = fold(x, axis=2 + i, length=length, step=stride[i], dilation=dilation[i])
    return pad(x, widths=[(0, 0)] * 2 + [(-p, -p) for p in padding]) if any(padding) else x


def _swapped(n):
    """Two groups of n axes behind the first two change places."""
    return (0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n))
