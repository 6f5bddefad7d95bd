"""A map over several processes, none of which outlives its parent, however that ends."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # a map, in any order


def cores() -> int:
    """How many this process may use."""
    has = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has else os.cpu_count() or 1


@contextlib.contextmanager
def processes(count: int) -> Iterator[Run]:
    """A map over several processes that holds few of its tasks at once; of one, this one is it."""
    if count == 1:
        yield map
        return
    others = {*multiprocessing.active_children()}
    context = multiprocessing.get_context("spawn")  # the threads of libraries survive no fork
    pool = ProcessPoolExecutor(count, context, initializer=_end_with_parent)

    def run(work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        left = iter(tasks)
        running = {pool.submit(work, task) for task in itertools.islice(left, 2 * count)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(work, task) for task in itertools.islice(left, len(done))}
            yield from (future.result() for future in done)

    try:
        yield run
    except BaseException as error:
        for process in {*multiprocessing.active_children()} - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            message = "[prepare] a process must not end before its work, got one that did, killed"
            hint = "is memory short? try fewer --workers; the same command goes on from here"
            raise RuntimeError(f"{message} perhaps; {hint}") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Ctrl-C is the parent's; when that is gone, however it ended, so is this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_for_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_it, daemon=True).start()
