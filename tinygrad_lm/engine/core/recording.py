"""What each thread has switched on or off: whether ops are recorded, and how. PyTorch's `no_grad`
and its relatives, which set these switches, are in `pytorch/grad_mode.py`."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..arrays import quiet_context


class Mode(threading.local):
    """The switches of the calling thread."""

    def __init__(self) -> None:
        self.recording = True
        self.retaining = False  # whether the graph that is walked now will be walked once more
        self.create_graph: Callable | None = None  # for second derivatives: `ops/over_tensors.py`
        self.autocast: Callable[[str, tuple], tuple] | None = None  # (name, inputs) -> cast ones
        self.quiet = quiet_context()  # our own ops run in it


mode = Mode()
