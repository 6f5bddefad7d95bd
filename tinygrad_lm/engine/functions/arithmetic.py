"""Elementwise functions in PyTorch's spelling, where it differs from the op's own."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..backend import library
from ..ops import elementwise as ops
from ..ops.moving import copy_to
from ..tensor import Tensor
from .common import as_tensor, raw


def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    return ops.add(input, other if alpha == 1 else ops.mul(other, alpha))


def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    return ops.sub(input, other if alpha == 1 else ops.mul(other, alpha))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    if rounding_mode == "floor":
        return ops.floor_divide(input, other)
    out = ops.div(input, other)
    return trunc(out) if rounding_mode == "trunc" else out


def trunc(input: Tensor) -> Tensor:
    return ops.mul(ops.sign(input), ops.floor(ops.abs(input)))


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Elements below min become min, above max become max; outside the gradient is 0."""
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        out = input if min is None else ops.maximum(input, as_tensor(min, input))
        return out if max is None else ops.minimum(out, as_tensor(max, input))
    return ops.clamp(input, min=min, max=max)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where the condition holds, other elsewhere; with the condition alone, its positions."""
    if input is None:
        return tuple(as_tensor(i) for i in as_tensor(condition).array.nonzero())
    mask = raw(as_tensor(condition))
    if mask.dtype != bool:
        raise RuntimeError(f"[where] the condition must be boolean, got {backend.dtype_of(mask)}")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        input = as_tensor(input, as_tensor(condition))
    return ops.where(input, other, condition=mask)


def masked_fill(input: Tensor, mask: Any, value: Any) -> Tensor:
    """value where the boolean mask holds."""
    if isinstance(value, Tensor):
        if value.requires_grad:
            return ops.where(value, input, condition=raw(mask))
        value = value.item()
    return ops.masked_fill(input, mask=raw(mask), value=value)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like input, all one value."""
    lib = library(input.array)
    return as_tensor(lib.full_like(input.array, raw(value)))


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    return ops.softplus(input, beta=beta, threshold=threshold)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    return ops.leaky_relu(input, negative_slope=negative_slope)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    return ops.round(input * 10.0**decimals) / 10.0**decimals if decimals else ops.round(input)


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """Whether |input - other| <= atol + rtol |other| everywhere."""
    a, b = raw(input), raw(other)
    return bool(library(a).allclose(a, b, rtol=rtol, atol=atol))


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are the same."""
    a, b = raw(input), raw(other)
    return a.shape == b.shape and bool((a == b).all())


def to(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Another dtype and/or device: to(torch.float64), to("cuda"), to(other), to(device=, dtype=)."""
    dtype, device = kwargs.get("dtype"), kwargs.get("device")
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (str, backend.device)):
            device = arg
        elif not isinstance(arg, bool) and arg is not None:
            dtype = arg
    out = cast(input, dtype) if dtype is not None else input
    if device is not None and backend.library_on(device) is not library(out.array):
        out = copy_to(out, device=device)
    return ops.clone(input) if kwargs.get("copy") and out is input else out


def cast(input: Tensor, dtype: Any) -> Tensor:
    """The values in another dtype; the tensor itself where it has that dtype already."""
    kind = backend.as_dtype(dtype)
    return input if input.array.dtype == kind.np else ops.astype(input, dtype=kind.np)
