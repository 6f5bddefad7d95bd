"""Ops that reduce along axes: sums, products, extremes, and what is built by accumulating.
`axis` is None, an int or a tuple, `keepdims` as in NumPy. PyTorch's `dim` is translated elsewhere.
"""

from __future__ import annotations

import math

from ..arrays import broadcast_to, check_bounds, in_float32, library, running_sums, summed
from ..core.op import primitive
from .elementwise import sign_of
from .index import placed_along


def _spread(g, like, axis, keepdims):
    """g with the reduced axes back, broadcast to the shape of `like`."""
    if axis is not None and not keepdims and like.ndim:
        axes = axis if isinstance(axis, tuple) else (axis,)
        axes = {a % like.ndim for a in axes}
        g = g.reshape([1 if i in axes else n for i, n in enumerate(like.shape)])
    elif axis is None:
        g = g.reshape((1,) * like.ndim)
    return broadcast_to(g, like.shape)


def count(x, axis):
    """How many elements meet in one result."""
    if axis is None:
        return math.prod(x.shape)
    return math.prod(x.shape[a] for a in (axis if isinstance(axis, tuple) else (axis,)))


class _Like:
    """The shape of an array without its memory, so that a closure keeps no array alive."""

    def __init__(self, x):
        self.shape, self.ndim = x.shape, x.ndim


@primitive(cast="wide")
def sum(x, *, axis=None, keepdims=False):
    like = _Like(x)
    if x.dtype.kind in "bui":  # booleans are counted, small integers do not overflow
        return x.sum(axis=axis, keepdims=keepdims, dtype="int64"), None
    return summed(x, axis, keepdims), (lambda g: _spread(g, like, axis, keepdims),)


@primitive(cast="wide")
def mean(x, *, axis=None, keepdims=False):
    like, total = _Like(x), summed(x, axis, keepdims)
    n = count(x, axis)
    return total / (n or math.nan), (lambda g: _spread(g / n, like, axis, keepdims),)


def _variance(x, axis, correction):
    """The sum of squared distances from the mean over (n - correction), in axes of size 1; the
    distances; and n - correction."""
    total = summed(x, axis, True)
    n = count(x, axis)
    free = max(n - correction, 0)
    centred = x - total / (n or math.nan)
    return summed(centred * centred, axis, True) / free, centred, free


@primitive(cast="wide")
def var(x, *, axis=None, keepdims=False, correction=1):
    """Sum of squared distances from the mean over (n - correction)."""
    # dx = 2 g (x - mean) / (n - correction): that the mean moves too adds up to 0
    full, centred, free = _variance(x, axis, correction)
    out = full if keepdims else full.reshape(_reduced(full, axis))
    return out, (lambda g: centred * (g.reshape(full.shape) * 2 / free),)


@primitive(cast="wide")
def std(x, *, axis=None, keepdims=False, correction=1):
    """The root of `var`. The gradient where all are equal is 0."""
    # dx = g (x - mean) / (out (n - correction))
    lib = library(x)
    full, centred, free = _variance(x, axis, correction)
    flat = full == 0
    root = lib.sqrt(lib.where(flat, 1.0, full))

    def dx(g):
        return centred * (g.reshape(root.shape) / (root * free))

    out = lib.where(flat, 0.0, root)
    return (out if keepdims else out.reshape(_reduced(out, axis))), (dx,)


@primitive(cast="wide")
def prod(x, *, axis=None, keepdims=False):
    """The product along axes."""
    # dx = g times the product of the others, without dividing by x where it is 0
    lib = library(x)
    if x.dtype.kind in "bui":
        return x.prod(axis=axis, keepdims=keepdims, dtype="int64"), None

    def dx(g):
        zero = x == 0
        zeros = zero.sum(axis=axis, keepdims=True)
        others = lib.where(zero, 1.0, x).prod(axis=axis, keepdims=True)
        safe = lib.where(zero, 1.0, x)
        alone = lib.where(zeros == 0, others / safe, lib.where((zeros == 1) & zero, others, 0.0))
        return _spread(g, x, axis, keepdims) * alone

    return x.prod(axis=axis, keepdims=keepdims), (dx,)


@primitive
def amax(x, *, axis=None, keepdims=False):
    """The maximum, or NaN if there is one; elements that tie share the gradient evenly."""
    full = library(x).amax(x, axis=axis, keepdims=True)

    def dx(g):
        return _spread(g, x, axis, keepdims) * _shares(x, full, axis).astype(x.dtype)

    return (full if keepdims else full.reshape(_reduced(full, axis))), (dx,)


