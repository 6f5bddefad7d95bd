"""What is known about a dtype: `finfo`, `iinfo`, `can_cast`, and the questions asked of a tensor's
dtype by name."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy

from .. import arrays
from ..core.tensor import Tensor
from .protocols import truth
from .storage import TypedStorage


class Info:
    """The limits of a dtype. `shown` are the names and formats that it prints."""

    shown: dict[str, str]
    bits: int
    dtype: str

    def __repr__(self) -> str:
        words = [f"{name}={format(getattr(self, name), how)}" for name, how in self.shown.items()]
        return f"{type(self).__name__}({', '.join(words)})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.dtype)


class finfo(Info):
    """Limits of a floating-point dtype (the default one if left out): `bits`, `max`, `min`, `eps`,
    `tiny`, `smallest_normal`, `resolution`."""

    shown = dict.fromkeys("resolution min max eps smallest_normal tiny".split(), "g") | {
        "dtype": ""
    }

    def __init__(self, type: arrays.dtype | None = None):
        kind = arrays.as_dtype(arrays.get_default_dtype() if type is None else type)
        if not kind.is_floating_point:
            raise TypeError(f"[finfo] must be given a floating-point dtype, got {kind}; try iinfo")
        found = ml_dtypes.finfo(kind.np)
        self.dtype, self.bits = kind.name, 8 * kind.itemsize
        self.eps, self.max, self.min = float(found.eps), float(found.max), float(found.min)
        self.tiny = self.smallest_normal = float(found.smallest_normal)
        self.resolution = 10.0 ** -int(found.precision)


class iinfo(Info):
    """Limits of an integer dtype: `bits`, `max`, `min`."""

    shown = {"min": "g", "max": "g", "dtype": ""}

    def __init__(self, type: arrays.dtype):
        kind = arrays.as_dtype(type)
        if kind.category != 1:
            raise TypeError(f"[iinfo] must be given an integer dtype, got {kind}; try finfo")
        found = numpy.iinfo(kind.np)
        self.dtype, self.bits = kind.name, 8 * kind.itemsize
        self.max, self.min = int(found.max), int(found.min)


def can_cast(from_: arrays.dtype, to: arrays.dtype) -> bool:
    """Whether a result of one dtype may be written into another: the category must not sink."""
    return from_.category <= to.category


def is_complex(input: Tensor) -> bool:
    """False: no complex numbers are offered."""
    return _tensor("is_complex", input).dtype.is_complex


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not zero."""
    return truth(_tensor("is_nonzero", input))


def is_storage(obj: Any) -> bool:
    return isinstance(obj, TypedStorage)


def typename(obj: Any) -> str:
    """The full name of a thing's type, a tensor's by its dtype: `torch.FloatTensor`."""
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = kind.__module__ or ""
    return kind.__qualname__ if module in ("", "builtins") else f"{module}.{kind.__qualname__}"


def _tensor(name: str, input: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"[{name}] input must be a Tensor, got {type(input).__name__}")
    return input
