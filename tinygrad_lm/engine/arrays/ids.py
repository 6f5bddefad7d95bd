"""Positions that must exist, and other numbers that must be right. Where the host has them it looks
at once. On a GPU it would have to wait for them: there a kernel notes a wrong one, and the host
hears of it when it next reads anything. Until then a wrong position reads or writes some element,
none outside the array."""

from __future__ import annotations

from .dispatch import with_kernels
from .libraries import Array


@with_kernels
def noted(ids: Array, name: str, what: str, first: int, size: int, ignore: int | None = None):
    """Whether it was left to the device to find an id that is neither in first ... size - 1 nor
    equal to `ignore`; otherwise the caller must look now."""
    return False


@with_kernels
def hold(conditions: Array, problem: str) -> bool:
    """Whether it was left to the device to find a False among these, which is a RuntimeError then;
    otherwise the caller must look now."""
    return False


@with_kernels
def exist(ids: Array, size: int, first: int = 0) -> bool:
    """Whether all of these, of which there must be some, are in first ... size - 1."""
    return bool(ids.min() >= first and ids.max() < size)


def are_ids(array: Array) -> bool:
    """Whether these may be positions by their dtype: int32 or int64, as in PyTorch."""
    return array.dtype.kind == "i" and array.dtype.itemsize > 2


def check_bounds(
    ids: Array, size: int, name: str, first: int = 0, what: str = "index", ignore: int | None = None
) -> None:
    """An IndexError that names the first id that is neither in first ... size - 1 nor `ignore`."""
    if not noted(ids, name, what, first, size, ignore):
        look_at(ids, name, what, first, size, ignore)


def look_at(
    ids: Array, name: str, what: str, first: int, size: int, ignore: int | None = None
) -> None:
    """The same, here and now."""
    if not ids.size or exist(ids, size, first):
        return
    wrong = (ids < first) | (ids >= size)
    if ignore is not None:
        wrong &= ids != ignore
    if wrong.any():
        got = f"got {int(ids[wrong].reshape(-1)[0])} (out of range)"
        raise IndexError(f"[{name}] {what} must be in {first} ... {size - 1}, {got}") from None
