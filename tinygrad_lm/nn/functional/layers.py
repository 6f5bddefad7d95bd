"""Linear maps, normalisation, dropout and attention as functions. They hold no
parameters: those come in as arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy

from ...engine.arrays import Array, device_of, library, mark_written
from ...engine.core.tensor import Tensor
from ...engine.inplace import in_place
from ...engine.ops import elementwise, fused
from ...engine.ops import shape as ops
from ...engine.ops.group_norm import group_norm as norm_of_groups
from ...engine.ops.windows import unfold
from ...engine.pytorch.common import check_tensors
from ...engine.pytorch.creation import empty_like
from ...engine.pytorch.names import named
from ...engine.pytorch.reductions import mean, norm, var
from ...engine.random import generator, philox

# Shapes: B batch, T time, C channels, V vocabulary, H heads, D head size.

WITH_BIAS = ("ViewBackward0", "ViewBackward0", "AddmmBackward0")
WITHOUT_BIAS = ("SqueezeBackward4", "SqueezeBackward4", "MmBackward0")


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input (..., C) @ weight (D, C).T + bias (D,)."""
    check_tensors("linear", input=input)
    if input.array.shape[-1:] != weight.array.shape[-1:]:
        raise RuntimeError(
            f"[linear] the last size of the input must be that of the weight, got "
            f"{tuple(input.array.shape)} and {tuple(weight.array.shape)}; transpose one of them?"
        )
    out = fused.linear(input, weight, bias)
    if out.node is not None:
        n = input.array.ndim
        if bias is None:
            out.node.name = WITHOUT_BIAS[n] if n < 3 else "UnsafeViewBackward0"
        else:
            out.node.name = WITH_BIAS[n] if n < 3 else "ViewBackward0"
    return out


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 (..., I), x2 (..., J), weight (O, I, J): sum over i and j of x1_i w_oij x2_j + bias_o,
    (..., O)."""
    sizes = (input1.shape[-1], input2.shape[-1])
    if weight.ndim != 3 or weight.shape[1:] != sizes or input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            "[bilinear] needs inputs (..., I) and (..., J) and a weight (O, I, J), got "
            f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(weight.shape)}"
        )
    rows = weight.transpose(0, 1).reshape(sizes[0], -1)  # (I, O J)
    each = (input1 @ rows).unflatten(-1, (len(weight), sizes[1]))  # (..., O, J)
    out = (each @ input2.unsqueeze(-1)).squeeze(-1)
    return out if bias is None else out + bias


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the last axes, those of normalized_shape, then scale and shift
    (Ba et al., 2016, arXiv 1607.06450)."""
    axes = _last_axes("layer_norm", input, normalized_shape)
    return fused.layer_norm(input, weight, bias, axes=axes, eps=eps)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Input over its root mean square over the last axes (Zhang and Sennrich, arXiv 1910.07467).
    eps defaults to the machine epsilon of the dtype, of 16-bit floats to float32's."""
    axes = _last_axes("rms_norm", input, normalized_shape)
    if eps is None:
        kind = input.array.dtype if input.dtype.itemsize > 2 else numpy.float32
        eps = float(numpy.finfo(kind).eps)
    return fused.rms_norm(input, weight, axes=axes, eps=eps)


