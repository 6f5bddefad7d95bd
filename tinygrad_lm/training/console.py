"""What a run has to do with the outside world: signals, the terminal, the file of metrics.

Nothing here touches the model; what is saved and when is in `run.py`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..text.terminal import shown


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or another signal, or nobody reads what is written; raised where the run can be saved.
    `exit_code` is 128 and the signal's number: 130, 143, 129 (SIGHUP), 141 (SIGPIPE)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number, self.exit_code = number, 128 + number

    def __reduce__(self) -> Any:
        return Interrupted, (self.number,)


SIGHUP, SIGPIPE = 1, 13  # also where Python has no names for them


class Signals:
    """Inside the block, Ctrl-C, SIGTERM and SIGHUP are noted, and `check()` raises; a second one
    ends the process at once. Where signals cannot be caught (another thread) nothing changes, nor
    does a SIGHUP that is ignored, as under nohup."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                numbers.append(signal.SIGHUP)
            for number in numbers:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.number is not None and number != SIGHUP:  # of which kernel and shell send one each
            os._exit(128 + number)
        self.number = self.number or number

    def check(self) -> None:
        if self.number is not None:
            raise Interrupted(self.number)


@contextlib.contextmanager
def _writing(path: Any) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"[train] {path} must be writable, got: {error}; is the disk full?"
        raise OSError(f"{message} --resume continues from the last checkpoint") from error


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Around what is written to a terminal or a pipe that may be gone: then the run ends as by a
    signal, after saving."""
    try:
        yield
    except BrokenPipeError:
        raise Interrupted(SIGPIPE) from None
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Interrupted(SIGHUP) from None  # the terminal was closed


class Metrics:
    """A file of JSON lines, one per event, that a resumed run cuts back to where it continues."""

    def __init__(self, path: Path, length: int) -> None:
        with _writing(path):
            self._file = open(path, "ab")
            self._file.truncate(min(length, self._file.tell()))

    def write(self, event: dict[str, Any]) -> None:
        with _writing(self._file.name):
            self._file.write(json.dumps(event).encode() + b"\n")
            self._file.flush()

    def length(self) -> int:
        """Bytes so far, all of them on the disk."""
        with _writing(self._file.name):
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
        if getattr(sys.stderr, "isatty", bool)():  # there is none where it was closed
            sizes = {"total": steps * tokens_per_step, "initial": step * tokens_per_step}
            self.bar = tqdm(**sizes, unit="tok", unit_scale=True, dynamic_ncols=True)

    def say(self, text: str) -> None:
        """Text of its own, above the bar where there is one."""
        with _heard():
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
            with _heard():
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
            with contextlib.suppress(OSError):
                self.bar.close()
