"""Products of matrices by the loops of `gemm.h`, which add a layer's bias as they write and, for
large layers, sum up its gradient as they read.
"""

import numpy

from ...arrays import get_num_threads, joint, kernel
from ...core.recording import mode
from ...ops import fused
from ...ops import linear as ops
from . import fast

KINDS, BFLOAT16 = "fE", "E"  # dtypes by their characters
LARGE = 1 << 22  # from so many multiplications on, adding up while reading pays
FEW = 8  # rows up to which reading the weights is what takes the time
LONG = 1 << 15  # so many rows it adds up exactly; the sums of blocks are added one after another


def product(a, b, bias=None, sums=None):
    """a (m, k) @ b (k, n) + bias; `sums`, where given, becomes the sums of the rows of a."""
    if not (a.flags.aligned and b.flags.aligned):
        a, b = a.copy(), b.copy()
    (m, k), n = a.shape, b.shape[1]
    out = numpy.empty((m, n), numpy.float32)
    fast.matmul(m, n, k, get_num_threads(), a, b, bias, sums, out)
    return out


def few(rows, weight, bias):
    """rows (r, C) @ weight (O, C).T + bias by the loops of `few.h`; weight float32 or bfloat16."""
    half = weight.dtype.char == BFLOAT16
    out = numpy.empty((len(rows), len(weight)), numpy.float32)
    rows, weight = numpy.ascontiguousarray(rows), weight.view(numpy.uint16) if half else weight
    fast.few(len(rows), *weight.shape, get_num_threads(), rows, half, weight, bias, out)
    return out


@kernel(ops.matmul, numpy.ndarray)
def matmul(x, y):
    """x (..., m, k) @ y (k, n). Few rows or columns are left to NumPy's BLAS, which has loops of
    their own for them."""
    if x.ndim < 2 or y.ndim != 2 or x.dtype.char != "f" or y.dtype.char != "f":
        return NotImplemented
    if x.shape[-1] != len(y) or min(x.shape + y.shape) < 4:
        return NotImplemented
    if x.ndim == 2:
        return product(x, y), (lambda g: product(g, y.T), lambda g: product(x.T, g))
    shape, rows = x.shape, x.reshape(-1, len(y))
    out = product(rows, y)
    outputs = out.shape
    return out.reshape(*shape[:-1], -1), (
        lambda g: product(g.reshape(outputs), y.T).reshape(shape),
        lambda g: product(rows.T, g.reshape(outputs)),
    )


@kernel(fused.linear, numpy.ndarray)
def linear(x, weight, bias=None):
    """x (..., C) @ weight (O, C).T + bias (O,)."""
    if weight.ndim != 2 or x.shape[-1:] != weight.shape[1:] or min(weight.shape) < 4:
        return NotImplemented
    if x.dtype.char != "f" or weight.dtype.char not in KINDS or not x.size:
        return NotImplemented
    if bias is not None:
        if bias.shape != weight.shape[:1] or bias.dtype.char != "f":
            return NotImplemented
        bias = numpy.ascontiguousarray(bias)
    shape, rows = x.shape, x.reshape(-1, x.shape[-1])
    if not mode.recording and len(rows) <= FEW and weight.flags.c_contiguous:
        return few(rows, weight, bias).reshape(*shape[:-1], len(weight)), None
    if len(rows) < 4 or weight.dtype.char != "f":
        return NotImplemented  # so few: NumPy's BLAS has loops of its own
    out = product(rows, weight.T, bias)
    outputs = out.shape
    large = bias is not None and x.size * len(weight) >= LARGE and len(rows) <= LONG

    def make(wanted):
        kept_rows = rows if wanted[1] else None
        kept_weight = weight if wanted[0] else None
        summing = bias.shape if large and wanted[1] and wanted[2] else None

        def pullback(g):
            # dx = g weight, dweight = g^T x, dbias = sum(g): in the product, if g is large
            dx = dweight = None
            sums = None if summing is None else numpy.empty(summing, numpy.float32)
            if kept_weight is not None:
                dx = product(g.reshape(outputs), kept_weight).reshape(shape)
            if kept_rows is not None:
                dweight = product(g.reshape(outputs).T, kept_rows, sums=sums)
            return dx, dweight, g if sums is None else sums  # the walk sums g up

        return pullback

    return out.reshape(*shape[:-1], len(weight)), joint(make)
