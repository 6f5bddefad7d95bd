"""Work that succeeds on all ranks or fails on all: nobody waits for a rank that has failed, and all
know why it has."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from .group import Group, named

T = TypeVar("T")


def together(group: Group, work: Callable[[], T]) -> T:
    """work(), done by each rank: its result there. If it raises an exception on some, all raise
    that of the lowest of them; its `ranks` are those where it was."""
    if group.size == 1:
        return work()
    result: Any = None
    error: BaseException | None = None
    try:
        result = work()
    except (Exception, KeyboardInterrupt) as raised:
        error = raised
    errors = group.gather(None if error is None else _sent(error))
    where = [rank for rank, each in enumerate(errors) if each is not None]
    if where:
        known = error if where[0] == group.rank else None
        agreed: Any = _named(errors, where) or known or errors[where[0]]
        agreed.ranks, agreed.elsewhere = where, where[0] != group.rank
        raise agreed from (known if known is not agreed else None)
    return result


def alone(group: Group, work: Callable[[], T]) -> T:
    """work(), done by rank 0: its result, or its error, is everybody's."""
    if group.size == 1:
        return work()
    return group.gather(together(group, work if group.rank == 0 else lambda: None))[0]


def is_everywhere(error: BaseException) -> bool:
    """Whether all ranks have raised it."""
    return hasattr(error, "ranks")


def is_told_elsewhere(error: BaseException) -> bool:
    """Whether another rank is the one to tell the user."""
    return getattr(error, "elsewhere", False)


def check_alike(group: Group, what: dict[str, Any], hint: str) -> None:
    """ValueError: a value of `what` is not the same on all ranks, which one, and where."""
    together(group, partial(_check_alike, group.gather(what), hint))


def _check_alike(found: Sequence[dict[str, Any]], hint: str) -> None:
    name = next((name for name in found[0] if any(f[name] != found[0][name] for f in found)), None)
    if name is None:
        return
    values = [each[name] for each in found]
    kinds = [value for i, value in enumerate(values) if value not in values[:i]]
    came = [
        f"{kind!r} on {named({rank for rank, value in enumerate(values) if value == kind})}"
        for kind in kinds
    ]
    message = f"[ranks] {name} must be the same on all ranks, got {' and '.join(came)}"
    raise ValueError(f"{message}; {hint}")


def _sent(error: BaseException) -> BaseException:
    """An error that can travel."""
    try:
        return pickle.loads(pickle.dumps(error)) and error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _named(errors: list, where: list[int]) -> BaseException | None:
    """The lowest rank's error with the ranks it was on, if it is a message of ours and was not
    everywhere."""
    first = errors[where[0]]
    if len(where) == len(errors) or not str(first).startswith("["):
        return None
    try:
        return type(first)(f"{first} (on {named(set(where))} of {len(errors)})")
    except TypeError:  # it is not made of a text
        return None