def _last_axes(name: str, input: Tensor, shape: Sequence[int]) -> int:
    if isinstance(shape, int):
        raise TypeError(f"[{name}] the normalized shape must be a tuple, got {shape}; ({shape},)?")
    shape, axes = tuple(shape), len(shape)
    if not axes or input.array.shape[-axes:] != shape:
        raise RuntimeError(
            f"[{name}] the input must end in the normalized shape {shape}, "
            f"got {tuple(input.array.shape)}"
        )
    return axes


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of (N, C) or (N, C, L) to mean 0 and variance 1 (Ioffe and Szegedy, 2015, arXiv
    1502.03167). In training by the batch's own statistics, of which the running ones take in the
    share `momentum` (the variance unbiased); otherwise by the running ones.
    """
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("[batch_norm] needs running_mean and running_var unless training")
    if not training:
        use = {"mean": running_mean.array, "var": running_var.array}  # type: ignore[union-attr]
        return fused.batch_norm(input, weight, bias, **use, eps=eps)
    x = input.array
    n = x.size // max(x.shape[1], 1)
    if n < 2:
        raise ValueError(
            f"[batch_norm] training needs more than 1 value per channel, got {tuple(x.shape)}; "
            "use a larger batch, or eval()"
        )
    over = tuple(i for i in range(x.ndim) if i != 1)
    if running_mean is not None:
        approach(running_mean.array, mean(input.detach(), over).array, momentum)
    if running_var is not None:
        approach(running_var.array, var(input.detach(), over).array, momentum)
    return fused.batch_norm(input, weight, bias, eps=eps)


def approach(running: Array, found: Array, momentum: float) -> None:
    running *= 1 - momentum
    running += momentum * found
    mark_written(running)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """input (B, C, ...): each of num_groups groups of channels of an image to mean 0 and variance
    1, then weight and bias (C,)."""
    _check_several("group_norm", math.prod(input.shape) // max(num_groups, 1), input.shape)
    out = norm_of_groups(input, weight, bias, groups=num_groups, eps=eps)
    return named(out, "NativeGroupNormBackward0")


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`group_norm` of single channels (Ulyanov et al., 2016, arXiv 1607.08022). Running statistics
    take in the share `momentum` of the images' mean ones; without use_input_stats they are used."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    x = input.array
    over = tuple(range(2, x.ndim))
    _check_several("instance_norm", math.prod(x.shape[2:]), x.shape)
    if running_mean is not None:
        approach(running_mean.array, mean(input.detach(), over).array.mean(0), momentum)
    if running_var is not None:
        approach(running_var.array, var(input.detach(), over).array.mean(0), momentum)
    return named(group_norm(input, x.shape[1], weight, bias, eps), "ViewBackward0")


def _check_several(name: str, values: int, shape: tuple[int, ...]) -> None:
    if values == 1:
        raise ValueError(f"[{name}] needs more than 1 value per channel, got {tuple(shape)}")


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """input (B, C, ...) over (k + alpha mean(x^2))^beta, the mean over the `size` channels around
    each (Krizhevsky et al., 2012)."""
    if input.ndim < 3:
        raise ValueError(f"[local_response_norm] needs (B, C, ...), got {tuple(input.shape)}")
    around = [(0, 0)] * input.ndim
    around[1] = (size // 2, (size - 1) // 2)
    squares = unfold(ops.pad(input * input, widths=around), axis=1, size=size)
    return input / (squares.mean(-1) * alpha + k) ** beta


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Vectors along dim divided by their p-norm (by eps where that is smaller)."""
    return input / elementwise.clamp(norm(input, p, dim, keepdim=True), min=eps)


def kept(p: float, like: Array, shape: tuple[int, ...]) -> Array:
    """Booleans of a shape, each True with probability 1 - p: what dropout keeps, on the device of
    the array `like`. Drawn from the default generator; by a GPU from its own stream."""
    if p == 1:
        return library(like).zeros(shape, bool)
    where = device_of(like)
    if where.type == "cuda":
        return philox.stream(where.index).keep(1 - p, library(like).empty(shape, bool))
    return library(like).asarray(generator.default_generator.bernoulli(1 - p, shape))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, 0 with probability p, else input / (1 - p) (Srivastava et al., 2014)."""
    if not 0 <= p <= 1:
        raise ValueError(f"[dropout] p must be in 0 ... 1, got {p}")
    if not input.is_floating_point():
        raise RuntimeError(f"[dropout] needs a floating-point tensor, got {input.dtype}; float()?")
    if p == 0 or not training:
        return input
    x = input.array
    if x.flags.c_contiguous:
        keep = kept(p, x, x.shape)
    else:  # PyTorch draws in the order of memory
        order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
        keep = kept(p, x, tuple(x.shape[axis] for axis in order)).transpose(numpy.argsort(order))
    out = fused.dropout(input, keep=keep, p=p)
    return input.copy_(out) if inplace else out


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """For `selu`: in training, its limit far below 0 with probability p, then scaled and shifted so
    that mean 0 and variance 1 stay (Klambauer et al., 2017, arXiv 1706.02515)."""
    if not 0 <= p <= 1:
        raise ValueError(f"[alpha_dropout] p must be in 0 ... 1, got {p}")
    if inplace:
        return in_place(input, alpha_dropout, p, training)
    if p == 0 or not training:
        return input
    if p == 1:
        return input * 0.0
    alpha = 1.7580993408473766
    scale = 1 / math.sqrt((alpha * alpha * p + 1) * (1 - p))
    keep = empty_like(input).bernoulli_(1 - p)
    return input * (keep * scale) + ((keep - 1) * (alpha * scale) + alpha * scale * p)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels: input (B, C, L) or (C, L) (Tompson et al., 2015)."""
    if input.ndim not in (2, 3):
        raise RuntimeError(f"[dropout1d] needs (C, L) or (B, C, L), got {tuple(input.shape)}")
    return _drop_channels("dropout1d", input, p, training, inplace, input.ndim - 1)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels: input (B, C, H, W); three axes are (B, C, L), as in PyTorch."""
    return _drop_channels("dropout2d", input, p, training, inplace, 2)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels: input (B, C, D, H, W) or (C, D, H, W)."""
    return _drop_channels("dropout3d", input, p, training, inplace, 2 if input.ndim == 5 else 1)


