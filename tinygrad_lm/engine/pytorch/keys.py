"""The key in x[key]: PyTorch's reading of it as a key for NumPy and CuPy, and the names PyTorch
prints for the result. Reading and writing are in `indexing.py`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy

from .. import arrays
from ..arrays import LIBRARIES, are_ids, check_bounds
from ..core.tensor import Tensor
from ..ops.index import is_basic
from .common import to_array


def parse(x: Tensor, key: Any) -> tuple:
    """A key of Tensors, lists, numbers and slices as a tuple NumPy reads the same way."""
    parts = key if isinstance(key, tuple) else (key,)
    made: tuple[Any, ...] = tuple([k if type(k) is int else _part(x, k) for k in parts])
    shape, axis = x.array.shape, 0
    on_cuda = type(x.array) is not numpy.ndarray
    for i, k in enumerate(made):
        if k is Ellipsis:
            axis = len(shape) - sum(_axes(rest) for rest in made[i + 1 :])
            continue
        if on_cuda and type(k) in LIBRARIES and k.dtype.kind in "iu" and axis < len(shape):
            check_bounds(k, shape[axis], "index", first=-shape[axis])
        axis += _axes(k)
    if axis > len(shape):
        more = "" if shape else "; item() gives the number of a 0-d tensor"
        raise IndexError(f"[index] too many indices: {axis} for shape {tuple(shape)}{more}")
    if len(made) > 1:
        _check_shapes(made)
    return made


def _check_shapes(key: tuple) -> None:
    """Index tensors are read together, element by element; a mask counts as its positions."""
    found = [k for k in key if type(k) in LIBRARIES]
    if len(found) > 1:
        shapes = [(int(k.sum()),) if k.dtype == bool else k.shape for k in found]
        try:
            numpy.broadcast_shapes(*shapes)
        except ValueError:
            came = " and ".join(map(str, shapes))
            raise IndexError(
                f"[index] index tensors must have shapes that broadcast together, got {came} "
                "(shape mismatch); for every pair of them give one a new last axis: i[:, None], j"
            ) from None


def _axes(k: Any) -> int:
    """How many axes of the tensor a part of the key takes up."""
    if k is None or k is Ellipsis or isinstance(k, bool):
        return 0
    return k.ndim if type(k) in LIBRARIES and k.dtype == bool else 1


def _part(x: Tensor, k: Any) -> Any:
    if k is None or k is Ellipsis or isinstance(k, bool):
        return k
    if isinstance(k, slice):
        return _slice(k)
    if isinstance(k, Tensor):
        k = k.array
    elif isinstance(k, (list, range, tuple)):
        k = to_array(list(k))
        k = arrays.to_device(k if k.size else k.astype("int64"), x.device)
    elif isinstance(k, (int, numpy.integer)):
        return int(k)
    elif type(k) not in LIBRARIES:
        raise (TypeError if isinstance(k, str) else IndexError)(
            f"[index] must be integers, slices, None, ..., lists or tensors, got {k!r:.60}"
        )
    if not (are_ids(k) or k.dtype in ("bool", "uint8")):
        raise IndexError(
            "[index] index tensors must be int64, int32, boolean or uint8, "
            f"got {k.dtype}; use long()?"
        )
    if k.dtype == "uint8":
        k = as_mask(k, "index")
    if k.ndim == 0 and k.dtype != bool:
        return int(k)
    if type(k) is not type(x.array):
        k = arrays.to_device(k, x.device)  # PyTorch allows cpu indices into a cuda tensor
    return k


def as_mask(k: Any, name: str) -> Any:
    """PyTorch's masks were of uint8 before there was bool: what is not 0 is chosen."""
    rule = "a mask should be boolean, uint8 is deprecated; compare, or use bool()"
    warnings.warn(f"[{name}] {rule}; for positions use long()", UserWarning, stacklevel=2)
    return k.astype(bool)


def _slice(k: slice) -> slice:
    if k.step is not None and int(k.step) < 1:
        raise ValueError(f"[index] a slice's step must be positive, got {k.step}; use flip()")
    if k.start.__class__ is Tensor or k.stop.__class__ is Tensor:
        return slice(*(None if b is None else int(b) for b in (k.start, k.stop, k.step)))
    return k


def split(key: tuple) -> tuple[tuple, tuple] | None:
    """Integers beside index arrays as two keys, to be used one after the other: PyTorch takes the
    integers first, as views, while NumPy would make them arrays. None where one key will do."""
    if int not in map(type, key) or is_basic(key):
        return None
    first: list[Any] = []
    second: list[Any] = []
    for k in key:
        if type(k) in LIBRARIES or isinstance(k, bool):
            first += [slice(None)] * _axes(k)
            second.append(k)
        else:
            first.append(k)
            if type(k) is not int:
                second.append(Ellipsis if k is Ellipsis else slice(None))
    return tuple(first), tuple(second)


def _active(shape: tuple, key: tuple) -> list:
    """The parts that change something: all but ... and slices over a whole axis."""
    kept, axis = [], 0
    for i, k in enumerate(key):
        if k is Ellipsis:
            axis = len(shape) - sum(_axes(rest) for rest in key[i + 1 :])
            continue
        whole = (
            isinstance(k, slice)
            and k.start in (None, 0)
            and k.step in (None, 1)
            and (k.stop is None or k.stop >= shape[axis])
        )
        if not whole:
            kept.append(k)
        axis += _axes(k)
    return kept


def name_of_read(shape: tuple, key: tuple, bare: bool) -> str:
    """What PyTorch calls x[key]; bare: the key was no tuple."""
    if not is_basic(key):
        return "IndexBackward0"
    active = list(key) if bare and isinstance(key[0], slice) else _active(shape, key)
    if not active:
        return "AliasBackward0"
    if active[-1] is None:
        return "UnsqueezeBackward0"
    return "SelectBackward0" if isinstance(active[-1], int) else "SliceBackward0"


def name_of_write(x: Tensor, key: tuple) -> str:
    """What PyTorch calls x after x[key] = ...: a write to a part, to all, or at index arrays."""
    active = _active(x.array.shape, key)
    if x.base is not None or not all(type(k) in LIBRARIES and k.ndim for k in active):
        return "CopySlices"
    return "IndexPutBackward0" if active else "CopyBackwards"
