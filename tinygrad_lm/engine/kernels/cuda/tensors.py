"""Many tensors in one launch: a step of an optimiser, the norm of all gradients and their scaling.
Pointers travel in a table among the arguments of the kernel, by value: no upload, and a recorded
launch has them too. Callers register these; nothing here is an op.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy

from .source import C_NAMES, FLOATS, Source

CHUNK, BYTES, THREADS = 4096, 3744, 256
SOURCE = Source("tensors", T=FLOATS, CHUNK=(CHUNK,), BYTES=(BYTES,))
CONSTANTS = 16  # the most a rule has


class Tables:
    """Tables of tensors of these sizes, as many as it takes; `fill` writes a column of numbers."""

    def __init__(self, columns: int, sizes: list[int]):
        n = BYTES // (8 * columns + 12)
        fields = [("column", "i8", (columns, n)), ("size", "i8", n), ("end", "i4", n)]
        kind = numpy.dtype(fields, align=True)
        self.parts = []  # (table, tensors in it, blocks)
        for first in range(0, len(sizes), n):
            some = numpy.array(sizes[first : first + n])
            table, ends = numpy.zeros((), kind), numpy.cumsum(-(-some // CHUNK))
            table["size"][: some.size], table["end"][: some.size] = some, ends
            self.parts.append((table, some.size, int(ends[-1])))

    def fill(self, column: int, numbers: list[int]) -> None:
        first = 0
        for table, count, _ in self.parts:
            table["column"][column, :count] = numbers[first : first + count]
            first += count

    def launch(self, kernel: Any, *rest: Any) -> None:
        for table, count, blocks in self.parts:
            if blocks:
                kernel((blocks,), (THREADS,), (table, count, *rest))


def _kernel(name: str, dtype: numpy.dtype) -> Any:
    return SOURCE.kernel(name, T=C_NAMES[dtype.name], CHUNK=CHUNK, BYTES=BYTES)


# ---------------------------------------------------------------- steps of optimisers


class Step:
    """An update rule for these parameters, contiguous and of one dtype. What is kept for one that
    `starts` at i begins there in each of the float32 buffers."""

    def __init__(self, rule: str, params: list, starts: list[int], kept: list, master: Any = None):
        dtype = params[0].dtype
        self.kernel = _kernel(rule, dtype)
        self.keep = _kernel("keep_constants", dtype)
        self.tables = Tables(3, [p.size for p in params])
        self.tables.fill(0, [p.data.ptr for p in params])
        self.tables.fill(2, starts)
        buffers = [master, *kept, *[None] * (3 - len(kept))]
        self.kept = numpy.array([0 if b is None else b.data.ptr for b in buffers]).view("V32")
        self.replayed = cupy.zeros(CONSTANTS, numpy.float32)

    def run(self, gradients: list, constants: tuple, replayed: bool, skip: Any) -> None:
        """One step; with `replayed`, by the constants that are on the device when it is run.
        skip: None, or a float32 there, which is not 0 if nothing is to be changed."""
        gradients = [cupy.ascontiguousarray(g) for g in gradients]
        self.tables.fill(1, [g.data.ptr for g in gradients])
        now = numpy.array(constants, numpy.float32)
        by_value = now.view(f"V{now.nbytes}")
        kept = self.replayed if replayed else None
        self.tables.launch(self.kernel, by_value, kept, skip, self.kept)

    def keep_constants(self, constants: tuple) -> None:
        """Those that the next replay goes by."""
        by_value = numpy.zeros(CONSTANTS, numpy.float32)
        by_value[: len(constants)] = constants
        by_value = by_value.view(f"V{by_value.nbytes}")
        self.keep((1,), (CONSTANTS,), (by_value, self.replayed))


# ---------------------------------------------------------------- gradients, all at once


def _by_kind(arrays: list) -> dict[numpy.dtype, Tables] | None:
    """Tables of the arrays of each dtype; None where one has gaps or is of another type."""
    kinds: dict[numpy.dtype, list] = {}
    for a in arrays:
        if type(a) is not cupy.ndarray or not a.flags.forc:
            return None
        kinds.setdefault(a.dtype, []).append(a)
    found = {}
    for dtype, some in kinds.items():
        if dtype.name not in C_NAMES:
            return None
        found[dtype] = Tables(1, [a.size for a in some])
        found[dtype].fill(0, [a.data.ptr for a in some])
    return found


def norm(arrays: list) -> Any:
    """The 2-norm over all arrays, a 0-d float32 array. Chunks are summed in float32 and their sums
    in float64, in a fixed order."""
    kinds = _by_kind(arrays)
    total = sum(blocks for t in (kinds or {}).values() for _, _, blocks in t.parts)
    if kinds is None or not total:
        return NotImplemented
    parts, to = cupy.empty(total, numpy.float32), cupy.empty((), numpy.float32)
    begin = 0
    for dtype, tables in kinds.items():
        kernel = _kernel("squares", dtype)
        for table, count, blocks in tables.parts:
            if blocks:
                kernel((blocks,), (THREADS,), (table, count, parts[begin:]))
            begin += blocks
    _kernel("root_of_sum", dtype)((1,), (512,), (parts, total, to))
    return to


def _each(arrays: list, name: str, *rest: Any) -> Any:
    kinds = _by_kind(arrays)
    if kinds is None:
        return NotImplemented
    for dtype, tables in kinds.items():
        tables.launch(_kernel(name, dtype), *rest)
    return None


def clip(norm: Any, arrays: list, longest: float) -> Any:
    """Arrays times longest / norm in place, where that is below 1; norm: 0-d, on the device."""
    if norm.dtype != numpy.float32:
        return NotImplemented
    return _each(arrays, "clip", norm, float(longest))


def unscale(found: Any, arrays: list, factor: float) -> Any:
    """Arrays times a factor in place; found, float32, becomes 1 if an element is not finite."""
    return _each(arrays, "unscale", float(factor), found)
