"""Schedules made of schedules: one after another, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, must
from .plateau import ReduceLROnPlateau


class Several(LRScheduler):
    """What both share: the checks, and saving the parts."""

    def _take(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        must(len(schedulers) >= 1, name, "needs at least one schedule", "none")
        for i, part in enumerate(schedulers):
            if not hasattr(part, "optimizer"):
                raise TypeError(f"[{name}] schedule {i} must have an optimizer, got {part!r}")
            by_itself = not isinstance(part, ReduceLROnPlateau)
            must(by_itself, name, "no schedule may wait for a metric", "ReduceLROnPlateau")
        self.optimizer = optimizer or schedulers[0].optimizer
        same = all(s.optimizer is self.optimizer for s in schedulers)
        must(same, name, "every schedule must be of this optimizer", "another one")
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        own = {k: v for k, v in super().state_dict().items() if k != "_schedulers"}
        return {**own, "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, saved in zip(self._schedulers, state_dict["_schedulers"]):
            scheduler.load_state_dict(saved)


class SequentialLR(Several):
    """One schedule after another: the i-th starts, from its epoch 0, at milestones[i - 1]."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ):
        self._take(schedulers, optimizer)
        fit = len(schedulers) == len(milestones) + 1
        came = f"{len(schedulers)} and {len(milestones)}"
        must(fit, "SequentialLR", "needs one schedule more than milestones", came)
        self._milestones, self.last_epoch = milestones, last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        _undo(self)
        self._now()._initial_step()
        self._last_lr = self._now().get_last_lr()

    def _now(self) -> LRScheduler:
        return self._schedulers[bisect_right(self._milestones, self.last_epoch)]

    def step(self) -> None:  # type: ignore[override]
        self.last_epoch += 1
        scheduler = self._now()
        if self.last_epoch in self._milestones:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


def _undo(scheduler: Any) -> None:
    """Take back the step that each part took when it was made."""
    if not isinstance(scheduler, Several):
        scheduler.last_epoch -= 1
        return
    for part in scheduler._schedulers:
        _undo(part)


class ChainedScheduler(Several):
    """Several schedules that all step together, each from the rates that the others leave."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        self._take(schedulers, optimizer)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:  # type: ignore[override]
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
