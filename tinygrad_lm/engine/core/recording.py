"""What each thread has switched on or off: whether ops are recorded, and how. PyTorch's `no_grad`
and its relatives, which set these switches, are in `pytorch/grad_mode.py`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Mode(threading.local):
    """The switches of the calling thread."""

    def __init__(self) -> None:
        self.recording = True
        # Records an op so that its gradient can be differentiated again (`ops/over_tensors.py`).
        self.create_graph: Callable | None = None
        # (op's name, inputs) -> inputs in another precision.
        self.autocast: Callable[[str, tuple], tuple] | None = None


mode = Mode()


class switched:
    """`with switched(recording=False):` sets switches, and puts them back as they were."""

    def __init__(self, **settings: Any):
        self.settings = settings
        self.before: list[dict] = []  # a stack: one switch may be entered again inside itself

    def __enter__(self) -> None:
        self.before.append({name: getattr(mode, name) for name in self.settings})
        mode.__dict__.update(self.settings)

    def __exit__(self, *exc: Any) -> None:
        mode.__dict__.update(self.before.pop())
