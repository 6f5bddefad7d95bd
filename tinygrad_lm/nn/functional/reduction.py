"""How each loss ends: the mean, the sum, or one number for each element; and what PyTorch called
that before it had the keyword `reduction`."""

from __future__ import annotations

import warnings

from ...engine.core.tensor import Tensor
from ...engine.ops import fused


def chosen(
    name: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None
) -> str:
    """`reduction`, checked; or what the former keywords say: reduce=False is "none",
    size_average=False is "sum"."""
    if size_average is not None or reduce is not None:
        reduction = legacy(size_average, reduce, 4)
    fused.check_reduction(name, reduction)
    return reduction


def legacy(size_average: bool | None, reduce: bool | None, stacklevel: int) -> str:
    """The reduction that the former keywords mean, with PyTorch's warning."""
    reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce are former keywords; use reduction={reduction!r} instead",
        stacklevel=stacklevel,
    )
    return reduction


def weighted(losses: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return fused.reduced(losses if weight is None else losses * weight, reduction)


def weighted_mean(
    name: str, losses: Tensor, input: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    """As `weighted`, but the mean is over the sum of the weights."""
    check_shape(name, input, weight)
    if weight is not None and reduction == "mean":
        return (losses * weight).sum() / weight.sum()
    return weighted(losses, weight, reduction)


def check_shape(name: str, input: Tensor, weight: Tensor | None) -> None:
    if weight is not None and weight.array.shape != input.array.shape:
        raise ValueError(
            f"[{name}] weight must have the input's shape {tuple(input.array.shape)}, got "
            f"{tuple(weight.array.shape)}"
        )


def warn_of_broadcasting(name: str, input: Tensor, target: Tensor) -> None:
    if input.array.shape != target.array.shape:
        warnings.warn(
            f"[{name}] input {tuple(input.array.shape)} and target {tuple(target.array.shape)} "
            "differ in size and are broadcast, which is rarely meant; reshape one of them",
            stacklevel=3,
        )
