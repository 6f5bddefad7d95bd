"""What the two ways to record a step share: its arguments, which are copied to where the recording
reads, and what it may return and draw."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy

from ..arrays import LIBRARIES, changed, cupy, dtype_of, leaves
from ..core.tensor import Tensor, wrap


def rolled() -> bytes:
    """The states of Python's and NumPy's own random numbers."""
    return pickle.dumps((random.getstate(), numpy.random.get_state(legacy=False)))


def detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


PLACES = {"cuda": "GPU", "cpu": "CPU"}


def check_outputs(found: Any, where: str) -> None:
    for x in leaves(found):
        if x is not None and not (isinstance(x, Tensor) and x.device.type == where):
            what = f"a Tensor on {x.device}" if isinstance(x, Tensor) else type(x).__name__
            raise RuntimeError(
                f"[capture] a step must return Tensors on the {PLACES[where]} or None, as anything "
                f"else would be the same in each replay, got {what}; compute it outside"
            )


def check_held(held: list) -> None:
    """An error where of tensors that a recording reads, (weak reference, array, needs_grad), one is
    not as it was, or gone: then the step reads another one by now."""
    for t, array, needs in held:
        if (x := t()) is None and any(u() is not None for u, a, _ in held if a is array):
            continue  # it was an alias of what is still there
        if x is None or x.array is not array or x.needs_grad is not needs:
            raise RuntimeError(
                "[capture] the tensors that a captured step uses must stay, and their data and "
                "requires_grad too, got another one; capture it again"
            )


class Slots:
    """The arguments of a recorded step: Tensors that keep their memory, into which the arguments
    of each call are copied."""

    def __init__(self, tree: Any, library: Any):
        given: list[Any] = []
        self.names = shape_of(tree, given)
        self.leaves: list[Any] = [
            Slot(x, library) if isinstance(x, Tensor) else checked(x) for x in given
        ]
        own = iter(self.leaves)
        self.tree = changed(tree, lambda _: getattr(x := next(own), "tensor", x))

    def fill(self, tree: Any) -> None:
        given: list[Any] = []
        if shape_of(tree, given) != self.names:
            raise RuntimeError(
                "[capture] the arguments must be as many, named and ordered as before"
            )
        for slot, x in zip(self.leaves, given):
            if isinstance(slot, Slot):
                slot.check(x)
            elif x is not slot and (type(x) is not type(slot) or not alike(checked(x), slot)):
                raise RuntimeError(
                    f"[capture] what is no Tensor must stay as recorded, {slot!r}, got {x!r:.60}; "
                    "capture another step for it, or make it a Tensor"
                )
        for slot, x in zip(self.leaves, given):
            if isinstance(slot, Slot):
                slot.fill(x.array)


def shape_of(tree: Any, found: list) -> Any:
    """The nest alone: its kinds, lengths and names; what is in it goes to the end of a list."""
    if isinstance(tree, dict):
        return dict, [(name, shape_of(x, found)) for name, x in tree.items()]
    if isinstance(tree, (tuple, list)):
        return type(tree), [shape_of(x, found) for x in tree]
    found.append(tree)
    return None


def alike(x: Any, slot: Any) -> bool:
    """Whether these of one type are equal; 0.0 is not -0.0, and NaN is NaN."""
    return repr(x) == repr(slot) if isinstance(x, float) else x == slot


def checked(x: Any) -> Any:
    if type(x) in LIBRARIES:
        raise TypeError("[capture] arguments must be Tensors, got an array; use from_numpy(...)")
    return x


class Slot:
    """One argument's fixed place. What comes from the CPU goes through memory that the device can
    read by itself, two blocks of it by turns, so that no call waits for the copy of its own."""

    def __init__(self, x: Tensor, library: Any):
        self.tensor = wrap(library.empty(x.array.shape, x.array.dtype))
        self.blocks: list[tuple[Any, Any]] = []  # (pinned memory as an array, when it is free)

    def check(self, x: Any) -> None:
        own = self.tensor.array
        if not isinstance(x, Tensor):
            got = type(x).__name__
        elif x.requires_grad:
            got = "one that requires a gradient; detach it, or let the step use it from outside"
        elif x.array.shape != own.shape or x.array.dtype != own.dtype:
            got = f"{tuple(x.array.shape)} {dtype_of(x.array).name}; capture another step for these"
        else:
            return
        raise RuntimeError(
            f"[capture] this argument must stay a Tensor of {tuple(own.shape)} "
            f"{dtype_of(own).name}, got {got}"
        )

    def fill(self, array: Any) -> None:
        own = self.tensor.array
        if type(array) is type(own):
            if array is not own:
                own[...] = array
            return
        if not array.size:
            return
        if len(self.blocks) < 2:
            memory = cupy().cuda.alloc_pinned_memory(array.nbytes)
            block = numpy.frombuffer(memory, numpy.uint8, array.nbytes)
            block = block.view(array.dtype).reshape(array.shape)
            self.blocks.insert(0, (block, cupy().cuda.Event(disable_timing=True)))
        else:
            self.blocks.reverse()
        block, free = self.blocks[0]
        free.synchronize()
        block[...] = array
        stream = cupy().cuda.get_current_stream()
        own.data.copy_from_host_async(block.ctypes.data, array.nbytes, stream)
        free.record(stream)
