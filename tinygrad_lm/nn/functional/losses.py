"""Losses: how far an output is from a target, as one number or one for each element. Shapes, ids
and options are checked here; most of the mathematics is in `engine/ops/fused.py`."""

from __future__ import annotations

from typing import Any

from ...engine.arrays import check_bounds, library, noted
from ...engine.arrays.replay import one_call
from ...engine.core.op import primitive
from ...engine.core.tensor import Tensor
from ...engine.ops import elementwise, fused
from ...engine.pytorch.common import check_tensors
from ...engine.pytorch.conversions import cast
from ...engine.pytorch.grad_mode import is_autocast_enabled
from ...engine.pytorch.names import named, one_op
from ...engine.pytorch.reductions import log_softmax
from .activations import softplus
from .ids import whole_ids
from .reduction import check_shape, chosen, warn_of_broadcasting, weighted, weighted_mean


def _check_sizes(name: str, input: Tensor, target: Tensor) -> None:
    check_tensors(name, input=input, target=target)
    if input.array.shape != target.array.shape:
        raise ValueError(
            f"[{name}] sizes of input and target must be the same, got {tuple(input.array.shape)} "
            f"and {tuple(target.array.shape)}"
        )


def _check_weight(name: str, weight: Tensor | None, classes: int) -> None:
    if weight is not None and weight.array.shape != (classes,):
        raise RuntimeError(
            f"[{name}] weight must be one number for each of {classes} classes, got "
            f"{tuple(weight.array.shape)}"
        )


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of logits, in nats: (N, V), (V,) or (N, V, d1, ...) with V classes.

    target: class ids of the shape without V, `ignore_index` counting for nothing; or, of the
    input's own shape and floating, probabilities. weight (V,) weighs classes; the mean is then over
    the weights of the targets. label_smoothing e mixes the target with e / V. The loss has the
    input's dtype; of a 16-bit input it is float32 inside autocast.
    Raises IndexError that names an id outside 0 ... V - 1.
    """
    reduction = chosen("cross_entropy", reduction, size_average, reduce)
    loss = unrounded_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    if is_autocast_enabled() or loss.dtype is input.dtype:
        return loss
    name = loss.node.name if loss.node else ""
    return named(cast(loss, input.dtype), name)


def unrounded_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """`cross_entropy` whose loss is float32 of a 16-bit input as well, of which no wider copy is
    made where target is ids."""
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(
            f"[cross_entropy] label_smoothing must be in 0 ... 1, got {label_smoothing}"
        )
    check_tensors("cross_entropy", input=input, target=target)
    if target.array.dtype.kind in "fV" and target.ndim == input.ndim:
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    rest = {"label_smoothing": label_smoothing}
    return _by_ids(fused.cross_entropy, input, target, weight, ignore_index, reduction, rest)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability that input, shaped as for `cross_entropy`, gives each target id."""
    reduction = chosen("nll_loss", reduction, size_average, reduce)
    return _by_ids(fused.nll_loss, input, target, weight, ignore_index, reduction, {})


