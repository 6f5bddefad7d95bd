"""The order in which the gradients of a step are added, whoever computed them.

A step has M micro-batches, numbered over all ranks. They are the leaves of a binary tree:
neighbours are added, then neighbouring pairs, and so on; what is left at the right end joins last.
Adding floats depends on the order, so one fixed order is what makes N ranks equal one process bit
for bit. A rank has a run of neighbours, of which it adds what is a whole subtree; the rest is added
where the parts of all ranks come together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Subtree(NamedTuple):
    """The micro-batches [number * 2**level, (number + 1) * 2**level)."""

    level: int
    number: int

    def is_left_of(self, other: Subtree) -> bool:
        """Whether the two are the halves of one subtree."""
        return (
            self.level == other.level and self.number % 2 == 0 and other.number == self.number + 1
        )

    def parent(self) -> Subtree:
        return Subtree(self.level + 1, self.number // 2)


def share(count: int, rank: int, size: int) -> range:
    """The micro-batches of a rank: neighbours, as evenly as they go; none where ranks outnumber
    them."""
    return range(rank * count // size, (rank + 1) * count // size)


class Stack:
    """Sums of neighbouring micro-batches, from left to right. `add(a, b)` returns a + b and may
    write into a, or for a bookkeeping of what is where, do nothing."""

    def __init__(self, add: Callable[[Any, Any], Any]):
        self.add, self.parts = add, list[tuple[Subtree, Any]]()

    def push(self, place: Subtree, value: Any) -> None:
        """The next to the right; halves that are both there become one."""
        while self.parts and self.parts[-1][0].is_left_of(place):
            place, value = place.parent(), self.add(self.parts.pop()[1], value)
        self.parts.append((place, value))

    def total(self) -> Any:
        """All that was pushed, from 0 on, as one; None if nothing was."""
        while len(self.parts) > 1:
            right = self.parts.pop()[1]
            place, left = self.parts.pop()
            self.parts.append((place, self.add(left, right)))
        return self.parts.pop()[1] if self.parts else None


def subtrees(micro_batches: Iterable[int]) -> list[Subtree]:
    """The whole subtrees that a run of neighbours adds up to."""
    stack = Stack(lambda a, b: None)
    for number in micro_batches:
        stack.push(Subtree(0, number), None)
    return [place for place, _ in stack.parts]
