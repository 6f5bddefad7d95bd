"""Elementwise functions in PyTorch's spelling, where it differs from the op's own. The
mathematics and its pullbacks are in `ops/elementwise.py`."""

from __future__ import annotations

from typing import Any

import numpy

from .. import arrays
from ..arrays import Array, library
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from ..ops import elementwise as ops
from ..ops import quotients
from .common import Operand, raw, to_tensor
from .conversions import cast
from .keys import as_mask
from .names import named, one_op
from .ordering import nonzero


def add(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    return ops.add(input, other if alpha == 1 else times("add", input, other, alpha))


def sub(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    return ops.sub(input, other if alpha == 1 else times("sub", input, other, alpha))


def times(name: str, input: Operand, other: Operand, alpha: float) -> Operand:
    """other alpha, in the dtype in which input and other meet."""
    if not isinstance(other, Tensor):
        return other * alpha
    if type(alpha) is float and _integers(input, other):
        raise RuntimeError(f"[{name}] alpha of integers must be an integer, got {alpha}; float()?")
    kind = arrays.result_type(raw(input), raw(other))
    return cast(ops.mul(cast(other, kind), alpha), kind)


@one_op
def rsub(input: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """other - alpha input, as Python calls it for `1 - x`."""
    return ops.sub(other, input if alpha == 1 else times("rsub", other, input, alpha))


@one_op
def rdiv(input: Tensor, other: Operand) -> Tensor:
    """other / input, as Python calls it for `1 / x`."""
    return ops.div(other, input)


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; rounding_mode "floor" and "trunc" keep the dtype of the operands."""
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode not in (None, "trunc"):
        raise RuntimeError(f"[div] rounding_mode must be 'floor' or 'trunc', got {rounding_mode!r}")
    if rounding_mode is None:
        return ops.div(input, other)
    _check_divisor("div", input, other)
    if _integers(input, other):  # no float could hold them all
        return ops.floor_divide(ops.sub(input, fmod(input, other)), other)
    return named(trunc(ops.div(input, other)), "DivBackward2")


def _integers(*operands: Operand) -> bool:
    for x in map(raw, operands):
        if type(x) is float or (hasattr(x, "dtype") and x.dtype.kind not in "biu"):
            return False
    return True


def _check_divisor(name: str, input: Operand, other: Operand) -> None:
    """x / 0 has no integer value, and NumPy and CuPy would answer 0."""
    divisor = raw(other)
    if _integers(input, other) and bool(numpy.any(arrays.to_numpy(divisor) == 0)):
        raise RuntimeError(
            f"[{name}] an integer divisor must not be zero, got one that is; float()?"
        )


def floor_divide(input: Operand, other: Operand) -> Tensor:
    """input / other, rounded down."""
    _check_divisor("floor_divide", input, other)
    return ops.floor_divide(input, other)


def pow(input: Operand, exponent: Operand) -> Tensor:
    """input ** exponent; one of them may be a number."""
    if _integers(input, exponent) and bool(numpy.any(arrays.to_numpy(raw(exponent)) < 0)):
        raise RuntimeError("[pow] an integer's exponent must be 0 or more, got less; use float()?")
    out = ops.pow(input, exponent)
    if out.array.dtype == "int8" and arrays.result_type(raw(input), raw(exponent)) is arrays.bool_:
        raise NotImplementedError("[pow] needs a number to take part, got two of bool; use long()?")
    if out.node is not None and isinstance(exponent, Tensor):
        out.node.name = "PowBackward1" if isinstance(input, Tensor) else "PowBackward2"
    return out


def rpow(input: Tensor, other: Operand) -> Tensor:
    return pow(other, input)


def square(input: Tensor) -> Tensor:
    return ops.square(input)


@one_op
def exp2(input: Tensor) -> Tensor:
    """2 ** input."""
    return ops.pow(2.0, input)


@one_op
def trunc(input: Tensor) -> Tensor:
    """The integer part: rounded towards zero."""
    return ops.mul(ops.sign(input), ops.floor(ops.abs(input)))


@one_op
def frac(input: Tensor) -> Tensor:
    """What trunc leaves."""
    return ops.sub(input, trunc(input))


def remainder(input: Operand, other: Operand) -> Tensor:
    """input - other floor(input / other): the sign is other's, as Python's % has it."""
    _check_divisor("remainder", input, other)
    out = ops.remainder(input, other)
    return named(out, "RemainderBackward1") if isinstance(other, Tensor) else out


def fmod(input: Operand, other: Operand) -> Tensor:
    """The remainder with the sign of input, as C's fmod."""
    _check_divisor("fmod", input, other)
    out = quotients.fmod(input, other)
    return named(out, f"FmodBackward{1 if isinstance(other, Tensor) else 0}")


def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """input + weight (end - input); from the nearer end, so that weight 1 gives `end` itself."""
    way = ops.sub(end, input)
    near, far = ops.add(input, ops.mul(weight, way)), ops.sub(end, ops.mul(1 - weight, way))
    if isinstance(weight, Tensor):
        out = ops.where(near, far, condition=weight.array < 0.5)
    else:
        out = near if weight < 0.5 else far
    return named(out, f"LerpBackward{1 if isinstance(weight, Tensor) else 0}")


@one_op
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value tensor1 tensor2."""
    return add(input, ops.mul(tensor1, tensor2), alpha=value)


@one_op
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value tensor1 / tensor2."""
    return add(input, ops.div(tensor1, tensor2), alpha=value)


def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Elements below min become min, above max become max; outside the gradient is 0."""
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        out = input  # where it equals a bound, the gradient is input's
        for bound, beyond in ((min, ops.lt), (max, ops.gt)):
            if bound is not None:
                bound = to_tensor(bound, input)
                outside = beyond(out, bound).array | (bound.array != bound.array)
                out = ops.where(bound, out, condition=outside)
        return named(out, "ClampBackward0")
    if min is None and max is None:
        raise RuntimeError("[clamp] at least one of min and max must be given, got neither")
    bounds = [bound for bound in (min, max) if bound is not None]
    input = cast(input, arrays.result_type(input.array, *bounds))  # a float bound lifts integers
    return ops.clamp(input, min=min, max=max)


def clamp_min(input: Tensor, min: Operand) -> Tensor:
    return named(clamp(input, min), f"ClampMinBackward{int(isinstance(min, Tensor))}")


def clamp_max(input: Tensor, max: Operand) -> Tensor:
    return named(clamp(input, None, max), f"ClampMaxBackward{int(isinstance(max, Tensor))}")


def where(condition: Operand, input: Operand | None = None, other: Operand | None = None) -> Any:
    """input where the condition holds, other elsewhere; with the condition alone, its positions."""
    if input is None:
        return nonzero(to_tensor(condition), as_tuple=True)
    mask = raw(to_tensor(condition))
    if mask.dtype == "uint8":
        mask = as_mask(mask, "where")
    if mask.dtype != bool:
        raise RuntimeError(f"[where] the condition must be boolean, got {arrays.dtype_of(mask)}")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        input = to_tensor(input, to_tensor(condition))
    return ops.where(input, other, condition=mask)


def where_of(input: Tensor, condition: Operand, other: Operand) -> Tensor:
    """`where` as a method of what is taken where the condition holds."""
    return where(condition, input, other)


def masked_fill(input: Tensor, mask: Operand, value: Operand) -> Tensor:
    """value where the boolean mask holds."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"[masked_fill] value must be a number or a 0-d tensor, got {tuple(value.shape)}"
            )
        filled = ops.where(cast(value, input.dtype), input, condition=raw(mask))
        return named(filled, "MaskedFillBackward1")
    return ops.masked_fill(input, mask=raw(mask), value=value)


@one_op
def fill(input: Tensor, value: Operand) -> Tensor:
    """A tensor like input, all one value."""
    lib, size = library(input.array), getattr(value, "ndim", 0)
    if size or not isinstance(value, (Tensor, int, float, numpy.generic)):
        kind = RuntimeError if size else TypeError
        raise kind(f"[fill] value must be a number or a 0-d tensor, got {value!r:.60}")
    if mode.recording and (input.requires_grad or getattr(value, "requires_grad", False)):
        whole = masked_fill(input, lib.ones(input.array.shape, bool), value)
        return whole
    return to_tensor(lib.full_like(input.array, raw(value)))


@one_op
def zero(input: Tensor) -> Tensor:
    """A tensor like input, all zero."""
    return fill(input, 0)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, halves to the even one; with decimals, of 10**decimals parts."""
    if not input.is_floating_point():
        return ops.clone(input)
    if not decimals:
        return ops.round(input)
    return named(ops.round(input * 10.0**decimals) / 10.0**decimals, "RoundBackward1")


def allclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> bool:
    """Whether |input - other| <= atol + rtol |other| everywhere."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


def _pair(name: str, *inputs: Tensor) -> list[Array]:
    for x in inputs:
        if not isinstance(x, Tensor):
            raise TypeError(f"[{name}] needs two Tensors, got {type(x).__name__}")
    return [x.array for x in inputs]


def isclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Tensor:
    """|input - other| <= atol + rtol |other|, elementwise; equal_nan: NaN is close to NaN."""
    a, b = _pair("isclose", input, other)
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"[isclose] both dtypes must be equal, got {a.dtype} and {b.dtype}; cast?"
        )
    try:
        return wrap(library(a).isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan))
    except ValueError as error:
        raise RuntimeError(f"[isclose] shapes must fit together: {error}") from error


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are the same."""
    a, b = _pair("equal", input, other)
    return a.shape == b.shape and bool((a == b).all())
