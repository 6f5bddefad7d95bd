"""A step recorded once and replayed: on a GPU as a CUDA graph (`graph.py`), on the CPU as the list
of calls that it made (`tape.py`)."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, NoReturn

from ..arrays import DEVICE_TYPES, changed
from ..arrays.replay import is_taping
from .slots import detached


def capture(step: Callable, warmup: int = 2) -> Callable:
    """The same step, recorded and replayed from then on.

        def step(x, y):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        fast = capture(step)
        for x, y in batches:
            loss = fast(x, y)

    The first `warmup` calls run it as it is; the next one records it, and all later ones replay
    the recording: a CUDA graph, or on the CPU the calls of NumPy and of our kernels without the
    Python around them. Each call is one step, with the same results bit for bit.

    - Arguments may be Tensors, also on the CPU, in tuples, lists and dicts: they are copied to
      where the recording reads. Shapes, dtypes and all that is no Tensor must stay the same.
    - The step returns Tensors or nothing. Every replay writes the same memory anew: clone what is
      to be kept. They are outside the graph of gradients.
    - What the step does in Python is done when it is recorded, not again: what it prints, counts or
      appends, and which branch it takes. The optimizer looks at the learning rate in each replay;
      a schedule belongs outside on a GPU, and may be inside on the CPU. `train()` and `eval()` are
      as they were.
    - Gradients must start anew in each step, by `zero_grad()`; on the CPU a replay is refused where
      it would go on from other ones than the recording did. The tensors that it uses must live as
      long as the recording: write into them (`h.copy_(new)`), but do not replace them (`self.h =
      new`) or what they hold (`.data = ...`). On the CPU it may not write into its arguments.
    - It cannot read results (`item()`, `if loss > 3:`). On a GPU it cannot upload, nor use random
      numbers from the CPU; on the CPU `randint`, dropout and others draw anew in each replay.
    - On the CPU all memory of the step stays taken between calls, and a captured step that is
      called in another one is a part of its recording. One thread calls it at a time, and while it
      is recorded, in the first call after `warmup` ones, no other may compute with tensors that
      there were before. It is not copied or pickled."""
    if not callable(step):
        raise TypeError(f"[capture] step must be a function, got {type(step).__name__}")
    if warmup < 1:
        raise ValueError(
            f"[capture] warmup must be at least 1, got {warmup}: the first call of a step compiles "
            "its kernels and makes the optimizer's memory"
        )
    return Step(step, warmup)


class Step:
    """A step that is captured in the way that it needs. Until a GPU is used, CuPy is not loaded."""

    def __init__(self, step: Callable, warmup: int):
        self.given = step, warmup
        self.way: Any = None
        self.on_gpu = False
        self.running = Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_taping():  # a part of the step that is being recorded
            return changed(self.given[0](*args, **kwargs), detached)
        if not self.running.acquire(blocking=False):
            raise RuntimeError(
                "[capture] a captured step must not be called while it runs, by another thread or "
                "by itself: all calls use the same memory; capture one for each thread"
            )
        try:
            if not self.on_gpu and (self.way is None or self.way.calls is None):
                self._choose()
            return self.way(*args, **kwargs)
        finally:
            self.running.release()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            "[capture] a captured step must not be copied or pickled, as it works on memory where "
            "that is; copy the step itself, with its model, and capture it again"
        )

    def _choose(self) -> None:
        if "cuda" in DEVICE_TYPES.values():
            from .graph import Captured

            self.way, self.on_gpu = Captured(*self.given), True
        elif self.way is None:
            from .tape import Taped

            self.way = Taped(*self.given)
