"""Pooling over the last axes, of any number: the largest element of each window, or the mean of its
elements. Per axis there is a range of positions for each window."""

from __future__ import annotations

import math
from itertools import chain, product

from ..arrays import in_float32, library, with_kernels
from ..core.op import fused
from .reduce import take_along_axis
from .windows import window_sums


@fused
def max_pool(x, *, windows):
    """The largest element of each window of the last axes; per axis `windows` has a range of
    positions for each."""
    # dx = at each position the sum of g over the windows that chose it, the first if several tie
    return at_positions(x, largest(x.array, windows), len(windows))


@fused
def avg_pool(x, *, windows, divisors):
    """The sum of each window of the last axes, divided by the product of its divisors, one per
    axis; windows: as in max_pool, without steps."""
    # dx = at each position the sum of g / divisor over the windows that saw it
    lib, before, areas = library(x.array), x.ndim - len(windows), 1
    for axis, (ranges, each) in enumerate(zip(windows, divisors, strict=True), before):
        x = window_sums(x, axis=axis, bounds=[(r.start, r.stop) for r in ranges])
        areas = areas * lib.array(each).reshape(-1, *[1] * (x.ndim - axis - 1))
    return x / areas.astype(x.array.dtype)


@with_kernels
def largest(x, windows):
    """The position, counted row by row in the last axes of x, of the first maximum in each window,
    or of its last NaN."""
    x, best, chosen = in_float32(x), None, None  # CuPy compares no bfloat16
    lib = library(x)
    for value, place in elements(x, windows):
        if best is None:
            best, chosen = value, place
        else:
            better = (value > best) | (value != value)
            best, chosen = lib.where(better, value, best), lib.where(better, place, chosen)
    return lib.broadcast_to(chosen, best.shape)


def elements(x, windows):
    """The first elements of all windows and their positions, the second ones, and so on; windows
    with fewer positions than others show their last one again."""
    lib, axes, ids = library(x), len(windows), 0
    sizes = [max(map(len, ranges)) for ranges in windows]
    for axis, (ranges, size) in enumerate(zip(windows, sizes), -axes):
        flat, n = [*chain(*([*r, *[r[-1]] * (size - len(r))] for r in ranges))], x.shape[axis]
        if flat != [*range(n)]:
            x = lib.take(x, lib.array(flat), axis)
        ids = ids * n + lib.array(flat).reshape(-1, *[1] * (-axis - 1))
    for at in product(*map(range, sizes)):
        element = (..., *[slice(k, None, size) for k, size in zip(at, sizes)])
        yield x[element], ids[element]


def at_positions(x, ids, axes):
    """The elements of x at ids (..., *counts), counted row by row in its last `axes` axes."""
    lead = tuple(x.shape[:-axes])
    flat = x.reshape(*lead, math.prod(x.shape[-axes:]))
    found = take_along_axis(flat, indices=ids.reshape(*lead, math.prod(ids.shape[-axes:])), axis=-1)
    return found.reshape(ids.shape)
