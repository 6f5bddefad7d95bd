"""The inverse of the error function: an op of its own, because its slope follows from its value and
not from the way that value is found."""

from __future__ import annotations

import math

from ..arrays import library
from ..core.op import primitive
from .special import inverse_error_function


@primitive(cast="float")
def erfinv(x):
    """y with erf(y) = x; infinite at -1 and 1, NaN beyond."""
    lib = library(x)
    out = inverse_error_function(x)
    return out, (lambda g: g * (math.sqrt(math.pi) / 2 * lib.exp(out * out)),)
