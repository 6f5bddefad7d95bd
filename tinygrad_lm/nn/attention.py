"""Multi-head attention with its projections, as a layer. The product of attention itself is in
`functional`; here it is written out only where its weights are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Dtype
from ..engine.pytorch.creation import zeros
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

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
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
        self.reset_parameters()

    def reset_parameters(self) -> None:
        several = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        for weight in (self.in_proj_weight, *several):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)

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
        forbidden, or added to the scores. is_causal says what attn_mask is and changes nothing.
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
        q, k, v = (self._heads(x) for x in (q, k, v))  # (B, H, T, D), (B, H, S, D) twice
        mask = self._mask(q, k, key_padding_mask, attn_mask)
        p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * math.sqrt(1 / self.head_dim)) @ k.transpose(-2, -1)
            weights = F.softmax(scores if mask is None else scores + mask, -1)
            weights = F.dropout(weights, p)
            out = weights @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, p)
        out = out.transpose(1, 2).flatten(2)  # (B, T, C)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return self.out_proj(out[0]), None if weights is None else weights[0]
        return self.out_proj(out if self.batch_first else out.transpose(0, 1)), weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        if self.in_proj_weight is not None and query is key and key is value:
            return list(F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1))
        weights: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        inputs = (query, key, value)
        return [F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases)]

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _mask(
        self, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None
    ) -> Tensor | None:
        """Both masks as one that is added to the scores (B, H, T, S)."""
        b, h, t, _ = q.shape
        s = k.shape[2]
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
                closed = zeros(given.shape, dtype=q.dtype, device=q.device)
                given = closed.masked_fill(given, -math.inf)
            given = given.reshape(*shape)
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
