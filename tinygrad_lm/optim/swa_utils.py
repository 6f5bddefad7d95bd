"""Averages of a model's parameters over its training: stochastic weight averaging (Izmailov et al.,
arXiv 1803.05407) and exponential moving averages, under PyTorch's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch.creation import tensor
from ..engine.pytorch.grad_mode import no_grad
from ..nn.module import Module
from .lr_scheduler.base import LRScheduler, cosine, line, must, per_group
from .optimizer import Optimizer

__all__ = [
    "AveragedModel",
    "SWALR",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def get_ema_avg_fn(decay: float = 0.999) -> Callable:
    """(average, parameter, count) -> decay * average + (1 - decay) * parameter."""
    must(0 <= decay <= 1, "get_ema_avg_fn", "decay must be in [0, 1]", decay)
    return no_grad()(lambda mean, now, count: decay * mean + (1 - decay) * now)


def get_swa_avg_fn() -> Callable:
    """(average, parameter, count) -> the average of one more."""
    return no_grad()(lambda mean, now, count: mean + (now - mean) / (count + 1))


def _of_lists(average: Callable) -> Callable:
    def update(means: list[Tensor], new: list[Tensor], count: Any) -> None:
        with no_grad():
            for mean, now in zip(means, new, strict=True):
                mean.copy_(average(mean, now, count))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """`get_ema_avg_fn` for lists of tensors, in place."""
    return _of_lists(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable:
    """`get_swa_avg_fn` for lists of tensors, in place."""
    return _of_lists(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model whose parameters (use_buffers: and buffers) are averages of all that
    `update_parameters(model)` was given. avg_fn or multi_avg_fn: how, left out by equal weights.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable | None = None,
        multi_avg_fn: Callable | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError(
                "[AveragedModel] one of avg_fn and multi_avg_fn must be None, got both"
            )
        self.module = deepcopy(model) if device is None else deepcopy(model).to(device)
        self.register_buffer("n_averaged", tensor(0, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """One more model to average; the first is copied."""
        mine: list[Tensor]
        theirs: list[Tensor]
        mine, theirs = list(self.module.parameters()), list(model.parameters())
        buffers = list(zip(self.module.buffers(), model.buffers()))
        if self.use_buffers:
            mine, theirs = mine + [b for b, _ in buffers], theirs + [b for _, b in buffers]
        means = [p.detach() for p in mine]
        new = [p.detach().to(mean.device) for p, mean in zip(theirs, means)]
        if self.n_averaged == 0:
            for mean, p in zip(means, new):
                mean.copy_(p)
        else:
            average = self.avg_fn or get_swa_avg_fn()
            (self.multi_avg_fn or _of_lists(average))(means, new, self.n_averaged)
        if not self.use_buffers:
            for mean, b in buffers:
                mean.copy_(b)
        self.n_averaged += 1


def update_bn(loader: Iterable, model: Module, device: Any = None) -> None:
    """The running statistics of a model's batch norms from all batches of a loader (of a batch in
    a list the first part), equally weighted."""
    norms = [m for m in model.modules() if type(m).__name__.startswith("BatchNorm")]
    if not norms:
        return
    momenta, was_training = [m.momentum for m in norms], model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with no_grad():
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x if device is None else x.to(device))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From each group's rate to swa_lr in anneal_epochs, on half a cosine or a line."""

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):
        known = anneal_strategy in ("cos", "linear")
        must(known, "SWALR", "anneal_strategy must be 'cos' or 'linear'", repr(anneal_strategy))
        counted = isinstance(anneal_epochs, int) and anneal_epochs >= 0
        must(counted, "SWALR", "anneal_epochs must be an integer from 0", anneal_epochs)
        rates = per_group("SWALR", "swa_lr", optimizer, swa_lr)
        for group, lr in zip(optimizer.param_groups, rates):
            group["swa_lr"] = lr
        self._anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        between = cosine if self._anneal_strategy == "cos" else line
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = (
            between(0.0, 1.0, min(1.0, max(0.0, i / max(1, self.anneal_epochs))))
            for i in (step - 1, step)
        )
        rates = []
        for group in self.optimizer.param_groups:
            lr, last = group["lr"], group["swa_lr"]
            first = last if before == 1 else (lr - before * last) / (1 - before)
            rates.append(last * now + first * (1 - now))
        return rates
