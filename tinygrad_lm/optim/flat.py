"""Applying an update rule to many tensors: state in flat buffers, one pass in blocks that stay in
cache. It knows no rule (a rule changes one block in place) and no graph.

Parameters and gradients stay where they are, so aliases of a parameter see its updates, and a
parameter that was replaced, moved or loaded is simply another array, noticed by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from operator import is_
from typing import Any

import numpy

from ..engine.autograd import mark_written
from ..engine.backend import device_of, library, quietly
from ..engine.tensor import Tensor, wrap

# (library, parameter, gradient, kept arrays, scratch arrays): 1-D blocks of one length. The rule
# writes parameter, kept and scratch; never the gradient, which may be the user's own.
Update = Callable[[Any, Any, Any, list, Any], None]

# Elements per block, and below how many a tensor is copied into a block that it shares: on the CPU
# a block with its scratch fits a core's L2 cache, elsewhere fewer and larger calls are better.
SIZES = {"cpu": (1 << 15, 1 << 14)}
SIZES_ELSEWHERE = (1 << 26, 1 << 20)
SCRATCH = 2  # arrays of a block's length that a rule may use


class Flat:
    """What is kept for tensors of one library and dtype, one after another in a buffer per name."""

    def __init__(self, params: list[Tensor], names: tuple[str, ...], counts: bool, state: Any):
        like, lib = params[0].array, library(params[0].array)
        self.block, self.small = SIZES.get(device_of(like).type, SIZES_ELSEWHERE)
        # small ones first, side by side, so that they can share blocks
        self.params = sorted(params, key=lambda p: p.array.size >= self.small)
        self.shapes = [p.array.shape for p in self.params]
        self.index = {id(p): i for i, p in enumerate(self.params)}
        self.names, self.library, self.counts = names, lib, counts
        self.starts = [0, *accumulate(p.array.size for p in self.params)]
        self.buffers = [lib.zeros(self.starts[-1], like.dtype) for _ in names]
        self.steps = numpy.zeros(len(params), numpy.float32)  # without a count: 1 once started
        self.entries = [self._keep(i, state.get(p, {})) for i, p in enumerate(self.params)]
        if names or counts:
            state.update(zip(self.params, self.entries, strict=True))
        self.views = [
            (entry, name, tensor, tensor.array)
            for entry in self.entries
            for name, tensor in entry.items()
            if isinstance(tensor, Tensor)
        ]

    def _keep(self, i: int, old: dict[str, Any]) -> dict[str, Any]:
        """The state of params[i] as views of the buffers, with the values it had."""
        views = {}
        for name, buffer in zip(self.names, self.buffers, strict=True):
            view = buffer[self.starts[i] : self.starts[i + 1]].reshape(self.shapes[i])
            if old.get(name) is not None:
                view[...] = old[name].array
            views[name] = view
        if self.counts:
            self.steps[i] = float(old.get("step", 0))
            views = {"step": self.steps[i : i + 1].reshape(()), **views}
        else:
            self.steps[i] = all(old.get(name) is not None for name in self.names)
        return {**old, **{name: wrap(view) for name, view in views.items()}}

    def serves(self, params: list[Tensor], names: tuple[str, ...], state: Any) -> bool:
        """Whether these tensors are kept here, and nobody changed what `state` holds for them."""
        if names != self.names or any(
            self.shapes[self.index[id(p)]] != p.array.shape if id(p) in self.index else True
            for p in params
        ):
            return False
        return self.untouched(state)

    def untouched(self, state: Any) -> bool:
        if not (self.names or self.counts):
            return True
        return all(map(is_, map(state.get, self.params), self.entries)) and all(
            entry.get(name) is tensor and tensor.array is view
            for entry, name, tensor, view in self.views
        )

    def blocks(self, active: list[Tensor]) -> Iterator[Block]:
        """The tensors' whole extent in blocks: pieces of a large one, or several small ones."""
        shared: list[Tensor] = []
        for p in sorted(active, key=lambda p: self.index[id(p)]):
            size, i = p.array.size, self.index[id(p)]
            if p.array.flags.c_contiguous and size >= self.small:
                for a in range(0, size, self.block):
                    yield Block(self, [p], slice(a, min(a + self.block, size)))
                continue
            adjacent = not shared or self.index[id(shared[-1])] == i - 1
            if not adjacent or sum(q.array.size for q in shared) + size > self.block:
                if shared:
                    yield Block(self, shared)
                shared = []
            shared.append(p)
        if shared:
            yield Block(self, shared)


