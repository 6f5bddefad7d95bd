"""Reductions in PyTorch's spelling: `dim` and `keepdim`, and several results with names."""

from __future__ import annotations

from typing import Any

from ..backend import library
from ..ops import elementwise, fused
from ..ops import reduce as ops
from ..ops.shape import reshape
from ..tensor import Tensor, wrap
from .arithmetic import cast
from .common import ReturnType, axes_of, axis_of, named, numpy_names, raw


def _reduced(op: Any, input: Tensor, dim: Any, keepdim: bool, **settings: Any) -> Tensor:
    axes = axes_of(input, dim, op.name)
    out = op(input, axis=axes, keepdims=keepdim, **settings)
    return out if axes is None else named(out, f"{op.name.title()}Backward1")


@numpy_names
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over dim (all by default); booleans and integers are summed as int64."""
    return _reduced(ops.sum, input if dtype is None else cast(input, dtype), dim, keepdim)


@numpy_names
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    input = input if dtype is None else cast(input, dtype)
    if not input.is_floating_point():
        raise RuntimeError(f"[mean] needs a floating-point tensor, got {input.dtype}; use float()")
    return _reduced(ops.mean, input, dim, keepdim)


@numpy_names
def prod(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    return _reduced(ops.prod, input if dtype is None else cast(input, dtype), dim, keepdim)


@numpy_names
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance over dim; divides by n - 1 unless unbiased=False or correction says otherwise."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 0 if unbiased is False else 1
    axes = axes_of(input, dim, "var")
    return ops.var(input, axis=axes, keepdims=keepdim, correction=correction)


@numpy_names
def std(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The root of `var`, with the same arguments."""
    return named(elementwise.sqrt(var(input, *args, **kwargs)), "StdBackward0")


@numpy_names
def norm(input: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
    """(sum of |x|^p)^(1/p); p may be float("inf"), and "fro" is 2."""
    ord = 2.0 if p == "fro" else float(p)
    out = ops.norm(input, ord=ord, axis=axes_of(input, dim, "norm"), keepdims=keepdim)
    return named(out, "LinalgVectorNormBackward0")


@numpy_names
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    return ops.logsumexp(input, axis=axes_of(input, dim, "logsumexp"), keepdims=keepdim)


@numpy_names
def amax(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The maximum; elements that tie share the gradient evenly."""
    return ops.amax(input, axis=axes_of(input, dim, "amax"), keepdims=keepdim)


@numpy_names
def amin(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return ops.amin(input, axis=axes_of(input, dim, "amin"), keepdims=keepdim)


def _best(name: str, whole: Any, pair: Any, position: Any) -> Any:
    @numpy_names
    def function(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            _check_some(input, name)
            return named(whole(input), f"{name.title()}Backward1")
        if isinstance(dim, Tensor):
            return pair(input, dim)
        axis = axis_of(input, dim, name)
        if not input.ndim:
            return ReturnType.of(name, values=whole(input), indices=position(input))
        _check_some(input, name)
        indices = position(input, axis=axis, keepdims=True)
        values = ops.take_along_axis(input, indices=indices.array, axis=axis)
        values = named(values, f"{name.title()}Backward0")
        if not keepdim:
            values, indices = squeezed(values, axis), squeezed(indices, axis)
            values = named(values, f"{name.title()}Backward0")
        return ReturnType.of(name, values=values, indices=indices)

    function.__name__ = name
    function.__doc__ = (
        f"The {name}imum of all; with dim, (values, indices) along it; "
        f"with another tensor, the elementwise {name}imum."
    )
    return function


def squeezed(x: Tensor, axis: int) -> Tensor:
    shape = x.array.shape
    return reshape(x, shape=shape[:axis] + shape[axis + 1 :])


def _check_some(input: Tensor, name: str) -> None:
    if not input.array.size:
        raise RuntimeError(f"[{name}] needs at least one element, got shape {tuple(input.shape)}")


max = _best("max", ops.amax, elementwise.maximum, ops.argmax)
min = _best("min", ops.amin, elementwise.minimum, ops.argmin)


@numpy_names
def argmax(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The position of the (first) maximum."""
    _check_some(input, "argmax")
    return ops.argmax(input, axis=axes_of(input, dim, "argmax"), keepdims=keepdim)


@numpy_names
def argmin(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    _check_some(input, "argmin")
    return ops.argmin(input, axis=axes_of(input, dim, "argmin"), keepdims=keepdim)


def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sum along dim."""
    input = input if dtype is None else cast(input, dtype)
    return ops.cumsum(input, axis=axis_of(input, dim, "cumsum")) if input.ndim else input


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    return ops.argsort(input, axis=axis_of(input, dim, "argsort"), descending=descending)


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """(values, indices) in order; equal elements keep theirs."""
    indices = argsort(input, dim, descending)
    axis = axis_of(input, dim, "sort")
    values = ops.take_along_axis(input, indices=indices.array, axis=axis)
    return ReturnType.of("sort", values=named(values, "SortBackward0"), indices=indices)


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the k largest (smallest) along dim."""
    axis = axis_of(input, dim, "topk")
    if not 0 <= k <= input.array.shape[axis]:
        raise RuntimeError(
            f"[topk] k must be in 0 ... {input.array.shape[axis]}, the size of dim {dim}, got {k}"
        )
    order = argsort(input, dim, descending=largest).array
    indices = order[(*(slice(None),) * axis, slice(0, k))].copy()
    values = ops.take_along_axis(input, indices=indices, axis=axis)
    return ReturnType.of("topk", values=named(values, "TopkBackward0"), indices=wrap(indices))


@numpy_names
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return ops.any(input, axis=axes_of(input, dim, "any"), keepdims=keepdim)


@numpy_names
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return ops.all(input, axis=axes_of(input, dim, "all"), keepdims=keepdim)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of the elements that are not zero: (N, ndim), or one (N,) per axis."""
    found = input.array.nonzero()
    if as_tuple:
        return tuple(wrap(i) for i in found)
    return wrap(library(input.array).stack(found, axis=1))


def histogram(
    input: Tensor, bins: Any = 100, *, range: Any = None, density: bool = False
) -> ReturnType:
    """(hist, bin_edges): counts, or densities, of all elements in equal bins, as floats."""
    x = input.detach().array.reshape(-1)
    edges = raw(bins)
    if not isinstance(bins, int) and range is not None:
        raise RuntimeError("[histogram] range must be left out when the bin edges are given")
    hist, edges = library(x).histogram(x, bins=edges, range=range, density=density)
    return ReturnType.of(
        "histogram", hist=wrap(hist.astype(x.dtype)), bin_edges=wrap(edges.astype(x.dtype))
    )


def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """e^x over its sum along dim."""
    input = input if dtype is None else cast(input, dtype)
    return fused.softmax(input, axis=_last(input, dim, "softmax"))


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """x minus the log of the sum of e^x along dim."""
    input = input if dtype is None else cast(input, dtype)
    return fused.log_softmax(input, axis=_last(input, dim, "log_softmax"))


def _last(input: Tensor, dim: int | None, name: str) -> int:
    axis = axis_of(input, -1 if dim is None else dim, name)
    return -1 if axis == input.ndim - 1 else axis

