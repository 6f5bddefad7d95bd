"""Reductions in PyTorch's spelling: `dim` and `keepdim`, and several results with names. The
sums themselves are in `ops/reduce.py`."""

from __future__ import annotations

import math
from typing import Any

from ..arrays import uint8
from ..core.tensor import Tensor
from ..ops import elementwise, fused
from ..ops import reduce as ops
from .common import Dims, Dtype, ReturnType, axes_of, axis_of, check_some, numpy_names
from .conversions import cast
from .layouts import contiguous
from .names import named, one_op
from .shapes import squeeze


def _along(op: Any, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    axes = axes_of(input, dim, op.name)
    out = op(input, axis=axes, keepdims=keepdim)
    return out if axes is None else named(out, f"{op.name.title()}Backward1")


@numpy_names
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None) -> Tensor:
    """Sum over dim (all by default); booleans and integers are summed as int64."""
    out = _along(ops.sum, input if dtype is None else cast(input, dtype), dim, keepdim)
    return out if dtype is None else cast(out, dtype)


def _check_floating(input: Tensor, name: str, kind: type = RuntimeError) -> None:
    if not input.is_floating_point():
        raise kind(f"[{name}] needs a floating-point tensor, got {input.dtype}; use float()")


@numpy_names
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None) -> Tensor:
    input = input if dtype is None else cast(input, dtype)
    _check_floating(input, "mean")
    return _along(ops.mean, input, dim, keepdim)


@numpy_names
def prod(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None) -> Tensor:
    out = _along(ops.prod, input if dtype is None else cast(input, dtype), dim, keepdim)
    return out if dtype is None else cast(out, dtype)


