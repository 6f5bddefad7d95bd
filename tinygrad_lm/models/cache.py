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
        self.place: Tensor | None = None  # see `KVCache.fix`

    def extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, (B, H, S, D), with k and v (B, H, T, D) as their last; once fixed
        the whole memory, with those of one token in its place."""
        if self.place is not None:
            self.keys[:, :, self.place], self.values[:, :, self.place] = k, v
            return self.keys, self.values
        start, self.length = self.length, self.length + k.shape[2]
        self.keys[:, :, start : self.length] = k
        self.values[:, :, start : self.length] = v
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class KVCache(list[Past]):
    """A `Past` for every layer. Positions that do not fit are an error of the one who calls."""

    def __init__(self, layers: int, shape: tuple[int, int, int, int], like: Tensor) -> None:
        """shape: (B, H, room, D). like: a tensor of the dtype and on the device that are wanted."""

        def memory() -> Tensor:  # zeros: what nobody may look at is multiplied by 0, and NaN stays
            return creation.zeros(shape, dtype=like.dtype, device=like.device)

        super().__init__(Past(memory(), memory()) for _ in range(layers))
        self.room = shape[2]
        self.place: Tensor | None = None

    @property
    def length(self) -> int:
        """How many positions have been read, before the memory was fixed."""
        return self[0].length

    def fix(self, place: Tensor) -> None:
        """From now on each call reads one token, which belongs into `place`, (1,) int64 on the
        device: as Python does not know it, all calls are alike, and can be recorded (`capture`)."""
        self.place = place
        for past in self:
            past.place = place


def seats(
    T: int, cache: KVCache | None, padding: Tensor | None, like: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Of the next T tokens: their positions, (T,) or (B, T), and where they may look, booleans that
    broadcast to (B, H, T, S), or None where causal attention, or one query that sees all, says the
    same. padding: (B,), see `GPT`; like: a tensor on the device that is wanted."""
    start, S, place = 0, T, None
    if cache is not None:
        start, place = cache.length, cache.place
        S = start + T if place is None else cache.room
    places = creation.arange(start, S, device=like.device) if place is None else place
    positions = places if padding is None else (places - padding[:, None]).clamp(min=0)
    if padding is None and place is None and T in (1, S):
        return positions, None
    keys = creation.arange(S, device=like.device)
    seen = keys <= places[:, None]
    return positions, seen if padding is None else seen & (keys >= padding[:, None, None, None])
