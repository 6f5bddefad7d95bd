"""Losses by distance and margin: what should score higher or lie nearer must do so by a margin, and
costs nothing beyond it. The distances themselves are here, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...engine.arrays import check_bounds, library
from ...engine.core.tensor import Tensor, wrap
from ...engine.ops import fused
from ...engine.ops.elementwise import minimum, relu
from ...engine.pytorch.arithmetic import clamp_min, where
from ...engine.pytorch.reductions import norm
from ...engine.pytorch.shapes import broadcast_tensors
from .activations import logsigmoid, softplus
from .divergences import at_least
from .ids import whole_ids
from .reduction import chosen

# ---------------------------------------------------------------- distances


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along dim, each norm being at least eps."""
    x1, x2 = broadcast_tensors(x1, x2)
    unit = [x / at_least(norm(x, 2, dim, keepdim=True), eps) for x in (x1, x2)]
    return (unit[0] * unit[1]).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


# ---------------------------------------------------------------- of pairs and triples


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - target (input1 - input2)): target 1 wants input1 above, -1 input2."""
    reduction = chosen("margin_ranking_loss", reduction, size_average, reduce)
    _same_axes("margin_ranking_loss", input1, input2, target)
    return fused.reduced(clamp_min(margin - target * (input1 - input2), 0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Of distances: input where target is 1, max(0, margin - input) where it is -1."""
    reduction = chosen("hinge_embedding_loss", reduction, size_average, reduce)
    far = where(target != 1, clamp_min(margin - input, 0), 0.0)
    return fused.reduced(far + where(target != -1, input, 0.0), reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Of the cosines of rows (N, D) or of two vectors: 1 - cosine where target is 1,
    max(0, cosine - margin) where it is -1."""
    name, tiny = "cosine_embedding_loss", 1e-12
    reduction = chosen(name, reduction, size_average, reduce)
    if target.ndim > 1 or not input1.ndim == input2.ndim == target.ndim + 1:
        raise RuntimeError(
            f"[{name}] needs inputs (N, D) with targets (N,), or (D,) with one number, got "
            f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}"
        )
    squares = [x.square().sum(-1) + tiny for x in (input1, input2)]
    cosine = (input1 * input2).sum(-1) / (squares[0] * squares[1]).sqrt()
    near = where(target == 1, 1 - cosine, 0.0)
    return fused.reduced(near + where(target == -1, clamp_min(cosine - margin, 0), 0.0), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + |anchor - positive| - |anchor - negative|) with the distances of
    `pairwise_distance`; swap: or to the negative from the positive, if that is nearer (Balntas et
    al., 2016)."""
    return _triplets(
        "triplet_margin_loss",
        (anchor, positive, negative),
        lambda x, y: pairwise_distance(x, y, p, eps),
        margin,
        swap,
        chosen("triplet_margin_loss", reduction, size_average, reduce),
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own."""
    name, distance = "triplet_margin_with_distance_loss", distance_function or pairwise_distance
    triple = (anchor, positive, negative)
    return _triplets(name, triple, distance, margin, swap, chosen(name, reduction))


def _triplets(
    name: str, triple: tuple, distance: Callable, margin: float, swap: bool, reduction: str
) -> Tensor:
    if margin <= 0:
        raise ValueError(f"[{name}] margin must be above 0, got {margin}")
    _same_axes(name, *triple)
    anchor, positive, negative = triple
    far = distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return fused.reduced(clamp_min(margin + distance(anchor, positive) - far, 0), reduction)


def _same_axes(name: str, *inputs: Tensor) -> None:
    if len({x.ndim for x in inputs}) > 1:
        raise RuntimeError(
            f"[{name}] all inputs must have as many axes, got shapes "
            f"{', '.join(str(tuple(x.array.shape)) for x in inputs)}"
        )


# ---------------------------------------------------------------- of scores


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + e^(-target input)) with targets -1 and 1."""
    reduction = chosen("soft_margin_loss", reduction, size_average, reduce)
    return fused.reduced(softplus(-target * input, threshold=40.0), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of logits (..., C) and targets in 0 ... 1, the mean over C."""
    reduction = chosen("multilabel_soft_margin_loss", reduction, size_average, reduce)
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    losses = losses if weight is None else losses * weight
    return fused.reduced(losses.sum(-1) / input.shape[-1], reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Of scores (N, C) and ids (N,), or (C,) and one id: the mean over the C classes of
    max(0, margin - input[target] + input)^p, the target's own left out, weighted by weight (C,)."""
    name = "multi_margin_loss"
    reduction = chosen(name, reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"[{name}] p must be 1 or 2, got {p}")
    x, ids = _rows(name, input), whole_ids(name, target, input).reshape(-1, 1)
    if len(ids) != len(x) or target.ndim > 1:
        raise RuntimeError(
            f"[{name}] needs one target for each row of scores, got {tuple(target.shape)} for "
            f"{tuple(input.shape)}"
        )
    classes = x.array.shape[1]
    _in_range(name, ids, classes)
    gaps = relu(margin - x.gather(1, wrap(ids)) + x) ** p
    own = ids == library(ids).arange(classes)
    losses = gaps.masked_fill(wrap(own), 0.0)
    if weight is not None:
        if weight.array.shape != (classes,):
            kind = RuntimeError if weight.ndim == 1 else ValueError
            raise kind(
                f"[{name}] weight must be one number for each of {classes} classes, got "
                f"{tuple(weight.array.shape)}"
            )
        losses = losses * weight[wrap(ids)]
    return fused.reduced((losses.sum(1) / classes).reshape(target.shape), reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Of scores (N, C) or (C,), and ids of the same shape that count up to the first -1: the sum of
    max(0, 1 - input[id] + input[other]) over these ids and all others, over C."""
    name = "multilabel_margin_loss"
    reduction = chosen(name, reduction, size_average, reduce)
    if target.array.shape != input.array.shape:
        raise RuntimeError(
            f"[{name}] target must have the input's shape {tuple(input.shape)}, got "
            f"{tuple(target.shape)}; fill it up with -1"
        )
    x, ids = _rows(name, input), whole_ids(name, _rows(name, target), input)
    classes = x.array.shape[1]
    counted = (ids < 0).cumsum(1) == 0  # (N, C): up to the first -1
    ids = ids * counted
    _in_range(name, ids, classes)
    is_target = ((ids[:, :, None] == library(ids).arange(classes)) & counted[:, :, None]).any(1)
    gaps = relu(1 - x.gather(1, wrap(ids)).unsqueeze(2) + x.unsqueeze(1))  # (N, ids, others)
    left_out = ~(counted[:, :, None] & ~is_target[:, None, :])
    losses = gaps.masked_fill(wrap(left_out), 0.0).sum((1, 2)) / classes
    return fused.reduced(losses.reshape(input.shape[:-1]), reduction)


def _rows(name: str, x: Tensor) -> Tensor:
    if not 1 <= x.ndim <= 2:
        raise RuntimeError(f"[{name}] needs (N, C) or (C,), got {tuple(x.shape)}; flatten?")
    return x.reshape(-1, x.shape[-1])


def _in_range(name: str, ids: Any, classes: int) -> None:
    try:
        check_bounds(ids, classes, name, what="ids")
    except IndexError as error:  # PyTorch raises this one here
        raise RuntimeError(str(error)) from None
