"""What a run has to do with the outside world: signals, the terminal, the file of metrics.

Nothing here touches the model; what is saved and when is in `run.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..text.terminal import shown


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, raised where the run can be saved; `exit_code` is 130 or 143."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Signals:
    """Inside the block, Ctrl-C and SIGTERM are noted, and `check()` raises; a second one ends the
    process at once. Where signals cannot be caught (another thread) nothing changes."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.number is not None:
            os._exit(128 + number)
        self.number = number

    def check(self) -> None:
        if self.number is not None:
            raise Interrupted(self.number)


class Metrics:
    """A file of JSON lines, one per event, that a resumed run cuts back to where it continues."""

    def __init__(self, path: Path, length: int) -> None:
        self._file = open(path, "ab")
        self._file.truncate(min(length, self._file.tell()))

    def write(self, event: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(event).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            message = f"[train] {self._file.name} must be writable, got: {error}; is the disk full?"
            raise OSError(f"{message} --resume continues from the last checkpoint") from error

    def length(self) -> int:
        """Bytes so far, all of them on the disk."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what it still holds, `write` has complained about
            self._file.close()


class Progress:
    """A bar on a terminal, plain lines elsewhere; both with loss, tokens/s and time left."""

    def __init__(self, step: int, steps: int, tokens_per_step: int) -> None:
        self.steps, self.tokens_per_step = steps, tokens_per_step
        self.first, self.start, self.paused = step, time.monotonic(), 0.0
        self.bar = None
        if sys.stderr.isatty():
            sizes = {"total": steps * tokens_per_step, "initial": step * tokens_per_step}
            self.bar = tqdm(**sizes, unit="tok", unit_scale=True, dynamic_ncols=True)

    def say(self, text: str) -> None:
        """Text of its own, above the bar where there is one."""
        if self.bar is None:
            print(shown(text), flush=True)
        else:
            self.bar.write(shown(text))

    def pause(self, seconds: float) -> None:
        """Time that was not spent on steps does not count in tokens/s."""
        self.paused += seconds

    def tokens_per_second(self, step: int) -> float:
        spent = time.monotonic() - self.start - self.paused
        return (step - self.first) * self.tokens_per_step / max(spent, 1e-9)

    def advance(self, step: int, loss: float) -> None:
        """step: updates made."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"step {step}, loss {loss:.4f}", refresh=False)
            self.bar.update(self.tokens_per_step)

    def line(self, step: int, loss: float) -> None:
        """The plain line that replaces the bar."""
        if self.bar is None:
            rate = self.tokens_per_second(step)
            left = (self.steps - step) * self.tokens_per_step / max(rate, 1e-9)
            clock = f"{int(left) // 60}:{int(left) % 60:02d} left"
            self.say(f"step {step}/{self.steps}: loss {loss:.4f}, {rate:,.0f} tokens/s, {clock}")

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
