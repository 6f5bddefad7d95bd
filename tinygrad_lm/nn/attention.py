"""Multi-head attention with its projections, as a layer. The product of attention itself is in
`functional`; here it is written out only where its weights are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from ..engine.arrays import bool_
from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Dtype
from ..engine.pytorch.creation import zeros
from ..engine.pytorch.joining import cat
from ..engine.pytorch.shapes import pad
from . import functional as F
from . import init
from .layers import Linear, new
from .module import Module
from .parameter import Parameter

# Shapes: B batch, T queries, S keys, C channels, H heads, D = C / H.


class NonDynamicallyQuantizableLinear(Linear):
    """A Linear under the name that PyTorch prints for the last projection."""


class MultiheadAttention(Module):
    """softmax(q k^T / sqrt(D)) v in H heads, between a projection in and one out (Vaswani et al.,
    2017, arXiv 1706.03762). Inputs (T, B, C), or (B, T, C) if batch_first, or (T, C)."""

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__()
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise (ValueError if num_heads < 1 or embed_dim < 1 else AssertionError)(
                f"[MultiheadAttention] heads must divide the width, got {num_heads} and {embed_dim}"
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.dropout, self.batch_first = dropout, batch_first
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        how: dict[str, Any] = {"device": device, "dtype": dtype}
        whole = self.kdim == self.vdim == embed_dim
        widths = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
        for name, width in widths.items():
            self.register_parameter(
                f"{name}_proj_weight", None if whole else new(embed_dim, width, **how)
            )
        self.register_parameter(
            "in_proj_weight", new(3 * embed_dim, embed_dim, **how) if whole else None
        )
        self.register_parameter("in_proj_bias", new(3 * embed_dim, **how) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, **how)
        for name in ("bias_k", "bias_v"):  # a key and a value that every query may look at
            made = new(1, 1, embed_dim, **how) if add_bias_kv else None
            self.register_parameter(name, made)
        self.add_zero_attn = add_zero_attn
        self.reset_parameters()

    def reset_parameters(self) -> None:
        several = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        for weight in (self.in_proj_weight, *several):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(output like query, weights (B, T, S) averaged over heads or (B, H, T, S), or None).

        key_padding_mask (B, S) and attn_mask (T, S) or (B H, T, S): booleans, True where looking is
        forbidden, or added to the scores. is_causal says that attn_mask is the causal one.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError(
                "[MultiheadAttention] is_causal describes attn_mask, which is missing"
            )
        batched = query.ndim == 3
        q, k, v = self._project(query, key, value)
        if not batched:
            q, k, v = q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)
        elif not self.batch_first:
            q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
        k, v = self._extended(k, self.bias_k), self._extended(v, self.bias_v)
        q, k, v = (self._heads(x) for x in (q, k, v))  # (B, H, T, D), (B, H, S, D) twice
        causal = is_causal and key_padding_mask is None and not need_weights
        mask = None if causal else self._mask(q, k, key_padding_mask, attn_mask)
        p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * math.sqrt(1 / self.head_dim)) @ k.transpose(-2, -1)
            weights = F.softmax(scores if mask is None else scores + mask, -1)
            weights = F.dropout(weights, p)
            out = weights @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, p, causal)
        out = self.out_proj(out.permute(2, 0, 1, 3).flatten(2))  # (T, B, C), as PyTorch stores it
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return out.squeeze(1), None if weights is None else weights[0]
        return out.transpose(0, 1) if self.batch_first else out, weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        if self.in_proj_weight is not None and query is key and key is value:
            return list(F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1))
        weights: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        inputs = (query, key, value)
        return [F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases)]

    def _extended(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Keys or values (B, S, C) with what else there is to look at behind them."""
        more = [x] if bias is None else [x, bias.expand(x.shape[0], 1, -1)]
        if self.add_zero_attn:
            more.append(zeros(x.shape[0], 1, x.shape[2], dtype=x.dtype, device=x.device))
        return cat(more, 1) if len(more) > 1 else x

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _mask(
        self, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None
    ) -> Tensor | None:
        """Both masks as one that is added to the scores (B, H, T, S)."""
        b, h, t, _ = q.shape
        extra = self.add_zero_attn + (self.bias_k is not None)  # at the end, open to all
        s = k.shape[2] - extra
        total: Tensor | None = None
        for given, shape in (
            (padding, (b, 1, 1, s)),
            (mask, (1, 1, t, s) if mask is None or mask.ndim == 2 else (b, h, t, s)),
        ):
            if given is None:
                continue
            if given.numel() != math.prod(shape):
                raise RuntimeError(
                    f"[MultiheadAttention] masks must be (B, S) and (T, S) or (B H, T, S) "
                    f"with B={b}, H={h}, T={t}, S={s}, got {tuple(given.shape)}"
                )
            if not given.is_floating_point():
                if given.dtype is not bool_:
                    raise AssertionError(
                        f"[MultiheadAttention] masks must be boolean or floating, got {given.dtype}"
                    )
                closed = zeros(given.shape, dtype=q.dtype, device=q.device)
                given = closed.masked_fill(given, -math.inf)
            given = pad(given.reshape(*shape), (0, extra)) if extra else given.reshape(*shape)
            total = given if total is None else total + given
        return total


class SDPBackend(IntEnum):
    """PyTorch's names for its ways to compute attention."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


allowed: dict[SDPBackend, bool] = {
    backend: True for backend in SDPBackend if backend != SDPBackend.ERROR
}


@contextmanager
def sdpa_kernel(
    backends: list[SDPBackend] | SDPBackend, set_priority: bool = False
) -> Iterator[None]:
    """With these backends alone, as `torch.backends.cuda` then reports. What computes attention
    here is chosen by shapes and dtypes as always (all ways give the same numbers)."""
    chosen = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(chosen, list) or not all(isinstance(x, SDPBackend) for x in chosen):
        raise AssertionError(f"[sdpa_kernel] needs an SDPBackend or a list, got {backends!r:.60}")
    before = dict(allowed)
    allowed.update({backend: backend in chosen for backend in allowed})
    try:
        yield
    finally:
        allowed.update(before)
