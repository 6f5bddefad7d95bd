"""The one check of token ids and class targets. NumPy would read a negative id from the end, and
CuPy wraps around whatever it gets, so neither may see a wrong one."""

from __future__ import annotations

from ...engine.arrays import Array, are_ids, noted
from ...engine.core.tensor import Tensor

UNSIGNED = {4: "uint32", 8: "uint64"}


def checked_ids(name: str, ids: Tensor, like: Tensor, size: int) -> Array:
    """The array of `ids`, which are in 0 ... size - 1."""
    array = whole_ids(name, ids, like)
    check_range(name, array, size)
    return array


def whole_ids(name: str, ids: Tensor, like: Tensor) -> Array:
    """The array of `ids`: signed integers on the device of `like`."""
    array = ids.array
    if array.dtype.kind not in "iu":
        raise RuntimeError(f"[{name}] ids must be integers, got {ids.dtype}; use long()")
    if type(array) is not type(like.array):
        raise RuntimeError(
            f"[{name}] ids must be on {like.device}, got them on {ids.device}; move with .to()"
        )
    return array if are_ids(array) else array.astype("int64")


def check_range(name: str, array: Array, size: int, ignore: int | None = None) -> None:
    """An IndexError that names the first id that is not in 0 ... size - 1 nor equal to `ignore`."""
    if noted(array, name, "ids", 0, size, ignore):
        return
    # as unsigned numbers the negative ones are the largest: one maximum tells all
    if array.size and int(array.view(UNSIGNED[array.itemsize]).max()) >= size:
        wrong = (array < 0) | (array >= size)
        if ignore is not None:
            wrong &= array != ignore
        if bool(wrong.any()):
            raise IndexError(
                f"[{name}] ids must be in 0 ... {size - 1}, got {int(array[wrong].reshape(-1)[0])} "
                "(out of range)"
            ) from None  # hide the engine's own message about the same ids
