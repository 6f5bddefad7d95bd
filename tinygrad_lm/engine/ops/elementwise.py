"""Ops that act on each element. x, y and the gradient g are arrays; `library(x)` is the module that
made x, NumPy or CuPy. Broadcasting and casts are undone by the walk, not here.

At kinks and ties the gradients are PyTorch's: relu'(0) = 0, abs'(0) = 0, maximum shares a tie.
"""

from __future__ import annotations

import math

from ..arrays import LIBRARIES, copied, library, rounded, row_major
from ..core.op import primitive
from .special import error_function


def library_of(x, y):
    """The array library of two operands, one of which may be a number."""
    return library(x if hasattr(x, "dtype") else y)


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


@primitive(cast="wide")
def pow(x, y):
    """x ** y. The gradient of the exponent is 0 where x = 0 and y >= 0, as PyTorch has it."""
    # dx = g y x^(y - 1), dy = g x^y log(x)
    lib = library_of(x, y)
    out = x**y

    def dx(g):
        return g * lib.where(y == 0, 0.0, y * x ** (y - 1)) if hasattr(y, "dtype") else (
            g * 0 if y == 0 else g * (y * x ** (y - 1))
        )  # fmt: skip

    def dy(g):
        nothing = (x == 0) & (y >= 0)
        return g * lib.where(nothing, 0.0, out * lib.log(lib.where(nothing, 1.0, x)))

    return out, (dx, dy)


@primitive(cast="wide")
def remainder(x, y):
    """x - y * floor(x / y): the sign is y's, as Python's % has it."""
    lib = library_of(x, y)
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
    return lib.abs(x), (lambda g: g * sign_of(x),)


def sign_of(x):
    """-1, 0 or 1; of NaN 0, as PyTorch has it."""
    lib = library(x)
    return rounded(lib.where(x == x, lib.sign(x), 0), x.dtype)


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
    return library(x).maximum(x, 0), (lambda g: library(x).where(x <= 0, 0, g),)


@primitive(cast="wide")
def leaky_relu(x, *, negative_slope=0.01):
    lib = library(x)
    slope = lib.where(x > 0, 1.0, negative_slope).astype(x.dtype)
    return x * slope, (lambda g: g * slope,)


@primitive(cast="wide")
def softplus(x, *, beta=1.0, threshold=20.0):
    """log(1 + e^(beta x)) / beta; x itself where beta x is above the threshold."""
    lib = library(x)
    # dx = g sigmoid(beta x)
    z = beta * x
    out = lib.where(z > threshold, x, lib.log1p(lib.exp(lib.minimum(z, threshold))) / beta)
    steep = lib.where(z > threshold, 1.0, 1 / (1 + lib.exp(-z))).astype(x.dtype)
    return out, (lambda g: g * steep,)


@primitive(cast="wide")
def logit_loss(x, y):
    """-(y log s(x) + (1 - y) log(1 - s(x))) with the sigmoid s, but nothing overflows."""
    lib = library_of(x, y)
    value = (1 - y) * x + lib.maximum(-x, 0) + lib.log1p(lib.exp(-lib.abs(x)))
    return value, (lambda g: g * (1 / (1 + lib.exp(-x)) - y), lambda g: -g * x)


@primitive(cast="float")
def erf(x):
    """(2 / sqrt pi) times the integral of e^(-t^2) from 0 to x."""
    lib = library(x)
    scale = 2 / math.sqrt(math.pi)
    value = lib.erf(x) if hasattr(lib, "erf") else error_function(x)
    return value, (lambda g: g * (scale * lib.exp(-x * x)),)


# ---------------------------------------------------------------- choosing


def _share_tie(lib, chosen, tied):
    """1 where an input was chosen, and where there is a NaN; 1/2 where both were; 0 elsewhere."""
    return lib.where(tied, 0.5, chosen * 1.0)


