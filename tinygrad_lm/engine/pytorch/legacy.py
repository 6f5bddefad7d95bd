"""What PyTorch had before `tensor(...)`, and scripts still use: types such as `torch.LongTensor`,
`Variable`, `Tensor.new`. All of them make Tensors; there is no second kind."""

from __future__ import annotations

import warnings
from typing import Any

from .. import arrays
from ..core.tensor import Tensor, wrap
from .common import Device
from .conversions import OLD_NAMES, old_type
from .creation import finish
from .tensor_extras import Size, legacy_data


class OldType(type):
    """The kind of `torch.LongTensor`: a Tensor is an instance of it by its dtype and its device."""

    dtype: arrays.dtype
    is_cuda: bool

    def __instancecheck__(cls, obj: Any) -> bool:
        return isinstance(obj, Tensor) and obj.dtype is cls.dtype and obj.is_cuda is cls.is_cuda

    def __call__(cls, *data: Any, device: Device = None, **named: Any) -> Tensor:
        where = "cuda" if cls.is_cuda else "cpu"
        if device is not None and arrays.device(device).type != where:
            raise RuntimeError(f"[{cls.__name__}] device must be {where}, got {device}; use to()")
        return _made(cls.__name__, cls.dtype, where, data, named)


def _made(
    name: str, dtype: arrays.dtype, where: Device, data: tuple, named: dict[str, Any]
) -> Tensor:
    """A tensor of sizes (zeros), of a sequence of numbers, or on the memory of another tensor."""
    if named.keys() - {"size", "data"} or (named and data) or len(named) > 1:
        raise TypeError(f"[{name}] takes sizes or data, and a device, got {sorted(named)}")
    data = (*data, *(Size(x) if key == "size" else x for key, x in named.items()))
    if len(data) == 1 and isinstance(data[0], Tensor):
        if data[0].dtype is not dtype:
            raise TypeError(
                f"[{name}] the tensor must be of {dtype}, got {data[0].dtype}; use to()"
            )
        return data[0][...]
    return finish(legacy_data(name, data, dtype), where)


# "LongTensor" -> torch.LongTensor, and the same on a GPU: `torch.cuda.LongTensor`.
ON_CPU, ON_GPU = (
    {
        f"{old}Tensor": OldType(
            f"{old}Tensor",
            (),
            {"__module__": module, "dtype": arrays.dtype_named(kind), "is_cuda": gpu},
        )
        for kind, old in OLD_NAMES.items()
    }
    for module, gpu in (("torch", False), ("torch.cuda", True))
)


def set_default_tensor_type(t: type | str) -> None:
    """The dtype and the device of new tensors by an old type or its name: "torch.DoubleTensor"."""
    found = old_type(t) if isinstance(t, (type, str)) else None
    if found is None or not found[1].is_floating_point:
        raise TypeError(
            f"[set_default_tensor_type] must be a floating-point type such as torch.FloatTensor, "
            f"got {t!r:.60}"
        )
    arrays.set_default_device(found[0])
    arrays.set_default_dtype(found[1])


class _AnyTensor(type):
    def __instancecheck__(cls, obj: Any) -> bool:
        return isinstance(obj, Tensor)


class Variable(metaclass=_AnyTensor):
    """A Tensor on the memory of `data`, outside its graph. Tensors have recorded their history
    themselves since PyTorch 0.4; `volatile` is `no_grad()` today, and does nothing."""

    def __new__(  # type: ignore[misc]
        cls, data: Tensor | None = None, requires_grad: bool = False, volatile: bool = False
    ) -> Tensor:
        if data is None:
            data = Tensor()
        if not isinstance(data, Tensor):
            raise TypeError(f"[Variable] data must be a Tensor, got {type(data).__name__}")
        if volatile:
            warnings.warn("[Variable] volatile does nothing; try no_grad()", stacklevel=2)
        return wrap(data.array).requires_grad_(requires_grad)


def new(input: Tensor, *data: Any, device: Device = None, **named: Any) -> Tensor:
    """`torch.Tensor(*data)` of the dtype and on the device of input."""
    where = input.device if device is None else device
    return _made("new", input.dtype, where, data, named)
