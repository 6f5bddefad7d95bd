"""Activation functions. Where PyTorch's function is an op's own, as `tanh` and `sigmoid`, it is
imported as it is. At kinks the slopes are PyTorch's; inplace=True writes the result into the input.
"""

from __future__ import annotations

import warnings

from ...engine.arrays import library
from ...engine.core.tensor import Tensor, wrap
from ...engine.inplace import in_place
from ...engine.ops import elementwise, fused
from ...engine.ops.elementwise import masked_fill, sigmoid, tanh
from ...engine.pytorch import reductions
from ...engine.pytorch.common import Dtype, axis_of
from ...engine.pytorch.creation import zeros
from ...engine.pytorch.joining import chunk
from ...engine.pytorch.names import one_op
from ...engine.pytorch.operators import writer
from ...engine.random.generator import default_generator

__all__ = [
    "celu", "celu_", "elu", "elu_", "gelu", "glu", "gumbel_softmax", "hardshrink", "hardsigmoid",
    "hardswish", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "log_softmax", "logsigmoid",
    "mish", "prelu", "relu", "relu6", "relu_", "rrelu", "rrelu_", "selu", "selu_", "sigmoid",
    "silu", "softmax", "softmin", "softplus", "softshrink", "softsign", "tanh", "tanhshrink",
    "threshold", "threshold_",
]  # fmt: skip

