"""How what is made like an array lies in memory. NumPy and CuPy keep the order of its axes, and so
does PyTorch; but where an axis is stretched its step of 0 says nothing of its place, and PyTorch
leaves it where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .libraries import DEVICE_TYPES, LIBRARIES, is_numpy, library


def order_of(x: Any) -> list[int] | None:
    """The axes of x from the widest step to the narrowest, if one is stretched; None if none is, as
    in a Tensor, of which ops make arrays."""
    steps = getattr(x, "strides", ())
    if 0 not in steps:
        return None
    order = list(range(x.ndim))[::-1]  # sorted from the narrowest on by insertion
    for at in range(1, x.ndim):
        for left in range(at - 1, -1, -1):
            a, b = order[left], order[at]
            if not (steps[a] and steps[b]):
                continue
            if steps[a] < steps[b]:
                break
            if steps[a] > steps[b] or x.shape[a] > x.shape[b]:
                order[left], order[at], at = b, a, left
    return order[::-1]


def unstretched(x: Any, dtype: Any = None) -> Any:
    """What to take after: x, or where an axis is stretched, memory that is not yet written."""
    order = order_of(x)
    if order is None:
        return x
    made = library(x).empty([x.shape[axis] for axis in order], dtype or x.dtype)
    return made.transpose(sorted(range(x.ndim), key=order.__getitem__))


def copied(x: Any, dtype: Any = None) -> Any:
    """The values of x in memory of their own, in x's dtype by default."""
    made = unstretched(x, dtype)
    if made is x:
        return library(x).copy(x) if dtype is None else x.astype(dtype)
    made[...] = x
    return made


def row_major(x: Any) -> Any:
    """x, or its copy with the last axis innermost: as PyTorch makes it in places."""
    if type(x) not in LIBRARIES or x.flags.c_contiguous:
        return x
    return library(x).ascontiguousarray(x)


def in_eights(xs: Sequence[Any]) -> bool:
    """Whether these must be joined by eights: more of them CuPy joins by a table of their
    addresses, which it uploads, and a captured step must not do that."""
    return len(xs) > 8 and DEVICE_TYPES.get(type(xs[0])) == "cuda"


def joined(xs: Sequence[Any], axis: int) -> Any:
    """Arrays one after another along an axis."""
    lib = library(xs[0])
    while in_eights(xs):
        xs = [lib.concatenate(xs[i : i + 8], axis) for i in range(0, len(xs), 8)]
    return lib.concatenate(xs, axis)


def overlaps(x: Any) -> bool:
    """Whether two elements of x may be one place in memory; False where that is certain not so."""
    reach = x.itemsize
    for step, n in sorted(zip(map(abs, x.strides), x.shape)):
        if n > 1:
            if step < reach:
                return True
            reach += step * (n - 1)
    return False


def is_writable(array: Any) -> bool:
    """Whether each element has memory of its own, and NumPy's flag allows it; CuPy has no flag."""
    if is_numpy(array):
        return array.flags.writeable
    return array.flags.c_contiguous or not array.size or not overlaps(array)
