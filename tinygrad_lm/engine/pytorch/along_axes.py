"""What runs along an axis, or is reduced along it, beyond the course, in PyTorch's spelling:
running products and extremes, differences, sums without NaN, covariance."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import arrays
from ..core.tensor import Tensor, wrap
from ..ops import elementwise, exponentials
from ..ops import running as ops
from ..ops.reduce import take_along_axis
from .common import Dims, Dtype, ReturnType, axis_of, check_some, numpy_names
from .conversions import cast
from .joining import cat, narrow
from .names import named, one_op
from .reductions import amax, amin, mean, norm, sum

# ---------------------------------------------------------------- so far


@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Dtype = None) -> Tensor:
    """Running product along dim."""
    axis = axis_of(input, dim, "cumprod")
    input = input if dtype is None else cast(input, dtype)
    out = ops.cumprod(input if input.ndim else input.reshape(1), axis=axis)
    out = out if input.ndim else out.reshape(())
    return named(out if dtype is None else cast(out, dtype), "CumprodBackward0")


def _so_far(name: str, input: Tensor, dim: int, sign: int) -> ReturnType:
    axis = axis_of(input, dim, name)
    row = input if input.ndim else input.reshape(1)
    places = ops.argcummax(row, axis=axis, sign=sign)
    values = take_along_axis(row, indices=places.array, axis=axis)
    values, places = values.reshape(input.shape), places.reshape(input.shape)
    return ReturnType.of(name, values=named(values, f"{name.title()}Backward0"), indices=places)


@numpy_names
def cummax(input: Tensor, dim: int) -> ReturnType:
    """(values, indices) of the largest element so far along dim, the last of those that tie."""
    return _so_far("cummax", input, dim, 1)


@numpy_names
def cummin(input: Tensor, dim: int) -> ReturnType:
    """(values, indices) of the smallest element so far along dim, the last of those that tie."""
    return _so_far("cummin", input, dim, -1)


@numpy_names
@one_op
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of the running sum of e^x along dim; nothing overflows."""
    # After step s each place has the sum of the 2 s elements that end there.
    axis, step = axis_of(input, dim, "logcumsumexp"), 1
    out = elementwise.clone(input)
    size = input.array.shape[axis] if input.ndim else 1
    while step < size:
        rest = size - step
        grown = exponentials.logaddexp(narrow(out, axis, 0, rest), narrow(out, axis, step, rest))
        out = cat([narrow(out, axis, 0, step), grown], axis)
        step *= 2
    return out


# ---------------------------------------------------------------- neighbours


@numpy_names
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """What each element along dim has more than the one before it, n times over."""
    if not input.ndim:
        raise RuntimeError("[diff] needs at least one dim, got a 0-d tensor")
    if n == 0:
        return elementwise.clone(input)
    parts = [x for x in (prepend, input, append) if x is not None]
    out, axis = cat(parts, dim) if len(parts) > 1 else input, axis_of(input, dim, "diff")
    less = elementwise.logical_xor if out.dtype is arrays.bool_ else elementwise.sub
    for _ in range(min(n, out.array.shape[axis])):
        rest = out.array.shape[axis] - 1
        out = less(narrow(out, axis, 1, rest), narrow(out, axis, 0, rest))
    return out


def _strips(name: str, y: Tensor, x: Tensor | None, dx: float | None, dim: int) -> Tensor:
    """The areas below the lines that join neighbours."""
    if x is not None and dx is not None:
        raise TypeError(f"[{name}] at most one of x and dx must be given, got both")
    axis = axis_of(y, dim, name)
    rest = max(y.array.shape[axis] - 1, 0)
    sums = narrow(y, axis, 0, rest) + narrow(y, axis, y.array.shape[axis] - rest, rest)
    width: Any = 1 if dx is None else dx
    if x is not None:
        along = [-1 if i == axis else 1 for i in range(y.ndim)]
        width = diff(x).reshape(along) if x.ndim == 1 else diff(x, dim=dim)
    return sums * width / 2.0


