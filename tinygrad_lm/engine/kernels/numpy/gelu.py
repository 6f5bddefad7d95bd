"""GELU and its slope in one go over blocks that stay in cache. What is kept for backward is the
slope: as large as the input, which need not be kept, and backward is one product."""

import math

import numpy

from ...arrays import kernel
from ...core.recording import mode
from ...ops import fused
from .blocks import floating, in_blocks

# The normal distribution function is (1 + tanh u(x)) / 2 with u(x) = x p(x^2): p fitted so that the
# largest error of x Phi(x) on the whole line is 7e-8, below float32's rounding at 1. Powers rise.
PHI = (
    7.97884268e-01,
    3.63341490e-02,
    -3.30266145e-05,
    -5.52734154e-05,
    3.97407494e-06,
    -1.33783469e-07,
    1.81393357e-09,
)
# The tanh form is defined by the first two terms alone.
TANH = (math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi))


@kernel(fused.gelu, numpy.ndarray)
def gelu(x, *, approximate="none"):
    """x Phi(x), elementwise; approximate="tanh" for the tanh form."""
    if (
        not floating(x)
        or approximate not in ("none", "tanh")
        or (x.dtype.char == "d" and approximate == "none")
    ):
        return NotImplemented  # the fit of Phi is for float32
    flat, slope_too = x.reshape(-1), mode.recording
    out = numpy.empty_like(flat)
    slope = numpy.empty_like(flat) if slope_too else out
    forward = _tanh_form if approximate == "tanh" else _normal_form
    in_blocks(lambda x, out, slope: forward(x, out, slope if slope_too else None), flat, out, slope)
    shape = x.shape

    def pullback(g):
        # dx = g (Phi + x Phi'): the slope, made in the forward pass
        dx = numpy.empty_like(slope)
        in_blocks(numpy.multiply, g.reshape(-1), slope, dx)
        return dx.reshape(shape)

    return out.reshape(shape), (pullback,)


def _polynomial(square, powers, out):
    """Horner's rule: out = sum of powers[i] * square^i."""
    numpy.multiply(square, powers[-1], out=out)
    for power in powers[-2:0:-1]:
        out += power
        out *= square
    out += powers[0]
    return out


def _half_tanh(x, square, powers):
    """(1 + tanh(u)) / 2 = 1 / (1 + e^(-2u)) with u = x p(x^2); NumPy's exp takes half as long."""
    phi = _polynomial(square, [-2 * power for power in powers], numpy.empty_like(x))
    phi *= x
    numpy.exp(phi, out=phi)
    phi += 1
    return numpy.divide(1, phi, out=phi)


def _normal_form(x, out, slope):
    square = x * x
    phi = _half_tanh(x, square, PHI)
    numpy.multiply(x, phi, out=out)
    if slope is not None:  # Phi + x e^(-x^2/2) / sqrt(2 pi)
        square *= -0.5
        numpy.exp(square, out=square)
        square *= x
        square *= 1 / math.sqrt(2 * math.pi)
        numpy.add(phi, square, out=slope)


def _tanh_form(x, out, slope):
    square = x * x
    phi = _half_tanh(x, square, TANH)
    numpy.multiply(x, phi, out=out)
    if slope is not None:  # phi + x phi', phi' = 2 phi (1 - phi) u'
        du = _polynomial(square, (2 * TANH[0], 6 * TANH[1]), square)
        du *= x
        du *= phi
        numpy.subtract(1, phi, out=slope)
        slope *= du
        slope += phi
