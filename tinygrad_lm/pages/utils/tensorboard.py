"""SummaryWriter: curves for TensorBoard where tensorboardX is installed, else a file of JSON lines.

It keeps numbers and texts, each with a name and a step.
"""

from __future__ import annotations

import functools
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...engine.core.tensor import Tensor


def _given_arrays(method: Callable) -> Callable:
    """tensorboardX takes NumPy's arrays, not our tensors."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        return method(*map(_plain, args), **{name: _plain(x) for name, x in kwargs.items()})

    return call


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _plain(value) for name, value in x.items()}
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else x


class SummaryWriter:
    """`SummaryWriter(log_dir=...)` appends one JSON object per call to `log_dir/events.jsonl`:
    tag, value, step and wall_time. With tensorboardX installed it is that package's writer.

    log_dir: a folder, made where it is missing; left out, a new one below `runs/`.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            import tensorboardX
        except ImportError:
            return object.__new__(cls)
        writer = tensorboardX.SummaryWriter(*args, **kwargs)
        for name in [name for name in dir(writer) if name.startswith("add_")]:
            setattr(writer, name, _given_arrays(getattr(writer, name)))
        return writer

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ):
        import socket  # only needed for the name of a new folder

        stamp = time.strftime("%b%d_%H-%M-%S")
        folder = Path(log_dir or Path("runs", f"{stamp}_{socket.gethostname()}{comment}"))
        folder.mkdir(parents=True, exist_ok=True)
        self.log_dir = str(folder)
        self.file = open(folder / f"events{filename_suffix}.jsonl", "a", encoding="utf-8")

    def _write(self, tag: str, value: Any, step: Any, wall_time: float | None) -> None:
        if self.file.closed:
            raise ValueError("[SummaryWriter] the writer must be open, it was closed")
        step = None if step is None else int(step)
        wall_time = time.time() if wall_time is None else wall_time
        line = {"tag": tag, "value": value, "step": step, "wall_time": wall_time}
        self.file.write(json.dumps(line) + "\n")

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """One point of the curve `tag`: a number or a tensor of one element."""
        number = float(scalar_value)
        # JSON has no infinity and no NaN, so these are kept as texts
        self._write(tag, number if math.isfinite(number) else str(number), global_step, walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: dict[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """One point on each of the curves `main_tag/name`."""
        for name, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{name}", value, global_step, walltime)

    def add_text(
        self,
        tag: str,
        text_string: str,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        self._write(tag, str(text_string), global_step, walltime)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()
