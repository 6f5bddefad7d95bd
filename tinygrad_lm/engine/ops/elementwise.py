"""Ops that act on each element. Values and pullbacks in NumPy's vocabulary on whatever array
library the input comes from; broadcasting and casts are undone by the walk, not here.

At kinks and ties the gradients are PyTorch's: relu'(0) = 0, abs'(0) = 0, maximum shares a tie.
"""

from __future__ import annotations

import math

from ..arrays import library
from ..core.op import primitive

# ---------------------------------------------------------------- arithmetic


@primitive(cast="same")
def add(x, y):
    return x + y, (lambda g: g, lambda g: g)


@primitive(cast="same")
def sub(x, y):
    return x - y, (lambda g: g, lambda g: -g)


@primitive(cast="same")
def mul(x, y):
    return x * y, (lambda g: g * y, lambda g: g * x)


@primitive(cast="float")
def div(x, y):
    return x / y, (lambda g: g / y, lambda g: -g * x / (y * y))


@primitive(cast="same")
def pow(x, y):
    """x ** y. The gradient of the exponent is 0 where x = 0 and y >= 0, as PyTorch has it."""
    lib = library(x) if hasattr(x, "dtype") else library(y)
    out = x**y

    def dx(g):
        return g * lib.where(y == 0, 0.0, y * x ** (y - 1)) if hasattr(y, "dtype") else (
            g * 0 if y == 0 else g * (y * x ** (y - 1))
        )  # fmt: skip

    def dy(g):
        nothing = (x == 0) & (y >= 0)
        return g * lib.where(nothing, 0.0, out * lib.log(lib.where(nothing, 1.0, x)))

    return out, (dx, dy)


@primitive(cast="same")
def remainder(x, y):
    """x - y * floor(x / y): the sign is y's, as Python's % has it."""
    lib = library(x) if hasattr(x, "dtype") else library(y)
    return x % y, (lambda g: g, lambda g: -g * lib.floor(x / y))


@primitive(cast="same")
def floor_divide(x, y):
    return x // y, None


@primitive
def neg(x):
    return -x, (lambda g: -g,)


@primitive
def square(x):
    return x * x, (lambda g: g * (2 * x),)


@primitive(cast="float")
def reciprocal(x):
    out = 1 / x
    return out, (lambda g: -g * (out * out),)


@primitive
def abs(x):
    lib = library(x)
    return lib.abs(x), (lambda g: g * lib.sign(x),)


# ---------------------------------------------------------------- exponentials and logarithms


@primitive(cast="float")
def exp(x):
    out = library(x).exp(x)
    return out, (lambda g: g * out,)


@primitive(cast="float")
def expm1(x):
    out = library(x).expm1(x)
    return out, (lambda g: g * (out + 1),)


@primitive(cast="float")
def log(x):
    return library(x).log(x), (lambda g: g / x,)


@primitive(cast="float")
def log2(x):
    return library(x).log2(x), (lambda g: g / (x * math.log(2)),)


@primitive(cast="float")
def log10(x):
    return library(x).log10(x), (lambda g: g / (x * math.log(10)),)


@primitive(cast="float")
def log1p(x):
    return library(x).log1p(x), (lambda g: g / (x + 1),)


@primitive(cast="float")
def sqrt(x):
    out = library(x).sqrt(x)
    return out, (lambda g: g / (2 * out),)


@primitive(cast="float")
def rsqrt(x):
    out = 1 / library(x).sqrt(x)
    return out, (lambda g: -0.5 * g * (out * out * out),)


# ---------------------------------------------------------------- waves and squashing


@primitive(cast="float")
def sin(x):
    lib = library(x)
    return lib.sin(x), (lambda g: g * lib.cos(x),)


@primitive(cast="float")
def cos(x):
    lib = library(x)
    return lib.cos(x), (lambda g: -g * lib.sin(x),)


@primitive(cast="float")
def tanh(x):
    out = library(x).tanh(x)
    return out, (lambda g: g * (1 - out * out),)


@primitive(cast="float")
def sigmoid(x):
    """1 / (1 + e^-x); where e^-x overflows to inf the result is the right one, 0."""
    out = 1 / (1 + library(x).exp(-x))
    return out, (lambda g: g * (out * (1 - out)),)


@primitive
def relu(x):
    return library(x).maximum(x, 0), (lambda g: g * (x > 0),)


@primitive
def leaky_relu(x, *, negative_slope=0.01):
    lib = library(x)
    slope = lib.where(x > 0, 1.0, negative_slope).astype(x.dtype)
    return x * slope, (lambda g: g * slope,)


@primitive
def softplus(x, *, beta=1.0, threshold=20.0):
    """log(1 + e^(beta x)) / beta; x itself where beta x is above the threshold."""
    lib = library(x)
    z = beta * x
    out = lib.where(z > threshold, x, lib.log1p(lib.exp(lib.minimum(z, threshold))) / beta)
    steep = lib.where(z > threshold, 1.0, 1 / (1 + lib.exp(-z))).astype(x.dtype)
    return out, (lambda g: g * steep,)


