"""What a schedule is: a group's next rate from the one it has. What else changes a rate (another
schedule, a hand) is therefore kept, and a resume needs the optimiser's state. It reads and writes
an optimiser's `param_groups` only; names, numbers and what is saved are PyTorch's.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any

from ...engine.arrays.replay import ONE_CALL, check_not_recording
from ..optimizer import Optimizer


def must(holds: bool, name: str, rule: str, came: Any) -> None:
    if not holds:
        raise ValueError(f"[{name}] {rule}, got {came}")


def check_optimizer(optimizer: Any, name: str) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"[{name}] needs an Optimizer, got {type(optimizer).__name__}")


def per_group(name: str, what: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """A setting for each group: a list of them, or one for all."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    rule = f"{what} must be one, or one for each of {groups} groups"
    must(len(values) == groups, name, rule, len(values))
    return values


def without_verbose(init: Callable) -> Callable:
    """Old scripts ask for verbose=, which PyTorch no longer has: it is dropped."""

    @wraps(init)
    def inner(*args: Any, verbose: Any = None, **kwargs: Any) -> None:
        init(*args, **kwargs)

    return inner


class LRScheduler:
    """Base class: a subclass gives `rate(lr, base, epoch)`, or `get_lr()` for all groups at once,
    and `_get_closed_form_lr()` if `step(epoch)` is to jump. Making one sets the rates of epoch 0.

    last_epoch: epochs already done, for a run that goes on without `load_state_dict`.
    """

    _is_initial = False  # while one is made: a rate is that of `last_epoch` already
    _get_lr_called_within_step = False  # PyTorch's: schedules of one's own may ask

    def __init_subclass__(cls) -> None:
        init = cls.__dict__.get("__init__")
        if init and "verbose" not in init.__code__.co_varnames:
            cls.__init__ = without_verbose(init)  # type: ignore[method-assign]
        if "step" in cls.__dict__:
            ONE_CALL.append((cls, "step", True))

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1, verbose: Any = None):
        name = type(self).__name__
        check_optimizer(optimizer, name)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"[{name}] with last_epoch={last_epoch} every group must have an initial_lr, "
                    f"group {i} has none; load the optimizer's state_dict first?"
                )
        self.optimizer = optimizer
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def rate(self, lr: float, base: float, epoch: int) -> float:
        """The rate of a group after `epoch` steps: it was `lr` before, and `base` at the start."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        """The rates of `last_epoch`, one per group."""
        groups = zip(self.optimizer.param_groups, self.base_lrs)
        return [self.rate(group["lr"], base, self.last_epoch) for group, base in groups]

    def get_last_lr(self) -> list[float]:
        """The rates last given to the optimizer, one per group."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """One more epoch: call it after the optimizer's step. epoch: PyTorch's old form, which
        jumps there (with a warning)."""
        check_not_recording("step a schedule on a GPU", "step it after the captured step")
        self._step_count += 1
        if epoch is not None:
            warnings.warn("[step] epoch is deprecated: step() counts by itself", stacklevel=2)
        self._update_lr(epoch)

    def _initial_step(self) -> None:
        """The first step, from the rates that the groups have."""
        self._step_count, self._is_initial = 0, True
        try:
            self.step()
        finally:
            self._is_initial = False

    def _update_lr(self, epoch: int | None = None) -> None:
        """The rates of the next epoch from those before, or of any epoch by a closed form."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
        self._give(closed or self.get_lr)

    def _give(self, get_lr: Callable[[], list[float]]) -> None:
        self._get_lr_called_within_step = True
        try:
            self._last_lr = list(get_lr())
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict()` was taken; the optimizer loads its rates itself."""
        self.__dict__.update(state_dict)


_LRScheduler = LRScheduler  # the name it had until PyTorch 2.0


ONE_CALL.append((LRScheduler, "step", True))


def cosine(start: float, end: float, done: float) -> float:
    """From start to end on half a cosine, as done goes from 0 to 1."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


def line(start: float, end: float, done: float) -> float:
    return start + (end - start) * done


def callables_state(functions: list[Any]) -> list[Any]:
    """What is saved of callables: not functions, but the attributes of other objects."""
    return [
        dict(f.__dict__) if not isinstance(f, FunctionType) and hasattr(f, "__dict__") else None
        for f in functions
    ]


def load_callables(functions: list[Any], saved: list[Any]) -> None:
    for f, kept in zip(functions, saved):
        if kept is not None:
            f.__dict__.update(kept)
