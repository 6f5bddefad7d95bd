"""The folder of a run: whose it is, and what a run is made with. A lock says who writes there now;
the system lets go of it with its process, however that ends, so none outlives a kill.
"""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.arrays import get_num_threads
from ..engine.kernels.c import fast
from ..models.lora import CONFIG as PEFT_CONFIG
from ..models.lora import WEIGHTS as PEFT_WEIGHTS

try:
    import fcntl
except ImportError:  # Windows: there the folder is not locked
    fcntl = None  # type: ignore[assignment]

RUNS = ("last.json", "best.json")
METRICS, ADAPTER = "metrics.jsonl", "adapter"
# Names that others may use, too.
OTHERS = (METRICS, "loss.png", *(f"{ADAPTER}/{name}" for name in (PEFT_CONFIG, PEFT_WEIGHTS)))
LOCK = ".tinygrad_lm.lock"


def check_free(out: Path, resume: bool, overwrite: bool) -> None:
    """A run that is there is neither continued nor replaced by accident, nor is a file that no run
    wrote. ValueError."""
    if resume or overwrite:
        return
    if any((out / name).exists() for name in RUNS):
        message = f"[train] the folder must be without a run, got {str(out)!r} with one"
        hint = "--resume continues it, --overwrite replaces it, --out names another folder"
        raise ValueError(f"{message}; {hint}")
    foreign = [name for name in OTHERS if (out / name).exists()]
    if foreign and not (out / LOCK).exists():  # which a killed run leaves
        message = (
            f"[train] the folder must not hold files of others under a run's names, got {foreign}"
        )
        hint = "move them, choose another --out, or let --overwrite replace them"
        raise ValueError(f"{message} in {str(out)!r}; {hint}")


class Lock:
    """A folder that exists is this process's alone until `release`. RuntimeError: another process
    has it, whose number and host are in the file."""

    def __init__(self, out: Path) -> None:
        self.out, self.path = out, out / LOCK
        while True:
            self._file = open(self.path, "a+")
            try:
                if fcntl is not None:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._refuse()
            except OSError:  # a file system without locks: nobody can be refused there
                pass
            if self._is_there():
                break
            self._file.close()  # its owner has just deleted it
        self._file.truncate(0)
        print(os.getpid(), socket.gethostname(), file=self._file, flush=True)

    def _refuse(self) -> None:
        self._file.seek(0)
        pid, _, host = self._file.read().strip().partition(" ")
        self._file.close()
        message = f"[train] {str(self.out)!r} must not be in use by another run, got process "
        hint = "wait for its end, stop it, or choose another --out"
        raise RuntimeError(f"{message}{pid or '?'} on {host or '?'}; {hint}")

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return False

    def check(self) -> None:
        """FileNotFoundError: the folder was moved or deleted; what is saved would not be whole."""
        if not self._is_there():
            message = f"[train] {str(self.out)!r} must stay in its place until the run ends, got it"
            raise FileNotFoundError(
                f"{message} deleted, moved or emptied; what was saved went along"
            )

    def release(self) -> None:
        if not self._file.closed and self._is_there():
            self.path.unlink()
        self._file.close()


def made_with() -> dict[str, Any]:
    """What decides the last bits of a result beside its configuration."""
    return {
        "machine": platform.machine(),
        "numpy": np.__version__,
        "compiled": fast is not None,
        "threads": get_num_threads(),
    }
