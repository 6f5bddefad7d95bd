"""Sorting float32 as integers: a number's bits, turned so that they order as it does, and below
them its position. Sorted together they need no stable sort, for which NumPy has no fast loop."""

import numpy

from ...arrays import kernel
from ...ops import reduce
from .blocks import in_blocks

LOW = numpy.int64((1 << 32) - 1)
FEW = 1 << 10  # numbers that a stable sort has in order before the keys are made
NEAR = 64  # neighbours of which the largest stands for all


@kernel(reduce.argsort, numpy.ndarray)
def argsort(x, *, axis=-1, descending=False, first=None):
    """Positions of float32 in order, or the first few of them."""
    if x.dtype.char != "f" or x.ndim < 1 or x.size < FEW or x.shape[axis] > LOW:
        return NotImplemented
    lines = numpy.moveaxis(x, axis, -1)
    n = lines.shape[-1]
    rows, count = lines.reshape(-1, n), n if first is None else min(first, n)
    order = numpy.empty((len(rows), count), numpy.int64)
    in_blocks(lambda x, out: sort(x, descending, count, out), rows, order, cost=4 * n)
    return numpy.moveaxis(order.reshape(*lines.shape[:-1], count), -1, axis).copy("C"), None


def sort(x, descending, count, order):
    """The first `count` positions in each row of x, in order."""
    n = x.shape[-1]
    if descending and 0 < count <= n // (2 * NEAR):
        # The largest elements are in as many groups of neighbours, those with the largest maxima.
        groups = x[:, : n - n % NEAR].reshape(len(x), -1, NEAR).max(-1)
        best = numpy.empty((len(x), count), numpy.int64)
        sort(groups, True, count, best)
        near = (best[..., None] * NEAR + numpy.arange(NEAR)).reshape(len(x), -1)
        rest = numpy.broadcast_to(numpy.arange(n - n % NEAR, n), (len(x), n % NEAR))
        places = numpy.concatenate([near, rest], axis=1)
        x = numpy.take_along_axis(x, places, -1)
    else:
        places = numpy.arange(n)
    keys = keys_of(x, descending)
    keys |= places
    if 0 < count < keys.shape[-1] // 4:
        keys.partition(count - 1, axis=-1)
        keys = keys[:, :count]
    keys.sort(axis=-1)
    numpy.bitwise_and(keys[:, :count], LOW, out=order)


def keys_of(x, descending):
    """Integers that order as x does, with room for 32 bits below."""
    bits = (x + numpy.float32(0)).view(numpy.int32)  # adding 0 makes -0 the 0 that it equals
    bits ^= (bits >> 31) & 0x7FFFFFFF  # of negative numbers the larger ones have smaller bits
    bits[x != x] = 0x7FFFFFFF  # NaN is the largest
    keys = (~bits if descending else bits).astype(numpy.int64)
    keys <<= 32
    return keys
