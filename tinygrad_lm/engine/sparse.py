"""Gradients that are zero outside a region, such as those of a row of a table, of a slice or of a
piece of a split tensor, and what several of them add up to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .arrays import Array, address, library
from .core.graph import Sparse


class SparseGrad(Sparse):
    """A gradient of a shape that is zero outside a region: `add_to(total)` adds it in place. Where
    the region is one of slices, `key` says which, and `values` are what is in it."""

    __slots__ = ("add_to", "dtype", "key", "library", "shape", "values")

    def __init__(
        self,
        like: Array,
        shape: tuple,
        add_to: Callable[[Array], None],
        key: tuple = (),
        values: Any = None,
    ):
        self.library, self.dtype, self.shape, self.add_to = library(like), like.dtype, shape, add_to
        self.key, self.values = key, values

    def span(self) -> tuple | None:
        """(axis, start, stop) of a region that is whole along the other axes, else None."""
        cut = [(axis, k.start, k.stop) for axis, k in enumerate(self.key) if k != slice(None)]
        return cut[0] if len(cut) == 1 and None not in cut[0] else None

    @staticmethod
    def total_of(parts: list[SparseGrad]) -> Array:
        """The array that they add up to. If they tile it exactly, as the pieces of a split tensor
        do, they are copied side by side; if they are already views of one array in that layout,
        that array is returned."""
        first = parts[0]
        order = sorted(span for part in parts if part.key and (span := part.span()))
        stops = [0, *(stop for _, _, stop in order)]
        axis = order[0][0] if order else 0
        if (
            len(order) < len(parts)
            or any(span[:2] != (axis, stop) for span, stop in zip(order, stops))
            or stops[-1] != first.shape[axis]
        ):
            total = first.library.zeros(first.shape, first.dtype)
            for part in parts:
                part.add_to(total)
            return total
        base = first.values.base
        size = math.prod(first.shape)
        if type(base) is type(first.values) and base.dtype == first.dtype and base.size == size:
            total = base.reshape(first.shape)
            if all(
                part.values.base is base and _same(part.values, total[part.key]) for part in parts
            ):
                return total
        total = first.library.empty(first.shape, first.dtype)
        for part in parts:
            total[part.key] = part.values
        return total


def _same(x: Array, y: Array) -> bool:
    """Whether two arrays are one region of memory, in one order."""
    return address(x) == address(y) and x.shape == y.shape and x.strides == y.strides