# ---------------------------------------------------------------- with a kink at 0


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return in_place(input, elementwise.relu) if inplace else elementwise.relu(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x above 0, negative_slope x below."""
    if inplace:
        return in_place(input, leaky_relu, negative_slope)
    return elementwise.leaky_relu(input, negative_slope=negative_slope)


@one_op
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x above 0, weight x below: one weight, or one for each channel, which is axis 1 (He et al.,
    2015, arXiv 1502.01852)."""
    channels = input.array.shape[1] if input.ndim > 1 else 1
    if weight.array.size not in (1, channels) or weight.ndim > 1:
        raise RuntimeError(
            f"[prelu] weight must be one number, or one for each of {channels} channels, got "
            f"{tuple(weight.shape)}"
        )
    axes = [-1 if i == 1 else 1 for i in range(input.ndim)]
    slope = weight.reshape(() if weight.array.size == 1 else axes)
    above = input.array > 0
    low = masked_fill(input, mask=above, value=0.0)
    return elementwise.where(input, slope * low, condition=above)


@one_op
def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """x above 0, below it x times a slope drawn from [lower, upper) for each element in training,
    their middle otherwise (Xu et al., 2015, arXiv 1505.00853)."""
    if lower > upper:
        raise RuntimeError(f"[rrelu] lower must not be above upper, got {lower} and {upper}")
    if inplace:
        return in_place(input, rrelu, lower, upper, training)
    if not training:
        return elementwise.leaky_relu(input, negative_slope=(lower + upper) / 2)
    x, lib = input.array, library(input.array)
    slopes, low = lib.ones(x.shape, x.dtype), x <= 0
    drawn = default_generator.uniform((int(low.sum()),), lower, upper, dtype="float64")
    slopes[low] = lib.asarray(drawn.astype(x.dtype))
    return input * wrap(slopes)


def _exponential_below(x: Tensor, alpha: float, scale: float = 1, inner: float = 1) -> Tensor:
    """scale x above 0, scale alpha (e^(inner x) - 1) below."""
    above = ~(x <= 0).array  # NaN too: its slope is that above 0
    low = (masked_fill(x, mask=above, value=0.0) * inner).expm1()
    return elementwise.where(x * scale, alpha * scale * low, condition=above)


@one_op
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, alpha (e^x - 1) below (Clevert et al., 2015, arXiv 1511.07289)."""
    return in_place(input, elu, alpha) if inplace else _exponential_below(input, alpha)


@one_op
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, alpha (e^(x / alpha) - 1) below (Barron, 2017, arXiv 1704.07483)."""
    if alpha == 0:
        raise RuntimeError("[celu] alpha must not be 0, got 0; relu is its limit")
    if inplace:
        return in_place(input, celu, alpha)
    return _exponential_below(input, alpha, inner=1 / alpha)


@one_op
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu`, scaled so that mean 0 and variance 1 stay (Klambauer et al., 2017, arXiv
    1706.02515)."""
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return in_place(input, selu) if inplace else _exponential_below(input, alpha, scale)


@one_op
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x above the threshold, else value."""
    if inplace:
        return in_place(input, _threshold, threshold, value)
    return masked_fill(input, mask=input.array <= threshold, value=value)


_threshold = threshold

# ---------------------------------------------------------------- cut off on both sides


@one_op
def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x cut off at min_val and max_val, from which on its slope is 0."""
    if min_val > max_val:
        raise ValueError(f"[hardtanh] min_val must not be above max_val, got {min_val}, {max_val}")
    if inplace:
        return in_place(input, hardtanh, min_val, max_val)
    cut = masked_fill(input, mask=input.array <= min_val, value=min_val)
    return masked_fill(cut, mask=input.array >= max_val, value=max_val)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0, 6, inplace)


@one_op
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6."""
    return in_place(input, hardsigmoid) if inplace else relu6(input + 3) / 6


@one_op
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x) (Howard et al., 2019, arXiv 1905.02244)."""
    return in_place(input, hardswish) if inplace else input * relu6(input + 3) / 6


@one_op
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, but 0 within -lambd ... lambd."""
    within = (input.array >= -lambd) & (input.array <= lambd)
    return masked_fill(input, mask=within, value=0.0)


@one_op
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, 0 where it is nearer than that."""
    if lambd < 0:
        raise RuntimeError(f"[softshrink] lambd must not be negative, got {lambd}")
    return input - elementwise.clamp(input, min=-lambd, max=lambd)


# ---------------------------------------------------------------- smooth


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x), exact ("none") or by its "tanh" form (Hendrycks and Gimpel, arXiv 1606.08415)."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"[gelu] approximate must be 'none' or 'tanh', got {approximate!r}")
    return fused.gelu(input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x)."""
    return in_place(input, silu) if inplace else fused.silu(input)


@one_op
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (Misra, 2019, arXiv 1908.08681)."""
    return in_place(input, mish) if inplace else input * tanh(softplus(input))


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta x is above the threshold."""
    return elementwise.softplus(input, beta=beta, threshold=threshold)


@one_op
def logsigmoid(input: Tensor) -> Tensor:
    return -softplus(-input, threshold=40.0)


def softsign(input: Tensor) -> Tensor:
    """x / (|x| + 1)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - tanh(input)


@one_op
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b) with the two halves a, b of the input along dim (Dauphin et al., 2016, arXiv
    1612.08083)."""
    if not input.ndim or input.array.shape[axis_of(input, dim, "glu")] % 2:
        raise RuntimeError(
            f"[glu] the size along dim must be even, got {tuple(input.shape)} and dim {dim}"
        )
    half, gate = chunk(input, 2, dim)
    return half * sigmoid(gate)


# ---------------------------------------------------------------- over an axis


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype = None
) -> Tensor:
    """e^x over its sum along dim; a row that is all -inf gives NaN."""
    return reductions.softmax(input, _axis("softmax", input, dim, _stacklevel), dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype = None
) -> Tensor:
    """x minus the log of the sum of e^x along dim."""
    return reductions.log_softmax(input, _axis("log_softmax", input, dim, _stacklevel), dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype = None
) -> Tensor:
    """The softmax of -x."""
    return reductions.softmax(-input, _axis("softmin", input, dim, _stacklevel), dtype)


def _axis(name: str, x: Tensor, dim: int | None, stacklevel: int) -> int:
    """dim; left out, it is PyTorch's former choice, with a warning."""
    if dim is not None:
        return dim
    dim = 0 if x.ndim in (0, 1, 3) else 1
    warnings.warn(
        f"[{name}] dim should be given, got none; {dim} is taken, which is seldom the last axis",
        stacklevel=stacklevel,
    )
    return dim


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A sample of the categories along dim: softmax((logits + Gumbel noise) / tau). hard: one-hot,
    with the gradient of the soft one (Jang et al., 2016, arXiv 1611.01144). eps has no effect."""
    if eps != 1e-10:
        warnings.warn("[gumbel_softmax] eps has no effect; leave it out", stacklevel=2)
    blank = zeros(logits.shape, dtype=logits.dtype, device=logits.device)
    noise = -blank.clone().exponential_().log()
    soft = reductions.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    best = soft.max(dim, keepdim=True)[1]
    return blank.scatter(dim, best, 1.0) - soft.detach() + soft


# ---------------------------------------------------------------- in place

relu_ = writer(relu)
leaky_relu_ = writer(leaky_relu)
rrelu_ = writer(rrelu)
elu_ = writer(elu)
celu_ = writer(celu)
selu_ = writer(selu)
threshold_ = writer(threshold)
hardtanh_ = writer(hardtanh)
