"""A step on a GPU as a CUDA graph: Python starts every kernel of a step, which for small models
takes longer than the kernels do; a recorded step is started by one call."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from ..arrays import changed, cupy, is_recording_step, leaves, recording_step, writes
from ..arrays.versions import marking
from ..core.tensor import Tensor
from ..random.generator import default_generator
from .slots import Slots, check_outputs, detached, rolled
from .tape import Taped

FROZEN_DICE = (
    "[capture] a step must not draw random numbers on the CPU, which would be the same in each "
    "replay; draw them outside and pass them in, or draw on the GPU"
)


class Captured:
    """A step, at first as it is, then as a recording."""

    def __init__(self, step: Callable, warmup: int):
        self.step, self.left, self.first = step, warmup, True
        self.on_cpu: Taped | None = None  # made when the first call shows that it uses no GPU
        # Of the recording: its memory, which must serve nothing else as long as there are replays,
        # and the stream it was made in.
        cp = cupy()
        self.device = cp.cuda.runtime.getDevice()
        self.pool, self.stream = cp.cuda.MemoryPool(), cp.cuda.Stream(non_blocking=True)
        self.slots: Slots | None = None
        self.actions: list[Callable] = []
        self.graph: Any = None
        self.mark: Any = None
        self.outputs: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.on_cpu is not None:
            return self.on_cpu(*args, **kwargs)
        self._check_call()
        if self.first:
            return self._begin(args, kwargs)
        if self.slots is None:
            self.slots = Slots((args, kwargs), cupy())
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
        self.mark()  # a graph outside that needs what was written must not go back
        return self.outputs

    def __del__(self) -> None:
        """What lies idle in a pool of CuPy's when that goes stays taken for ever."""
        pool, device = self.__dict__.get("pool"), self.__dict__.get("device")
        self.__dict__.clear()  # first what may still use it
        if pool is not None and not sys.is_finalizing():
            with cupy().cuda.Device(device):
                pool.free_all_blocks()

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
        self.first, self.left = False, self.left - 1
        if not (self.pool.total_bytes() or any(x.is_cuda for x in given)):
            self.on_cpu = Taped(self.step, self.left)
        return changed(found, detached)

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
                dice, before = (rolled(), default_generator.get_state().tobytes()), writes.last
                self.stream.begin_capture()
                try:
                    found = self._run()
                    check_outputs(found, "cuda")
                    outputs = changed(found, detached)
                    if (rolled(), default_generator.get_state().tobytes()) != dice:
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
        here, entries = get_ident(), list(writes.of.values())  # other threads write their own
        written = [at() for at, when, thread in entries if when > before and thread == here]
        results = [x.array for x in leaves(found) if x is not None]
        self.mark = marking([array for array in written if array is not None] + results)
        self.actions, self.outputs, self.graph = actions, outputs, graph

    def _give_up(self) -> None:
        """End a recording that failed; the step can be called as before."""
        try:
            self.stream.end_capture()
        except Exception:  # CUDA says once more that the recording is not valid
            pass


def explained(error: BaseException) -> str:
    """What to do about a step that cannot be recorded, where that is what CUDA or CuPy say."""
    text = str(error)
    if text.startswith("[") or "captur" not in text.lower():
        return ""
    return (
        "[capture] a step must not read from the device, upload to it, wait for it or call a "
        f"library that does; return what is to be read, and pass in what is new: {text}"
    )
