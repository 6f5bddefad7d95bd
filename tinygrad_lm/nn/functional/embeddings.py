"""Table look-up: rows of a weight at integer ids, one by one or whole bags of them in one row."""

from __future__ import annotations

import math
from typing import Any

from ...engine.core.tensor import Tensor
from ...engine.ops import elementwise, fused
from ...engine.pytorch.arithmetic import where
from ...engine.pytorch.common import check_tensors
from ...engine.pytorch.creation import arange, full
from ...engine.pytorch.custom_function import Function
from ...engine.pytorch.grad_mode import no_grad
from ...engine.pytorch.joining import cat
from ...engine.pytorch.names import named
from ...engine.pytorch.ordering import bincount
from ...engine.pytorch.reductions import norm
from .ids import checked_ids

# Shapes: V vocabulary, C channels, N ids, B bags, L ids in the longest bag.


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight (V, C) at integer ids (...): (..., C). The row padding_idx gets no gradient.

    max_norm: the rows that are looked up are first scaled, in place, to at most this norm.
    scale_grad_by_freq: the gradient of a row is over the number of its ids. sparse: the gradient
    has the same values, and is dense here. IndexError names an id outside 0 ... V - 1.
    """
    check_tensors("embedding", input=input)
    rows = weight.array.shape[0]
    ids = checked_ids("embedding", input, weight, rows)
    if max_norm is not None:
        _renormalize(weight, input, max_norm, norm_type)
    out = fused.embedding(weight, ids=ids)
    if padding_idx is not None and out.node is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError(
                f"[embedding] padding_idx must be in {-rows} ... {rows - 1}, got {padding_idx}"
            )
        padding = ids == padding_idx % rows
        out = elementwise.where(out.detach(), out, condition=padding[..., None])
        out = named(out, "embedding")
    if scale_grad_by_freq and out.node is not None:
        often = bincount(input.reshape(-1), minlength=rows)[input]
        out = named(Scaled.apply(out, often.unsqueeze(-1)), "embedding")
    return out


class Scaled(Function):
    """x, whose gradient is over `by`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, by: Tensor) -> Tensor:
        ctx.by = by
        return x.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        return gradients[0] / ctx.by, None


@no_grad()
def _renormalize(weight: Tensor, ids: Tensor, max_norm: float, p: float) -> None:
    used = bincount(ids.reshape(-1), minlength=len(weight)) > 0
    length = norm(weight, p, 1)
    scale = where(used & (length > max_norm), max_norm / (length + 1e-7), length.new_ones(()))
    weight.mul_(scale.unsqueeze(1))


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or max of the rows of weight (V, C) in each bag, (B, C): bags are the rows of
    ids (B, L), or pieces of ids (N,) that begin at offsets (B,). An empty bag gives 0.

    per_sample_weights, like input: factors of the rows of a sum. include_last_offset: the last
    offset is the end. padding_idx: ids that are in no bag. The other options are of `embedding`.
    """
    _check_bags(input, weight, offsets, mode, per_sample_weights, scale_grad_by_freq, sparse)
    if offsets is None:
        offsets = arange(0, input.numel(), max(1, input.shape[1]), device=input.device)
        offsets = offsets if input.numel() else offsets.new_zeros(len(input))
    ids = input.reshape(-1)
    ends = (
        offsets[1:] if include_last_offset else cat([offsets[1:], offsets.new_tensor([len(ids)])])
    )
    starts = offsets[:-1] if include_last_offset else offsets
    rows = embedding(ids, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    none = full((1, rows.shape[1]), -math.inf if mode == "max" else 0.0, dtype=rows.dtype)
    rows = cat([rows, none.to(rows.device)])  # the last one is read where a bag has ended
    longest = max(1, int((ends - starts).max())) if len(starts) else 1
    places = starts.unsqueeze(1) + arange(longest, device=starts.device)  # (B, L)
    there = places < ends.unsqueeze(1)
    places = places * there
    if padding_idx is not None and len(ids):
        there = there & (ids[places] != padding_idx % len(weight))
    bags = rows[places + (len(ids) - places) * ~there]  # (B, L, C)
    count = there.sum(1, keepdim=True)
    if mode == "max":
        out = where(count > 0, bags.max(1).values, bags.new_zeros(()))
    else:
        out = bags.sum(1) if mode == "sum" else bags.sum(1) / count.clamp(min=1)
    return named(out, "embedding_bag")


def _check_bags(
    ids: Tensor,
    weight: Tensor,
    offsets: Tensor | None,
    mode: str,
    weights: Tensor | None,
    by_frequency: bool,
    sparse: bool,
) -> None:
    name = "[embedding_bag]"
    if weight.ndim != 2 or ids.ndim not in (1, 2):
        raise ValueError(
            f"{name} needs ids (B, L) or (N,) and a weight (V, C), got {tuple(ids.shape)} and "
            f"{tuple(weight.shape)}"
        )
    if (ids.ndim == 1) != (offsets is not None and offsets.ndim == 1):
        raise ValueError(f"{name} ids (N,) need offsets (B,), ids (B, L) must come without")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{name} mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if mode == "max" and (by_frequency or sparse):
        raise ValueError(f"{name} mode='max' must be without scale_grad_by_freq and sparse")
    if weights is not None and weights.shape != ids.shape:
        raise ValueError(
            f"{name} per_sample_weights must have the shape of the ids, {tuple(ids.shape)}, "
            f"got {tuple(weights.shape)}"
        )
    if weights is not None and mode != "sum":
        raise NotImplementedError(f"{name} per_sample_weights need mode='sum', got {mode!r}")
    if offsets is not None and len(offsets) and (offsets[0] != 0 or offsets[-1] > len(ids)):
        raise RuntimeError(
            f"{name} offsets must begin with 0 and end before {len(ids)}, got {offsets.tolist()}"
        )
