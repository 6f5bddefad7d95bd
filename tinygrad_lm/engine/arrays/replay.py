"""A step that is recorded once and replayed. As a CUDA graph it is without the work of the host:
what has to happen there at each step (a counter, a learning rate sent to the device) is noted here
while the step is recorded, and done before each replay. On the CPU all of it is in the recording;
here is what such a recording takes as one call, and whether one is being made."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import get_ident, local
from typing import Any

# (class or module, names of functions, whether they are methods): what a step that is recorded on
# the CPU takes as one call, because it looks at values. See `capture/tape.py`.
ONE_CALL: list[tuple[object, str, bool]] = []


def one_call(function: Any) -> Any:
    """A function of arrays that is such."""
    ONE_CALL.append((sys.modules[function.__module__], function.__name__, False))
    return function


class _OfThread(local):
    """What the step that this thread records for a GPU needs from the host; None otherwise."""

    actions: list[Callable[[], object]] | None = None


_HERE = _OfThread()


class _State:
    """Process-wide."""

    taping: int | None = None  # the thread in which a step on the CPU is being recorded
    disturbed = False  # another thread has met the arrays of that recording


def is_taping(met: object = ()) -> bool:
    """Whether a step on the CPU is being recorded, in this thread. `met`: arrays of the recorder,
    which another thread must not meet."""
    if _State.taping is None:
        return False
    mine = _State.taping == get_ident()
    _State.disturbed |= bool(met) and not mine
    return mine


def check_not_taping(what: str, instead: str) -> None:
    """An error where one is: later calls of it would not do so again."""
    if is_taping():
        raise RuntimeError(f"[capture] a captured step must not {what}; {instead}")


class taping_step:
    """Inside, one is."""

    def __enter__(self) -> None:
        if _State.taping is not None:
            raise RuntimeError(
                "[capture] a step must not be captured inside another one, nor while another "
                "thread captures one; make the first calls one after another"
            )
        _State.taping, _State.disturbed = get_ident(), False

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        _State.taping = None
        if _State.disturbed:
            raise RuntimeError(
                "[capture] a step must not be recorded while another thread computes with tensors "
                "made before; let that one wait until the captured step has been recorded"
            ) from error


def is_recording_step() -> bool:
    return _HERE.actions is not None


def before_each_replay(action: Callable[[], object]) -> None:
    """While a step is being recorded: call this before each replay, as the code around it did
    before the recording. At other times there is nothing to note."""
    if _HERE.actions is not None:
        _HERE.actions.append(action)


def actions_noted() -> int | None:
    """How many there are so far; None while no step is recorded."""
    return None if _HERE.actions is None else len(_HERE.actions)


def check_not_recording(what: str, instead: str) -> None:
    """An error while a step is being recorded: the device does not run then, and knows nothing."""
    if _HERE.actions is not None:
        raise RuntimeError(f"[capture] a captured step must not {what}; {instead}")


class recording_step:
    """Inside, a step is being recorded; gives the list of what it needs from the host."""

    def __enter__(self) -> list[Callable[[], object]]:
        if _HERE.actions is not None:
            raise RuntimeError("[capture] a step must not be captured inside another one")
        _HERE.actions = []
        return _HERE.actions

    def __exit__(self, *exc: object) -> None:
        _HERE.actions = None