@primitive(cast="float")
def erf(x):
    """(2 / sqrt pi) times the integral of e^(-t^2) from 0 to x."""
    lib = library(x)
    scale = 2 / math.sqrt(math.pi)
    value = lib.erf(x) if hasattr(lib, "erf") else error_function(x)
    return value, (lambda g: g * (scale * lib.exp(-x * x)),)


def error_function(x):
    """erf on arrays; NumPy has none. Three ranges, relative error near the float64 limit:
    the Maclaurin series times e^(-x^2) below 2, Legendre's continued fraction for erfc above it."""
    lib = library(x)
    a = lib.minimum(lib.abs(x), 6.0).astype(lib.float64)
    square = a * a
    decay = lib.exp(-square)
    term = total = lib.ones_like(a)
    for n in range(1, 40):  # erf(a) = 2/sqrt(pi) e^(-a^2) sum of 2^n a^(2n+1) / (2n+1)!!
        term = term * (2 * lib.minimum(square, 6.25) / (2 * n + 1))
        total = total + term
    near = 2 / math.sqrt(math.pi) * decay * a * total
    fraction = lib.maximum(a, 1.5)
    tail = fraction
    for n in range(60, 0, -1):  # erfc(a) = e^(-a^2) / sqrt(pi) / (a + 1/2 / (a + 2/2 / (a + ...)))
        tail = fraction + n / 2 / tail
    far = 1 - decay / (math.sqrt(math.pi) * tail)
    return (lib.sign(x) * lib.where(a < 2.5, near, far)).astype(x.dtype)


# ---------------------------------------------------------------- choosing and rounding


def _share_tie(lib, chosen, tied):
    """1 where an input was chosen, 1/2 where both were, 0 elsewhere."""
    return lib.where(tied, 0.5, chosen * 1.0)


@primitive(cast="same")
def maximum(x, y):
    lib = library(x)
    return lib.maximum(x, y), (
        lambda g: g * _share_tie(lib, x > y, x == y),
        lambda g: g * _share_tie(lib, y > x, x == y),
    )


@primitive(cast="same")
def minimum(x, y):
    lib = library(x)
    return lib.minimum(x, y), (
        lambda g: g * _share_tie(lib, x < y, x == y),
        lambda g: g * _share_tie(lib, y < x, x == y),
    )


@primitive
def clamp(x, *, min=None, max=None):
    lib = library(x)
    inside = (x >= (-math.inf if min is None else min)) & (x <= (math.inf if max is None else max))
    return lib.clip(x, min, max), (lambda g: g * inside,)


@primitive(cast="same")
def where(x, y, *, condition):
    """x where the condition holds, y elsewhere."""
    lib = library(x) if hasattr(x, "dtype") else library(y)
    return lib.where(condition, x, y), (
        lambda g: lib.where(condition, g, 0),
        lambda g: lib.where(condition, 0, g),
    )


@primitive
def masked_fill(x, *, mask, value):
    lib = library(x)
    if mask.dtype != bool:
        raise RuntimeError(f"[masked_fill] mask must be boolean, got {mask.dtype}; compare first?")
    out = lib.where(mask, lib.asarray(value, x.dtype), x)
    return out, (lambda g: lib.where(mask, 0, g),)


def _flat(name):
    """An op whose slope is zero wherever it has one."""

    def function(x):
        lib = library(x)
        return getattr(lib, name)(x), (lambda g: lib.zeros_like(g),)

    function.__name__ = {"rint": "round"}.get(name, name)
    function.__doc__ = f"{function.__name__} of each element; its gradient is zero."
    return primitive(function)


sign, floor, ceil, round = map(_flat, ("sign", "floor", "ceil", "rint"))


# ---------------------------------------------------------------- questions: no gradient


def _test(name, numpy_name, cast=None):
    def function(*inputs):
        lib = next(library(x) for x in inputs if hasattr(x, "dtype"))
        return getattr(lib, numpy_name)(*inputs), None

    function.__name__, function.__doc__ = name, f"NumPy's {numpy_name}, elementwise."
    return primitive(cast=cast)(function)


eq, ne = _test("eq", "equal", "same"), _test("ne", "not_equal", "same")
lt, le = _test("lt", "less", "same"), _test("le", "less_equal", "same")
gt, ge = _test("gt", "greater", "same"), _test("ge", "greater_equal", "same")
isfinite, isnan, isinf = (_test(n, n) for n in ("isfinite", "isnan", "isinf"))
logical_not = _test("logical_not", "logical_not")
logical_and, logical_or = _test("logical_and", "logical_and"), _test("logical_or", "logical_or")
logical_xor = _test("logical_xor", "logical_xor")
bitwise_not = _test("bitwise_not", "invert")
bitwise_and = _test("bitwise_and", "bitwise_and", "same")
bitwise_or = _test("bitwise_or", "bitwise_or", "same")
bitwise_xor = _test("bitwise_xor", "bitwise_xor", "same")


@primitive
def astype(x, *, dtype):
    """The values in another dtype; the walk casts the gradient back."""
    return x.astype(dtype), ((lambda g: g,) if dtype.kind in "fV" else None)


@primitive
def clone(x):
    return library(x).copy(x), (lambda g: g,)
