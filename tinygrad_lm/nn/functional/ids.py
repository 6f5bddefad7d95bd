"""The one check of token ids and class targets. NumPy would read a negative id from the end, and
CuPy wraps around whatever it gets, so neither may see a wrong one."""

from __future__ import annotations

from ...engine.arrays import Array, are_ids, check_bounds
from ...engine.core.tensor import Tensor


def checked_ids(name: str, ids: Tensor, like: Tensor, size: int) -> Array:
    """The array of `ids`, which are in 0 ... size - 1."""
    array = whole_ids(name, ids, like)
    check_bounds(array, size, name, what="ids")
    return array


def whole_ids(name: str, ids: Tensor, like: Tensor) -> Array:
    """The array of `ids`: signed integers on the device of `like`."""
    array = ids.array
    if array.dtype.kind not in "iu":
        raise RuntimeError(f"[{name}] ids must be integers, got {ids.dtype}; use long()")
    if ids.device != like.device:
        raise RuntimeError(
            f"[{name}] ids must be on {like.device}, got them on {ids.device}; move with .to()"
        )
    return array if are_ids(array) else array.astype("int64")
