"""A training step on the CPU, recorded once and replayed: `torch.compile` to be read.

A small step is bound by Python: by the ops, the graph and the walk back, which decide the same each
time. So it is run once on arrays that note on a tape which function of NumPy or of our kernels was
called on which memory (`traced.py`). All of that memory stays: a replay calls the functions again,
one after another, and computes the same numbers."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from typing import Any
from weakref import ref

import numpy

from ..arrays import changed, dispatch, exist, leaves, look_at, noted, quietly
from ..arrays.libraries import DEVICE_TYPES, LIBRARIES, register_library
from ..arrays.replay import ONE_CALL, is_taping, taping_step
from ..arrays.versions import marking, owner_of, writes
from ..core.tensor import Tensor
from .fewer import fewer, replay, store, with_gradients
from .slots import Slots, check_held, check_outputs, detached, rolled
from .traced import Traced, refuse

# Modules that compute with arrays: there NumPy's name means the recorder while a step is recorded.
HERE = __name__.partition(".engine.")[0]
COMPUTING = "ops kernels.numpy kernels.c pytorch arrays.sums inplace sparse".split()
PLACES = (f"{HERE}.nn", *(f"{HERE}.engine.{name}" for name in COMPUTING))
# What makes arrays out of nothing. What is made may be written to later, so it is made anew.
MAKING = {
    getattr(numpy, name)
    for name in "empty zeros ones full arange eye tri linspace array asarray ascontiguousarray "
    "asfortranarray frombuffer fromiter copy empty_like zeros_like ones_like full_like".split()
}
ASKING = {numpy.shape, numpy.ndim, numpy.size, numpy.result_type, numpy.may_share_memory}
# Functions that take `out`, beside ufuncs and their `reduce`; and those that fill with a constant.
WRITING = {numpy.concatenate, numpy.stack, numpy.ndarray.take, numpy.ndarray.cumsum, numpy.dot}
FILLING = {numpy.zeros, numpy.zeros_like, numpy.ones, numpy.ones_like}
EMPTY = {numpy.empty, numpy.empty_like}
ANY = object()


class Tape:
    """The calls of a step, and the memory that they work on."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable, tuple, dict]] = []
        self.free: dict[int, list] = {}  # free memory by its size
        self.used: set[int] = set()  # ids of what was read or written, of tensors that there were
        self.paused = False
        self.grads: dict[int, Any] = {}  # by the id of a tensor: its gradient when the step began
        self.stepped: set[int] = set()  # ids of those that had another one when it was used

    def new(self, like: numpy.ndarray) -> Traced:
        """Memory for an array of this shape, dtype and order of axes."""
        free = self.free.get(like.nbytes)
        block = free.pop() if free else numpy.empty(like.nbytes, numpy.uint8)
        steps = numpy.empty_like(like).strides if like.size else None
        return Traced(self, numpy.ndarray(like.shape, like.dtype, block, 0, steps), None, block)

    def noting(self, function: Any, *args: Any, **settings: Any) -> Any:
        return self.run(function, args, settings)

    def run(self, function: Any, args: tuple, settings: dict, making: bool = False) -> Any:
        """function(*args, **settings), noted. What it makes is Traced; `making`: also where it was
        given nothing that is."""
        given = [x for x in leaves((args, settings)) if type(x) is Traced]
        bare, named = changed((args, settings), plain)
        if self.paused or not is_taping(given):
            return function(*bare, **named)
        self.used.update(map(id, given))
        with self.aside():
            found = function(*bare, **named)
        if function in ASKING or not (given or making or function in MAKING):
            return found
        out = settings.get("out", args[getattr(function, "nin", len(args)) :])
        outs = out if isinstance(out, tuple) else (out,)
        if found is None or outs:
            if not all(isinstance(x, Traced) for x in outs):
                refuse("write into an array that it did not make", "make it with this library")
            self.call(function, bare, **named)
            return outs[0] if len(outs) == 1 else outs or None
        if bare and found is bare[0] and not isinstance(found, numpy.ndarray):
            self.call(function, bare, **named)  # a method that returns its object
            return found
        if isinstance(found, (tuple, list)):
            several = tuple(self.taken(x, given) for x in found)
            self.call(store, ([x.plain for x in several], function, bare, named))
            return several
        made = self.taken(found, given)
        if made.base is None and made.plain is not found and function not in EMPTY:
            self.note(made.plain, function, bare, named)
        return made

    def taken(self, found: Any, given: list[Traced]) -> Traced:
        """What a function returned: one of its inputs, a view of one, or something new."""
        if not isinstance(found, (numpy.ndarray, numpy.generic)):
            refuse(f"use {type(found).__name__}s made of results")
        if isinstance(found, numpy.ndarray):
            for x in given:
                if found is x.plain:
                    return x
                if numpy.may_share_memory(found, x.plain):
                    return Traced(self, found, x if x.base is None else x.base)
        made = self.new(numpy.asarray(found))
        made.plain[...] = found
        return made

    def note(self, out: numpy.ndarray, function: Any, args: tuple, settings: dict) -> None:
        """At each replay: out = function(*args, **settings), written where it can be at once."""
        if function in FILLING:
            self.call(out.fill, (function in (numpy.ones, numpy.ones_like),))
        elif function in (numpy.ndarray.copy, numpy.ascontiguousarray):
            self.call(numpy.copyto, (out, args[0]))
        elif function in WRITING or isinstance(
            getattr(function, "__self__", function), numpy.ufunc
        ):
            self.call(function, args, **settings, out=out)
        else:
            self.call(store, ([out], function, args, settings))

    def call(self, function: Callable, args: tuple, /, **settings: Any) -> None:
        self.calls.append((function, args, settings))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Inside, nothing is noted, and arrays are NumPy's."""
        before = self.paused, LIBRARIES[numpy.ndarray]
        self.paused, LIBRARIES[numpy.ndarray] = True, numpy
        try:
            yield
        finally:
            self.paused, LIBRARIES[numpy.ndarray] = before

    def one_call(self, function: Callable, method: bool) -> Callable:
        """In place of a function that may look at values: all that it does is one call, in which
        tensors hold NumPy's arrays. A method gets tensors by itself, and returns nothing."""

        def stand_in(*args: Any, **settings: Any) -> Any:
            if self.paused or not is_taping() or any(isinstance(x, Tensor) for x in args):
                return function(*args, **settings)
            if not method:
                return self.run(function, args, settings, True)
            own = [x for x in leaves(args) if isinstance(x, Tensor)]
            made = [(t, t._grad) for t in own if t._grad is not self.grads.get(id(t))]
            self.stepped.update(id(t) for t, _ in made)
            with self.aside(), bare_tensors():
                function(*args, **settings)
            self.call(with_gradients, (made, function, args), **settings)
            return None

        return stand_in


