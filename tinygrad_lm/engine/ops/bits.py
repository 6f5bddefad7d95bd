"""Ops on whole numbers: shifts of their bits, divisors and multiples. None has a gradient."""

from __future__ import annotations

from ..core.op import primitive
from .elementwise import library_of


def _check_whole(name, *operands):
    for x in operands:
        if x.dtype.kind not in "iub":
            raise NotImplementedError(f"[{name}] needs integers, got {x.dtype}; use long()?")


@primitive(cast="same")
def bitwise_left_shift(x, y):
    """x 2^y; 0 where no bit is left."""
    _check_whole("bitwise_left_shift", x, y)
    return library_of(x, y).left_shift(x, y), None


@primitive(cast="same")
def bitwise_right_shift(x, y):
    """x / 2^y, rounded down; where no bit is left 0, or -1 of a negative number."""
    _check_whole("bitwise_right_shift", x, y)
    return library_of(x, y).right_shift(x, y), None


@primitive(cast="same")
def gcd(x, y):
    """The greatest number that divides both."""
    _check_whole("gcd", x, y)
    return library_of(x, y).gcd(x, y), None


@primitive(cast="same")
def lcm(x, y):
    """The least positive number that both divide."""
    _check_whole("lcm", x, y)
    return library_of(x, y).lcm(x, y), None
