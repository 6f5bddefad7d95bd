"""The schedules that are one line of arithmetic. Each class is that line and the check of its
settings; `base.py` applies it. Where PyTorch goes on from the rate that a group has, so do these.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, cosine, must


class LambdaLR(LRScheduler):
    """base * lr_lambda(epoch); one function, or one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        groups = len(optimizer.param_groups)
        several = isinstance(lr_lambda, (list, tuple))
        self.lr_lambdas: list[Any] = list(lr_lambda) if several else [lr_lambda] * groups  # type: ignore
        came = len(self.lr_lambdas)
        must(came == groups, "LambdaLR", f"needs a function for each of {groups} groups", came)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]

    def state_dict(self) -> dict[str, Any]:
        """Functions are not saved, of other callables their attributes are."""
        kept = [
            dict(f.__dict__) if not isinstance(f, FunctionType) and hasattr(f, "__dict__") else None
            for f in self.lr_lambdas
        ]
        return {**super().state_dict(), "lr_lambdas": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for f, kept in zip(self.lr_lambdas, state_dict["lr_lambdas"]):
            if kept is not None:
                f.__dict__.update(kept)


class StepLR(LRScheduler):
    """lr * gamma every step_size epochs."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ):
        must(step_size >= 1, "StepLR", "step_size must be at least 1", step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        return lr if epoch == 0 or epoch % self.step_size else lr * self.gamma


class MultiStepLR(LRScheduler):
    """lr * gamma at every milestone that is reached; one that is listed twice counts twice."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ):
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        times = Counter(self.milestones)[epoch]  # a state of version 0.1.0 has a list
        return lr * self.gamma**times


class LinearLR(LRScheduler):
    """lr * (start_factor ... end_factor) over total_iters epochs, then as it is."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        rule = "start_factor must be above 0 (the first rate is not 0) and at most 1"
        must(0 < start_factor <= 1, "LinearLR", rule, start_factor)
        must(0 <= end_factor <= 1, "LinearLR", "end_factor must be in [0, 1]", end_factor)
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        if epoch == 0:
            return lr * self.start_factor
        if self._is_initial or epoch > self.total_iters:
            return lr
        apart = self.end_factor - self.start_factor
        return lr * (1 + apart / (self.total_iters * self.start_factor + (epoch - 1) * apart))


class ExponentialLR(LRScheduler):
    """lr * gamma every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        return lr if self._is_initial else lr * self.gamma


class CosineAnnealingLR(LRScheduler):
    """From base to eta_min in T_max epochs on half a cosine, back in the next T_max, and so on
    (Loshchilov and Hutter, arXiv 1608.03983, without the restarts)."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ):
        must(T_max >= 1, "CosineAnnealingLR", "T_max must be at least 1", T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        if self._is_initial:
            return lr
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # the ratio below would divide by 0
            return lr + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        now, before = (1 + math.cos(math.pi * i / self.T_max) for i in (epoch, epoch - 1))
        return now / before * (lr - self.eta_min) + self.eta_min


def warmup_cosine(step: int, *, lr: float, warmup: int, total: int, min_lr: float) -> float:
    """The rate of a step, counted from 0: nanoGPT's rule.

    lr * (step + 1) / (warmup + 1) below `warmup`, so the first rate is not 0; then half a cosine
    from lr to min_lr, which is reached at `total` and kept. warmup = total leaves no room for the
    cosine: that one step has lr. ValueError: a negative argument.
    """
    for name, value in (("step", step), ("lr", lr), ("warmup", warmup), ("total", total)):
        must(value >= 0, "warmup_cosine", f"{name} must not be negative", value)
    must(min_lr >= 0, "warmup_cosine", "min_lr must not be negative", min_lr)
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    if step > total:
        return min_lr
    return cosine(lr, min_lr, (step - warmup) / max(total - warmup, 1))


class WarmupCosine(LRScheduler):
    """`warmup_cosine` for every group, from its own rate."""

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: int,
        total: int,
        min_lr: float = 0.0,
        last_epoch: int = -1,
    ):
        self.warmup, self.total, self.min_lr = warmup, total, min_lr
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        w, t = self.warmup, self.total
        return warmup_cosine(epoch, lr=base, warmup=w, total=t, min_lr=self.min_lr)
