"""The schedules that are one line of arithmetic. Each class is that line and the check of its
settings; `base.py` applies it. Where PyTorch goes on from the rate that a group has, so do these.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, callables_state, cosine, load_callables, must, per_group


class LambdaLR(LRScheduler):
    """base * lr_lambda(epoch); one function, or one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        self.lr_lambdas = per_group(type(self).__name__, "lr_lambda", optimizer, lr_lambda)
        for f in self.lr_lambdas:
            if not callable(f):
                raise TypeError(
                    f"[{type(self).__name__}] lr_lambda must be a function, got {type(f).__name__}"
                )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]

    def state_dict(self) -> dict[str, Any]:
        """Functions are not saved, of other callables their attributes are."""
        return {**super().state_dict(), "lr_lambdas": callables_state(self.lr_lambdas)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        load_callables(self.lr_lambdas, state_dict["lr_lambdas"])


class MultiplicativeLR(LambdaLR):
    """lr * lr_lambda(epoch) every epoch; one function, or one for each group."""

    def get_lr(self) -> list[float]:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self._is_initial:
            return rates
        return [lr * f(self.last_epoch) for lr, f in zip(rates, self.lr_lambdas)]


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

    def _get_closed_form_lr(self) -> list[float]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


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

    def _get_closed_form_lr(self) -> list[float]:
        reached = bisect_right(sorted(Counter(self.milestones).elements()), self.last_epoch)
        return [base * self.gamma**reached for base in self.base_lrs]


class ConstantLR(LRScheduler):
    """lr * factor, until it is taken back at total_iters."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        must(0 <= factor <= 1, "ConstantLR", "factor must be in [0, 1]", factor)
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        if epoch == 0:
            return lr * self.factor
        return lr * (1 / self.factor) if epoch == self.total_iters else lr

    def _get_closed_form_lr(self) -> list[float]:
        factor = 1 if self.last_epoch >= self.total_iters else self.factor
        return [base * factor for base in self.base_lrs]


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

    def _get_closed_form_lr(self) -> list[float]:
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * done
        return [base * factor for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """lr * gamma every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        return lr if self._is_initial else lr * self.gamma

    def _get_closed_form_lr(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """base * (1 - epoch / total_iters)**power, down to 0."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        if self._is_initial or epoch > self.total_iters:
            return lr
        now, before = (1 - i / self.total_iters for i in (epoch, epoch - 1))
        return lr * (now / before) ** self.power

    def _get_closed_form_lr(self) -> list[float]:
        left = 1 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]


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

    def _get_closed_form_lr(self) -> list[float]:
        wave = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * wave for base in self.base_lrs]


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
