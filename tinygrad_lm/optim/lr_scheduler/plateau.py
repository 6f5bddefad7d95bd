"""The schedule that looks at the run: a smaller rate when a metric no longer gets better."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, check_optimizer, must, per_group


class ReduceLROnPlateau(LRScheduler):
    """lr * factor, down to min_lr, once `step(metric)` was more than `patience` times in a row no
    better than the best so far by `threshold` (relative or absolute); then `cooldown` epochs of
    rest. mode: whether a better metric is smaller ("min") or larger ("max"). A change of the rate
    by no more than eps is left out.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ):
        name = "ReduceLROnPlateau"
        check_optimizer(optimizer, name)
        must(factor < 1.0, name, "factor must be below 1", factor)
        must(mode in ("min", "max"), name, "mode must be 'min' or 'max'", repr(mode))
        known = threshold_mode in ("rel", "abs")
        must(known, name, "threshold_mode must be 'rel' or 'abs'", repr(threshold_mode))
        self.factor, self.optimizer = factor, optimizer
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.min_lrs = per_group(name, "min_lr", optimizer, min_lr)
        self.patience, self.cooldown, self.eps = patience, cooldown, eps
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]
        self._reset()

    def _reset(self) -> None:
        self.best, self.cooldown_counter, self.num_bad_epochs = self.mode_worse, 0, 0

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """One more epoch with this metric, a number or a tensor of one."""
        if epoch is not None:
            warnings.warn("[step] epoch is deprecated: step() counts by itself", stacklevel=2)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        current = float(metrics)
        if self._is_better(current, self.best):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _reduce_lr(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):  # a group came later
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"[ReduceLROnPlateau] min_lrs must have a rate for each of {len(groups)} "
                    f"groups, got {self.min_lrs}; append one for the group that came later"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs):
            lr = float(group["lr"])
            smaller = max(lr * self.factor, least)
            if lr - smaller > self.eps:
                group["lr"] = smaller

    def _is_better(self, a: float, best: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            return sign * a > sign * (best * (1 + sign * self.threshold))
        return sign * a > sign * (best + sign * self.threshold)
