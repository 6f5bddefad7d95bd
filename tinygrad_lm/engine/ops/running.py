"""Ops that run along an axis: the product so far, and where the extreme so far is. The sum so far
is in `reduce.py`."""

from __future__ import annotations

from ..arrays import LIBRARIES, library, row_major, running_sums
from ..core.op import primitive


def _products(x, axis):
    """x.cumprod(axis), in float64; of a Tensor the recorded op."""
    if type(x) not in LIBRARIES:
        return cumprod(x, axis=axis)
    return library(x).cumprod(x, axis=axis, dtype="float64").astype(x.dtype)


@primitive(cast="wide")
def cumprod(x, *, axis):
    """Running products along an axis."""
    # dx[i] = the sum over j >= i of g[j] out[j] / x[i]. Where x[i] is the first 0 of its row, the
    # product without it is taken; after it all products hold that 0.
    lib = library(x)
    if x.dtype.kind in "bui":
        return x.cumprod(axis=axis, dtype="int64"), None

    def from_the_end(g):
        return lib.flip(running_sums(lib.flip(g, axis), axis), axis)

    def dx(g):
        zeros = (x == 0).cumsum(axis)
        before, first = zeros == 0, (x == 0) & (zeros == 1)
        whole = from_the_end(g * _products(x, axis)) / lib.where(before, x, 1.0)
        without = from_the_end(g * _products(lib.where(first, 1.0, x), axis))
        return lib.where(before, whole, lib.where(first, without, 0.0)).astype(x.dtype)

    return _products(x, axis), (dx,)


@primitive
def argcummax(x, *, axis, sign=1):
    """Where along the axis the maximum of the elements so far is (sign = -1: the minimum): the
    last such place, or that of the last NaN."""
    # After step s each place knows the best of the 2 s elements that end there.
    lib, n = library(x), x.shape[axis]
    x = lib.moveaxis(x, axis, 0)
    places = lib.arange(n).reshape([-1] + [1] * (x.ndim - 1))
    places = lib.broadcast_to(places, x.shape).copy()
    step = 1
    while step < n:
        a, b = x[:-step], x[step:]
        better = a > b if sign == 1 else a < b
        earlier = (better | (a != a)) & (b == b)
        x = lib.concatenate([x[:step], lib.where(earlier, a, b)], 0)
        places = lib.concatenate(
            [places[:step], lib.where(earlier, places[:-step], places[step:])], 0
        )
        step *= 2
    return row_major(lib.moveaxis(places, 0, axis)), None
