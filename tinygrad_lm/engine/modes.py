"""How ops run, per thread: whether they are recorded, and quietly. Switches as context managers and
decorators; they know nothing of what is recorded."""

from __future__ import annotations

import contextvars
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy


class _Mode(threading.local):
    def __init__(self) -> None:
        self.recording = True
        self.differentiable_pullbacks = False  # see `higher_order`
        self.autocast: Callable[[str, tuple], tuple] | None = None  # see `amp`
        # A context in which NumPy does not warn about overflow or 0/0 (nor does PyTorch). Running
        # in it costs a fiftieth of `numpy.errstate` and leaves the user's own settings alone.
        self.quiet = contextvars.copy_context()
        self.quiet.run(numpy.seterr, all="ignore")


mode = _Mode()


class _ModeSwitch:
    """Sets one switch of `mode`: a context manager, and a decorator with or without brackets."""

    setting: tuple[str, bool]
    before: list[bool]

    def __new__(cls, function: Any = None) -> Any:
        switch = object.__new__(cls)
        switch.before = []
        return switch(function) if callable(function) else switch

    def __enter__(self) -> None:
        name, value = self.setting
        self.before.append(getattr(mode, name))
        setattr(mode, name, value)

    def __exit__(self, *exc: Any) -> None:
        setattr(mode, self.setting[0], self.before.pop())

    def __call__(self, function: Callable) -> Callable:
        if inspect.isgeneratorfunction(function):
            return self._around_each_step(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped

    def _around_each_step(self, function: Callable) -> Callable:
        """A generator runs in pieces; between them its caller's setting holds."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Iterator:
            steps = function(*args, **kwargs)
            while True:
                with type(self)():
                    try:
                        found = next(steps)
                    except StopIteration as end:
                        return end.value
                yield found

        return wrapped


class no_grad(_ModeSwitch):
    """Nothing inside is recorded for backward: `with no_grad():` or `@no_grad()`."""

    setting = ("recording", False)


class enable_grad(_ModeSwitch):
    """Recording inside, also within `no_grad`."""

    setting = ("recording", True)


class inference_mode(no_grad):
    """The same as `no_grad` here."""


class higher_order(_ModeSwitch):
    """Record so that gradients can be differentiated again: every pullback inside is itself made of
    recorded ops. Use it around the forward pass, then `grad(..., create_graph=True)`."""

    setting = ("differentiable_pullbacks", True)


class set_grad_enabled:
    """Recording on or off by a flag, at once; as a context manager it is undone at the end."""

    def __init__(self, enabled: bool):
        self.before = mode.recording
        mode.recording = bool(enabled)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        mode.recording = self.before


def is_grad_enabled() -> bool:
    return mode.recording
