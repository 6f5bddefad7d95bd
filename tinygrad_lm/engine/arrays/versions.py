"""Which memory was written when. One clock ticks for births of nodes and for writes. An array that
a pullback keeps must not be written after its node was born, or a gradient would be wrong; that is
all there is to check.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from threading import get_ident

from .libraries import LIBRARIES, Array, owner_of

clock = itertools.count(1)


class Writes:
    """Process-wide: the time of the last write of all, and of the last one of each memory."""

    __slots__ = ("last", "of")

    def __init__(self) -> None:
        self.last = 0
        # id of the owner -> [weak reference to it, time, thread]
        self.of: dict[int, list] = {}


writes = Writes()


def mark_written(array: Array) -> None:
    """Note that this array's memory has just been written."""
    owner = array if array.base is None else owner_of(array)
    key = id(owner)
    if key not in writes.of:
        writes.of[key] = [weakref.ref(owner, lambda _: writes.of.pop(key, None)), 0, 0]
    writes.last = now = next(clock)
    writes.of[key][1:] = now, get_ident()


def marking(arrays: list[Array]) -> Callable:
    """A function that notes of all of these at once that they have just been written."""
    for array in arrays:
        mark_written(array)
    entries = [(writes.of[id(owner_of(array))], array) for array in arrays]

    def mark() -> None:
        writes.last = now = next(clock)
        thread = get_ident()
        for entry, _ in entries:
            entry[1:] = now, thread

    return mark


def check_unwritten(pullbacks: tuple | Callable, birth: int, node: object) -> None:
    """An error if one of these functions, made at time `birth`, keeps an array that was written
    since."""
    for pullback in pullbacks if isinstance(pullbacks, tuple) else (pullbacks,):
        for kept in kept_arrays(pullback):
            entry = writes.of.get(id(owner_of(kept)))
            if entry is not None and entry[1] > birth:
                raise RuntimeError(
                    f"[backward] an array that {node!r} needs must keep its value until backward, "
                    f"but the one of shape {tuple(kept.shape)} was written in place after it was "
                    "used (an inplace operation); write to a clone() or use the out-of-place form"
                )


def kept_arrays(pullback: object) -> Iterator[Array]:
    """The arrays a function's closure and defaults hold, through tuples and inner functions."""
    pending = [*(getattr(pullback, "__defaults__", None) or ())]
    for cell in getattr(pullback, "__closure__", None) or ():
        try:
            pending.append(cell.cell_contents)
        except ValueError:  # a name that was never bound
            continue
    while pending:
        kept = pending.pop()
        kept = getattr(kept, "array", kept)  # of a Tensor
        if type(kept) in LIBRARIES:
            yield kept
        elif isinstance(kept, (tuple, list)):
            pending.extend(kept)
        elif callable(kept):
            yield from kept_arrays(kept)
