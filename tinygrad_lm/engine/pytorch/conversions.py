"""The same values as another dtype or on another device, in PyTorch's spelling. The ops that do it
are `astype` and `copy_to`."""

from __future__ import annotations

from typing import Any

from .. import arrays
from ..core.tensor import Tensor
from ..ops import elementwise as ops
from ..ops.shape import copy_to
from .common import Device, Dtype


class memory_format:
    """How PyTorch may lay out an image. Here it stays row-major: what is asked for is accepted and
    changes no value."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")

TO_OPTIONS = {"dtype", "device", "copy", "non_blocking", "memory_format"}


def to(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Another dtype or device or both: to(torch.float64), to("cuda"), to(other), to(dtype=...)."""
    dtype, device = kwargs.get("dtype"), kwargs.get("device")
    if kwargs.keys() - TO_OPTIONS:
        raise TypeError(f"[to] options must be among {sorted(TO_OPTIONS)}, got {sorted(kwargs)}")
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (str, int, arrays.device)):
            device = device if isinstance(arg, bool) else arg  # a bool is `non_blocking` or `copy`
        elif arg is not None:
            dtype = arg
    if isinstance(device, int):
        device = f"cuda:{device}"
    out = cast(input, dtype) if dtype is not None else input
    if device is not None and not arrays.is_on(out.array, arrays.device(device)):
        out = copy_to(out, device=device)
    if kwargs.get("copy") and out is input:
        return ops.astype(input, dtype=input.array.dtype)
    return out


def cast(input: Tensor, dtype: Dtype) -> Tensor:
    """The values in another dtype; the tensor itself where it has that dtype already."""
    kind = arrays.as_dtype(dtype)
    if input.array.dtype == kind.np:
        return input
    return ops.astype(input, dtype=kind.np)


def to_float32(input: Tensor) -> Tensor:
    return cast(input, arrays.float32)


def to_float64(input: Tensor) -> Tensor:
    return cast(input, arrays.float64)


def to_float16(input: Tensor) -> Tensor:
    return cast(input, arrays.float16)


def to_bfloat16(input: Tensor) -> Tensor:
    return cast(input, "bfloat16")


def to_int64(input: Tensor) -> Tensor:
    return cast(input, arrays.int64)


def to_int32(input: Tensor) -> Tensor:
    return cast(input, arrays.int32)


def to_uint8(input: Tensor) -> Tensor:
    return cast(input, arrays.uint8)


def to_bool(input: Tensor) -> Tensor:
    return cast(input, arrays.bool_)


def to_cpu(input: Tensor) -> Tensor:
    return to(input, "cpu")


def to_cuda(input: Tensor, device: Device = None) -> Tensor:
    return to(input, "cuda" if device is None else device)


def to_pinned(input: Tensor) -> Tensor:
    """The tensor itself: no memory is pinned here."""
    return input


def type_as(input: Tensor, other: Tensor) -> Tensor:
    return cast(input, other.dtype)


OLD_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
    "int64": "Long", "int32": "Int", "uint8": "Byte", "bool": "Bool",
}  # fmt: skip


def type_of(input: Tensor, dtype: Dtype = None) -> Any:
    """The old name of the type, or a cast."""
    if dtype is not None:
        return cast(input, dtype)
    return f"torch.{'cuda.' if input.is_cuda else ''}{OLD_NAMES[input.dtype.name]}Tensor"
