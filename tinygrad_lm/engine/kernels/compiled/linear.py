"""x W^T + b by the product of matrices in `gemm.h`, which adds the bias as it writes and sums up
the bias's gradient as it reads. Small products are left to NumPy's BLAS, which starts sooner.
"""

import numpy

from ...backend import get_num_threads
from ...ops import fused
from ...registry import kernel
from .loaded import fast
from .rows import whole_steps

SMALL = 1 << 20  # multiplications


def product(a, b, bias=None, sums=None):
    """a @ b + bias; `sums`, where given, becomes the sums of the rows of a."""
    a, b = (x if whole_steps(x) else numpy.ascontiguousarray(x) for x in (a, b))
    out = numpy.empty((len(a), b.shape[1]), numpy.float32)
    fast.matmul(*out.shape, len(b), get_num_threads(), a, b, bias, sums, out)
    return out


@kernel(fused.linear, numpy.ndarray)
def linear(x, weight, bias=None):
    """x (..., C) @ weight (D, C).T + bias (D,)."""
    if weight.ndim != 2 or x.size * len(weight) < SMALL or x.shape[-1:] != weight.shape[1:]:
        return NotImplemented
    if x.dtype.char != "f" or weight.dtype.char != "f" or x.size < 4 * x.shape[-1]:
        return NotImplemented
    if bias is not None:
        if bias.shape != weight.shape[:1] or bias.dtype.char != "f":
            return NotImplemented
        bias = numpy.ascontiguousarray(bias)
    shape, rows = x.shape, x.reshape(-1, x.shape[-1])
    out = product(rows, weight.T, bias)
    outputs, sums = out.shape, {}

    def dx(g):
        return product(g.reshape(outputs), weight).reshape(shape)

    def dweight(g):
        found = None if bias is None else numpy.empty_like(bias)
        slope = product(g.reshape(outputs).T, rows, sums=found)
        sums.clear()
        sums[id(g)] = found
        return slope

    def dbias(g):  # which `dweight` has found on its way, if it was called for this g just before
        found = sums.pop(id(g), None)
        return numpy.ones(outputs[0], g.dtype) @ g.reshape(outputs) if found is None else found

    return out.reshape(*shape[:-1], len(weight)), (dx, dweight, dbias)
