"""Functions of arrays that not every array library has."""

from __future__ import annotations

import math

from ..arrays import library, with_kernels


@with_kernels
def error_function(x):
    """erf on arrays; NumPy has none."""
    lib = library(x)
    near, far, a = _both_ways(x, 6.0)
    return (lib.sign(x) * lib.where(a < 2.5, near, 1 - far)).astype(x.dtype)


@with_kernels
def complementary_error_function(x):
    """1 - erf(x), which keeps its digits where erf is almost 1."""
    lib = library(x)
    near, far, a = _both_ways(x, 28.0)
    beyond = lib.where(a < 2.5, 1 - near, far)
    return lib.where(x < 0, 2 - beyond, beyond).astype(x.dtype)


def _both_ways(x, most):
    """erf and 1 - erf of a = |x| at most so large, and a. Relative errors near the float64 limit:
    the Maclaurin series times e^(-x^2) below 2.5, Legendre's continued fraction above it."""
    lib = library(x)
    a = lib.minimum(lib.abs(x), most).astype(lib.float64)
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
    return near, decay / (math.sqrt(math.pi) * tail), a


def inverse_error_function(x):
    """y with erf(y) = x on arrays: Winitzki's formula (2008), right to two digits, then three steps
    of Halley's method, each of which triples them. Infinite at -1 and 1, NaN beyond."""
    lib = library(x)
    erf = lib.erf if hasattr(lib, "erf") else error_function
    target, constant = x.astype("float64"), 0.147
    log = lib.log1p(-target * target)
    half = 2 / (math.pi * constant) + log / 2
    y = lib.sign(target) * lib.sqrt(lib.sqrt(half * half - log / constant) - half)
    for _ in range(3):
        miss = math.sqrt(math.pi) / 2 * lib.exp(y * y) * (erf(y) - target)
        y = lib.where(lib.abs(target) < 1, y - miss / (1 + y * miss), y)
    return y.astype(x.dtype)
