"""The one-cycle policy: the rate up and down once, the momentum down and up. The only schedule that
writes more than a rate, so it asks whether its optimiser has momentum or betas.
"""

from __future__ import annotations

from ..optimizer import Optimizer
from .base import LRScheduler, cosine, line, must, per_group

# A part of the cycle: its last step, and the settings of a group that it goes between.
PHASE = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")


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
        self.total_steps, self._anneal_func_type = total, anneal_strategy
        self.cycle_momentum, self.use_beta1 = cycle_momentum, "betas" in optimizer.defaults
        able = not cycle_momentum or self.use_beta1 or "momentum" in optimizer.defaults
        must(able, name, "cycle_momentum needs an optimizer with momentum or betas", optimizer)
        up: tuple = (pct_start * total - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        down: tuple = (total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")
        rows = [up, down]
        if three_phase:
            back = (2 * pct_start * total - 2, "max_lr", "initial_lr", *down[3:])
            rows = [up, back, (total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum")]
        self._schedule_phases = [dict(zip(PHASE, row)) for row in rows]
        if last_epoch == -1:
            settings = {"max_lr": max_lr}
            if cycle_momentum:
                settings.update(max_momentum=max_momentum, base_momentum=base_momentum)
            for key, value in settings.items():
                values = per_group(name, key, optimizer, value)
                for group, chosen in zip(optimizer.param_groups, values):
                    group[key] = chosen
            for group in optimizer.param_groups:
                group["initial_lr"] = group["max_lr"] / div_factor
                group["min_lr"] = group["initial_lr"] / final_div_factor
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        epoch, start = self.last_epoch, 0.0
        rule = f"can step at most {self.total_steps} times"
        must(epoch <= self.total_steps, "OneCycleLR", rule, epoch)
        *before, last = self._schedule_phases
        for phase in before:
            if epoch <= phase["end_step"]:
                break
            start = phase["end_step"]
        else:
            phase = last
        end = phase["end_step"]
        done = (epoch - start) / (end - start) if end > start else 1.0
        between = cosine if self._anneal_func_type == "cos" else line
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(between(group[phase["start_lr"]], group[phase["end_lr"]], done))
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                momentum = between(*ends, done)
                if self.use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return rates
