"""Rows of a table, and their gradient added up in a fixed order: as a product with the one-hot
matrix where the table is small, row after row where it is not."""

import numpy

from ...arrays import exist, kernel
from ...ops import fused
from ...ops.index import sum_by_id
from .blocks import floating

ONE_HOT = 1 << 18  # entries of a one-hot matrix up to which the product is faster


@kernel(fused.embedding, numpy.ndarray)
def embedding(weight, *, ids):
    """weight (V, C) at integer ids of any shape."""
    rows = len(weight)
    if weight.ndim != 2 or not floating(weight) or not ids.size:
        return NotImplemented
    if not exist(ids, rows, -rows):
        return NotImplemented  # the composition says which id is wrong
    flat = ids.reshape(-1) % rows  # one below 0 counts from the end

    def dweight(g):
        # dweight[v] = the sum of g where ids is v
        g = g.reshape(len(flat), -1)
        if len(flat) * rows > ONE_HOT:
            return sum_by_id(g, flat, rows)
        one_hot = numpy.zeros((rows, len(flat)), g.dtype)
        one_hot[flat, numpy.arange(len(flat))] = 1
        return one_hot @ g

    return weight.take(flat, axis=0).reshape(*ids.shape, -1), (dweight,)