def _by_ids(
    op: Any,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore: int,
    reduction: str,
    rest: dict,
) -> Tensor:
    shape, n = input.array.shape, input.array.ndim
    if not n or target.array.shape != shape[: n > 1] + shape[2:]:
        raise ValueError(
            f"[{op.name}] target must have the input's shape without its class axis, got input "
            f"{tuple(shape)} and target {tuple(target.array.shape)}"
        )
    classes = shape[n > 1]
    _check_weight(op.name, weight, classes)
    array = ids = whole_ids(op.name, target, input)
    if n == 1:
        input, ids = input.reshape(1, -1), ids.reshape(1)
    elif n > 2:
        input = input.movedim(1, -1).reshape(-1, classes)
    settings = {"targets": ids.reshape(-1), "ignore_index": ignore, "reduction": reduction}
    noted(array, op.name, "ids", 0, classes, ignore)  # by a device that does not say so at once
    try:
        out = op(input, weight, **settings, **rest)  # checks the ids, as `gather` does
    except IndexError:
        check_bounds(array, classes, op.name, 0, "ids", ignore)  # by the name that the user knows
        raise
    if n != 2 and reduction == "none":
        out = out.reshape(target.shape)
    name = "AddBackward0" if rest.get("label_smoothing") else "NllLossBackward0"
    if n > 2 and name != "AddBackward0":
        name = "ViewBackward0" if reduction == "none" else "NllLoss2DBackward0"
    return named(out, name)


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    _check_sizes("cross_entropy", input, target)
    axis = 0 if input.ndim == 1 else 1
    input = input.float() if input.dtype.itemsize == 2 else input
    classes = input.array.shape[axis]
    _check_weight("cross_entropy", weight, classes)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    losses = log_softmax(input, axis) * target
    if weight is not None:
        losses = losses * weight.reshape([-1 if i == axis else 1 for i in range(input.ndim)])
    if reduction == "none":
        return -losses.sum(axis)
    if reduction == "sum":
        return -losses.sum()
    return named(-losses.sum() / (input.array.size // classes), "DivBackward1")


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)^2; with weight, of the input's shape, the mean is over the weights."""
    reduction = chosen("mse_loss", reduction, size_average, reduce)
    warn_of_broadcasting("mse_loss", input, target)
    if weight is None:
        return fused.mse_loss(input, target, reduction=reduction)
    losses = fused.mse_loss(input, target, reduction="none")
    return weighted_mean("mse_loss", losses, input, weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|; with weight, of the input's shape, the mean is over the weights."""
    reduction = chosen("l1_loss", reduction, size_average, reduce)
    warn_of_broadcasting("l1_loss", input, target)
    losses = elementwise.abs(input - target)
    return weighted_mean("l1_loss", losses, input, weight, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Of d = input - target: d^2 / (2 beta) where |d| < beta, |d| - beta / 2 beyond (Girshick,
    2015, arXiv 1504.08083); with beta 0, `l1_loss`."""
    reduction = chosen("smooth_l1_loss", reduction, size_average, reduce)
    warn_of_broadcasting("smooth_l1_loss", input, target)
    if beta < 0:
        raise RuntimeError(f"[smooth_l1_loss] beta must be 0 or more, got {beta}")
    difference = input - target
    losses = _huber(difference, beta) / beta if beta else elementwise.abs(difference)
    return named(fused.reduced(losses, reduction), "smooth_l1_loss" if beta else "l1_loss")


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Of d = input - target: d^2 / 2 where |d| < delta, delta (|d| - delta / 2) beyond (Huber,
    1964); times weight, of the input's shape."""
    fused.check_reduction("huber_loss", reduction)
    warn_of_broadcasting("huber_loss", input, target)
    if delta <= 0:
        raise RuntimeError(f"[huber_loss] delta must be above 0, got {delta}")
    check_shape("huber_loss", input, weight)
    return named(weighted(_huber(input - target, delta), weight, reduction), "huber_loss")


def _huber(difference: Tensor, delta: float) -> Tensor:
    near = elementwise.clamp(difference, min=-delta, max=delta)
    beyond = elementwise.abs(difference) - elementwise.abs(near)  # near is no factor of it
    return near * near / 2 + delta * beyond


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(p y log s(x) + (1 - y) log(1 - s(x))) with the sigmoid s of logits x, targets y in 0 ... 1,
    positive weight p; `weight` multiplies each loss. Nothing overflows."""
    name = "binary_cross_entropy_with_logits"
    reduction = chosen(name, reduction, size_average, reduce)
    _check_sizes(name, input, target)
    if not target.is_floating_point():
        raise RuntimeError(f"[{name}] target must be floating, got {target.dtype}; use float()")
    if weight is None and pos_weight is None:
        return fused.binary_cross_entropy_with_logits(input, target, reduction=reduction)
    # -log s(x) = softplus(-x) and -log(1 - s(x)) = x + softplus(-x)
    share = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    losses = (1 - target) * input + share * softplus(-input, threshold=40.0)
    return named(weighted(losses, weight, reduction), name)


@primitive
def bernoulli_nll(x, y):
    """-(y log x + (1 - y) log(1 - x)), logarithms not below -100 and slopes not above 1e12."""
    lib = library(x)
    yes, no = lib.maximum(lib.log(x), -100), lib.maximum(lib.log1p(-x), -100)
    return -(y * yes + (1 - y) * no), (
        lambda g: g * ((x - y) / lib.maximum(x * (1 - x), 1e-12)),
        lambda g: g * (no - yes),
    )


@one_call
def _check_shares(array: Any, name: str) -> None:
    if array.size and not bool(((array >= 0) & (array <= 1)).all()):
        raise RuntimeError(
            f"[binary_cross_entropy] the {name} must be in 0 ... 1, it is not everywhere; "
            "binary_cross_entropy_with_logits takes logits"
        )


@one_op
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(y log x + (1 - y) log(1 - x)) of probabilities x; each logarithm is at least -100."""
    reduction = chosen("binary_cross_entropy", reduction, size_average, reduce)
    _check_sizes("binary_cross_entropy", input, target)
    if input.dtype != target.dtype:
        raise RuntimeError(
            "[binary_cross_entropy] input and target must have the same dtype, got "
            f"{input.dtype} and {target.dtype}; target.to(input.dtype)?"
        )
    _check_shares(input.array, "input")
    _check_shares(target.array, "target")
    return weighted(bernoulli_nll(input, target), weight, reduction)
