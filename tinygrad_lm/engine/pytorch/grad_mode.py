"""PyTorch's switches for recording: `no_grad` and its relatives, as context managers and
decorators. What they switch is `core/recording.py`'s `mode`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from ..core.recording import mode
from ..ops.over_tensors import record


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether products are computed in 16 bits; see `amp.autocast`."""
    return isinstance(mode.autocast, functools.partial)  # not what looks for anomalies, or profiles


class _Switch:
    """One of the switches below: a context manager, and a decorator with or without brackets."""

    setting: tuple[str, Any]
    before: list  # a stack: a switch may be used again inside itself

    def __new__(cls, orig_func: Any = None) -> Any:
        switch = object.__new__(cls)
        switch.before = []
        return switch(orig_func) if callable(orig_func) else switch

    def __enter__(self) -> None:
        name, value = self.setting
        self.before.append(getattr(mode, name))
        setattr(mode, name, value)

    def __exit__(self, *exc: Any) -> None:
        setattr(mode, self.setting[0], self.before.pop())

    def _again(self) -> _Switch:
        """Another of the same setting: several threads may run one decorated function."""
        switch = type(self)()
        switch.setting = self.setting
        return switch

    def __call__(self, function: Callable) -> Callable:
        if inspect.isgeneratorfunction(function):
            return self._around_each_step(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return wrapped

    def _around_each_step(self, function: Callable) -> Callable:
        """A generator runs in pieces; between them its caller's setting holds."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Iterator:
            steps = function(*args, **kwargs)
            while True:
                with self._again():
                    try:
                        found = next(steps)
                    except StopIteration as end:
                        return end.value
                yield found

        return wrapped


class no_grad(_Switch):
    """Nothing inside is recorded for backward: `with no_grad():` or `@no_grad()`."""

    setting = ("recording", False)


class enable_grad(_Switch):
    """Recording inside, also within `no_grad`."""

    setting = ("recording", True)


class inference_mode(no_grad):
    """The same as `no_grad` here; `inference_mode(False)` records inside."""

    def __new__(cls, mode: Any = True) -> Any:
        switch = super().__new__(cls, mode)
        if mode is False:
            switch.setting = enable_grad.setting
        return switch


class higher_order(_Switch):
    """Record so that gradients can be differentiated again: every pullback inside is itself made of
    recorded ops. Use it around the forward pass, then `grad(..., create_graph=True)`."""

    setting = ("create_graph", record)


class set_grad_enabled:
    """Recording on or off by a flag, at once; as a context manager it is undone at the end."""

    def __init__(self, mode: bool):
        self.before = is_grad_enabled()
        _record(bool(mode))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        _record(self.before)


class set_multithreading_enabled:
    """Taken and without effect: a walk back runs in the thread that asks for it."""

    def __init__(self, mode: bool):
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        pass


def _record(whether: bool) -> None:
    mode.recording = whether


def is_grad_enabled() -> bool:
    return mode.recording