class Block:
    """One call of a rule: a piece of a large tensor in its own memory, or small tensors together,
    which are copied into one block and back."""

    def __init__(self, flat: Flat, params: list[Tensor], piece: slice | None = None):
        self.params, self.piece, self.library = params, piece, flat.library
        first, last = flat.index[id(params[0])], flat.index[id(params[-1])]
        start, stop = flat.starts[first], flat.starts[last + 1]
        if piece is not None:
            start, stop = start + piece.start, start + piece.stop
            self.own = params[0].array.reshape(-1)[piece]
        self.kept = [buffer[start:stop] for buffer in flat.buffers]
        self.size = stop - start
        self.ends = [flat.starts[flat.index[id(p)] + 1] - start for p in params]

    def update(self, rule: Update, scratch: Any) -> None:
        lib, n = self.library, self.size
        if self.piece is not None:
            g = self.params[0]._grad.array.reshape(-1)[self.piece]
            rule(lib, self.own, g, self.kept, scratch[2:, :n])
            return
        g, own = scratch[0, :n], scratch[1, :n]
        lib.concatenate([p._grad.array.reshape(-1) for p in self.params], out=g)
        lib.concatenate([p.array.reshape(-1) for p in self.params], out=own)
        rule(lib, own, g, self.kept, scratch[2:, :n])
        start = 0
        for p, end in zip(self.params, self.ends, strict=True):
            p.array[...] = own[start:end].reshape(p.array.shape)
            start = end


class Plan:
    """How one group's tensors are walked through; made anew when one of them, its array or its
    state is not what it was."""

    def __init__(self) -> None:
        self.flats: list[Flat] = []
        self.active: list[Tensor] = []
        self.arrays: list[Any] = []
        self.cohorts: list[tuple[Flat, Any, list[Block], Any]] = []

    def run(self, optimizer: Any, group: dict[str, Any]) -> None:
        """One step of a group: every tensor that has a gradient."""
        active = [p for p in group["params"] if p._grad is not None]
        arrays = [p.array for p in active]
        names = optimizer.kept(group)
        for p, array in zip(active, arrays, strict=True):
            if p._grad.array.shape != array.shape:
                raise RuntimeError(
                    f"[step] a gradient must have its parameter's shape {tuple(array.shape)}, got "
                    f"{tuple(p._grad.array.shape)}; was .data replaced after backward?"
                )
        if not self._fits(active, arrays, names, optimizer.state):
            self._make(active, arrays, names, optimizer, group)
        for flat, index, blocks, scratch in self.cohorts:
            rule = optimizer.update(group, int(flat.steps[index[0]]) + 1)
            quietly(_update_all, rule, blocks, scratch)
            flat.steps[index] = flat.steps[index] + 1 if flat.counts else 1
        for array in arrays:
            mark_written(array)

    def _fits(self, active: list, arrays: list, names: tuple, state: Any) -> bool:
        return (
            len(active) == len(self.active)
            and all(map(is_, active, self.active))
            and all(map(is_, arrays, self.arrays))
            and all(flat.names == names and flat.untouched(state) for flat in self.flats)
            and all(_one_value(flat.steps[index]) for flat, index, _, _ in self.cohorts)
        )

    def _make(self, active: list, arrays: list, names: tuple, optimizer: Any, group: dict) -> None:
        self.active, self.arrays, self.cohorts = active, arrays, []
        state, flats = optimizer.state, []
        for kind, params in _by_kind(active).items():
            flat = next((f for f in self.flats if f.serves(params, names, state)), None)
            if flat is None:
                idle = [p for p in group["params"] if p._grad is None and p in state]
                flat = Flat(params + _by_kind(idle).get(kind, []), names, optimizer.counts, state)
            flats.append(flat)
            ages: dict[float, list[Tensor]] = {}
            for p in params:
                ages.setdefault(float(flat.steps[flat.index[id(p)]]), []).append(p)
            for members in ages.values():
                index = numpy.array([flat.index[id(p)] for p in members])
                blocks = list(flat.blocks(members))
                widest = max(block.size for block in blocks)
                shape = (2 + SCRATCH, widest)
                scratch = flat.library.empty(shape, arrays[0].dtype)
                self.cohorts.append((flat, index, blocks, scratch))
        self.flats = flats


def _update_all(rule: Update, blocks: list[Block], scratch: Any) -> None:
    for block in blocks:
        block.update(rule, scratch)


def _one_value(steps: Any) -> bool:
    return bool((steps == steps[0]).all())


def _by_kind(params: list[Tensor]) -> dict[tuple, list[Tensor]]:
    kinds: dict[tuple, list[Tensor]] = {}
    for p in params:
        kinds.setdefault((str(p.device), p.array.dtype), []).append(p)
    return kinds
