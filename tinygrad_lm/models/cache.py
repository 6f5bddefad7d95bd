"""What a GPT remembers of the positions that it has read, so that one more token costs one position
and not the whole context again. For writing text; training has no use for it.
"""

from __future__ import annotations

from ..engine.core.tensor import Tensor
from ..engine.pytorch import creation

# Shapes: B batch, T new positions, S all positions, H heads, D head size.


class Past:
    """The keys and values of one attention layer: (B, H, room, D) each, `length` of them filled."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values, self.length = keys, values, 0

    def extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, (B, H, S, D), with k and v (B, H, T, D) as their last."""
        start, self.length = self.length, self.length + k.shape[2]
        self.keys[:, :, start : self.length] = k
        self.values[:, :, start : self.length] = v
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class KVCache(list[Past]):
    """A `Past` for every layer. Positions that do not fit are an error of the one who calls."""

    def __init__(self, layers: int, shape: tuple[int, int, int, int], like: Tensor) -> None:
        """shape: (B, H, room, D). like: a tensor of the dtype and on the device that are wanted."""

        def empty() -> Tensor:
            return creation.empty(shape, dtype=like.dtype, device=like.device)

        super().__init__(Past(empty(), empty()) for _ in range(layers))
        self.room = shape[2]

    @property
    def length(self) -> int:
        """How many positions have been read."""
        return self[0].length


def visible(T: int, S: int, padding: Tensor | None, like: Tensor) -> Tensor | None:
    """Where the last T of S positions may look: booleans that broadcast to (B, H, T, S), or None
    where causal attention, or one query that sees all, says the same. padding: (B,), see `GPT`."""
    if padding is None and T in (1, S):
        return None
    keys = creation.arange(S, device=like.device)
    seen = keys <= creation.arange(S - T, S, device=like.device)[:, None]
    return seen if padding is None else seen & (keys >= padding[:, None, None, None])
