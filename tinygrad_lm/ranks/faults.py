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


def leaving(code: Any) -> None:
    """Where a program ends by its own will, SystemExit(code), for which Python has no hook: another
    code than 0 or None ends all ranks."""
    if Installed.describe is not None and code:
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
        _say(f"exit code {code}")
        _end_all(code)


def _uncaught(kind: type[BaseException], value: BaseException, trace: Any) -> None:
    _say(f"{kind.__name__}: {value}")
    Installed.before[0](kind, value, trace)
    interrupted = 130 if issubclass(kind, KeyboardInterrupt) else 1
    _end_all(getattr(value, "exit_code", interrupted))


def _uncaught_in_thread(args: Any) -> None:
    if args.exc_type is not SystemExit:
        _say(f"{args.exc_type.__name__}: {args.exc_value}, in a thread")
        Installed.before[1](args)
        _end_all(1)


def _say(what: str) -> None:
    assert Installed.describe is not None
    first = what.splitlines()[0].rstrip(": ")
    print(f"[ranks] {Installed.describe()}, ended with {first}", file=sys.stderr, flush=True)


def _end_all(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    Installed.abort(code)
