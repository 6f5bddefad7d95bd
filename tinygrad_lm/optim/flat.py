"""Applying an update rule to many tensors: state in flat buffers, one pass in blocks that stay in
cache. A rule changes one block in place; which rule it is makes no difference here.

Parameters and gradients stay where they are, so aliases of a parameter see its updates, and a
parameter that was replaced, moved or loaded is simply another array, noticed by identity. What is
kept for 16-bit parameters is float32, and so is a `master` copy of them, whose rounding they are.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from operator import is_
from types import MethodType
from typing import Any, NamedTuple, TypeAlias

import numpy

from ..engine.arrays import (
    Array,
    before_each_replay,
    device_of,
    is_recording_step,
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


class AtOnce(NamedTuple):
    """What a kernel may return instead of a rule for blocks: a way to step all tensors in one call.

    make(arrays, starts, kept buffers, master) is asked once for an object with `run(gradients,
    constants, replayed, skip)` and `keep_constants(constants)`; cuda/tensors.py has it.
    """

    make: Callable[..., Any]
    constants: tuple[float, ...]


# Elements per block, and below how many a tensor is copied into a block that it shares: on the CPU
# a block stays in the cache from one ufunc to the next, elsewhere fewer, larger calls are better.
# Two threads over such blocks are slower than one: they wait for the interpreter at every ufunc.
SIZES = {"cpu": (1 << 16, 1 << 14)}
SIZES_ELSEWHERE = (1 << 26, 1 << 20)
WHOLE = (1 << 62, 0)  # whole tensors, which share nothing
Part: TypeAlias = "Together | Large | Small"
SCRATCH = 2  # arrays of a block's length that a rule may use


class Flat:
    """What is kept for tensors of one library and dtype, one after another in a buffer per name."""

    def __init__(self, params: list[Tensor], names: tuple[str, ...], optimizer: Any, group: dict):
        like, self.library = params[0].array, library(params[0].array)
        self.names, self.counts, self.dtype = names, optimizer.counts, like.dtype
        self.masters = like.dtype.itemsize == 2
        self.wide = numpy.dtype(numpy.float32) if self.masters else like.dtype
        self.choose_rule(optimizer, group, params)
        state = optimizer.state
        self.params = sorted(params, key=self.rank)
        self.index = {id(p): i for i, p in enumerate(self.params)}
        self.shapes = [p.array.shape for p in self.params]
        self.starts = [0, *accumulate(p.array.size for p in self.params)]
        self.all_names = (*names, *["master"] * self.masters)
        every = [self.library.zeros(self.starts[-1], self.wide) for _ in self.all_names]
        self.every, self.buffers = every, every[: len(names)]
        self.steps = numpy.zeros(len(params), numpy.float32)  # without a count: 1 once started
        self.entries = [self._keep(i, state.get(p, {})) for i, p in enumerate(self.params)]
        if self.all_names or self.counts:
            state.update(zip(self.params, self.entries))
        tensors = [(e, name, t) for e in self.entries for name, t in e.items()]
        self.views: list[tuple[dict[str, Any], str, Tensor, Array]] = [
            (e, name, t, t.array) for e, name, t in tensors if isinstance(t, Tensor)
        ]

    def choose_rule(self, optimizer: Any, group: dict, params: list[Tensor]) -> None:
        """The optimiser's own rule, block by block, or a kernel for this kind of array."""
        like = params[0].array
        own = getattr(optimizer.update, "function", None)  # without its kernels' door
        self.rule = MethodType(own, optimizer) if own else optimizer.update
        self.kernels_on, self.at_once = kernels_on(), False
        self.block, self.small = SIZES.get(device_of(like).type, SIZES_ELSEWHERE)
        ways = getattr(optimizer.update, "kernels", {}) if self.kernels_on else {}
        for way in ways.get(type(like), ()):
            found = way(optimizer, group, 1, self.number)
            self.at_once = isinstance(found, AtOnce) and _contiguous(params)
            if found is not NotImplemented and (self.at_once or not isinstance(found, AtOnce)):
                self.rule, (self.block, self.small) = MethodType(way, optimizer), WHOLE
                return

    def rank(self, p: Tensor) -> tuple[bool, bool]:
        """Small ones first, side by side, so that they can share blocks; for a kernel last those
        after which addresses are no multiples of 16 bytes any more."""
        size = p.array.size
        return size >= self.small, self.at_once and size % 8 != 0

    def _keep(self, i: int, old: dict[str, Any]) -> dict[str, Any]:
        """The state of params[i] as views of the buffers, with the values it had."""
        views = {}
        if self.counts:
            self.steps[i] = float(old.get("step", 0))
            views["step"] = self.steps[i : i + 1].reshape(())
        else:
            self.steps[i] = all(old.get(name) is not None for name in self.names)
        for name, buffer in zip(self.all_names, self.every):
            views[name] = buffer[self.starts[i] : self.starts[i + 1]].reshape(self.shapes[i])
            if old.get(name) is not None:
                views[name][...] = self._placed(name, old[name].array, i)
        old = {name: value for name, value in old.items() if name != "master"}
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
        if self.at_once and not _contiguous(params):
            return False
        shapes = {id(p): shape for p, shape in zip(self.params, self.shapes)}
        same = all(shapes.get(id(p)) == p.array.shape for p in params)
        return same and self.untouched(state)

    def number(self, value: float) -> Any:
        """A constant for a rule. A 0-d array costs NumPy a third of what a Python float does;
        CuPy passes a scalar to its kernels."""
        if self.library is numpy:
            return numpy.array(value, self.wide)
        return self.wide.type(value)

    def with_masters(self, rule: Update) -> Update:
        """A rule for 16-bit parameters: it changes their float32 masters. Where a master does not
        round to its parameter, that was written by somebody else (or this is the first step)."""

        def block(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
            *kept, master = kept
            now = p.astype(self.wide, copy=False)
            lib.copyto(master, now, where=master.astype(self.dtype).astype(self.wide) != now)
            rule(lib, master, g.astype(self.wide, copy=False), kept, scratch)
            p[...] = master.astype(self.dtype)

        return block

    def split(self, params: list[Tensor]) -> list[Part]:
        """The tensors' whole extent: each large one in pieces, small neighbours together."""
        positions = sorted(self.index[id(p)] for p in params)
        if self.at_once:
            return [Together(self, positions)]
        parts: list[Part] = []
        for i in positions:
            p, last = self.params[i], parts[-1] if parts else None
            if p.array.size >= self.small and p.array.flags.c_contiguous:
                parts.append(Large(self, i))
            elif isinstance(last, Small) and last.accepts(i):
                last.add(i)
            else:
                parts.append(Small(self, i))
        return parts


def _contiguous(params: list[Tensor]) -> bool:
    return all(p.array.flags.c_contiguous for p in params)


class Together:
    """All tensors of one age, for a kernel that takes them in one call."""

    width = 0

    def __init__(self, flat: Flat, positions: list[int]):
        self.flat, self.params = flat, [flat.params[i] for i in positions]
        self.starts = [flat.starts[i] for i in positions]
        self.made: Any = None  # when it is first used

    def update(self, rule: AtOnce, skip: Any) -> None:
        """skip: None, or a float32 on the device, which is not 0 if nothing is to change."""
        if self.made is None:
            flat = self.flat
            arrays, master = [p.array for p in self.params], flat.every[len(flat.names) :]
            self.made = rule.make(arrays, self.starts, flat.buffers, *master)
        gradients = [p._grad.array for p in self.params if p._grad is not None]
        self.made.run(gradients, rule.constants, is_recording_step(), skip)


class Large:
    """A tensor that a rule changes in its own memory, piece by piece."""

    def __init__(self, flat: Flat, i: int):
        self.p, self.library, start = flat.params[i], flat.library, flat.starts[i]
        own, size = self.p.array.reshape(-1), self.p.array.size
        self.width = 0 if (flat.block, flat.small) == WHOLE else min(flat.block, size)
        self.pieces = []
        for a in range(0, size, flat.block):
            b = min(a + flat.block, size)
            kept = [buffer[start + a : start + b] for buffer in flat.every]
            self.pieces.append((slice(a, b), own[a:b], kept))

    def update(self, rule: Update, scratch: Array) -> None:
        g = _gradient(self.p)
        for piece, own, kept in self.pieces:
            rule(self.library, own, g[piece], kept, scratch[2:, : own.size])


class Small:
    """Neighbours in the flat buffers, or a tensor with gaps: copied, changed there, copied back."""

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
        kept = [buffer[start : start + n] for buffer in self.flat.every]
        rule(lib, own, g, kept, scratch[2:, :n])
        a = 0
        for p in self.params:
            b = a + p.array.size
            p.array[...] = own[a:b].reshape(p.array.shape)
            a = b


class Age:
    """Tensors that have taken part in as many steps: where they are kept, their positions there."""

    def __init__(self, flat: Flat, index: Array, parts: list[Any]):
        self.flat, self.index, self.parts = flat, index, parts
        widest = max(part.width for part in parts)
        self.scratch = flat.library.empty((2 + SCRATCH, widest), flat.wide)
        self.before: Array | None = None  # the counts before a step that may have been skipped

    def step(self, optimizer: Any, group: dict[str, Any]) -> None:
        flat, skip = self.flat, optimizer.found_inf
        self.before = None if skip is None else flat.steps[self.index]
        if flat.at_once:
            (part,), skip = self.parts, None if skip is None else skip.array
            part.update(self._rule(group), skip)
            if is_recording_step():  # what is recorded is not run now, but after this
                before_each_replay(lambda: part.made.keep_constants(self._next(group).constants))
            else:
                self._count()
        elif is_recording_step():
            raise RuntimeError(
                "[step] a captured optimizer must be SGD, Adam or AdamW on contiguous parameters "
                f"of 16 or 32 bits on a GPU, got {optimizer._name} on {flat.dtype}"
            )
        elif skip is None or not bool(skip):
            quietly(self._blocks, self._next(group))

    def _rule(self, group: dict[str, Any]) -> Any:
        return self.flat.rule(group, int(self.flat.steps[self.index[0]]) + 1, self.flat.number)

    def _count(self) -> None:
        steps = self.flat.steps
        steps[self.index] = steps[self.index] + 1 if self.flat.counts else 1

    def _next(self, group: dict[str, Any]) -> Any:
        """The rule for the next step, which is counted."""
        rule = self._rule(group)
        self._count()
        return rule

    def _blocks(self, rule: Update) -> None:
        rule = self.flat.with_masters(rule) if self.flat.masters else rule
        for part in self.parts:
            part.update(rule, self.scratch)

    def take_back(self) -> None:
        if self.before is not None:
            self.flat.steps[self.index] = self.before


class Plan:
    """How to go through one group's tensors; made again when one of them, its array or its
    state is not what it was. Tensors of one age (step count) share the rule's constants."""

    def __init__(self) -> None:
        self.flats: list[Flat] = []
        self.active: list[Tensor] = []
        self.arrays: list[Array] = []
        self.shapes: list[tuple] = []
        self.ages: list[Age] = []

    def run(self, optimizer: Any, group: dict[str, Any]) -> None:
        """One step of a group: every tensor that has a gradient."""
        active = [p for p in group["params"] if p._grad is not None]
        arrays = [p.array for p in active]
        names = optimizer.kept(group)
        if not self._fits(active, arrays, names, optimizer.state):
            if is_recording_step():
                raise RuntimeError(
                    "[step] a captured step must be like the one before it, got another set of "
                    "parameters or another state; call it once before it is captured"
                )
            self._make(active, arrays, names, optimizer, group)
        known = active, arrays, self.flats
        before_each_replay(lambda: _check_recorded(*known, optimizer.state))
        if [p._grad.array.shape for p in active] != self.shapes:
            raise RuntimeError(
                "[step] a gradient must have its parameter's shape, "
                f"{self.shapes}, got {[p._grad.array.shape for p in active]}; "
                "was .data replaced after backward?"
            )
        for age in self.ages:
            age.step(optimizer, group)
        for array in arrays:
            mark_written(array)

    def _fits(self, active: list, arrays: list, names: tuple, state: Any) -> bool:
        return (
            len(active) == len(self.active)
            and all(map(is_, active, self.active))
            and all(map(is_, arrays, self.arrays))
            and all(flat.names == names and flat.untouched(state) for flat in self.flats)
            and all(len(set(age.flat.steps[age.index].tolist())) == 1 for age in self.ages)
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
                everyone.append(Age(flat, index, flat.split(members)))
        self.flats, self.active, self.arrays, self.ages = flats, active, arrays, everyone
        self.shapes = [array.shape for array in arrays]


def _check_recorded(params: list, arrays: list, flats: list[Flat], state: Any) -> None:
    same = all(map(is_, [p.array for p in params], arrays))
    if not (same and all(flat.untouched(state) for flat in flats)):
        raise RuntimeError(
            "[capture] a captured step must find parameters and optimizer state as it was recorded "
            "with, got others (a new .data, load_state_dict?); capture the step again"
        )


def _gradient(p: Tensor) -> Array:
    assert p._grad is not None
    return p._grad.array.reshape(-1)


def _by_kind(params: list[Tensor]) -> list[list[Tensor]]:
    """The tensors of each device and dtype."""
    kinds: dict[tuple, list[Tensor]] = {}
    for p in params:
        kinds.setdefault((str(p.device), p.array.dtype), []).append(p)
    return list(kinds.values())
