"""Losses of distributions: how far predicted probabilities, counts or Gaussians are from a target,
each minus a logarithm of what the prediction gives it."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ...engine.arrays.replay import one_call
from ...engine.core.tensor import Tensor
from ...engine.ops import fused
from ...engine.pytorch.arithmetic import where
from ...engine.pytorch.creation import full_like
from ...engine.pytorch.grad_mode import no_grad
from ...engine.pytorch.special import xlogy
from .reduction import chosen


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log(target) - input) of log-probabilities input; 0 where target is 0. log_target:
    the target is a logarithm, too. reduction "batchmean", the sum over the size of the first axis,
    is the divergence of Kullback and Leibler; "mean" is not, and warns."""
    batch = reduction == "batchmean"
    how = chosen("kl_div", "sum" if batch else reduction, size_average, reduce)
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "[kl_div] reduction 'mean' divides by the number of classes as well; "
            "'batchmean' divides by the batch alone, as the definition has it",
            stacklevel=2,
        )
    if log_target:
        losses = target.exp() * (target - input)
    else:
        losses = xlogy(target, target) - target * input
    out = fused.reduced(losses, how)
    return out / input.array.shape[0] if batch and input.ndim else out


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """rate - target log(rate) of counts that a Poisson distribution gives; input is log(rate), or
    the rate itself, to whose logarithm's argument eps is added. full: with Stirling's
    approximation of log(target!) where target is above 1."""
    reduction = chosen("poisson_nll_loss", reduction, size_average, reduce)
    if log_input:
        losses = input.exp() - target * input
    else:
        losses = input - target * (input + eps).log()
    if full:
        count = where(target > 1, target, 1.0)
        factorial = count * count.log() - count + 0.5 * (2 * math.pi * count).log()
        losses = losses + where(target > 1, factorial, 0.0)
    return fused.reduced(losses, reduction)


@one_call
def _check_not_negative(var: Any) -> None:
    if bool((var < 0).any()):
        raise ValueError("[gaussian_nll_loss] var must not be negative, got one that is; square?")


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log(var) + (input - target)^2 / var) / 2, of a Gaussian with mean input and variance var,
    which is at least eps; var has the input's shape, or lacks its last axis, or has 1 in one. full:
    with log(2 pi) / 2 (Nix and Weigend, 1994)."""
    fused.check_reduction("gaussian_nll_loss", reduction)
    if isinstance(var, float):
        var = full_like(input, var)
    _check_not_negative(var.array)
    sizes, given = tuple(input.array.shape), tuple(var.array.shape)
    if given != sizes and given == sizes[:-1]:
        var = var.unsqueeze(-1)
    elif given != sizes and (
        len(given) != len(sizes) or sum(n for m, n in zip(sizes, given) if m != n) != 1
    ):
        raise ValueError(
            f"[gaussian_nll_loss] var must fit the input's shape {sizes}, got {given}; "
            "give one for each element, or for each row"
        )
    var = at_least(var, eps)
    losses = 0.5 * (var.log() + (input - target).square() / var)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return fused.reduced(losses, reduction)


def at_least(x: Tensor, least: float) -> Tensor:
    """x raised to `least`; the gradient is that of x, as in PyTorch."""
    x = x.clone()
    with no_grad():
        return x.clamp_(min=least)
