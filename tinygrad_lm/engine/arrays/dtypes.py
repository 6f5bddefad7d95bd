"""Element types under PyTorch's names, and what comes out when they meet: PyTorch's promotion, not
NumPy's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy

from .libraries import LIBRARIES, Array, is_half, library
from .replay import check_not_recording


class dtype:
    """An element type under PyTorch's name; `.np` is NumPy's. Category: 0 bool, 1 int, 2 float, and
    3 complex, of which there are names alone."""

    __slots__ = ("category", "itemsize", "name", "np", "rank")
    np: numpy.dtype

    def __init__(self, name: str, np: type, category: int, rank: int):
        self.name, self.np, self.category, self.rank = name, numpy.dtype(np), category, rank
        self.itemsize = self.np.itemsize

    @property
    def is_floating_point(self) -> bool:
        return self.category == 2

    @property
    def is_complex(self) -> bool:
        return self.category == 3

    @property
    def is_signed(self) -> bool:
        return self.category > 1 or (self.category == 1 and self.name[0] != "u")

    @property
    def kind(self) -> str:
        """NumPy's letter, so that an op may ask a Tensor's dtype what it asks an array's."""
        return self.np.kind

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple:
        return dtype_named, (self.name,)


bool_ = dtype("bool", numpy.bool_, 0, 0)
uint8 = dtype("uint8", numpy.uint8, 1, 1)
int8 = dtype("int8", numpy.int8, 1, 2)
int16 = dtype("int16", numpy.int16, 1, 3)
int32 = dtype("int32", numpy.int32, 1, 4)
int64 = dtype("int64", numpy.int64, 1, 5)
float16 = dtype("float16", numpy.float16, 2, 6)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, 2, 7)  # the only one that NumPy has
float32 = dtype("float32", numpy.float32, 2, 8)
float64 = dtype("float64", numpy.float64, 2, 9)
DTYPES: dict[numpy.dtype, dtype] = {
    d.np: d for d in (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)
}


class NameAlone(dtype):
    """A dtype of PyTorch's that may be named and compared; whatever would use it is refused."""

    __slots__ = ()

    def __init__(self, name: str, category: int, itemsize: int):
        self.name, self.category, self.itemsize, self.rank = name, category, itemsize, -1

    @property
    def np(self) -> Any:  # type: ignore[override]
        raise TypeError(
            f"[dtype] must be one of {_names()}, got {self}, of which there is no more "
            "than the name; cast to one of these?"
        )


# name -> category, bytes of an element
NAMES_ALONE = {
    "uint16": (1, 2), "uint32": (1, 4), "uint64": (1, 8),
    "complex64": (3, 8), "complex128": (3, 16),
    "float8_e4m3fn": (2, 1), "float8_e5m2": (2, 1),
}  # fmt: skip
NAMED: dict[str, dtype] = {d.name: d for d in DTYPES.values()}
NAMED |= {name: NameAlone(name, *what) for name, what in NAMES_ALONE.items()}


def _names() -> str:
    return ", ".join(d.name for d in DTYPES.values())


class _State:
    """Process-wide."""

    default = float32


def dtype_named(name: str) -> dtype:
    return NAMED[name]


def dtype_of(array: Array) -> dtype:
    found = DTYPES.get(array.dtype)
    if found is None:
        raise TypeError(
            f"[dtype] must be one of {_names()}, got NumPy's {array.dtype}; cast it first"
        )
    return found


def as_dtype(kind: Any) -> dtype:
    """One of our dtypes from itself, Python's float/int/bool, or anything NumPy accepts."""
    if isinstance(kind, dtype):
        return DTYPES[kind.np]  # itself, or a TypeError where there is but a name
    try:
        return DTYPES[numpy.dtype(kind)]
    except (KeyError, TypeError):
        raise TypeError(f"[dtype] must be one of {_names()}, got {kind!r}") from None


def get_default_dtype() -> dtype:
    return _State.default


def set_default_dtype(kind: dtype) -> None:
    if not as_dtype(kind).is_floating_point:
        raise TypeError(f"[set_default_dtype] must be a floating-point dtype, got {kind!r}")
    _State.default = as_dtype(kind)


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest type that holds both: category first, then width (PyTorch's table)."""
    both = {type1, type2}
    if both == {float16, bfloat16}:
        return float32
    if both == {uint8, int8}:
        return int16
    return max(type1, type2, key=lambda d: d.rank)


def result_type(*operands: Any) -> dtype:
    """PyTorch's rule: arrays decide; 0-d arrays and Python numbers only lift the category."""
    levels: list[dtype | None] = [None, None, None]  # arrays, 0-d arrays, Python numbers
    for x in operands:
        if hasattr(x, "dtype"):
            level, kind = (0 if x.ndim else 1), dtype_of(x)
        else:
            level, kind = 2, bool_ if isinstance(x, bool) else int64
            if isinstance(x, float):
                kind = get_default_dtype()
        best = levels[level]
        levels[level] = kind if best is None else promote_types(best, kind)
    result: dtype | None = None
    for found in levels:
        if found is not None and (result is None or found.category > result.category):
            result = found
    if result is None:
        raise TypeError("[result_type] needs a Tensor, an array or a number, got nothing")
    return result


def narrow(operands: Iterable) -> bool:
    """Whether there are 16-bit floats among arrays, Tensors and numbers."""
    for x in operands:
        if is_half(getattr(x, "dtype", float32)):
            return True
    return False


def join_devices(arrays: list) -> None:
    """Where a GPU's arrays are among them, those of no axes that are on the CPU go there, in place
    in their list: PyTorch lets these meet, and no others."""
    there = [x for x in arrays if type(x) in LIBRARIES and type(x) is not numpy.ndarray]
    for i, x in enumerate(arrays):
        if there and type(x) is numpy.ndarray and not x.ndim:
            check_not_recording("use a number on the CPU", "pass the tensor in")
            arrays[i] = library(there[0]).full((), x.item(), x.dtype)


def promote(name: str, arrays: list, to_float: bool) -> None:
    """Bring arrays and Python numbers, in place in their list, to the one dtype that PyTorch would
    compute in; with `to_float` integers become the default float. None is no operand."""
    if len(LIBRARIES) > 1:
        join_devices(arrays)
    kinds = {x.dtype for x in arrays if type(x) in LIBRARIES}
    if len(kinds) == 1:
        if kinds.pop().kind == "f":
            return  # a Python number takes part in the arrays' own type
        if not to_float and not any(type(x) in (bool, int, float) for x in arrays):
            return
    if any(x is None for x in arrays):
        raise TypeError(f"[{name}] inputs must be Tensors, arrays or numbers, got None")
    target = result_type(*arrays)
    if to_float and not target.is_floating_point:
        target = get_default_dtype()
    for i, x in enumerate(arrays):
        if type(x) in (bool, int, float):
            arrays[i] = numpy.asarray(x).astype(target.np)[()]
        elif x.dtype != target.np:
            arrays[i] = x.astype(target.np)
