"""Angles and hyperbolas, element by element: tan, the inverses, and what is made of two sides. The
sine, the cosine and tanh are in `elementwise.py`."""

from __future__ import annotations

from ..arrays import library
from ..core.op import primitive
from .elementwise import library_of


@primitive(cast="float")
def tan(x):
    out = library(x).tan(x)
    return out, (lambda g: g * (1 + out * out),)


@primitive(cast="float")
def asin(x):
    lib = library(x)
    return lib.arcsin(x), (lambda g: g / lib.sqrt(1 - x * x),)


@primitive(cast="float")
def acos(x):
    lib = library(x)
    return lib.arccos(x), (lambda g: -g / lib.sqrt(1 - x * x),)


@primitive(cast="float")
def atan(x):
    return library(x).arctan(x), (lambda g: g / (1 + x * x),)


@primitive(cast="float")
def sinh(x):
    lib = library(x)
    return lib.sinh(x), (lambda g: g * lib.cosh(x),)


@primitive(cast="float")
def cosh(x):
    lib = library(x)
    return lib.cosh(x), (lambda g: g * lib.sinh(x),)


@primitive(cast="float")
def asinh(x):
    lib = library(x)
    return lib.arcsinh(x), (lambda g: g / lib.sqrt(1 + x * x),)


@primitive(cast="float")
def acosh(x):
    lib = library(x)
    return lib.arccosh(x), (lambda g: g / lib.sqrt(x * x - 1),)


@primitive(cast="float")
def atanh(x):
    return library(x).arctanh(x), (lambda g: g / (1 - x * x),)


@primitive(cast="float")
def atan2(y, x):
    """The angle of the point (x, y), in -pi ... pi. The gradient at the origin is 0."""
    lib = library_of(y, x)
    square = x * x + y * y
    square = lib.where(square == 0, 1.0, square)
    return lib.arctan2(y, x), (lambda g: g * (x / square), lambda g: g * (-y / square))


@primitive(cast="wide")
def hypot(x, y):
    """The root of x^2 + y^2, which does not overflow."""
    out = library_of(x, y).hypot(x, y)
    return out, (lambda g: g * (x / out), lambda g: g * (y / out))
