"""Where arrays live: devices by PyTorch's names, the default one, and moving arrays between them.
Which library makes arrays there is asked of `libraries.py`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy

from .libraries import DEVICE_TYPES, LIBRARIES, Array, cupy, to_numpy
from .replay import check_not_recording


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


class _State:
    """Process-wide: where new tensors are made. From the environment at first: CuPy loads, or is
    found missing, when the first tensor is made."""

    default = device(os.environ.get("TINYGRAD_LM_DEVICE") or CPU)


def device_of(array: Array) -> device:
    kind = DEVICE_TYPES[type(array)]
    return CPU if kind == "cpu" else device(kind, getattr(array.device, "id", 0))


def get_default_device() -> device:
    return _State.default


def set_default_device(where: str | device) -> None:
    """New tensors are made there. 'cuda' without a GPU is an error, never a silent fall-back."""
    where = device(where)
    library_on(where)
    _State.default = where


class OnGPU:
    """CuPy with another GPU than the current one: its functions make arrays there."""

    def __init__(self, library: Any, index: int):
        self._library, self._index = library, index

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, name)

        def there(*args: Any, **kwargs: Any) -> Any:
            with self._library.cuda.Device(self._index):
                return function(*args, **kwargs)

        return there


def library_on(where: device | str | None) -> Any:
    """The array library that makes arrays on a device (None: the default device). "cuda" is the
    current GPU; that of a number does not become it."""
    where = get_default_device() if where is None else device(where)
    if where.type == "cuda":
        cp = cupy()
        if where.index is None or where.index == cp.cuda.runtime.getDevice():
            return cp
        count = cp.cuda.runtime.getDeviceCount()
        if where.index >= count:
            raise RuntimeError(f"[device] {where} must be one of {count} GPUs, from cuda:0 on")
        return OnGPU(cp, where.index)
    for array_type, kind in DEVICE_TYPES.items():
        if kind == where.type:
            return LIBRARIES[array_type]
    raise RuntimeError(f"[device] no array library is registered for {where}")


def to_device(array: Array, where: device | str | None) -> Array:
    """The same values as an array of that device's library; the array itself when it is there."""
    if where is None and DEVICE_TYPES.get(type(array)) == _State.default.type == "cpu":
        return array
    where = get_default_device() if where is None else device(where)
    if is_on(array, where):
        return array
    target = library_on(where)
    if device_of(array).type == where.type:  # another GPU
        return _across(array, where.index)
    values = to_numpy(array)
    if target is not numpy:
        check_not_recording("copy to the device", "pass the tensor in, or copy it before")
        if not values.ndim:  # a number is told, not copied
            return target.full((), values.item(), values.dtype)
    return target.asarray(values)


def _across(array: Array, index: int | None) -> Array:
    """A copy on another GPU, after what its own has been asked for, and before what follows."""
    cuda = cupy().cuda
    with cuda.Device(device_of(array).index):
        asked, home = cuda.get_current_stream().record(), cuda.get_current_stream()
    with cuda.Device(index):
        stream = cuda.get_current_stream()
        stream.wait_event(asked)
        found = array.copy()
        home.wait_event(stream.record())
    return found


def is_on(array: Array, where: device) -> bool:
    """Whether an array is there already; on "cuda" it is on whatever GPU it is."""
    here = device_of(array)
    return here.type == where.type and where.index in (None, here.index)
