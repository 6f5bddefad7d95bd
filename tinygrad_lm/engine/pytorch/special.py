"""Special functions in PyTorch's spelling, and its page `torch.special`. All but `erfinv` are
compositions, so that their gradients, of any order, follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps

from ..arrays import float64
from ..core.tensor import Tensor
from ..ops.elementwise import erf, expm1, log1p, sigmoid
from ..ops.erfinv import erfinv
from ..ops.exponentials import erfc
from .arithmetic import clamp, div, exp2, masked_fill, round, where
from .by_element import sinc
from .common import Operand, to_tensor
from .conversions import cast
from .names import named, one_op
from .reductions import log_softmax, logsumexp, softmax

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "log1p",
    "log_softmax", "logit", "logsumexp", "ndtr", "psi", "round", "sinc", "softmax", "xlog1py",
    "xlogy",
]  # fmt: skip

START = 8  # where the asymptotic series are exact to float64; below it they are taken START later
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)  # B2, B4 ...


def _in_float64(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Declare a function that is computed in float64 and rounded once, as one op."""

    @wraps(function)
    def computing(input: Tensor) -> Tensor:
        kind = input.dtype if input.is_floating_point() else div(input, 1).dtype
        return named(cast(function(cast(input, float64)), kind), function.__name__)

    return computing


def _folded(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(where x is below 1/2, x or there 1 - x, pi times the distance from a whole number there)."""
    low = x < 0.5
    return low, where(low, 1 - x, x), where(low, math.pi * (x - round(x)), 1.0)


def _shifted(x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """(where x is below START, x or there x + START, there x, x + 1, ..., elsewhere 1, 1, ...)."""
    small = x < START
    return small, where(small, x + START, x), [where(small, x + k, 1.0) for k in range(START)]


@_in_float64
def lgamma(input: Tensor) -> Tensor:
    """log |Gamma(x)|: Stirling's series (DLMF 5.11.1), below START by Gamma(x + 1) = x Gamma(x),
    below 1/2 by Gamma(x) Gamma(1 - x) = pi / sin(pi x)."""
    low, x, angle = _folded(input)
    _, z, steps = _shifted(x)
    series = sum(b / (2 * k * (2 * k - 1)) * z ** (1 - 2 * k) for k, b in enumerate(BERNOULLI, 1))
    out = (z - 0.5) * (z.log() - 1) + (math.log(2 * math.pi) - 1) / 2 + series
    out = out - math.prod(steps[1:], start=steps[0]).log()
    return where(low, math.log(math.pi) - angle.sin().abs().log() - out, out)


@_in_float64
def digamma(input: Tensor) -> Tensor:
    """The slope of `lgamma`, of the same formulas (DLMF 5.11.2); NaN at -1, -2, ..."""
    low, x, angle = _folded(input)
    small, z, steps = _shifted(x)
    series = sum(b / (2 * k) * z ** (-2 * k) for k, b in enumerate(BERNOULLI, 1))
    shift = where(small, sum((1 / step for step in steps[1:]), 1 / steps[0]), 0.0)
    out = z.log() - 0.5 / z - series - shift
    angle = masked_fill(angle, (angle == 0) & (input < 0), math.nan)
    return where(low, out - math.pi * angle.cos() / angle.sin(), out)


@one_op
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)); with eps, of x clamped to eps ... 1 - eps."""
    x = input if eps is None else clamp(input, eps, 1 - eps)
    return (x / (1.0 - x)).log()


def _together(*given: Operand) -> list[Tensor]:
    """Tensors of all, a number's on the device of the others."""
    where = next((x for x in given if isinstance(x, Tensor)), None)
    return [to_tensor(x, where) for x in given]


@one_op
def xlogy(input: Operand, other: Operand) -> Tensor:
    """input log(other); 0 where input is 0, unless other is NaN."""
    x, y = _together(input, other)
    return x * masked_fill(y, (x == 0) & ((y <= 0) | (y == math.inf)), 1).log()


@one_op
def xlog1py(input: Operand, other: Operand) -> Tensor:
    """input log(1 + other); 0 where input is 0, unless other is NaN."""
    x, y = _together(input, other)
    return x * log1p(masked_fill(y, (x == 0) & ((y <= -1) | (y == math.inf)), 0))


def entr(input: Tensor) -> Tensor:
    """-x log x: 0 at 0, -inf below."""
    out = masked_fill(-xlogy(input, input), input < 0, -math.inf)
    return named(out, "special_entr")


def ndtr(input: Tensor) -> Tensor:
    """The share of a standard normal below x: (1 + erf(x / sqrt(2))) / 2."""
    return named((1 + erf(input * math.sqrt(0.5))) / 2, "MulBackward1")


expit, gammaln, psi = sigmoid, lgamma, digamma
