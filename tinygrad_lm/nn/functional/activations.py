"""Activation functions. Where PyTorch's function is an op's own, as `tanh` and `sigmoid`, it is
imported as it is."""

from __future__ import annotations

from ...engine.core.tensor import Tensor
from ...engine.inplace import in_place
from ...engine.ops import elementwise, fused
from ...engine.ops.elementwise import sigmoid, tanh
from ...engine.pytorch.names import one_op
from ...engine.pytorch.reductions import log_softmax, softmax

__all__ = [
    "elu", "gelu", "leaky_relu", "log_softmax", "logsigmoid", "relu", "sigmoid", "silu", "softmax",
    "softplus", "tanh",
]  # fmt: skip


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return in_place(input, elementwise.relu) if inplace else elementwise.relu(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x), exact ("none") or by its "tanh" form (Hendrycks and Gimpel, arXiv 1606.08415)."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"[gelu] approximate must be 'none' or 'tanh', got {approximate!r}")
    return fused.gelu(input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x)."""
    return in_place(input, silu) if inplace else fused.silu(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    if inplace:
        return in_place(input, leaky_relu, negative_slope)
    return elementwise.leaky_relu(input, negative_slope=negative_slope)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta x is above the threshold."""
    return elementwise.softplus(input, beta=beta, threshold=threshold)


@one_op
def logsigmoid(input: Tensor) -> Tensor:
    return -softplus(-input, threshold=40.0)


@one_op
def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha (e^x - 1) below (Clevert et al., 2015, arXiv 1511.07289)."""
    above = ~(input <= 0).array  # NaN too: its slope is 1
    low = elementwise.masked_fill(input, mask=above, value=0.0).expm1()
    return elementwise.where(input, alpha * low, condition=above)
