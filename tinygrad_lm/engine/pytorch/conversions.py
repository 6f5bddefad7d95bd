"""The same values as another dtype or on another device, in PyTorch's spelling. The ops that do it
are `astype` and `copy_to`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .. import arrays
from ..core.tensor import Tensor
from ..ops import elementwise as ops
from ..ops.shape import copy_to
from .common import Device, Dtype
from .layouts import contiguous, is_contiguous, preserve_format
from .names import named

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
        out = ops.astype(input, dtype=input.array.dtype)
    return _formed(out, kwargs.get("memory_format", preserve_format))


def _formed(out: Tensor, form: Any) -> Tensor:
    if form is preserve_format or form is None or is_contiguous(out, form):
        return out
    return named(contiguous(out, form), "ToCopyBackward0")


def cast(input: Tensor, dtype: Dtype) -> Tensor:
    """The values in another dtype; the tensor itself where it has that dtype already."""
    kind = arrays.as_dtype(dtype)
    if input.array.dtype == kind.np:
        return input
    return ops.astype(input, dtype=kind.np)


def _to(kind: Dtype) -> Callable[..., Tensor]:
    def converted(input: Tensor, memory_format: Any = preserve_format) -> Tensor:
        return _formed(cast(input, kind), memory_format)

    return converted


to_float32, to_float64, to_float16 = _to("float32"), _to("float64"), _to("float16")
to_bfloat16, to_bool, to_uint8 = _to("bfloat16"), _to("bool"), _to("uint8")
to_int64, to_int32, to_int16, to_int8 = _to("int64"), _to("int32"), _to("int16"), _to("int8")


def to_cpu(input: Tensor, memory_format: Any = preserve_format) -> Tensor:
    return _formed(to(input, "cpu"), memory_format)


def to_cuda(
    input: Tensor,
    device: Device = None,
    non_blocking: bool = False,
    memory_format: Any = preserve_format,
) -> Tensor:
    return _formed(to(input, "cuda" if device is None else device), memory_format)


def to_pinned(input: Tensor, device: Device = None) -> Tensor:
    """The tensor itself: no memory is pinned here."""
    return input


def type_as(input: Tensor, other: Tensor) -> Tensor:
    return cast(input, other.dtype)


OLD_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
    "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
    "bool": "Bool",
}  # fmt: skip


def type_of(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The old name of the type; or the values in another, which is a dtype, or an old type or its
    name, such as "torch.cuda.FloatTensor": that says where, too."""
    if dtype is None:
        return f"torch.{'cuda.' if input.is_cuda else ''}{OLD_NAMES[input.dtype.name]}Tensor"
    if isinstance(dtype, (type, str)) and (old := old_type(dtype)):
        return to(input, *old)
    return cast(input, dtype)


def old_type(named: type | str) -> tuple[str, arrays.dtype] | None:
    """The device and the dtype of an old type or of its name; None if it is no such name."""
    name = named if isinstance(named, str) else f"{named.__module__}.{named.__name__}"
    if named is Tensor or name == "torch.Tensor":
        return "cpu", arrays.get_default_dtype()
    found = re.fullmatch(r"torch\.(cuda\.)?([A-Za-z0-9]+)Tensor", name)
    if found is None:
        return None
    for kind, old in OLD_NAMES.items():
        if old == found[2]:
            return "cuda" if found[1] else "cpu", arrays.dtype_named(kind)
    raise ValueError(f"[type] must be an old type such as torch.FloatTensor, got {name!r}")
