"""Sums along axes, as exact as the dtype can hold. NumPy adds in pairs along the last axis only;
along others it adds one after another, and 2^24 ones are as many as float32 can count so. Here
short runs are added up, then their sums, in a fixed order."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

import numpy

from .dispatch import with_kernels
from .libraries import Array, is_numpy, widened

RUN = 32  # as many are added one after another
BLOCK = 1 << 17  # elements that are read from memory while a part of the result stays in cache


def summed(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """x.sum(axis, keepdims); 16-bit floats come out as float32 on the CPU."""
    if not is_numpy(x):  # a GPU adds in a tree
        return x.sum(axis=axis, keepdims=keepdims)
    x = widened(x)
    if type(axis) is tuple and len(axis) == 1:
        axis = axis[0]
    one = type(axis) is int and -1 <= axis < x.ndim
    few = x.shape[axis] <= 2 * RUN if one and x.ndim else x.size <= 16 * RUN
    if few or (axis is None and x.flags.c_contiguous):
        return x.sum(axis=axis, keepdims=keepdims)
    chosen = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = {a % x.ndim for a in chosen}
    if math.prod([x.shape[a] for a in axes]) <= 2 * RUN:
        return x.sum(axis=axis, keepdims=keepdims)
    shape = [1 if a in axes else n for a, n in enumerate(x.shape)]
    out = _along(x, axes).reshape(shape)
    return out if keepdims else out.reshape([n for a, n in enumerate(shape) if a not in axes])


def _along(x: Array, axes: set) -> Array:
    """The sum of x (not small) along axes, in any shape with the others in order."""
    repeated = [a for a in axes if not x.strides[a] and x.shape[a] > 1]
    for a in repeated:  # one number, n times
        x = x[(slice(None),) * a + (slice(0, 1),)] * x.dtype.type(x.shape[a])
    if x.flags.f_contiguous and x.ndim > 1 and not x.flags.c_contiguous:
        last = x.ndim - 1
        out = _along(x.T, {last - a for a in axes})
        return out.reshape([n for a, n in enumerate(x.shape) if a not in axes][::-1]).T
    x = numpy.ascontiguousarray(x)
    # neighbours that are all summed, or all kept, are one axis
    groups = [
        (there, math.prod(x.shape[a] for a in run))
        for there, run in groupby(range(x.ndim), axes.__contains__)
    ]
    kept = 1  # elements after the axes that are still to be summed
    for there, n in reversed(groups):
        if there:
            x = sum_runs(x.reshape(-1, n, kept))
        else:
            kept *= n
    return x


@with_kernels
def sum_runs(x: Array) -> Array:
    """x (A, R, B) -> (A, B): the sum along the middle."""
    A, R, B = x.shape
    if B == 1 or R < 2 * RUN:
        return x.sum(axis=1)
    blocks = min(max(1, R * B // BLOCK), R // RUN)
    side = R // RUN // blocks  # rows side by side: NumPy is fast along long rows
    rows = blocks * RUN * side
    parts = x[:, :rows].reshape(A, blocks, RUN, side * B).sum(axis=2)
    total = sum_runs(parts.reshape(A, blocks * side, B))
    return total if rows == R else total + sum_runs(x[:, rows:])


def running_sums(x: Any, axis: int) -> Any:
    """x.cumsum(axis): on the CPU in float64, as PyTorch does it; a GPU adds in a tree."""
    if not is_numpy(x):
        return x.cumsum(axis)
    return x.cumsum(axis=axis, dtype=numpy.float64).astype(x.dtype)
