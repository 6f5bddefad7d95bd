"""Convolution as products of matrices: the windows of a few images at a time are copied into
columns, as many as stay in cache, and multiplied by all kernels at once."""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy

from ...arrays import Array, kernel, summed, with_kernels
from ...arrays.replay import one_call
from ...ops import convolution as ops
from .blocks import floating, in_blocks

# Shapes: N images of a block, C channels, O outputs, G groups, K elements of a kernel, L windows.


class Windows(NamedTuple):
    """Where the windows of an image lie: one number per axis; `counts` is how many there are."""

    sizes: tuple[int, ...]
    counts: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def fit(self) -> bool:
        return all(
            m > 0 and d * (k - 1) + s * (m - 1) < n + 2 * p for n, m, k, s, p, d in zip(*self)
        )

    def cost(self, column: int) -> int:
        """Of an image with columns so long, in elements. A quarter: blocks of several images have
        longer runs of neighbours to copy, which is worth more than the nearest cache."""
        return max(math.prod(self.counts) * column // 4, 1)

    def mirrored(self) -> Windows | None:
        """Where windows are one element apart, the way back is a convolution by the mirrored
        kernel, whose windows these are; None if that is more work than adding up columns, and
        where there are elements that no window sees."""
        around = tuple(
            [d * (k - 1) - p for k, p, d in zip(self.kernel, self.padding, self.dilation)]
        )
        more = math.prod(self.sizes) / math.prod(self.counts)
        if max(self.stride) > 1 or min(around) < 0 or more > 1.5:
            return None
        found = Windows(self.counts, self.sizes, self.kernel, self.stride, around, self.dilation)
        return found if found.fit() else None

    def padded(self, channels: int, N: int, dtype: numpy.dtype) -> tuple[Array, Array]:
        """Zeros (C, *sizes, N), and the same with their padding around."""
        around = [n + 2 * p for n, p in zip(self.sizes, self.padding)]
        whole = numpy.zeros((channels, *around, N), dtype)
        inner = [slice(p, p + n) for n, p in zip(self.sizes, self.padding)]
        return whole[(slice(None), *inner)], whole

    def columns(self, x: Array, groups: int) -> Array:
        """The windows of x (N, C, *sizes): (G, C / G K, L N)."""
        x = numpy.moveaxis(x, 0, -1)
        if any(self.padding) or not x.flags.c_contiguous:
            inside, whole = self.padded(len(x), x.shape[-1], x.dtype)
            inside[...], x = x, whole
        first, *steps, last = x.strides
        apart = [step * d for step, d in zip(steps, self.dilation)]
        along = [step * s for step, s in zip(steps, self.stride)]
        windows = numpy.lib.stride_tricks.as_strided(
            x, (len(x), *self.kernel, *self.counts, x.shape[-1]), (first, *apart, *along, last)
        )
        return windows.reshape(groups, -1, math.prod(self.counts) * x.shape[-1])

    def image(self, columns: Array, N: int) -> Array:
        """Columns added up where they were: (N, C, *sizes)."""
        columns = columns.reshape(-1, *self.kernel, *self.counts, N)
        inside, whole = self.padded(len(columns), N, columns.dtype)
        for at in product(*map(range, self.kernel)):
            regular = zip(at, self.dilation, self.stride, self.counts)
            there = [slice(k * d, k * d + s * (m - 1) + 1, s) for k, d, s, m in regular]
            here: list = [slice(None), *at]
            whole[(slice(None), *there)] += columns[tuple(here)]
        return numpy.moveaxis(inside, -1, 0)


@with_kernels
def outputs_of(x: Array, rows: Array, where: Windows, bias: Array | None = None) -> Array:
    """Rows (G, O / G, C / G K) times the windows of x (N, C, *sizes): (N, O, *counts)."""
    out = numpy.empty((len(x), rows.shape[0] * rows.shape[1], *where.counts), x.dtype)

    def block(x: Array, out: Array) -> None:
        found = (rows @ where.columns(x, len(rows))).reshape(-1, *where.counts, len(x))
        out[...] = numpy.moveaxis(found, -1, 0)

    in_blocks(block, x, out, cost=where.cost(rows[:, 0].size))
    return _biased(out, bias)


@one_call
def inputs_of(g: Array, rows: Array, where: Windows) -> Array:
    """The way back: rows^T times g (N, O, *counts), added up where the windows were."""
    (groups, outputs, column), around = rows.shape, where.mirrored()
    few = outputs <= column // math.prod(where.kernel)  # of g's windows
    if few and around is not None and numpy.isfinite(rows).all():  # zeros beside g stay zeros
        mirrored = rows.reshape(groups, outputs, -1, math.prod(where.kernel))[..., ::-1].swapaxes(
            1, 2
        )
        return outputs_of(g, mirrored.reshape(groups, mirrored.shape[1], -1), around)
    kernels = rows.swapaxes(-1, -2)
    channels = rows[:, 0].size // math.prod(where.kernel)
    out = numpy.empty((len(g), channels, *where.sizes), g.dtype)

    def block(g: Array, out: Array) -> None:
        columns = kernels @ _channels_first(g, len(rows))
        out[...] = where.image(columns, len(g))

    in_blocks(block, g, out, cost=where.cost(rows[:, 0].size))
    return out


@with_kernels
def rows_of(x: Array, g: Array, where: Windows, groups: int) -> Array:
    """The way back to the rows: g (N, O, *counts) times the windows of x, transposed."""

    def block(x: Array, g: Array) -> Array:
        return _channels_first(g, groups) @ where.columns(x, groups).swapaxes(-1, -2)

    cost = where.cost(x.shape[1] * math.prod(where.kernel))
    return summed(numpy.stack(in_blocks(block, x, g, cost=cost)), 0)


def _channels_first(g: Array, groups: int) -> Array:
    """g (N, O, *counts) as (G, O / G, L N)."""
    return numpy.moveaxis(g, 0, -1).reshape(groups, g.shape[1] // groups, -1)


@kernel(ops.convolution, numpy.ndarray)
def convolution(x, weight, bias=None, *, stride, padding, dilation, groups=1):
    """x (B, C, *sizes) by weight (O, C / groups, *kernel). Kernels of one element are left to the
    composition, which copies nothing."""
    kernel, sizes = weight.shape[2:], x.shape[2:]
    regular = zip(sizes, kernel, stride, padding, dilation)
    counts = tuple([(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in regular])
    where = Windows(sizes, counts, kernel, stride, padding, dilation)
    if not _usual(x, weight, bias, len(weight), weight.shape[1] * groups, where, groups):
        return NotImplemented
    rows = weight.reshape(groups, len(weight) // groups, -1)
    return outputs_of(x, rows, where, bias), (
        lambda g: inputs_of(g, rows, where),
        lambda g: rows_of(x, g, where, groups).reshape(weight.shape),
        _dbias,
    )


@kernel(ops.conv_transpose, numpy.ndarray)
def conv_transpose(x, weight, bias=None, *, stride, padding, output_padding, dilation, groups=1):
    """The same three products, each in another's place."""
    kernel, counts = weight.shape[2:], x.shape[2:]
    regular = zip(counts, kernel, stride, padding, dilation, output_padding)
    sizes = tuple([(m - 1) * s - 2 * p + d * (k - 1) + o + 1 for m, k, s, p, d, o in regular])
    where = Windows(sizes, counts, kernel, stride, padding, dilation)
    if not _usual(x, weight, bias, weight.shape[1] * groups, len(weight), where, groups):
        return NotImplemented
    rows = weight.reshape(groups, len(weight) // groups, -1)
    return _biased(inputs_of(x, rows, where), bias), (
        lambda g: outputs_of(g, rows, where),
        lambda g: rows_of(g, x, where, groups).reshape(weight.shape),
        _dbias,
    )


def _usual(x, weight, bias, outputs, channels, where, groups):
    """Whether shapes fit and there is something to multiply; the composition says what is wrong."""
    return (
        floating(x, weight, bias)
        and x.ndim == weight.ndim
        and x.shape[1] == channels
        and (bias is None or bias.shape == (outputs,))
        and len(weight) % groups == 0
        and x.size * weight.size > 0
        and max(where.kernel) > 1
        and min(where.sizes) > 0
        and where.fit()
    )


def _biased(out, bias):
    if bias is not None:
        out += bias.reshape(-1, *[1] * (out.ndim - 2))
    return out


def _dbias(g):
    return summed(g, (0, *range(2, g.ndim)))