def _drop_channels(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, lead: int
) -> Tensor:
    if not 0 <= p <= 1:
        raise ValueError(f"[{name}] p must be in 0 ... 1, got {p}")
    if p == 0 or not training:
        return input
    x = input.array
    keep = kept(p, x, (*x.shape[:lead], *[1] * (x.ndim - lead)))
    out = fused.dropout(input, keep=library(x).broadcast_to(keep, x.shape), p=p)
    return input.copy_(out) if inplace else out


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k^T scale + mask) v (Vaswani et al., 2017, arXiv 1706.03762).

    query (..., T, D), key and value (..., S, D), usually (B, H, T, D). attn_mask: boolean, True
    where looking is allowed, or added to the scores. is_causal: position t sees 0 ... t. scale:
    1 / sqrt(D) by default. dropout_p applies always: pass 0 outside training. enable_gqa: key and
    value may have fewer heads, each for a group of the query's (Ainslie et al., 2023, arXiv
    2305.13245).
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("[attention] give attn_mask or is_causal, not both")
    q, k = query.array.shape, key.array.shape
    if q[-1] != k[-1] or k[-2] != value.array.shape[-2]:
        raise RuntimeError(
            "[attention] needs query (..., T, D), key (..., S, D) and value (..., S, D), got "
            f"{tuple(q)}, {tuple(k)} and {tuple(value.array.shape)}"
        )
    keep = None
    if dropout_p > 0:
        keep = kept(dropout_p, query.array, (*q[:-1], k[-2]))
    if enable_gqa:
        query, key, value = _grouped(query, key, value, attn_mask is None and not is_causal)
        keep = keep if keep is None else keep.reshape(*query.array.shape[:-1], k[-2])
    out = fused.scaled_dot_product_attention(
        query, key, value, attn_mask, causal=is_causal, scale=scale, keep=keep, p=dropout_p
    )
    if query.array.shape != q:
        out = out.reshape(*q[:-1], out.array.shape[-1])
    if len(q) == 4 and keep is None and q[-1] == value.array.shape[-1]:
        return named(out, "ScaledDotProductFlashAttentionForCpuBackward0")
    return named(out, "UnsafeViewBackward0" if len(q) > 2 else "MmBackward0")


def _grouped(query: Tensor, key: Tensor, value: Tensor, alike: bool) -> tuple[Tensor, ...]:
    """query, key, value with as many heads each. Where all queries of a head are alike, those of a
    group are more queries of one head; elsewhere keys and values are repeated."""
    q, k, v = (x.array.shape for x in (query, key, value))
    if len(q) < 3 or len(k) < 3:
        raise IndexError(f"[attention] groups of heads need (..., H, T, D), got {tuple(q)}")
    if any(not n or q[-3] % n for n in (k[-3], v[-3])):
        raise RuntimeError(
            "[attention] the heads of key and value must divide those of query, got "
            f"{k[-3]}, {v[-3]} and {q[-3]}"
        )
    if alike and k[:-2] == v[:-2] and k[:-3] == q[:-3]:
        return query.reshape(*k[:-2], -1, q[-1]), key, value
    return query, *(x.repeat_interleave(q[-3] // x.array.shape[-3], -3) for x in (key, value))
