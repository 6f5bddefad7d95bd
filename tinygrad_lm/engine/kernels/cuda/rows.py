"""Rows of a table at ids, and gradients added into rows in a fixed order, without atomics and
without waiting for the host: the ids are sorted on the device."""

import math

import cupy

from ...arrays import kernel
from ...ops import fused, index
from ...sparse import SparseGrad
from .source import FLOATS, Source, blocks, c_name, packed, takes

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
def add_rows(total, ids, g):
    """total[ids[i]] += g[i], summed in float32."""
    if not takes(total, g) or not g.size or packed(total) is not total:
        return NotImplemented
    n, rows, width = len(ids), len(total), math.prod(g.shape[1:])
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
