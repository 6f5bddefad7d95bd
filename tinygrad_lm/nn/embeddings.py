"""Layers that look rows up in a table: `Embedding` and `EmbeddingBag`."""

from __future__ import annotations

from typing import Any, TypeVar

from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Dtype
from . import functional as F
from . import init
from .layers import new
from .module import Module
from .parameter import Parameter

E = TypeVar("E", bound="_Table")


class _Table(Module):
    """weight (num_embeddings, embedding_dim), normal at first; the row padding_idx starts at 0 and
    gets no gradient. `functional` says what the options do."""

    weight: Parameter
    printed: tuple[tuple[str, Any], ...]  # options and what they usually are

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        weight: Tensor | None,
        device: Device,
        dtype: Dtype,
    ):
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError(
                    f"[Embedding] padding_idx must be below {num_embeddings}, got {padding_idx}"
                )
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        if weight is None:
            self.weight = new(num_embeddings, embedding_dim, device=device, dtype=dtype)
            self.reset_parameters()
        elif weight.shape == (num_embeddings, embedding_dim):
            self.weight = Parameter(weight)
        else:
            raise AssertionError(
                f"[Embedding] the weight must be {(num_embeddings, embedding_dim)}, "
                f"got {tuple(weight.shape)}"
            )

    def reset_parameters(self) -> None:
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.data[self.padding_idx])

    @classmethod
    def from_pretrained(
        cls: type[E], embeddings: Tensor, freeze: bool = True, *args: Any, **options: Any
    ) -> E:
        """A layer on an existing table (V, C); fixed unless freeze=False. The rest is the rest of
        the layer's own options, in their order."""
        if embeddings.ndim != 2:
            raise AssertionError(f"[Embedding] a table has 2 dims, got {tuple(embeddings.shape)}")
        layer = cls(*embeddings.shape, *args, _weight=embeddings, **options)  # type: ignore[call-arg]
        layer.weight.requires_grad_(not freeze)
        return layer

    def extra_repr(self) -> str:
        shown = [str(self.num_embeddings), str(self.embedding_dim)]
        for name, usual in self.printed:
            if (value := getattr(self, name)) != usual:
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)


class Embedding(_Table):
    """Row `id` of weight (num_embeddings, embedding_dim) for each id."""

    printed = (
        ("padding_idx", None), ("max_norm", None), ("norm_type", 2), ("scale_grad_by_freq", False),
        ("sparse", False),
    )  # fmt: skip

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__(num_embeddings, embedding_dim, padding_idx, _weight, device, dtype)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.weight.requires_grad_(not _freeze)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )


class EmbeddingBag(_Table):
    """The sum, mean or max of the rows in each bag of ids."""

    printed = (
        ("max_norm", None), ("norm_type", 2), ("scale_grad_by_freq", False), ("mode", ""),
        ("padding_idx", None),
    )  # fmt: skip

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__(num_embeddings, embedding_dim, padding_idx, _weight, device, dtype)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.mode, self.sparse = scale_grad_by_freq, mode, sparse
        self.include_last_offset = include_last_offset

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )
