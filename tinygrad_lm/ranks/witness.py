"""Names a rank that was killed, with its step. A process that ends by SIGKILL, as where memory ran
out, says nothing, and mpiexec knows no step; so there is a second one that saw it.

Before MPI starts the process forks. The child, the worker, goes on with the program. The parent,
which is the one that mpiexec knows, passes signals on, waits, and ends as the worker did. Each dies
with the other.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import sys
import threading
import warnings
from typing import Any

from .environment import Place

PR_SET_PDEATHSIG = 1  # of prctl(2): which signal a process gets when its parent dies
OF_THEIR_OWN = "KILL STOP CHLD SEGV BUS FPE ILL TRAP SYS".split()  # signals that are not passed on


class Shared:
    """step: of the worker, in memory that the parent sees; below 0 before the first one."""

    step: Any = [-1]
    on = False  # whether this process is a worker


def at_step(number: int) -> None:
    """Where this rank is, for whom it may concern."""
    Shared.step[0] = number


def start(place: Place) -> bool:
    """Go on as a worker, where that is safe; whether it is done."""
    if Shared.on or not safe():
        return Shared.on
    Shared.step = memoryview(mmap.mmap(-1, 8)).cast("q")
    at_step(-1)
    passed_on = signal.valid_signals() - {getattr(signal, f"SIG{name}") for name in OF_THEIR_OWN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, passed_on | {signal.SIGCHLD})
    parent = os.getpid()
    with warnings.catch_warnings():  # Python counts threads that know of forks as well
        warnings.simplefilter("ignore", DeprecationWarning)
        worker = os.fork()
    if worker:
        _watch(worker, place, passed_on)
    os.setpgid(0, 0)  # signals for the group of the parent come once, from there
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was faster
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    Shared.on = True
    return True


def safe() -> bool:
    """Whether a fork loses nothing: on Linux, with no thread but those of our kernels and of
    OpenBLAS, which know of forks, no child, no MPI and no GPU yet, and no terminal to read from,
    which only one group of processes may."""
    if sys.platform != "linux" or {"mpi4py.MPI", "cupy"} & {*sys.modules}:
        return False
    if threading.active_count() > 1 or os.isatty(0):
        return False
    from threadpoolctl import threadpool_info

    if any(pool.get("threading_layer") != "pthreads" for pool in threadpool_info()):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _watch(worker: int, place: Place, passed_on: set) -> None:
    """The parent's life. It ends by `_exit`, which leaves buffers and files to the worker."""
    sent = set()
    while True:
        number = signal.sigwait(passed_on | {signal.SIGCHLD})
        if number == signal.SIGCHLD:
            ended, status = os.waitpid(worker, os.WNOHANG)
            if ended:
                break
        else:
            sent.add(number)
            os.kill(worker, number)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        os._exit(code)
    number = -code
    if number not in sent:  # else mpiexec ends all, and says why
        os.write(2, _obituary(worker, number, place).encode())
    _end_by(number)


def _obituary(worker: int, number: int, place: Place) -> str:
    step = Shared.step[0]
    where = f"rank {place.rank} of {place.size} (process {worker} on {socket.gethostname()})"
    guess = " (out of memory?)" if number == signal.SIGKILL else ""
    when = f" at step {step}" if step >= 0 else ""
    return f"[ranks] {where} was killed by signal {number}{guess}{when}\n"


def _end_by(number: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # there is one of the worker
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)
