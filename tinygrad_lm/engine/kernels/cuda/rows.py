"""Rows of a table at ids, and gradients added into rows in a fixed order, without atomics and
without waiting for the host: the ids are sorted on the device."""

import math

import cupy

from ...arrays import in_float32, kernel, rounded
from ...ops import fused, index
from ...sparse import SparseGrad
from .source import FLOATS, Source, blocks, c_name, is_packed, packed, takes

SOURCE = Source("rows", T=FLOATS, KEY=("unsigned short", "unsigned"))
CHUNK = 32  # as in rows.cu


@kernel(fused.embedding, cupy.ndarray)
def embedding(weight, *, ids):
    """weight (V, C) at integer ids of any shape."""
    if not takes(weight) or weight.ndim != 2 or not (weight.size and ids.size):
        return NotImplemented
    flat = cupy.ascontiguousarray(ids.reshape(-1), "int64")
    n, (rows, width) = len(flat), weight.shape
    out = cupy.empty((*ids.shape, width), weight.dtype)
    gather = SOURCE.kernel("gather", T=c_name(weight), KEY="unsigned")
    gather((blocks(n, 8),), (256,), (packed(weight), flat, out, n, rows, width))

    def dweight(g):
        # dweight[v] = the sum of g where ids is v
        g = g.reshape(n, width)

        def add_to(total):
            if total.flags.c_contiguous:
                index.add_rows(total, flat, g)
            else:
                total += index.sum_by_id(g, flat, rows)

        return SparseGrad(g, (rows, width), add_to)

    return out, (dweight,)


@kernel(index.add_rows, cupy.ndarray)
def add_any_rows(total, ids, g):
    """total[ids[i]] += g[i] for every dtype, by CuPy. Sorted, equal ids are neighbours: each row
    adds up those of its id among the 1, 2, 4, ... rows before it, until log2(N) rounds later the
    last of each id has the sum of all."""
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


@kernel(index.add_rows, cupy.ndarray)  # the later one is tried first
def add_rows(total, ids, g):
    """The same for the kernels' floats, in three launches, summed in float32."""
    if not takes(total, g) or not g.size or not is_packed(total):
        return NotImplemented
    n, rows, width = len(ids), len(total), math.prod(g.shape[1:])
    if blocks(width, 256) >= 1 << 16:  # more than a grid has beside its first axis
        return NotImplemented
    name, key = ("unsigned short", "H") if rows <= 1 << 16 else ("unsigned", "I")
    chosen = {"T": c_name(g), "KEY": name}
    ids, keys = cupy.ascontiguousarray(ids, "int64"), cupy.empty(n, key)
    SOURCE.kernel("sort_keys", **chosen)((blocks(n, 256),), (256,), (ids, keys, n, rows))
    order = cupy.argsort(keys, kind="stable")
    parts = cupy.empty((blocks(n, CHUNK), 2, width), "float32")
    grid, sorted_by = (blocks(n, 8 * CHUNK), blocks(width, 256)), (keys, order, total, parts)
    SOURCE.kernel("add_runs", **chosen)(grid, (256,), (packed(g), *sorted_by, n, width))
    SOURCE.kernel("add_crossing", **chosen)(grid, (256,), (*sorted_by, n, width))
    return None