@primitive(cast="same")
def maximum(x, y):
    lib = library(x)
    return lib.maximum(x, y), (
        lambda g: g * _share_tie(lib, ~(x < y), x == y),
        lambda g: g * _share_tie(lib, ~(y < x), x == y),
    )


@primitive(cast="same")
def minimum(x, y):
    lib = library(x)
    return lib.minimum(x, y), (
        lambda g: g * _share_tie(lib, ~(x > y), x == y),
        lambda g: g * _share_tie(lib, ~(y > x), x == y),
    )


@primitive
def clamp(x, *, min=None, max=None):
    lib = library(x)
    low, high = -math.inf if min is None else min, math.inf if max is None else max
    inside = (x >= low) & (x <= high)
    if x.dtype.kind == "V":  # bfloat16, beside which CuPy takes no None
        out = rounded(lib.clip(x, low, high), x.dtype)
    else:
        out = lib.clip(x, min, max)
    return out, (lambda g: g * inside,)


@primitive(cast="same")
def where(x, y, *, condition):
    """x where the condition holds, y elsewhere."""
    lib = library_of(x, y)
    dtype = x.dtype if hasattr(x, "dtype") else y.dtype
    return rounded(lib.where(condition, x, y), dtype), (
        lambda g: lib.where(condition, g, 0),
        lambda g: lib.where(condition, 0, g),
    )


@primitive
def masked_fill(x, *, mask, value):
    lib = library(x)
    if mask.dtype != bool:
        raise RuntimeError(f"[masked_fill] mask must be boolean, got {mask.dtype}; compare first?")
    if type(x) in LIBRARIES:
        value = x.dtype.type(value)  # not an array, which CuPy would copy to the device
    out = lib.where(mask, value, x)
    return row_major(rounded(out, x.dtype)), (lambda g: lib.where(mask, 0, g),)


# ---------------------------------------------------------------- rounding: the slope is 0


@primitive
def sign(x):
    """-1, 0 or 1."""
    lib = library(x)
    return sign_of(x), (lambda g: lib.zeros_like(g),)


@primitive
def floor(x):
    lib = library(x)
    return lib.floor(x), (lambda g: lib.zeros_like(g),)


@primitive
def ceil(x):
    lib = library(x)
    return lib.ceil(x), (lambda g: lib.zeros_like(g),)


@primitive
def round(x):
    """To the nearest whole number, halves to the even one."""
    lib = library(x)
    return lib.rint(x), (lambda g: lib.zeros_like(g),)


# ---------------------------------------------------------------- comparisons: no gradient


# fmt: off
@primitive(cast="same")
def eq(x, y): return x == y, None
@primitive(cast="same")
def ne(x, y): return x != y, None
@primitive(cast="same")
def lt(x, y): return x < y, None
@primitive(cast="same")
def le(x, y): return x <= y, None
@primitive(cast="same")
def gt(x, y): return x > y, None
@primitive(cast="same")
def ge(x, y): return x >= y, None

@primitive
def isfinite(x): return library(x).isfinite(x), None
@primitive
def isnan(x): return library(x).isnan(x), None
@primitive
def isinf(x): return library(x).isinf(x), None

@primitive
def logical_not(x): return library(x).logical_not(x), None
@primitive
def logical_and(x, y): return library_of(x, y).logical_and(x, y), None
@primitive
def logical_or(x, y): return library_of(x, y).logical_or(x, y), None
@primitive
def logical_xor(x, y): return library_of(x, y).logical_xor(x, y), None

@primitive
def bitwise_not(x): return ~x, None
@primitive(cast="same")
def bitwise_and(x, y): return x & y, None
@primitive(cast="same")
def bitwise_or(x, y): return x | y, None
@primitive(cast="same")
def bitwise_xor(x, y): return x ^ y, None
# fmt: on


@primitive
def astype(x, *, dtype):
    """The values in another dtype; the walk casts the gradient back."""
    return copied(x, dtype), ((lambda g: g,) if dtype.kind in "fV" else None)


@primitive
def clone(x):
    return copied(x), (lambda g: g,)
