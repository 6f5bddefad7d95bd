"""Settings of the whole process or the calling thread: NumPy's warnings, threads, memory."""

from __future__ import annotations

import contextvars
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

# Between products OpenBLAS's threads spin for 25 ms and keep the kernels' own threads from running;
# this sends them to sleep at once. It has an effect only if NumPy is not loaded yet.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

import numpy
from threadpoolctl import threadpool_info, threadpool_limits


def _quiet_setting() -> tuple[contextvars.ContextVar, object]:
    """NumPy keeps "warn of 0/0 and overflow?" in a context variable of its own: that variable, and
    its value for "ignore"."""
    empty = contextvars.Context()
    empty.run(numpy.seterr, all="ignore")
    ((variable, ignore),) = empty.items()
    return variable, ignore


WARNINGS, IGNORE = _quiet_setting()


def quiet_context() -> contextvars.Context:
    """A context for `run`, in which NumPy does not warn. It has none of the caller's variables, so
    it is for our own functions only; entering it takes a fifth of `quietly`'s time."""
    context = contextvars.Context()
    context.run(WARNINGS.set, IGNORE)
    return context


def can_enter(context: contextvars.Context) -> bool:
    """Whether that context is of use and free: it can be entered once only, and a signal handler
    that turned warnings on may have interrupted what runs in it."""
    if WARNINGS.get(None) is IGNORE:  # quiet already
        return False
    try:
        context.run(int)
    except RuntimeError:
        return False
    return True


def quietly(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """function(*args, **kwargs) without floating-point warnings (PyTorch gives none), in the
    caller's own context: what else the caller keeps in context variables is seen inside."""
    if WARNINGS.get(None) is IGNORE:
        return function(*args, **kwargs)
    before = WARNINGS.set(IGNORE)
    try:
        return function(*args, **kwargs)
    finally:
        WARNINGS.reset(before)


class _State:
    """Process-wide."""

    threads: int | None = None
    limits: threadpool_limits | None = None  # threadpoolctl's, which hold as long as they are kept


def set_num_threads(count: int) -> None:
    """Threads that BLAS and the engine's own kernels use."""
    if not isinstance(count, int) or count < 1:
        raise RuntimeError(f"[set_num_threads] must be a positive integer, got {count!r}")
    _State.threads = count
    _State.limits = threadpool_limits(count, user_api="blas")


def get_num_threads() -> int:
    if _State.threads is None:
        blas = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
        _State.threads = max(blas, default=os.cpu_count() or 1)
    return _State.threads


def keep_big_blocks() -> bool:
    """Ask glibc to reuse freed large blocks instead of returning them to the system.

    Without it every large array is fresh pages that fault in one by one, which costs about 40 % of
    a training step. Process-wide; Linux only; `TINYGRAD_LM_MALLOC=0` in the environment skips it.
    """
    if not sys.platform.startswith("linux") or os.environ.get("TINYGRAD_LM_MALLOC") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3
    limit = 2**31 - 1
    return all(
        mallopt(option, value)
        for option, value in (
            (m_mmap_threshold, limit),
            (m_trim_threshold, limit),
            (m_top_pad, 64 * 2**20),
        )
    )