def _spread(
    op: Any,
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """`var` or `std` of the ops. PyTorch also takes `unbiased` as the only argument."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 0 if unbiased is False else 1
    _check_floating(input, op.name)
    axes = axes_of(input, dim, op.name)
    return op(input, axis=axes, keepdims=keepdim, correction=correction)


@numpy_names
def var(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Variance over dim: var(dim=None, unbiased=None, keepdim=False, *, correction=None) divides by
    n - 1 unless unbiased=False or correction says otherwise."""
    return _spread(ops.var, input, *args, **kwargs)


@numpy_names
def std(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The root of `var`, with the same arguments."""
    return _spread(ops.std, input, *args, **kwargs)


def _with_mean(spread: Tensor, input: Tensor, args: tuple, kwargs: dict) -> tuple[Tensor, Tensor]:
    dim = args[0] if args else kwargs.get("dim", kwargs.get("axis"))
    kept = spread.ndim == input.ndim
    return spread, mean(input, None if isinstance(dim, bool) else dim, keepdim=kept)


@one_op
def var_mean(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """(variance, mean), with the arguments of `var`."""
    return _with_mean(var(input, *args, **kwargs), input, args, kwargs)


@one_op
def std_mean(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """(standard deviation, mean), with the arguments of `var`."""
    return _with_mean(std(input, *args, **kwargs), input, args, kwargs)


@numpy_names
def norm(
    input: Tensor,
    p: float | str = 2,
    dim: Dims = None,
    keepdim: bool = False,
    dtype: Dtype = None,
) -> Tensor:
    """(sum of |x|^p)^(1/p); float("inf") is the largest |x|, 0 counts what is not 0, "fro" is 2."""
    _check_floating(input, "norm")
    input = input if dtype is None else cast(input, dtype)
    if p != "fro" and not isinstance(p, (int, float)):
        raise RuntimeError(f"[norm] p must be a number or 'fro', got {p!r}")
    ord = 2.0 if p == "fro" else float(p)
    if ord == 0:
        return sum(cast(elementwise.ne(input, 0), input.dtype), dim, keepdim)
    if ord == -math.inf:
        return amin(elementwise.abs(input), dim, keepdim)
    return ops.norm(input, ord=ord, axis=axes_of(input, dim, "norm"), keepdims=keepdim)


@numpy_names
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log of the sum of e^x along dim; of nothing, -inf."""
    if not input.array.size:  # no maximum to take out
        return elementwise.log(sum(elementwise.exp(input), dim, keepdim))
    return ops.logsumexp(input, axis=axes_of(input, dim, "logsumexp"), keepdims=keepdim)


@numpy_names
def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The maximum; elements that tie share the gradient evenly."""
    return ops.amax(input, axis=axes_of(input, dim, "amax"), keepdims=keepdim)


@numpy_names
def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    return ops.amin(input, axis=axes_of(input, dim, "amin"), keepdims=keepdim)


@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False, other: Tensor | None = None) -> Any:
    """The maximum of all; with dim, (values, indices) along it; with another tensor, the
    elementwise maximum."""
    dim = dim if other is None else other
    return _extreme("max", ops.amax, elementwise.maximum, ops.argmax, input, dim, keepdim)


@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False, other: Tensor | None = None) -> Any:
    """The minimum of all; with dim, (values, indices) along it; with another tensor, the
    elementwise minimum."""
    dim = dim if other is None else other
    return _extreme("min", ops.amin, elementwise.minimum, ops.argmin, input, dim, keepdim)


def _extreme(
    name: str, whole: Any, pair: Any, position: Any, input: Tensor, dim: Any, keepdim: bool
) -> Any:
    if dim is None:
        check_some(input, name)
        return named(whole(input), f"{name.title()}Backward1")
    if isinstance(dim, Tensor):
        return pair(input, dim)
    axis = axis_of(input, dim, name)
    if not input.ndim:
        return ReturnType.of(name, values=whole(input), indices=position(input))
    check_some(input, name, axis)
    indices = position(input, axis=axis, keepdims=True)
    values = ops.take_along_axis(input, indices=indices.array, axis=axis)
    if not keepdim:
        values, indices = squeeze(values, axis), squeeze(indices, axis)
    return ReturnType.of(name, values=named(values, f"{name.title()}Backward0"), indices=indices)


@numpy_names
def argmax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The position of the (first) maximum."""
    axes = axes_of(input, dim, "argmax")
    check_some(input, "argmax", axes)
    return ops.argmax(input, axis=axes, keepdims=keepdim)


@numpy_names
def argmin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    axes = axes_of(input, dim, "argmin")
    check_some(input, "argmin", axes)
    return ops.argmin(input, axis=axes, keepdims=keepdim)


@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: Dtype = None) -> Tensor:
    """Running sum along dim."""
    axis, shape = axis_of(input, dim, "cumsum"), input.array.shape
    input = input if dtype is None else cast(input, dtype)
    out = ops.cumsum(contiguous(input) if shape else input.reshape(1), axis=axis)
    out = out if shape else out.reshape(())
    return out if dtype is None else cast(out, dtype)


@numpy_names
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    out = ops.any(input, axis=axes_of(input, dim, "any"), keepdims=keepdim)
    return cast(out, uint8) if input.dtype is uint8 else out  # as masks were before bool


@numpy_names
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    out = ops.all(input, axis=axes_of(input, dim, "all"), keepdims=keepdim)
    return cast(out, uint8) if input.dtype is uint8 else out


@numpy_names
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements are not zero."""
    return sum(elementwise.ne(input, 0), dim)


@numpy_names
def softmax(input: Tensor, dim: int | None = None, dtype: Dtype = None) -> Tensor:
    """e^x over its sum along dim; a row that is all -inf gives NaN. The gradient is written out in
    `ops/fused.py`."""
    input, axis = _input_and_axis(input, dim, dtype, "softmax")
    if not input.array.size:
        return named(elementwise.clone(input), "softmax")
    return fused.softmax(input, axis=axis)


@numpy_names
def log_softmax(input: Tensor, dim: int | None = None, dtype: Dtype = None) -> Tensor:
    """x minus the log of the sum of e^x along dim."""
    input, axis = _input_and_axis(input, dim, dtype, "log_softmax")
    if not input.array.size:
        return named(elementwise.clone(input), "log_softmax")
    return fused.log_softmax(input, axis=axis)


def _input_and_axis(input: Tensor, dim: int | None, dtype: Dtype, name: str) -> tuple[Tensor, int]:
    """The input, cast if that is asked for, and the axis; the last one as -1."""
    if dim is None:
        raise RuntimeError(f"[{name}] dim must be given, got None; dim=-1 is the last axis")
    input = input if dtype is None else cast(input, dtype)
    _check_floating(input, name, NotImplementedError)
    axis = axis_of(input, dim, name)
    return input, -1 if axis == input.ndim - 1 else axis
