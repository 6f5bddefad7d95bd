"""A rank that fails ends all: the others would wait for it for ever. An exception that nobody
catches is shown as ever, with a line before it that says whose it is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any


class Installed:
    """What is done when a rank fails; None: nothing."""

    describe: Callable[[], str] | None = None
    abort: Callable[[int], Any]
    before: tuple[Any, Any]  # Python's hooks, as they were


def install(describe: Callable[[], str], abort: Callable[[int], Any]) -> None:
    """describe(): who and where this is, as "rank 1 of 4, step 17". abort(code) ends all ranks."""
    if Installed.describe is None:
        Installed.before = sys.excepthook, threading.excepthook
        sys.excepthook, threading.excepthook = _uncaught, _uncaught_in_thread
    Installed.describe, Installed.abort = describe, abort


def remove() -> None:
    if Installed.describe is not None:
        sys.excepthook, threading.excepthook = Installed.before
        Installed.describe = None


def leaving(end: SystemExit) -> None:
    """To be called where a script's SystemExit is caught, for which Python has no hook: one with a
    code other than 0 ends all ranks."""
    if Installed.describe is None or not end.code:
        return
    if not isinstance(end.code, int):
        print(end.code, file=sys.stderr)
    _end_all("exit code {}", end.code if isinstance(end.code, int) else 1)


def _uncaught(kind: type[BaseException], value: BaseException, trace: Any) -> None:
    _say(f"{kind.__name__}: {value}")
    Installed.before[0](kind, value, trace)
    interrupted = 130 if issubclass(kind, KeyboardInterrupt) else 1
    _end_all(None, getattr(value, "exit_code", interrupted))


def _uncaught_in_thread(args: Any) -> None:
    if args.exc_type is not SystemExit:
        _say(f"{args.exc_type.__name__}: {args.exc_value}, in a thread")
        Installed.before[1](args)
        _end_all(None, 1)


def _say(what: str) -> None:
    assert Installed.describe is not None
    first = what.splitlines()[0].rstrip()
    print(f"[ranks] {Installed.describe()}, ended with {first}", file=sys.stderr, flush=True)


def _end_all(what: str | None, code: int) -> None:
    if what:
        _say(what.format(code))
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    Installed.abort(code)
