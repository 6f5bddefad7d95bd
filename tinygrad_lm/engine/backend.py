"""Arrays, their libraries and devices: the one place that knows NumPy from CuPy.

Everything above asks `library(x)` for the module that made the array x and calls NumPy's names on
it. This file knows no gradient and no Tensor.
"""

from __future__ import annotations

import ctypes
import os
import sys
from types import SimpleNamespace
from typing import Any

import numpy
from threadpoolctl import threadpool_info, threadpool_limits

from .dtypes import (  # noqa: F401  (one door to all facts about arrays)
    DTYPES,
    as_dtype,
    bfloat16,
    bool_,
    dtype,
    dtype_named,
    dtype_of,
    float16,
    float32,
    float64,
    get_default_dtype,
    int32,
    int64,
    promote_types,
    result_type,
    set_default_dtype,
    uint8,
)
from .modes import mode

# ---------------------------------------------------------------- array libraries

# array type -> (library, device type). CuPy adds its line when it is first asked for.
LIBRARIES: dict[type, Any] = {numpy.ndarray: numpy}
DEVICE_TYPES: dict[type, str] = {numpy.ndarray: "cpu"}


def register_library(array_type: type, library: Any, device_type: str) -> None:
    """Teach the engine one more array type: its NumPy-like module and its device name."""
    LIBRARIES[array_type] = library
    DEVICE_TYPES[array_type] = device_type


def library(x: Any) -> Any:
    """The array library of x, found by its type; of a Tensor, NumPy's names over recorded ops."""
    found = LIBRARIES.get(type(x))
    if found is None:  # NumPy's arithmetic turns 0-d arrays into scalars
        found = numpy if isinstance(x, numpy.generic) else TENSOR_LIBRARY
    return found


TENSOR_LIBRARY = SimpleNamespace()  # filled by `ops/__init__.py`


def as_array(value: Any) -> Any:
    """NumPy turns 0-d results into scalars; this turns them back into arrays."""
    return value if type(value) in LIBRARIES else numpy.asarray(value)


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


ON_CUDA: list[Any] = []  # called once when CuPy is first loaded: that is how its kernels register


def broadcast_to(x: Any, shape: tuple) -> Any:
    """x, of as many axes as `shape`, stretched along those where it has size 1; not to be written.
    NumPy's own takes four times as long to start."""
    if type(x) is not numpy.ndarray or not x.flags.c_contiguous:
        return library(x).broadcast_to(x, shape)
    steps = [0 if n == 1 else step for n, step in zip(x.shape, x.strides, strict=True)]
    found = numpy.ndarray(shape, x.dtype, x, 0, steps)
    found.flags.writeable = False
    return found


def widened(x: Any) -> Any:
    """16-bit floats on the CPU as float32: NumPy multiplies them slowly and sums them badly."""
    return x.astype(numpy.float32) if type(x) is numpy.ndarray and x.dtype.itemsize == 2 else x


# ---------------------------------------------------------------- devices


class device:
    """Where an array lives: `device("cpu")`, `device("cuda")`, `device("cuda", 1)`."""

    __slots__ = ("index", "type")

    def __init__(self, type: str | device, index: int | None = None):
        name = str(type)
        kind, _, number = name.partition(":")
        if kind not in ("cpu", "cuda", *DEVICE_TYPES.values()) or (number and not number.isdigit()):
            raise RuntimeError(f"[device] must be 'cpu', 'cuda' or 'cuda:N', got {name!r}")
        self.type = kind
        self.index = int(number) if number else index

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            other = device(other)
        return isinstance(other, device) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


CPU = device("cpu")
# From the environment: CuPy loads, or is found missing, when the first tensor is made.
_default_device = [device(os.environ.get("TINYGRAD_LM_DEVICE") or CPU)]


def device_of(array: Any) -> device:
    kind = DEVICE_TYPES[type(array)]
    return CPU if kind == "cpu" else device(kind, getattr(array.device, "id", 0))


def get_default_device() -> device:
    return _default_device[0]


def set_default_device(where: str | device) -> None:
    """New tensors are made there. 'cuda' without a GPU is an error, never a silent fall-back."""
    where = device(where)
    library_on(where)
    _default_device[0] = where


def library_on(where: device | str | None) -> Any:
    """The array library that makes arrays on a device (None: the default device)."""
    where = get_default_device() if where is None else device(where)
    if where.type == "cuda":
        cp = cupy()
        cp.cuda.Device(where.index or 0).use()
        return cp
    for array_type, kind in DEVICE_TYPES.items():
        if kind == where.type:
            return LIBRARIES[array_type]
    raise RuntimeError(f"[device] no array library is registered for {where}")


def to_device(array: Any, where: device | str | None) -> Any:
    """The same values as an array of that device's library; the array itself when it is there."""
    if where is None and DEVICE_TYPES.get(type(array)) == _default_device[0].type == "cpu":
        return array
    target = library_on(where)
    if library(array) is target:
        return array
    return target.asarray(to_numpy(array))


def to_numpy(array: Any) -> numpy.ndarray:
    if type(array) is numpy.ndarray:
        return array
    return array.get() if hasattr(array, "get") else numpy.asarray(array)


# ---------------------------------------------------------------- quiet arithmetic, threads, memory


def quietly(function: Any, *args: Any, **kwargs: Any) -> Any:
    """function(*args, **kwargs) without floating-point warnings."""
    try:
        return mode.quiet.run(function, *args, **kwargs)
    except RuntimeError as error:
        if "cannot enter context" not in str(error):
            raise
        return function(*args, **kwargs)  # already inside: nested calls are quiet as they are


_threads: dict[str, Any] = {"count": None, "limits": None}


def set_num_threads(count: int) -> None:
    """Threads that BLAS and the engine's own kernels use."""
    if not isinstance(count, int) or count < 1:
        raise RuntimeError(f"[set_num_threads] must be a positive integer, got {count!r}")
    _threads["count"] = count
    _threads["limits"] = threadpool_limits(count, user_api="blas")


def get_num_threads() -> int:
    if _threads["count"] is None:
        blas = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
        _threads["count"] = max(blas, default=os.cpu_count() or 1)
    return _threads["count"]


def keep_big_blocks() -> bool:
    """Ask glibc to reuse freed large blocks instead of returning them to the system.

    Without it every large array is fresh pages that fault in one by one, which costs about 40 % of
    a training step. Process-wide; Linux only; `TINYGRAD_LM_MALLOC=0` in the environment skips it.
    """
    if not sys.platform.startswith("linux") or os.environ.get("TINYGRAD_LM_MALLOC") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3
    limit = 2**31 - 1
    return all(
        mallopt(option, value)
        for option, value in (
            (m_mmap_threshold, limit),
            (m_trim_threshold, limit),
            (m_top_pad, 64 * 2**20),
        )
    )
