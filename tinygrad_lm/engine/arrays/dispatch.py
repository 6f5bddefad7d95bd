"""`@kernel`: a faster way to compute a function of arrays, for one array type. What can be made
faster has a dict `kernels`; each kernel enters itself there from its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from .libraries import Array

WITH_KERNELS: list[Any] = []  # all that has kernels


class Switches:
    """Process-wide: one thread that switches kernels off does so for all."""

    kernels_on = True
    several_gpus = False  # set by `several_gpus.py`; C looks at it


def kernels_on() -> bool:
    return Switches.kernels_on


class reference_only:
    """Inside, no kernel is used, in any thread: every op runs as it is defined."""

    def __enter__(self) -> None:
        self.before, Switches.kernels_on = Switches.kernels_on, False

    def __exit__(self, *exc: object) -> None:
        Switches.kernels_on = self.before


def is_ours(function: Callable) -> bool:
    """Whether a function is this package's own: those read no context variables of the caller."""
    return (function.__module__ or "").startswith(__name__.partition(".")[0] + ".")


def kernel(target: Any, array_type: type) -> Callable:
    """Register a faster way to an op, or to a function made by `with_kernels`, for one array type.

    It gets the same inputs as arrays, None for those that a fused op was not given, and returns
    what its target returns, or NotImplemented to leave the work to the kernel that was registered
    before it, at last to the target's own function.
    """

    def register(f: Callable) -> Callable:
        if not target.kernels:
            WITH_KERNELS.append(target)
        target.kernels.setdefault(array_type, []).insert(0, f)
        target.ours = target.ours and is_ours(f)
        return f

    return register


def with_kernels(function: Callable) -> Any:
    """A function of arrays that kernels may be faster at; the type of the first array decides."""

    @wraps(function)
    def fastest(array: Array, *rest: Any) -> Any:
        if Switches.kernels_on:
            for way in made.kernels.get(type(array), ()):
                found = way(array, *rest)
                if found is not NotImplemented:
                    return found
        return function(array, *rest)

    made: Any = fastest  # which type checkers take for a function without attributes
    made.function, made.kernels, made.ours = function, {}, is_ours(function)
    return made


class joint:
    """A pullback for all inputs of an op at once, made when it is known which of them want a
    gradient, so that it keeps no more than it needs: wanted -> (g -> (dx, dy, ...)). What is not
    wanted may be None."""

    def __init__(self, make: Callable[[list[bool]], Callable]):
        self.make = make


def keep_wanted(name: str, pullbacks: Any, parents: Sequence) -> Any:
    """Of an op's pullbacks, those of inputs that want a gradient, which have a parent: the others
    may keep nothing alive."""
    if type(pullbacks) is not tuple:
        if isinstance(pullbacks, joint):
            return pullbacks.make([p is not None for p in parents])
        return pullbacks
    if len(pullbacks) != len(parents):
        counts = f"{len(pullbacks)} for {len(parents)}"
        raise TypeError(f"[{name}] each input must have a pullback or None, got {counts}")
    return tuple([None if p is None else f for p, f in zip(parents, pullbacks)])
