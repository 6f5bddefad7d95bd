"""What a division with whole quotients leaves, where `elementwise.py` has it not."""

from __future__ import annotations

from ..core.op import primitive
from .elementwise import library_of


@primitive(cast="wide")
def fmod(x, y):
    """x - y trunc(x / y), without rounding: the sign is x's, as C's fmod has it."""
    lib = library_of(x, y)
    return lib.fmod(x, y), (lambda g: g, lambda g: -g * lib.trunc(x / y))