def plain(x: Any) -> Any:
    return x.plain if type(x) is Traced else x


class Names:
    """A module under its name, whose functions are noted where they would not tell Traced arrays
    themselves: those that make arrays, and those of our own kernels."""

    def __init__(self, tape: Tape, module: ModuleType):
        self._tape, self._module = tape, module

    def __getattr__(self, name: str) -> Any:
        found: Any = getattr(self._module, name)
        if isinstance(found, ModuleType):
            found = Names(self._tape, found)
        elif callable(found) and (self._module is not numpy or found in MAKING):
            found = partial(self._tape.noting, found)
        self.__dict__[name] = found
        return found


def replaced(tape: Tape) -> Iterator[tuple[Any, str, Any]]:
    """(object, name, what stands there while a step is recorded)."""
    for title, module in list(sys.modules.items()):
        if title.startswith(PLACES):
            for name, value in list(vars(module).items()):
                if value is numpy:
                    yield module, name, Names(tape, numpy)
                elif name == "fast" and isinstance(value, ModuleType):
                    yield module, name, Names(tape, value)
    for owner, titles, method in ONE_CALL:
        for name in titles.split():
            yield owner, name, tape.one_call(vars(owner)[name], method)


@contextmanager
def standing_in(tape: Tape) -> Iterator[None]:
    """Inside, those names mean the recorder's, and what is made on the CPU is Traced."""
    with taping_step(), ExitStack() as stack:
        for owner, name, value in list(replaced(tape)):
            stack.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, value)
        register_library(Traced, Names(tape, numpy), "cpu")
        stack.callback(LIBRARIES.pop, Traced)
        stack.callback(DEVICE_TYPES.pop, Traced)
        stack.callback(LIBRARIES.__setitem__, numpy.ndarray, numpy)
        LIBRARIES[numpy.ndarray] = LIBRARIES[Traced]
        for target in (*dispatch.WITH_KERNELS, noted, exist):
            target.kernels[Traced] = target.kernels.get(numpy.ndarray, [])
            stack.callback(target.kernels.pop, Traced, None)
        # whether positions exist is looked at in each replay
        noted.kernels[Traced] = [lambda *ids: tape.run(look_at, ids, {}) is None]
        exist.kernels[Traced] = [lambda ids, n, first=0: noted(ids, "getitem", "index", first, n)]
        yield


