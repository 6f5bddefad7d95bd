"""A step recorded once and replayed: on a GPU Python starts every kernel of a step, which for small
models takes longer than the kernels do; a recorded step, a CUDA graph, is started by one call."""

from __future__ import annotations

import gc
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from .arrays import (
    LIBRARIES,
    changed,
    cuda_is_available,
    cupy,
    dtype_of,
    is_recording_step,
    leaves,
    recording_step,
)
from .core.tensor import Tensor, wrap
from .random.generator import default_generator


def capture(step: Callable, warmup: int = 2) -> Callable:
    """The same step, recorded as a CUDA graph and replayed from then on.

        def step(x, y):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        fast = capture(step)
        for x, y in batches:
            loss = fast(x, y)

    The first `warmup` calls run it as it is; the next one records it, and it and all later ones
    replay the recording. Each call is one step, with the same results bit for bit.

    - Arguments may be Tensors, also on the CPU, in tuples, lists and dicts: they are copied to
      where the recording reads. Shapes, dtypes and all that is no Tensor must stay the same.
    - The step returns Tensors or nothing. Every replay writes the same memory anew: clone what is
      to be kept. They are outside the graph of gradients.
    - What the step does in Python is done when it is recorded, not again: what it prints, counts or
      appends, and which branch it takes. So a learning rate's schedule belongs outside (the
      optimizer looks at the rate before each replay), and so does `train()` or `eval()`.
    - Gradients must start anew in each step, by `zero_grad()`. The tensors that it uses must live
      as long as the recording: write into them, but do not replace what they hold (`.data = ...`).
    - It cannot read results (`item()`, `if loss > 3:`), upload, or use random numbers from the CPU.

    A step that does not use a GPU is called as it is, always."""
    if not callable(step):
        raise TypeError(f"[capture] step must be a function, got {type(step).__name__}")
    if warmup < 1:
        raise ValueError(
            f"[capture] warmup must be at least 1, got {warmup}: the first call of a step compiles "
            "its kernels and makes the optimizer's memory"
        )
    return Captured(step, warmup) if cuda_is_available() else step


