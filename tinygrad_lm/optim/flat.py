"""Applying an update rule to many tensors: state in flat buffers, one pass in blocks that stay in
cache. A rule changes one block in place; which rule it is makes no difference here.

Parameters and gradients stay where they are, so aliases of a parameter see its updates, and a
parameter that was replaced, moved or loaded is simply another array, noticed by identity.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from operator import is_
from types import MethodType
from typing import Any

import numpy

from ..engine.arrays import (
    Array,
    device_of,
    kernels_on,
    library,
    mark_written,
    owner_of,
    quietly,
    to_device,
)
from ..engine.core.tensor import Tensor, wrap

# (library, parameter, gradient, kept arrays, SCRATCH rows): 1-D blocks of one length. The rule
# writes parameter, kept and scratch; never the gradient, which may be the user's own.
Update = Callable[[Any, Array, Array, list[Array], Array], None]
Number = Callable[[float], Any]  # makes a constant in the dtype of the blocks

# Elements per block, and below how many a tensor is copied into a block that it shares: on the CPU
# a block stays in the cache from one ufunc to the next, elsewhere fewer, larger calls are better.
# Two threads over such blocks are slower than one: they wait for the interpreter at every ufunc.
SIZES = {"cpu": (1 << 16, 1 << 14)}
SIZES_ELSEWHERE = (1 << 26, 1 << 20)
WHOLE = (1 << 62, 0)  # whole tensors, which share nothing
SCRATCH = 2  # arrays of a block's length that a rule may use


class Flat:
    """What is kept for tensors of one library and dtype, one after another in a buffer per name."""

    def __init__(self, params: list[Tensor], names: tuple[str, ...], optimizer: Any, group: dict):
        like, self.library = params[0].array, library(params[0].array)
        self.names, self.counts, self.dtype = names, optimizer.counts, like.dtype
        self.choose_rule(optimizer, group, like)
        state = optimizer.state
        # small ones first, side by side, so that they can share blocks
        self.params = sorted(params, key=lambda p: p.array.size >= self.small)
        self.index = {id(p): i for i, p in enumerate(self.params)}
        self.shapes = [p.array.shape for p in self.params]
        self.starts = [0, *accumulate(p.array.size for p in self.params)]
        self.buffers = [self.library.zeros(self.starts[-1], like.dtype) for _ in names]
        self.steps = numpy.zeros(len(params), numpy.float32)  # without a count: 1 once started
        self.entries = [self._keep(i, state.get(p, {})) for i, p in enumerate(self.params)]
        if names or self.counts:
            state.update(zip(self.params, self.entries))
        tensors = [(e, name, t) for e in self.entries for name, t in e.items()]
        self.views: list[tuple[dict[str, Any], str, Tensor, Array]] = [
            (e, name, t, t.array) for e, name, t in tensors if isinstance(t, Tensor)
        ]

    def choose_rule(self, optimizer: Any, group: dict, like: Array) -> None:
        """The optimiser's own rule, block by block, or a kernel for this kind of array."""
        self.rule, self.kernels_on = optimizer.update, kernels_on()
        self.block, self.small = SIZES.get(device_of(like).type, SIZES_ELSEWHERE)
        ways = getattr(optimizer.update, "kernels", {}) if self.kernels_on else {}
        for way in ways.get(type(like), ()):
            if way(optimizer, group, 1, self.number) is not NotImplemented:
                self.rule, (self.block, self.small) = MethodType(way, optimizer), WHOLE
                return

    def _keep(self, i: int, old: dict[str, Any]) -> dict[str, Any]:
        """The state of params[i] as views of the buffers, with the values it had."""
        views = {}
        if self.counts:
            self.steps[i] = float(old.get("step", 0))
            views["step"] = self.steps[i : i + 1].reshape(())
        else:
            self.steps[i] = all(old.get(name) is not None for name in self.names)
        for name, buffer in zip(self.names, self.buffers):
            views[name] = buffer[self.starts[i] : self.starts[i + 1]].reshape(self.shapes[i])
            if old.get(name) is not None:
                views[name][...] = self._placed(name, old[name].array, i)
        return {**old, **{name: wrap(view) for name, view in views.items()}}

    def _placed(self, name: str, array: Array, i: int) -> Array:
        if array.shape != self.shapes[i]:
            raise RuntimeError(
                f"[step] {name} must have its parameter's shape {tuple(self.shapes[i])}, got "
                f"{tuple(array.shape)}; when a parameter changes its shape, drop its state"
            )
        return to_device(array, self.params[i].device)

    def untouched(self, state: Any) -> bool:
        """Whether nobody replaced what `state` holds for these tensors, nor switched kernels."""
        if self.kernels_on != kernels_on():
            return False
        if not self.views:
            return True
        return all(map(is_, map(state.get, self.params), self.entries)) and all(
            tensor.array is view and e.get(name) is tensor for e, name, tensor, view in self.views
        )

    def serves(self, params: list[Tensor], names: tuple[str, ...], state: Any) -> bool:
        """Whether these tensors, of one kind, are kept here as they are now."""
        like = params[0].array
        if names != self.names or like.dtype != self.dtype or library(like) is not self.library:
            return False
        shapes = {id(p): shape for p, shape in zip(self.params, self.shapes)}
        same = all(shapes.get(id(p)) == p.array.shape for p in params)
        return same and self.untouched(state)

    def number(self, value: float) -> Any:
        """A constant for a rule. A 0-d array costs NumPy a third of what a Python float does;
        CuPy passes a scalar to its kernels."""
        if self.library is numpy:
            return numpy.array(value, self.dtype)
        return self.dtype.type(value)

    def split(self, params: list[Tensor]) -> list[Large | Small]:
        """The tensors' whole extent: each large one in pieces, small neighbours together."""
        parts: list[Large | Small] = []
        for i in sorted(self.index[id(p)] for p in params):
            p, last = self.params[i], parts[-1] if parts else None
            if p.array.size >= self.small and p.array.flags.c_contiguous:
                parts.append(Large(self, i))
            elif isinstance(last, Small) and last.accepts(i):
                last.add(i)
            else:
                parts.append(Small(self, i))
        return parts