@numpy_names
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1) -> Any:
    """The integral along dim by the trapezoidal rule, at places x or dx apart."""
    return sum(_strips("trapezoid", y, x, dx, dim), dim)


def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """`trapezoid` up to each place but the first."""
    return _strips("cumulative_trapezoid", y, x, dx, dim).cumsum(dim)


# ---------------------------------------------------------------- without NaN


def _without_nan(input: Tensor) -> Tensor:
    return elementwise.masked_fill(input, mask=input.array != input.array, value=0)


@numpy_names
def nansum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None
) -> Tensor:
    """The sum of what is not NaN."""
    out = sum(_without_nan(input), dim, keepdim, dtype=dtype)
    return named(out, "NansumBackward0")


@numpy_names
@one_op
def nanmean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None
) -> Tensor:
    """The mean of what is not NaN."""
    if not input.is_floating_point():
        raise RuntimeError(
            f"[nanmean] needs a floating-point tensor, got {input.dtype}; use float()"
        )
    known = wrap(input.array == input.array)
    return nansum(input, dim, keepdim, dtype=dtype) / sum(known, dim, keepdim)


# ---------------------------------------------------------------- extremes, distances, lengths


@numpy_names
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> ReturnType:
    """(min, max) of all, or along dim."""
    check_some(input, "aminmax", None if dim is None else axis_of(input, dim, "aminmax"))
    found = {"min": amin(input, dim, keepdim), "max": amax(input, dim, keepdim)}
    return ReturnType.of("aminmax", **{k: named(x, "AminmaxBackward0") for k, x in found.items()})


@one_op
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other."""
    return norm(input - other, p)


@numpy_names
@one_op
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along dim whose p-norm is above maxnorm, scaled down to it."""
    if input.ndim < 2:
        raise RuntimeError(f"[renorm] needs at least 2 dims, got shape {tuple(input.shape)}")
    axis = axis_of(input, dim, "renorm")
    size = norm(input, p, [i for i in range(input.ndim) if i != axis], keepdim=True)
    long = size.array > maxnorm
    scale = maxnorm / (elementwise.where(size, 1.0, condition=long) + 1e-7)
    return input * elementwise.where(scale, 1.0, condition=long)


# ---------------------------------------------------------------- covariance


def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariances of variables, one a row of observations (V, N) -> (V, V); fweights (N,) say
    how often each was seen, aweights (N,) how much it counts."""
    if input.ndim > 2:
        raise RuntimeError(f"[cov] needs at most 2 dims, got shape {tuple(input.shape)}")
    x = input.reshape(1, -1) if input.ndim < 2 else input
    x = x if x.is_floating_point() else x.to(arrays.get_default_dtype())
    weights = None
    for given in (fweights, aweights):
        if given is not None:
            weights = given if weights is None else weights * given
    total: Any = x.array.shape[1] if weights is None else weights.sum()
    free = total - correction
    if weights is not None and aweights is not None and correction:
        free = total - correction * (weights * aweights).sum() / total
    centred = x - (
        mean(x, 1, keepdim=True) if weights is None else sum(x * weights, 1, True) / total
    )
    free = float(free)
    if free <= 0:
        rule = "there should be more observations than the correction"
        warnings.warn(f"[cov] {rule}, got {float(total)} and {correction}", stacklevel=2)
    weighted = centred if weights is None else centred * weights
    out = weighted @ centred.T / (max(free, 0.0) or math.nan)
    return out.reshape(()) if input.ndim < 2 else out


def corrcoef(input: Tensor) -> Tensor:
    """`cov` over the standard deviations of both variables: correlations in -1 ... 1."""
    found = cov(input)
    if not found.ndim:
        return found / found
    spread = found.diagonal().sqrt()
    return (found / spread.unsqueeze(1) / spread).clamp(-1, 1)