class Captured:
    """A step, at first as it is, then as a recording."""

    def __init__(self, step: Callable, warmup: int):
        self.step, self.left, self.first = step, warmup, True
        self.on_gpu = True  # until the first call shows that it is not
        # Of the recording: its memory, which must serve nothing else as long as there are replays,
        # and the stream it was made in.
        cp = cupy()
        self.pool, self.stream = cp.cuda.MemoryPool(), cp.cuda.Stream(non_blocking=True)
        self.device = cp.cuda.runtime.getDevice()
        self.slots: Slots | None = None
        self.actions: list[Callable] = []
        self.graph: Any = None
        self.outputs: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.on_gpu:
            return self.step(*args, **kwargs)
        self._check_call()
        if self.first:
            return self._begin(args, kwargs)
        if self.slots is None:
            self.slots = Slots((args, kwargs))
        self.slots.fill((args, kwargs))
        if self.left:
            self.left -= 1
            with self._aside():
                return changed(self._run(), detached)
        if self.graph is None:
            self._record()
        for action in self.actions:
            action()
        self.graph.launch()
        return self.outputs

    def _check_call(self) -> None:
        if is_recording_step():
            raise RuntimeError("[capture] a captured step must not be called inside another one")
        here = cupy().cuda.runtime.getDevice()
        if here != self.device:
            raise RuntimeError(
                "[capture] a captured step must be called with the device current that it was made "
                f"on, cuda:{self.device}, got cuda:{here}"
            )

    def _begin(self, args: tuple, kwargs: dict) -> Any:
        """The first call: it shows whether the step uses a GPU at all."""
        cupy().get_default_memory_pool().free_all_blocks()  # which the recording's pool cannot use
        with self._aside():
            found = self.step(*args, **kwargs)
        given = [x for x in (*leaves((args, kwargs)), *leaves(found)) if isinstance(x, Tensor)]
        for gpu in {str(x.device) for x in given if x.is_cuda} - {f"cuda:{self.device}"}:
            raise RuntimeError(
                f"[capture] a captured step must stay on the GPU it was made on, cuda:{self.device}"
                f", got a tensor on {gpu}; make and call it inside `with cuda.device({gpu[5:]}):`"
            )
        self.on_gpu = self.pool.total_bytes() > 0 or any(x.is_cuda for x in given)
        self.first, self.left = False, self.left - 1
        return changed(found, detached) if self.on_gpu else found

    def _run(self) -> Any:
        args, kwargs = self.slots.tree  # type: ignore[union-attr]
        return self.step(*args, **kwargs)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Inside, work goes to the recording's stream and memory; it follows what the caller has
        queued, and what the caller queues later follows it."""
        cp = cupy()
        before = cp.cuda.get_current_stream()
        self.stream.wait_event(before.record())
        try:
            with self.stream, cp.cuda.using_allocator(self.pool.malloc):
                yield
        finally:
            before.wait_event(self.stream.record())

    def _record(self) -> None:
        """Run the step once, while the device only notes down what it is to do."""
        collecting = gc.isenabled()
        gc.disable()  # what it frees in between would be freed on the device, too
        try:
            with self._aside(), recording_step() as actions:
                dice = rolled()
                self.stream.begin_capture()
                try:
                    found = self._run()
                    check_outputs(found)
                    outputs = changed(found, detached)
                    if rolled() != dice:
                        raise RuntimeError(FROZEN_DICE)
                except BaseException as error:
                    self._give_up()
                    if sentence := explained(error):
                        raise RuntimeError(sentence) from error
                    raise
                graph = self.stream.end_capture()
        finally:
            if collecting:
                gc.enable()
        self.actions, self.outputs, self.graph = actions, outputs, graph

    def _give_up(self) -> None:
        """End a recording that failed; the step can be called as before."""
        try:
            self.stream.end_capture()
        except Exception:  # CUDA says once more that the recording is not valid
            pass


FROZEN_DICE = (
    "[capture] a step must not draw random numbers on the CPU, which would be the same in each "
    "replay; draw them outside and pass them in, or draw on the GPU"
)


def rolled() -> bytes:
    """The states of the sources of random numbers on the CPU."""
    theirs = random.getstate(), numpy.random.get_state(legacy=False)
    return pickle.dumps((*theirs, default_generator.get_state()))


def explained(error: BaseException) -> str:
    """What to do about a step that cannot be recorded, where that is what CUDA or CuPy say."""
    text = str(error)
    if text.startswith("[") or "captur" not in text.lower():
        return ""
    return (
        "[capture] a step must not read from the device, upload to it, wait for it or call a "
        f"library that does; return what is to be read, and pass in what is new: {text}"
    )


def detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def check_outputs(found: Any) -> None:
    for x in leaves(found):
        if x is not None and not (isinstance(x, Tensor) and x.is_cuda):
            what = f"a Tensor on {x.device}" if isinstance(x, Tensor) else type(x).__name__
            raise RuntimeError(
                "[capture] a step must return Tensors on the GPU or None, as anything else would "
                f"be the same in each replay, got {what}; compute it outside"
            )


class Slots:
    """The arguments of a recorded step: Tensors that keep their memory, into which the arguments
    of each call are copied."""

    def __init__(self, tree: Any):
        self.leaves: list[Any] = [
            Slot(x) if isinstance(x, Tensor) else checked(x) for x in leaves(tree)
        ]
        own = iter(self.leaves)
        self.names = shape_of(tree)
        self.tree = changed(tree, lambda _: getattr(x := next(own), "tensor", x))

    def fill(self, tree: Any) -> None:
        given = list(leaves(tree))
        if shape_of(tree) != self.names or len(given) != len(self.leaves):
            raise RuntimeError("[capture] the arguments must be as many and named as before")
        for slot, x in zip(self.leaves, given):
            if isinstance(slot, Slot):
                slot.check(x)
            elif x is not slot and (isinstance(x, Tensor) or checked(x) != slot):
                raise RuntimeError(
                    f"[capture] what is no Tensor must stay as recorded, {slot!r}, got {x!r:.60}; "
                    "capture another step for it, or make it a Tensor"
                )
        for slot, x in zip(self.leaves, given):
            if isinstance(slot, Slot):
                slot.fill(x.array)


def shape_of(tree: Any) -> Any:
    """The nest alone: its kinds, lengths and names."""
    if isinstance(tree, dict):
        return {name: shape_of(x) for name, x in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree), [shape_of(x) for x in tree]
    return None


def checked(x: Any) -> Any:
    if type(x) in LIBRARIES:
        raise TypeError("[capture] arguments must be Tensors, got an array; use from_numpy(...)")
    return x


class Slot:
    """One argument's fixed place. What comes from the CPU goes through memory that the device can
    read by itself, two blocks of it by turns, so that no call waits for the copy of its own."""

    def __init__(self, x: Tensor):
        self.tensor = wrap(cupy().empty(x.array.shape, x.array.dtype))
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
