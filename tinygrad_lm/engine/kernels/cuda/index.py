"""Rows added into rows, for every dtype: without atomics, so that two runs give the same bits, and
without asking the device how often an id is repeated."""

import cupy

from ...arrays import in_float32, kernel, rounded
from ...ops import index


@kernel(index.add_rows, cupy.ndarray)
def add_rows(total, ids, g):
    """Sorted, equal ids are neighbours. Each row adds up those of its id among the 1, 2, 4, ...
    rows before it, until log2(N) rounds later the last of each id has the sum of all."""
    if not g.size:
        return
    order, columns = cupy.argsort(ids, kind="stable"), (1,) * (g.ndim - 1)
    ids, sums, step = ids[order].astype("int64"), in_float32(g[order]), 1
    nothing = sums.dtype.type(0)
    while step < len(ids):
        same = (ids[step:] == ids[:-step]).reshape(-1, *columns)
        sums[step:] += cupy.where(same, sums[:-step], nothing)
        step *= 2
    every = cupy.arange(len(total))
    last = cupy.maximum(cupy.searchsorted(ids, every, side="right") - 1, 0)
    found = (ids[last] == every).reshape(-1, *columns)
    total += rounded(cupy.where(found, sums[last], nothing), total.dtype)
