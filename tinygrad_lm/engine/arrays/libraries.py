"""Array libraries: the one place that tells NumPy from CuPy. Everything above asks `library(x)` for
the module that made the array x and calls NumPy's names on it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy

from .replay import check_not_recording

# NumPy's array, or CuPy's, which has the same methods.
Array: TypeAlias = numpy.ndarray
# An Array; or a Tensor, where gradients are recorded themselves; or a `core.graph.Sparse`.
Gradient: TypeAlias = Any

# array type -> (library, device type). CuPy adds its line when it is first asked for.
LIBRARIES: dict[type, Any] = {numpy.ndarray: numpy}
DEVICE_TYPES: dict[type, str] = {numpy.ndarray: "cpu"}


class OutOfMemoryError(RuntimeError, MemoryError):
    """There is no memory for an array; as in PyTorch, a RuntimeError."""


def register_library(array_type: type, library: Any, device_type: str) -> None:
    """Teach the engine one more array type: its NumPy-like module and its device name."""
    LIBRARIES[array_type] = library
    DEVICE_TYPES[array_type] = device_type


def library(x: Any) -> Any:
    """The array library of x, found by its type; of a Tensor, NumPy's names over recorded ops."""
    found = LIBRARIES.get(type(x))
    if found is None:  # NumPy's arithmetic turns 0-d arrays into scalars
        found = numpy if isinstance(x, numpy.generic) else x.library
    return found


def is_numpy(array: Any) -> bool:
    """Whether this is NumPy's array, also while a step on the CPU is recorded."""
    return DEVICE_TYPES.get(type(array)) == "cpu"


def as_array(value: Any) -> Array:
    """NumPy turns 0-d results into scalars; this turns them back into arrays."""
    return value if type(value) in LIBRARIES else numpy.asarray(value)


def owner_of(array: Array) -> Array:
    """The array that owns the memory this array looks at."""
    base = array.base
    while base is not None:
        if type(base) in LIBRARIES:
            array = base
        base = getattr(base, "base", None)  # NumPy's as_strided puts a dummy in between
    noted = _OWNERS.get(id(array))
    return noted[1] if noted else array


# What `as_strided` made of a library whose arrays then forget their owner: id -> (weak reference,
# that owner).
_OWNERS: dict[int, tuple[Any, Array]] = {}


def as_strided(x: Array, shape: Sequence[int], strides: Sequence[int]) -> Array:
    """The memory from x on in another shape with these steps, in bytes; it has x's owner."""
    out = library(x).lib.stride_tricks.as_strided(x, tuple(shape), tuple(strides))
    if out.base is None:  # as CuPy's
        key = id(out)
        _OWNERS[key] = weakref.ref(out, lambda _: _OWNERS.pop(key, None)), owner_of(x)
        out = out[...]
    return out


def address(array: Array) -> int:
    """Where in memory its first element is."""
    if type(array) is numpy.ndarray:
        return array.__array_interface__["data"][0]
    return array.data.ptr  # type: ignore[attr-defined]


def to_numpy(array: Any) -> numpy.ndarray:
    if type(array) is numpy.ndarray:
        return array
    if not hasattr(array, "get"):
        if isinstance(array, numpy.ma.MaskedArray):  # the values under its mask are nobody's
            raise TypeError(
                "[tensor] arrays must have a value everywhere, got a masked array; fill the rest "
                "with .filled(value)"
            )
        return numpy.asarray(array)
    check_not_recording("read from the device", "return the loss and read it outside")
    found = array.get()
    ask_devices()
    return found


def ask_devices() -> None:
    """The error, if a GPU has found something wrong since it was last asked. Waits for it."""
    for look in WHEN_READ:
        look()


def on_host(array: Any) -> Array:
    """The array itself, or where it is on a device a copy of it here."""
    return array if is_numpy(array) else to_numpy(array)


def cupy() -> Any:
    """CuPy, imported on first use, or one clear error that names what to install."""
    try:
        import cupy as cp
    except ImportError as error:
        raise RuntimeError(
            "[device] 'cuda' needs CuPy, which is not installed; "
            "try: pip install 'tinygrad_lm[cuda12]' (or [cuda13], by your CUDA version)"
        ) from error
    if not cp.is_available():
        raise RuntimeError("[device] 'cuda' needs a GPU and its driver, and CuPy found none")
    if cp.ndarray not in LIBRARIES:
        register_library(cp.ndarray, cp, "cuda")
        for hook in ON_CUDA:
            hook()
    return cp


def cuda_is_available() -> bool:
    """Whether `cupy()` would give one."""
    try:
        cupy()
    except RuntimeError:
        return False
    return True


# Called once, when CuPy is first loaded: that is how its kernels register.
ON_CUDA: list[Callable[[], object]] = []
# Called whenever the host has read from a device: what went wrong there is told then.
WHEN_READ: list[Callable[[], object]] = []


def broadcast_to(x: Array, shape: tuple) -> Array:
    """x, of as many axes as `shape`, stretched along those where it has size 1; not to be written.
    NumPy's own takes four times as long to start."""
    if type(x) is not numpy.ndarray or not x.flags.c_contiguous:
        return library(x).broadcast_to(x, shape)
    steps = [0 if n == 1 else step for n, step in zip(x.shape, x.strides, strict=True)]
    found = numpy.ndarray(shape, x.dtype, x, 0, steps)
    found.flags.writeable = False
    return found


def is_half(dtype: Any) -> bool:
    """Whether this is a 16-bit float."""
    return dtype.itemsize == 2 and dtype.kind != "i"


def widened(x: Array) -> Array:
    """16-bit floats on the CPU as float32: NumPy multiplies them slowly and sums them badly."""
    return x.astype(numpy.float32) if is_numpy(x) and is_half(x.dtype) else x


def in_float32(x: Array) -> Array:
    """16-bit floats of any library as float32, for what CuPy does not do with bfloat16."""
    return x.astype(numpy.float32) if type(x) in LIBRARIES and is_half(x.dtype) else x


def rounded(x: Array, dtype: Any) -> Array:
    """x in this dtype; itself where it has it."""
    return x if x.dtype == dtype else x.astype(dtype)
