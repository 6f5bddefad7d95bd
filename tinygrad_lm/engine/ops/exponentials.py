"""Exponentials and logarithms that `elementwise.py` has not: sums of numbers whose logarithms are
kept, and what the error function leaves."""

from __future__ import annotations

import math

from ..arrays import library
from ..core.op import primitive
from .elementwise import library_of
from .special import complementary_error_function


@primitive(cast="float")
def logaddexp(x, y):
    """log(e^x + e^y), with the larger one taken out first."""
    # dx = g / (1 + e^(y - x)); of two that are infinite alike neither has a share
    lib = library_of(x, y)

    def share(g, part, other):
        alike = (part == other) & lib.isinf(part)
        return g / (1 + lib.exp(lib.where(alike, math.inf, other - part)))

    return lib.logaddexp(x, y), (lambda g: share(g, x, y), lambda g: share(g, y, x))


@primitive(cast="float")
def erfc(x):
    """1 - erf(x), to full precision where that is small."""
    lib = library(x)
    scale = -2 / math.sqrt(math.pi)
    value = lib.erfc(x) if hasattr(lib, "erfc") else complementary_error_function(x)
    return value, (lambda g: g * (scale * lib.exp(-x * x)),)