def live_tensors() -> list[Tensor]:
    return [x for x in gc.get_objects() if issubclass(type(x), Tensor) and hasattr(x, "array")]


@contextmanager
def bare_tensors() -> Iterator[None]:
    """Inside, all tensors hold NumPy's arrays."""
    traced: list[Any] = [(t, t.array) for t in live_tensors() if type(t.array) is Traced]
    for t, array in traced:
        t.array = array.plain
    try:
        yield
    finally:
        for t, array in traced:
            t.array = array


@contextmanager
def traced_tensors(tape: Tape) -> Iterator[None]:
    """Inside, every tensor on the CPU that there is holds a Traced of its memory."""
    known: dict[int, Any] = {}

    def traced(array: numpy.ndarray) -> Any:
        if id(array) not in known:
            owner = traced(array.base) if type(array.base) is numpy.ndarray else None
            known[id(array)] = Traced(tape, array, owner)
        return known[id(array)]

    for t in live_tensors():
        if type(t.array) is numpy.ndarray:
            t.array = traced(t.array)
    t = None  # type: ignore[assignment]  # the last one would live on
    try:
        yield
    finally:
        tape.paused = True
        for t in live_tensors():
            if type(t.array) is Traced:
                t.array = t.array.plain


class Taped:
    """A step on the CPU: as it is while it warms up, then recorded, then replayed."""

    def __init__(self, step: Callable, left: int):
        self.step, self.left = step, left
        self.slots: Any = None
        self.calls: list | None = None
        self.held: list[tuple] = []  # a tensor that it reads, its array, whether it needs_grad
        # leaf, what its .grad must be before a replay (ANY: it starts anew inside), what it is then
        self.grads: list[tuple[Tensor, Any, Any]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.left > 0:
            self.left -= 1
            return changed(self.step(*args, **kwargs), detached)
        if self.slots is None:
            self.slots = Slots((args, kwargs), numpy)
        self.slots.fill((args, kwargs))
        if (calls := self.calls) is None:
            return self._record()
        check_held(self.held)
        if any(must is not ANY and leaf._grad is not must for leaf, must, _ in self.grads):
            refuse("add to other gradients than at first", "call zero_grad() inside the step")
        quietly(replay, calls)
        for leaf, _, grad in self.grads:
            leaf._grad = grad
        return self.outputs

    def _record(self) -> Any:
        tape, dice = Tape(), rolled()
        args, kwargs = self.slots.tree
        live, self.grads, self.held, written = live_tensors(), [], [], []
        before = [(ref(t), t.array, t._grad) for t in live]
        tape.grads = {id(t): t._grad for t in live}
        with standing_in(tape), traced_tensors(tape):
            traced = [t.array for t in live]
            del live  # so that it is seen which of them the step lets go of
            found = self.step(*args, **kwargs)
            read = {t() for (t, _, _), x in zip(before, traced) if id(x) in tape.used} - {None}
            for (t, array, g), x in zip(before, traced):
                leaf = t()
                if id(x) in tape.used if leaf is None else leaf.array is not x:
                    refuse("replace a tensor, or what it holds", "write into it: x.copy_(y)")
                if leaf is not None and leaf in read:
                    self.held.append((t, array, leaf.needs_grad))
                if id(owner_of(x)) in writes.of:
                    written.append(array)
                    if any(getattr(slot, "tensor", ()) is leaf for slot in self.slots.leaves):
                        refuse("write into an argument", "write into a clone() of it")
                if leaf is not None and leaf._grad is not g and g in read:
                    refuse("read a gradient and replace it", "call zero_grad() first")
                if leaf is not None and (
                    leaf._grad is not g or g in read or id(leaf) in tape.stepped
                ):
                    self.grads.append((leaf, g if g is None or g in read else ANY, leaf._grad))
        check_outputs(found, "cpu")
        if rolled() != dice:
            refuse("draw from Python's or NumPy's own random numbers", "use this library's")
        self.outputs = changed(found, detached)
        outputs = [x.array for x in leaves(found) if x is not None]
        self.calls = [*fewer(tape.calls), (marking(written + outputs), ())]
        return self.outputs
