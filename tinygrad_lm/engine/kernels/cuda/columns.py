"""Sums over rows, as the gradient of a bias is: in two stages, so that every row has its block."""

import math

import cupy

from ...arrays import kernel
from ...arrays.broadcasting import sum_rows
from .source import FLOATS, Source, blocks, c_name, packed, takes

SOURCE = Source("columns", T=FLOATS)
BLOCKS = 528  # of the first stage: four for each processor of the largest GPUs
FEW = 64  # rows that CuPy's one launch sums as fast


@kernel(sum_rows, cupy.ndarray)
def sum_of_rows(g, lead):
    """g (N, ..., C) summed over its first `lead` axes."""
    rows, shape = math.prod(g.shape[:lead]), g.shape[lead:]
    if not takes(g) or rows < FEW or not g.size:
        return NotImplemented
    width = math.prod(shape)
    tiles = blocks(width, 256)
    count = max(1, min(blocks(rows, 32), BLOCKS // tiles))
    parts = cupy.empty((count, width), "float32")
    stripes = SOURCE.kernel("stripes", T=c_name(g))
    stripes((tiles, count), (256,), (packed(g), parts, rows, width))
    out = cupy.empty(shape, g.dtype)
    add_parts(parts, out)
    return out


def add_parts(parts, first, second=None):
    """The sums of the columns of parts (P, width), written to `first`, what is left to `second`."""
    count, width = parts.shape
    total = SOURCE.kernel("total", T=c_name(first))
    rest = (first, 0 if second is None else second, count, width, first.size)
    total((blocks(width, 32),), (256,), (parts, *rest))
