"""Two of the three products of a convolution by the loops of `convolution.h`, the third in terms of
the first."""

from __future__ import annotations

import math
from array import array

import numpy

from ...arrays import get_num_threads, kernel
from ..numpy import convolution as ways
from . import fast
from .rows import dense

# (what is meant where there are fewer than three axes): elements, windows, kernel, stride ...
ALONE = 1, 1, 1, 1, 0, 1


def sizes_of(where):
    missing = 3 - len(where.sizes)
    rows = [(alone,) * missing + tuple(row) for alone, row in zip(ALONE, where)]
    return array("q", [n for row in rows for n in row])


def product(x, rows, bias, y, where, groups, back):
    """y = rows times the windows of x + bias, or with `back` rows = y times windows; where this is
    not for these loops, NotImplemented."""
    arrays = dense(x, rows, bias, y)
    if arrays is None or len(where.sizes) > 3:
        return NotImplemented
    N, channels, outputs = len(x), x.shape[1] // groups, y.shape[1] // groups
    how = N, groups, channels, outputs, get_num_threads(), back, sizes_of(where)
    fast.convolution(*how, *arrays)
    return rows if back else y


@kernel(ways.outputs_of, numpy.ndarray)
def outputs_of(x, rows, where, bias=None):
    groups, outputs, _ = rows.shape
    y = numpy.empty((len(x), groups * outputs, *where.counts), x.dtype)
    return product(x, rows, bias, y, where, groups, False)


@kernel(ways.rows_of, numpy.ndarray)
def rows_of(x, g, where, groups):
    channels, outputs = x.shape[1] // groups, g.shape[1] // groups
    rows = numpy.empty((groups, outputs, channels * math.prod(where.kernel)), x.dtype)
    return product(x, rows, None, g, where, groups, True)
