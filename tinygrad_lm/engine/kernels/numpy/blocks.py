"""Work on large arrays in blocks that stay in cache, shared by several threads.

NumPy's loops and BLAS release Python's lock, so two threads on two blocks really run at once. The
blocks depend on the sizes alone, never on the number of threads: any number gives the same bits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy
from threadpoolctl import ThreadpoolController

from ...arrays import Array, get_num_threads
from ...arrays.replay import is_taping, one_call

BLOCK = 1 << 17  # elements of a block: half a megabyte of float32, so a few fit in a core's cache
SHARED = 1 << 17  # fewer elements than this are done before a second thread has woken up

_tasks: SimpleQueue = SimpleQueue()
_state: dict[str, Any] = {"workers": 0, "blas": None, "before": []}
_busy = threading.Lock()


def _forget() -> None:
    """A forked child inherits no threads."""
    global _tasks, _busy
    _tasks, _busy = SimpleQueue(), threading.Lock()
    _state["workers"] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def floating(*arrays: Array | None) -> bool:
    """Whether all arrays have the one dtype, float32 or float64, that NumPy computes fast in."""
    kinds = {x.dtype for x in arrays if x is not None}
    return len(kinds) == 1 and kinds.pop().char in "fd"


def in_blocks(function: Callable, *arrays: Array, cost: int | None = None) -> list:
    """[function(*rows of the arrays) for each block of rows], blocks shared among the threads.

    All arrays have the same length. cost: elements worked on per row, where that is not the size
    of the largest array's rows. function must write only into its own rows.
    """
    rows = len(arrays[0])
    total = rows * cost if cost else max(x.size for x in arrays)
    count = 1 if total < SHARED else min(rows, 2 * -(-total // (2 * BLOCK)))
    if count <= 1:
        return [function(*arrays)]
    edges = [rows * i // count for i in range(count + 1)]
    results: list[Any] = [None] * count

    def work(i: int) -> None:
        low, high = edges[i], edges[i + 1]
        results[i] = function(*[x[low:high] for x in arrays])

    helpers = min(get_num_threads(), count) - 1
    if helpers > 0 and is_taping():  # a step is recorded in one thread, for the bits of several
        with _one_blas_thread():
            for i in range(count):
                work(i)
        return results
    if helpers < 1 or not _busy.acquire(blocking=False):  # another thread shares its work already
        for i in range(count):
            work(i)
        return results
    try:
        with _one_blas_thread():
            _share(work, count, helpers)
    finally:
        _busy.release()
    return results


def _share(work: Callable[[int], None], count: int, helpers: int) -> None:
    """work(0) ... work(count - 1), each in whichever thread is free first."""
    todo = iter(range(count))
    done: SimpleQueue = SimpleQueue()  # one entry per block: None, or what it raised

    def help_out() -> None:
        for i in todo:
            try:
                work(i)
                done.put(None)
            except BaseException as error:
                done.put(error)

    while _state["workers"] < helpers:
        threading.Thread(target=_worker, args=(_tasks,), daemon=True).start()
        _state["workers"] += 1
    for _ in range(helpers):
        _tasks.put(help_out)
    help_out()
    errors = [done.get() for _ in range(count)]
    for error in errors:
        if error is not None:
            raise error


def _worker(tasks: SimpleQueue) -> None:
    numpy.seterr(all="ignore")  # a thread starts with NumPy's default of warning
    while True:
        tasks.get()()


@contextmanager
def _one_blas_thread():
    """Inside, each thread's matrix products stay in that thread."""
    blas_in_one_thread(True)
    try:
        yield
    finally:
        blas_in_one_thread(False)


def blocks_begun() -> int:
    """In how many of these the process is."""
    return len(_state["before"])


@one_call
def blas_in_one_thread(begins: bool) -> None:
    if _state["blas"] is None:
        _state["blas"] = ThreadpoolController().select(user_api="blas").lib_controllers
    if begins:
        _state["before"].append([blas.get_num_threads() for blas in _state["blas"]])
    threads = _state["before"][-1] if begins else _state["before"].pop()
    for blas, before in zip(_state["blas"], threads):
        blas.set_num_threads(1 if begins else before)