@primitive
def amin(x, *, axis=None, keepdims=False):
    """The minimum, or NaN if there is one; elements that tie share the gradient evenly."""
    full = library(x).amin(x, axis=axis, keepdims=True)

    def dx(g):
        return _spread(g, x, axis, keepdims) * _shares(x, full, axis).astype(x.dtype)

    return (full if keepdims else full.reshape(_reduced(full, axis))), (dx,)


def _shares(x, full, axis):
    """1 / n where n elements are the extreme one, or NaN, along the axis; 0 elsewhere."""
    ties = (x == full) | (x != x)
    return ties / ties.sum(axis=axis, keepdims=True)


@primitive(cast="float")
def logsumexp(x, *, axis, keepdims=False):
    """log of the sum of e^x, with the maximum taken out first."""
    # dx = g softmax(x) = g e^(x - out)
    lib = library(x)
    top = lib.amax(x, axis=axis, keepdims=True)
    top = lib.where(lib.isfinite(top), top, 0)
    out = lib.log(summed(lib.exp(x - top), axis, True)) + top

    def dx(g):
        return _spread(g, x, axis, keepdims) * lib.exp(x - out)

    return (out if keepdims else out.reshape(_reduced(out, axis))), (dx,)


@primitive(cast="wide")
def cumsum(x, *, axis):
    """Running sums along an axis."""
    # dx[i] = the sum of g[j] over j >= i: a running sum from the other end
    lib = library(x)
    if x.dtype.kind in "bui":
        return x.cumsum(axis=axis, dtype="int64"), None
    return running_sums(x, axis), (lambda g: lib.flip(running_sums(lib.flip(g, axis), axis), axis),)


@primitive(cast="wide")
def norm(x, *, ord=2.0, axis=None, keepdims=False):
    """(sum of |x|^ord)^(1/ord); ord may be inf. The gradient at 0 is 0."""
    # dx = g sign(x) (|x| / out)^(ord - 1); for inf the largest share it, as in `amax`
    lib = library(x)
    size = lib.abs(x)
    if ord == math.inf:
        full = lib.amax(size, axis=axis, keepdims=True)

        def dx(g):
            shares = _shares(size, full, axis)
            return _spread(g, x, axis, keepdims) * (sign_of(x) * shares)

    else:
        full = summed(size**ord, axis, True) ** (1 / ord)

        def dx(g):
            ratio = lib.where(x == 0, 1.0, lib.abs(x) / full)
            slope = ratio ** (ord - 1)
            return _spread(g, x, axis, keepdims) * (sign_of(x) * slope)

    out = full if keepdims else full.reshape(_reduced(full, axis))
    return out.astype(x.dtype), (dx,)


def _reduced(full, axis):
    axes = range(full.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = {a % full.ndim for a in axes} if full.ndim else set()
    return [n for i, n in enumerate(full.shape) if i not in axes]


# ---------------------------------------------------------------- order


@primitive
def argmax(x, *, axis=None, keepdims=False):
    return x.argmax(axis=axis, keepdims=keepdims), None


@primitive
def argmin(x, *, axis=None, keepdims=False):
    return x.argmin(axis=axis, keepdims=keepdims), None


@primitive
def argsort(x, *, axis=-1, descending=False, first=None):
    """Positions that sort x along an axis, or the first few of them; equal elements keep their
    order."""
    lib, x = library(x), in_float32(x)  # CuPy sorts no bfloat16
    if descending:
        backwards = lib.argsort(lib.flip(x, axis), axis=axis, kind="stable")
        order = x.shape[axis] - 1 - lib.flip(backwards, axis)
    else:
        order = lib.argsort(x, axis=axis, kind="stable")
    if first is not None:
        order = order[(*(slice(None),) * (axis % x.ndim), slice(0, first))].copy()
    return order, None


@primitive
def take_along_axis(x, *, indices, axis):
    """x at the given positions along one axis; positions that repeat add up their gradients."""
    shape = x.shape
    check_bounds(indices, shape[axis], "take_along_dim", first=-shape[axis])
    out = library(x).take_along_axis(x, indices, axis)
    return out, (lambda g: placed_along(g, shape, indices, axis),)


@primitive
def any(x, *, axis=None, keepdims=False):
    return x.astype(bool).any(axis=axis, keepdims=keepdims), None


@primitive
def all(x, *, axis=None, keepdims=False):
    return x.astype(bool).all(axis=axis, keepdims=keepdims), None
