"""Elementwise functions beyond those of the course, in PyTorch's spelling: signs, parts of a
number, angles, logarithms of sums. All are made of ops, or ask the array library."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes

from .. import arrays
from ..arrays import library
from ..core.tensor import Tensor, wrap
from ..ops import elementwise as ops
from ..ops import exponentials
from .arithmetic import pow
from .common import Operand, ReturnType, Sizes, raw, sizes, to_tensor
from .conversions import cast
from .names import named, one_op
from .reductions import sum as sum_of
from .shapes import reshape

# ---------------------------------------------------------------- signs


def positive(input: Tensor) -> Tensor:
    """The tensor itself."""
    if input.dtype is arrays.bool_:
        raise RuntimeError("[positive] needs a tensor of numbers, got torch.bool; use long()?")
    return input


@one_op
def sgn(input: Tensor) -> Tensor:
    """`sign`, of real numbers."""
    return ops.sign(input)


def signbit(input: Tensor) -> Tensor:
    """Whether the sign is minus, also of -0."""
    return wrap(arrays.as_array(library(input.array).signbit(input.array)))


@one_op
def copysign(input: Tensor, other: Operand) -> Tensor:
    """|input| with the sign of other, also of -0. Only input has a gradient."""
    other = to_tensor(other, input)
    kind = arrays.result_type(input.array, other.array)
    kind = kind if kind.is_floating_point else arrays.get_default_dtype()
    return ops.mul(ops.abs(cast(input, kind)), 1 - 2 * cast(signbit(other), kind))


@one_op
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above it, and `values` at 0; there is no gradient."""
    if input.dtype != values.dtype:
        raise RuntimeError(
            f"[heaviside] both dtypes must be equal, got {input.dtype} and {values.dtype}; cast?"
        )
    x = input.detach()
    return ops.where(values.detach(), cast(x > 0, x.dtype), condition=x.array == 0)


def isreal(input: Tensor) -> Tensor:
    """True: there are no complex numbers here."""
    return wrap(library(input.array).ones(input.array.shape, bool))


def isposinf(input: Tensor) -> Tensor:
    return ops.eq(input, math.inf)


def isneginf(input: Tensor) -> Tensor:
    return ops.eq(input, -math.inf)


@one_op
def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """NaN as 0, the infinities as the largest numbers of the dtype, or as the numbers given."""
    if not input.is_floating_point():
        return ops.clone(input)
    x, largest = input.array, float(ml_dtypes.finfo(input.dtype.np).max)
    out = ops.masked_fill(input, mask=x != x, value=nan or 0.0)
    for what, given, usual in ((math.inf, posinf, largest), (-math.inf, neginf, -largest)):
        out = ops.masked_fill(out, mask=x == what, value=usual if given is None else given)
    return out


# ---------------------------------------------------------------- the larger, the smaller


@one_op
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger one, or the one that is not NaN; of two that tie, the first."""
    x, y = raw(input), raw(other)
    return ops.where(input, other, condition=(x >= y) | (y != y))


@one_op
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller one, or the one that is not NaN; of two that tie, the first."""
    x, y = raw(input), raw(other)
    return ops.where(input, other, condition=(x <= y) | (y != y))


# ---------------------------------------------------------------- parts and powers


def frexp(input: Tensor) -> ReturnType:
    """(mantissa, exponent): input = mantissa 2^exponent, |mantissa| in 0.5 ... 1 or 0."""
    if not input.is_floating_point():
        raise RuntimeError(f"[frexp] needs a floating-point tensor, got {input.dtype}; float()?")
    exponent = library(input.array).frexp(input.array)[1]
    half = -exponent // 2  # 2^-exponent itself may be infinite
    mantissa = input * 2.0 ** wrap(half) * 2.0 ** wrap(-exponent - half)
    mantissa = named(cast(mantissa, input.dtype), "FrexpBackward0")
    return ReturnType.of("frexp", mantissa=mantissa, exponent=wrap(exponent.astype("int32")))


@one_op
def ldexp(input: Tensor, other: Operand) -> Tensor:
    """input 2^other."""
    return ops.mul(input, pow(2.0, other))


def float_power(input: Operand, exponent: Operand) -> Tensor:
    """input ** exponent in float64."""
    base, power = (
        cast(x, arrays.float64) if isinstance(x, Tensor) else x for x in (input, exponent)
    )
    return pow(base, power)


def float_power_(self: Tensor, exponent: Operand) -> Tensor:
    if self.dtype is not arrays.float64:
        raise RuntimeError(f"[float_power_] the tensor must be float64, got {self.dtype}; double()")
    return self.pow_(exponent)


def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next number of the dtype in the direction of other; there is no gradient."""
    return wrap(arrays.as_array(library(input.array).nextafter(input.array, other.array)))


# ---------------------------------------------------------------- angles and logarithms


@one_op
def deg2rad(input: Tensor) -> Tensor:
    return ops.mul(input, math.pi / 180)


@one_op
def rad2deg(input: Tensor) -> Tensor:
    return ops.mul(input, 180 / math.pi)


@one_op
def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    input = input if input.is_floating_point() else cast(input, arrays.get_default_dtype())
    at_zero = input.array == 0
    angle = ops.masked_fill(ops.mul(input, math.pi), mask=at_zero, value=1.0)
    return ops.masked_fill(ops.div(ops.sin(angle), angle), mask=at_zero, value=1.0)


@one_op
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2^input + 2^other)."""
    scale, kind = math.log(2), arrays.result_type(input.array, other.array)
    input, other = cast(input, kind), cast(other, kind)
    return ops.div(exponentials.logaddexp(ops.mul(input, scale), ops.mul(other, scale)), scale)


def sum_to_size(input: Tensor, *given: Any, size: Sizes = None) -> Tensor:
    """Summed to a shape that broadcasts to input's."""
    wanted, shape = sizes(given, size), input.array.shape
    lead = len(shape) - len(wanted)
    fits = lead >= 0 and all(n in (1, m) for n, m in zip(wanted, shape[lead:]))
    if not fits:
        raise RuntimeError(f"[sum_to_size] the size must broadcast to {tuple(shape)}, got {wanted}")
    dims = [*range(lead), *(i + lead for i, n in enumerate(wanted) if n == 1 != shape[i + lead])]
    return reshape(sum_of(input, dims), wanted) if dims else input
