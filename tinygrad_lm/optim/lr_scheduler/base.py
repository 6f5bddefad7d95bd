"""What a schedule is: a group's next rate from the one it has. What else changes a rate (another
schedule, a hand) is therefore kept, and a resume needs the optimiser's state. It reads and writes
an optimiser's `param_groups` only; names and numbers are PyTorch's.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..optimizer import Optimizer


def must(holds: bool, name: str, rule: str, came: Any) -> None:
    if not holds:
        raise ValueError(f"[{name}] {rule}, got {came}")


class LRScheduler:
    """Base class: a subclass gives `rate(lr, base, epoch)`, or `get_lr()` for all groups at once.
    Making one sets the rates of epoch 0.

    last_epoch: epochs already done, for a run that goes on without `load_state_dict`.
    """

    _is_initial = False  # while one is made: a rate is that of `last_epoch` already

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"[{name}] needs an Optimizer, got {type(optimizer).__name__}")
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
        self.begin()

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

    def step(self) -> None:
        """One more epoch: call it after the optimizer's step."""
        self.last_epoch += 1
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr):
            group["lr"] = lr

    def begin(self) -> None:
        """The first step, from the rates that the groups have."""
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def restart(self) -> None:
        """Epoch 0 again, from the base rates."""
        if type(self).rate is not LRScheduler.rate:  # one's own get_lr goes on from what is there
            for group, base in zip(self.optimizer.param_groups, self.base_lrs):
                group["lr"] = base
        self.last_epoch = -1
        self.begin()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict()` was taken; the optimizer loads its rates itself."""
        self.__dict__.update(state_dict)


class SequentialLR(LRScheduler):
    """One schedule after another: the i-th starts, from its epoch 0, at milestones[i - 1]."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ):
        fit = len(schedulers) == len(milestones) + 1
        came = f"{len(schedulers)} and {len(milestones)}"
        must(fit, "SequentialLR", "needs one schedule more than milestones", came)
        same = all(s.optimizer is optimizer for s in schedulers)
        must(same, "SequentialLR", "every schedule must be of this optimizer", "another one")
        self.schedulers, self.milestones = list(schedulers), milestones
        self.optimizer, self.last_epoch = optimizer, last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in schedulers:
            scheduler.last_epoch -= 1  # the step that each took when it was made
        self._now().begin()
        self._last_lr = self._now().get_last_lr()

    def _now(self) -> LRScheduler:
        return self.schedulers[bisect_right(self.milestones, self.last_epoch)]

    def step(self) -> None:
        self.last_epoch += 1
        scheduler = self._now()
        if self.last_epoch in self.milestones:
            scheduler.restart()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def restart(self) -> None:
        self.last_epoch = 0
        self._now().restart()
        self._last_lr = self._now().get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        own = {k: v for k, v in super().state_dict().items() if k != "schedulers"}
        return {**own, "_schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, saved in zip(self.schedulers, state_dict["_schedulers"]):
            scheduler.load_state_dict(saved)


def cosine(start: float, end: float, done: float) -> float:
    """From start to end on half a cosine, as done goes from 0 to 1."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


def line(start: float, end: float, done: float) -> float:
    return start + (end - start) * done
