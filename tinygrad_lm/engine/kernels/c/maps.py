"""Ops on each element, by the functions of `maps.h`: a value and its slope in one pass each. Other
dtypes than float32 are left to NumPy.
"""

import numpy

from ...arrays import get_num_threads, kernel
from ...ops import elementwise, fused
from . import fast
from .rows import dense


def apply(name, x, y=None, s=1.0, t=0.0, factor=None):
    """The function of that name of each x, or of each x and y; `factor` is one number, in an array,
    by which s is multiplied. The result lies in memory as x does."""
    if not x.flags.c_contiguous:
        order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
        x = numpy.ascontiguousarray(x.transpose(order))
        out = apply(name, x, y if y is None else y.transpose(order), s, t, factor)
        return out.transpose(numpy.argsort(order))
    if y is not None and not y.flags.c_contiguous:
        y = numpy.ascontiguousarray(y)
    out = numpy.empty(x.shape, x.dtype)
    fast.map(name, x.size, get_num_threads(), x, y, out, s, t, factor)
    return out


def of_x(name, x, s=1.0, t=0.0):
    """An op whose slope is made of x, in the backward pass."""
    if x.dtype.char != "f":
        return NotImplemented
    return apply(name, x, None, s, t), (lambda g: apply(name + "_slope", x, g, s, t),)


def of_result(name, x):
    """An op whose slope is made of the result."""
    if x.dtype.char != "f":
        return NotImplemented
    out = apply(name, x)
    return out, (lambda g: apply(name + "_slope", out, g),)


@kernel(elementwise.exp, numpy.ndarray)
def exp(x):
    if x.dtype.char != "f":
        return NotImplemented
    out = apply("exp", x)
    return out, (lambda g: g * out,)


@kernel(elementwise.tanh, numpy.ndarray)
def tanh(x):
    return of_result("tanh", x)  # dx = g (1 - y y)


@kernel(elementwise.sigmoid, numpy.ndarray)
def sigmoid(x):
    return of_result("sigmoid", x)  # dx = g y (1 - y)


@kernel(elementwise.relu, numpy.ndarray)
def relu(x):
    return of_x("relu", x)


@kernel(elementwise.leaky_relu, numpy.ndarray)
def leaky_relu(x, *, negative_slope=0.01):
    return of_x("leaky_relu", x, negative_slope)


@kernel(elementwise.softplus, numpy.ndarray)
def softplus(x, *, beta=1.0, threshold=20.0):
    if not threshold <= 80:
        return NotImplemented  # e^threshold must be a number
    return of_x("softplus", x, beta, threshold)


@kernel(fused.silu, numpy.ndarray)
def silu(x):
    return of_x("silu", x)  # dx = g s (1 + x (1 - s)) with s = sigmoid(x)


@kernel(fused.gelu, numpy.ndarray)
def gelu(x, *, approximate="none"):
    """x Phi(x); approximate="tanh" for the tanh form."""
    if approximate not in ("none", "tanh"):
        return NotImplemented
    return of_x("gelu" if approximate == "none" else "tanh_gelu", x)  # dx = g (Phi + x Phi')


@kernel(fused.binary_cross_entropy_with_logits, numpy.ndarray)
def binary_cross_entropy_with_logits(x, y, *, reduction="mean"):
    """A mean or sum over arrays of one shape."""
    if x.shape != y.shape or not x.size or reduction not in ("mean", "sum"):
        return NotImplemented
    if x.dtype.char != "f" or y.dtype.char != "f":
        return NotImplemented
    share = 1 / x.size if reduction == "mean" else 1.0
    losses = apply("logit_loss", x, y)
    value = losses.mean() if reduction == "mean" else losses.sum()

    def dy(g):
        return x * (g * x.dtype.type(-share))

    # dx = g (sigmoid(x) - y) / n
    return value, (lambda g: apply("logit_loss_slope", x, y, share, 0.0, g), dy)


@kernel(fused.mse_loss, numpy.ndarray)
def mse_loss(x, y, *, reduction="mean"):
    """A mean or sum over arrays of one shape."""
    if x.shape != y.shape or not x.size or reduction not in ("mean", "sum"):
        return NotImplemented
    arrays = dense(x, y)
    if arrays is None:
        return NotImplemented
    (x, y), share = arrays, 1 / x.size if reduction == "mean" else 1.0
    total, value = numpy.empty((), numpy.float64), numpy.empty((), x.dtype)
    fast.squares(x.size, get_num_threads(), x, y, total)
    numpy.multiply(total, share, out=value, casting="same_kind")

    def slope(x, y):
        return lambda g: apply("difference", x, y, 2 * share, 0.0, g)

    return value, (slope(x, y), slope(y, x))  # dx = 2 g (x - y) / n = -dy
