"""Schedules that go up and down again and again: triangles, and cosines with restarts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, callables_state, check_optimizer, load_callables, must, per_group

# mode -> (its height in a cycle or an iteration, which of the two it counts)
MODES: dict[str, tuple[Callable[[float, float], float], str]] = {
    "triangular": (lambda gamma, x: 1.0, "cycle"),
    "triangular2": (lambda gamma, x: 1 / 2.0 ** (x - 1), "cycle"),
    "exp_range": (lambda gamma, x: gamma**x, "iterations"),
}


class CyclicLR(LRScheduler):
    """From base_lr up to max_lr in step_size_up steps, down in step_size_down, and again; momentum
    (or beta1) the other way round (Smith, arXiv 1506.01186). The height is scaled by `mode`:
    triangular, triangular2 (half of it each cycle), exp_range (gamma**step); or by scale_fn.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ):
        name = "CyclicLR"
        check_optimizer(optimizer, name)
        known = mode in MODES or scale_fn is not None
        must(known, name, f"mode must be one of {[*MODES]}, or scale_fn given", repr(mode))
        base_lrs = per_group(name, "base_lr", optimizer, base_lr)
        self.max_lrs = per_group(name, "max_lr", optimizer, max_lr)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up) + float(down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self._scale_fn_custom = mode, gamma, scale_fn
        self.scale_mode = scale_mode if scale_fn else MODES[mode][1]
        self.cycle_momentum = cycle_momentum
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs):
                group["lr"] = lr
        if cycle_momentum:
            able = "betas" in optimizer.defaults or "momentum" in optimizer.defaults
            must(able, name, "cycle_momentum needs an optimizer with momentum or betas", optimizer)
            self.use_beta1 = "betas" in optimizer.defaults
            self.base_momentums = per_group(name, "base_momentum", optimizer, base_momentum)
            self.max_momentums = per_group(name, "max_momentum", optimizer, max_momentum)
            if last_epoch == -1:
                momenta = zip(optimizer.param_groups, self.base_momentums, self.max_momentums)
                for group, low, top in momenta:
                    group.update(base_momentum=low, max_momentum=top)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The height of a cycle (from 1), or of an iteration (from 0)."""
        custom = self._scale_fn_custom
        return custom(x) if custom else MODES[self.mode][0](self.gamma, x)

    def get_lr(self) -> list[float]:
        epoch = self.last_epoch
        cycle = math.floor(1 + epoch / self.total_size)
        x, up = 1 + epoch / self.total_size - cycle, self.step_ratio
        height = x / up if x <= up else (x - 1) / (up - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else epoch)
        if self.cycle_momentum:
            momenta = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums)
            for group, low, top in momenta:
                momentum = top - (top - low) * height * scale
                if self.use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        rates = zip(self.base_lrs, self.max_lrs)
        return [base + (top - base) * height * scale for base, top in rates]

    def state_dict(self) -> dict[str, Any]:
        (kept,) = callables_state([self._scale_fn_custom])
        return {**super().state_dict(), "_scale_fn_custom": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        kept = state_dict["_scale_fn_custom"]
        super().load_state_dict({**state_dict, "_scale_fn_custom": self._scale_fn_custom})
        load_callables([self._scale_fn_custom], [kept])


class CosineAnnealingWarmRestarts(LRScheduler):
    """From base to eta_min on half a cosine in T_0 epochs, then from base again in T_0 * T_mult,
    and so on (Loshchilov and Hutter, arXiv 1608.03983). `step(epoch + i / n)` is within an epoch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ):
        name = "CosineAnnealingWarmRestarts"
        must(isinstance(T_0, int) and T_0 >= 1, name, "T_0 must be an integer from 1", T_0)
        whole = isinstance(T_mult, int) and T_mult >= 1
        must(whole, name, "T_mult must be an integer from 1", T_mult)
        number = isinstance(eta_min, (int, float))
        must(number, name, "eta_min must be a number", eta_min)
        self.T_0, self.T_i, self.T_mult, self.eta_min = T_0, T_0, T_mult, eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float, epoch: int) -> float:
        wave = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return self.eta_min + (base - self.eta_min) * wave / 2

    def step(self, epoch: float | None = None) -> None:
        """One more epoch, or to any moment, a fraction too."""
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = 0 if epoch is None else epoch
            must(epoch >= 0, "CosineAnnealingWarmRestarts", "epoch must not be negative", epoch)
            self.T_cur, self.T_i = self._within(epoch)
        self.last_epoch = math.floor(epoch)
        self._give(self.get_lr)

    def _within(self, epoch: float) -> tuple[float, int]:
        """Where a moment is in its cycle, and how long that is: cycles are a geometric series."""
        first, ratio = self.T_0, self.T_mult
        if ratio == 1 or epoch < first:
            return epoch % first, first
        n = int(math.log(epoch / first * (ratio - 1) + 1, ratio))
        return epoch - first * (ratio**n - 1) / (ratio - 1), first * ratio**n