class Large:
    """A tensor that a rule changes in its own memory, piece by piece."""

    def __init__(self, flat: Flat, i: int):
        self.p, self.library, start = flat.params[i], flat.library, flat.starts[i]
        own, size = self.p.array.reshape(-1), self.p.array.size
        self.width = 0 if (flat.block, flat.small) == WHOLE else min(flat.block, size)
        self.pieces = []
        for a in range(0, size, flat.block):
            b = min(a + flat.block, size)
            kept = [buffer[start + a : start + b] for buffer in flat.buffers]
            self.pieces.append((slice(a, b), own[a:b], kept))

    def update(self, rule: Update, scratch: Array) -> None:
        g = _gradient(self.p)
        for piece, own, kept in self.pieces:
            rule(self.library, own, g[piece], kept, scratch[2:, : own.size])


class Small:
    """Neighbours in the flat buffers, copied into one block, changed there and copied back; also a
    tensor whose memory has gaps."""

    def __init__(self, flat: Flat, i: int):
        self.flat, self.first, self.params = flat, i, [flat.params[i]]

    def accepts(self, i: int) -> bool:
        """Whether params[i] may join: the next one, with room for it, on memory of its own."""
        flat, first = self.flat, self.first
        owner = owner_of(flat.params[i].array)
        return (
            i == first + len(self.params)
            and flat.starts[i + 1] - flat.starts[first] <= flat.block
            and all(owner_of(p.array) is not owner for p in self.params)
        )

    def add(self, i: int) -> None:
        self.params.append(self.flat.params[i])

    @property
    def width(self) -> int:
        starts = self.flat.starts
        return starts[self.first + len(self.params)] - starts[self.first]

    def update(self, rule: Update, scratch: Array) -> None:
        lib, n, start = self.flat.library, self.width, self.flat.starts[self.first]
        g, own = scratch[0, :n], scratch[1, :n]
        lib.concatenate([_gradient(p) for p in self.params], out=g)
        lib.concatenate([p.array.reshape(-1) for p in self.params], out=own)
        kept = [buffer[start : start + n] for buffer in self.flat.buffers]
        rule(lib, own, g, kept, scratch[2:, :n])
        a = 0
        for p in self.params:
            b = a + p.array.size
            p.array[...] = own[a:b].reshape(p.array.shape)
            a = b


