"""Programs on several ranks, for tests: a real `mpiexec`, of which nothing may be left at the end.

    done = run(2, "from mpi4py import MPI; print(MPI.COMM_WORLD.rank)")
    assert done.code == 0 and sorted(done.out.split()) == ["0", "1"], done

A file that uses it says `pytestmark = pytest.mark.mpi`. Where there is no MPI its tests skip, which
is a failure with TINYGRAD_LM_REQUIRE_MPI=1.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARK = "TINYGRAD_LM_TEST_RUN"  # in the environment of all that belongs to a run
# Open MPI starts nothing for root, and no more ranks than cores, unless it is told to.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}
ENDING = 1.0  # seconds that processes may outlive their mpiexec


@dataclass
class Done:
    """How a run ended. seconds: from its start to the end of mpiexec. left: command lines of
    processes that had not ended a second later."""

    code: int
    out: str
    err: str
    seconds: float
    left: list[str]


class Run:
    """A run that goes on meanwhile; a context, at whose end all of it is killed."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], cwd: Path | None):
        self.mark = f"{MARK}={uuid.uuid4()}"
        # Not unbuffered: a line is then written in two pieces, and the lines of ranks mix.
        ours = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
        names = {**os.environ, **OPEN_MPI, **ours, **environment}
        names[MARK] = self.mark.partition("=")[2]
        self.files = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.begun = time.monotonic()
        out, err = self.files
        self.process = subprocess.Popen(
            command, cwd=cwd, env=names, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        for _ in range(100):  # what is killed may just have started another
            for pid in self.pids():
                _kill(pid)
            if self.process.poll() is not None and not self.pids():
                break
            time.sleep(0.01)
        for file in self.files:
            file.close()

    def pids(self) -> list[int]:
        """The processes of the run that have not ended, mpiexec among them."""
        return [pid for pid in _running() if self.mark.encode() in _file(pid, "environ")]

    def output(self) -> list[str]:
        """What was printed so far on stdout and on stderr."""
        found = []
        for file in self.files:  # the position belongs to those who write as well
            data = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
            found.append(data.decode(errors="replace"))
        return found

    def until(self, text: str, timeout: float = 30.0) -> str:
        """Wait until text is printed on one of the two; what was printed on that one."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            for printed in self.output():
                if text in printed:
                    return printed
            assert not ended, (text, self.process.returncode, *self.output())
            time.sleep(0.01)
        raise AssertionError((f"no {text!r} within {timeout} s", *self.output()))

    def finish(self, timeout: float = 60.0) -> Done:
        """Wait for mpiexec. subprocess.TimeoutExpired, with what was printed, where it hangs."""
        with self:
            try:
                code = self.process.wait(timeout)
            except subprocess.TimeoutExpired as error:
                error.output, error.stderr = (text.encode() for text in self.output())
                raise
            seconds = time.monotonic() - self.begun
            deadline = time.monotonic() + ENDING
            while (pids := self.pids()) and time.monotonic() < deadline:
                time.sleep(0.01)
            left = [_file(pid, "cmdline").replace(b"\0", b" ").decode() for pid in pids]
            return Done(code, *self.output(), seconds, left)


def mpiexec() -> str:
    """The one beside this Python, or on the PATH; the test skips without one, or without mpi4py."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        pytest.skip("no mpiexec" if found is None else "no mpi4py")
    return found


def start(n: int, program: str | Sequence[object], cwd: Path | None = None, **environment) -> Run:
    """n ranks of this Python. program: Python's text, or what follows `python` in a command."""
    given = ["-c", program] if isinstance(program, str) else [str(part) for part in program]
    return Run([mpiexec(), "-n", str(n), sys.executable, *given], environment, cwd)


def run(
    n: int,
    program: str | Sequence[object],
    timeout: float = 60.0,
    cwd: Path | None = None,
    **environment: str,
) -> Done:
    """`start`, and wait for its end."""
    return start(n, program, cwd, **environment).finish(timeout)


def _running() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _file(pid: int, name: str) -> bytes:
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:  # it has just ended
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
