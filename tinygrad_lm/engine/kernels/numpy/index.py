"""Reading rows of an array, and adding into rows, as NumPy does them fastest."""

import math

import numpy

from ...arrays import is_numpy, kernel
from ...ops import index


@kernel(index.getitem, numpy.ndarray)
def getitem(x, *, key):
    """`take` is several times faster than x[ids], for one array of ids."""
    ids = key[0] if len(key) == 1 else None
    if not is_numpy(ids) or ids.dtype.kind != "i" or not x.flags.c_contiguous:
        return NotImplemented
    shape = x.shape
    return x.take(ids, axis=0), (lambda g: index.placed(g, shape, key),)


@kernel(index.add_rows, numpy.ndarray)
def add_rows(total, ids, g):
    """`add.at` keeps the order, and is fast along one axis."""
    width = math.prod(g.shape[1:])
    places = (ids[:, None] * width + numpy.arange(width)).reshape(-1)
    numpy.add.at(total.reshape(-1), places, g.reshape(-1))