class Plan:
    """How to go through one group's tensors; made again when one of them, its array or its
    state is not what it was. Tensors of one age (step count) share the rule's constants."""

    def __init__(self) -> None:
        self.flats: list[Flat] = []
        self.active: list[Tensor] = []
        self.arrays: list[Array] = []
        self.shapes: list[tuple] = []
        # (where it is kept, positions there, parts, scratch) of the tensors of each age
        self.ages: list[tuple[Flat, Array, list, Array]] = []

    def run(self, optimizer: Any, group: dict[str, Any]) -> None:
        """One step of a group: every tensor that has a gradient."""
        active = [p for p in group["params"] if p._grad is not None]
        arrays = [p.array for p in active]
        names = optimizer.kept(group)
        if not self._fits(active, arrays, names, optimizer.state):
            self._make(active, arrays, names, optimizer, group)
        if [p._grad.array.shape for p in active] != self.shapes:
            raise RuntimeError(
                "[step] a gradient must have its parameter's shape, "
                f"{self.shapes}, got {[p._grad.array.shape for p in active]}; "
                "was .data replaced after backward?"
            )
        for flat, index, parts, scratch in self.ages:
            rule = flat.rule(group, int(flat.steps[index[0]]) + 1, flat.number)
            quietly(_update_all, rule, parts, scratch)
            flat.steps[index] = flat.steps[index] + 1 if flat.counts else 1
        for array in arrays:
            mark_written(array)

    def _fits(self, active: list, arrays: list, names: tuple, state: Any) -> bool:
        return (
            len(active) == len(self.active)
            and all(map(is_, active, self.active))
            and all(map(is_, arrays, self.arrays))
            and all(flat.names == names and flat.untouched(state) for flat in self.flats)
            and all(len(set(flat.steps[index].tolist())) == 1 for flat, index, _, _ in self.ages)
        )

    def _make(self, active: list, arrays: list, names: tuple, optimizer: Any, group: dict) -> None:
        state, flats, everyone = optimizer.state, [], []
        for params in _by_kind(active):
            flat = next((f for f in self.flats if f.serves(params, names, state)), None)
            if flat is None:
                flat = Flat(params, names, optimizer, group)
            flats.append(flat)
            ages: dict[float, list[Tensor]] = {}
            for p in params:
                ages.setdefault(float(flat.steps[flat.index[id(p)]]), []).append(p)
            for members in ages.values():
                index = numpy.array([flat.index[id(p)] for p in members])
                parts = flat.split(members)
                widest = max(part.width for part in parts)
                scratch = flat.library.empty((2 + SCRATCH, widest), flat.dtype)
                everyone.append((flat, index, parts, scratch))
        self.flats, self.active, self.arrays, self.ages = flats, active, arrays, everyone
        self.shapes = [array.shape for array in arrays]


def _update_all(rule: Update, parts: list[Large | Small], scratch: Array) -> None:
    for part in parts:
        part.update(rule, scratch)


def _gradient(p: Tensor) -> Array:
    assert p._grad is not None
    return p._grad.array.reshape(-1)


def _by_kind(params: list[Tensor]) -> list[list[Tensor]]:
    """The tensors of each device and dtype."""
    kinds: dict[tuple, list[Tensor]] = {}
    for p in params:
        kinds.setdefault((str(p.device), p.array.dtype), []).append(p)
    return list(kinds.values())
