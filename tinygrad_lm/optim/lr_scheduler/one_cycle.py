"""The one-cycle policy: the rate up and down once, the momentum down and up. The only schedule that
writes more than a rate, so it asks whether its optimiser has momentum or betas.
"""

from __future__ import annotations

from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, cosine, line, must


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr in the first pct_start of total_steps, then down to the
    initial rate / final_div_factor, momentum (or beta1) the other way round (Smith and Topin,
    arXiv 1708.07120). three_phase: down to the initial rate as fast as up, then to the smallest.
    A step beyond total_steps is a ValueError.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        name, total = "OneCycleLR", total_steps
        if total is None:
            both = epochs is not None and steps_per_epoch is not None
            must(both, name, "needs total_steps, or epochs and steps_per_epoch", "neither")
            total = epochs * steps_per_epoch  # type: ignore[operator]
        must(total >= 1, name, "there must be at least 1 step", total)
        must(0 <= pct_start <= 1, name, "pct_start must be in [0, 1]", pct_start)
        known = anneal_strategy in ("cos", "linear")
        must(known, name, "anneal_strategy must be 'cos' or 'linear'", repr(anneal_strategy))
        self.total_steps, self.anneal_strategy = total, anneal_strategy
        self.cycle_momentum, self.use_beta1 = cycle_momentum, "betas" in optimizer.defaults
        able = not cycle_momentum or self.use_beta1 or "momentum" in optimizer.defaults
        must(able, name, "cycle_momentum needs an optimizer with momentum or betas", optimizer)
        up = pct_start * total - 1
        lows = ("initial_lr", "max_momentum")
        tops = ("max_lr", "base_momentum")
        ends = ("min_lr", "max_momentum")
        self.phases = [(up, lows, tops), (total - 1, tops, ends)]
        if three_phase:
            self.phases[1:] = [(2 * pct_start * total - 2, tops, lows), (total - 1, lows, ends)]
        if last_epoch == -1:
            for i, group in enumerate(optimizer.param_groups):
                top = _of_group(max_lr, i)
                group.update(initial_lr=top / div_factor, max_lr=top)
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["max_momentum"] = _of_group(max_momentum, i)
                    group["base_momentum"] = _of_group(base_momentum, i)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        epoch, start = self.last_epoch, 0.0
        rule = f"can step at most {self.total_steps} times"
        must(epoch <= self.total_steps, "OneCycleLR", rule, epoch)
        for end, low, top in self.phases:  # noqa: B007
            if epoch <= end:
                break
            start = end
        else:
            start = self.phases[-2][0]
        done = (epoch - start) / (end - start) if end > start else 1.0
        between = cosine if self.anneal_strategy == "cos" else line
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(between(group[low[0]], group[top[0]], done))
            if self.cycle_momentum:
                momentum = between(group[low[1]], group[top[1]], done)
                if self.use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return rates


def _of_group(value: Any, i: int) -> float:
    return value[i] if isinstance(value, (list, tuple)) else value
