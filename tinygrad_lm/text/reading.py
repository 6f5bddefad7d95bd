"""What a language model expects after the ids so far, while a text grows token by token."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import is_
from typing import Any

from ..engine.arrays import allow_tf32
from ..engine.capture import capture
from ..engine.core.recording import mode
from ..engine.core.tensor import Tensor
from ..engine.pytorch import creation

# Shapes: B batch, T time, V vocabulary.


def _logits(
    model: Any, cache: Any, idx: Tensor, padding: Tensor | None, place: Tensor | None = None
) -> Tensor:
    given = {"cache": cache, "padding": padding}
    if place is not None:
        cache.fix(place)
    out = model(idx, **{name: x for name, x in given.items() if x is not None})
    return (out[0] if isinstance(out, tuple) else out)[:, -1, :]


class Reader:
    """reader(ids (B, T)) -> logits (B, V) for what follows; each call has one id more in a row.

    room: how many positions to keep keys and values of, where the model has `new_cache`, as GPT
    has; 0: all are read in every call. A context that has outgrown the model's block_size loses its
    beginning and is read anew. padding (B,): how many places at the start of a row are empty.

    On a GPU Python takes longer for one token than the kernels that it starts. There a model with a
    cache is recorded (`capture`) once its calls are all alike, unless it has hooks, which a replay
    would not run, or does what cannot be recorded, or becomes another model between two tokens, of
    which a replay would not know."""

    def __init__(self, model: Any, padding: Tensor | None, room: int) -> None:
        self.model, self.padding = model, padding
        self.block_size: int | None = getattr(getattr(model, "config", None), "block_size", None)
        self.room = room if self.block_size and hasattr(model, "new_cache") else 0
        self.cache: Any = None
        self.modules = [*model.modules()] if self.room else []
        self.may_record = self.room > 0 and not any(m._hooked for m in self.modules)
        self.facts = self._facts()
        self.recorded: dict[str, Callable] = {}  # of calls that are alike, the last

    def __call__(self, idx: Tensor) -> Tensor:
        (B, T), most = idx.shape, self.block_size
        if most is not None and T > most:
            self.cache, lost = None, T - most
            padding = None if self.padding is None else (self.padding - lost).clamp(min=0)
            return self._read("window", idx[:, lost:], padding)
        if self.cache is None and self.room:
            self.cache = self.model.new_cache(B, self.room)
        elif "token" in self.recorded or (self.may_record and self._can_be_fixed(idx)):
            place = creation.full((1,), T - 1, device=idx.device)
            return self._read("token", idx[:, -1:], self.padding, place)
        elif self.cache is not None:
            idx = idx[:, self.cache.length :]
        return _logits(self.model, self.cache, idx, self.padding)

    def _can_be_fixed(self, idx: Tensor) -> bool:
        return idx.is_cuda and hasattr(self.cache, "fix")

    def _facts(self) -> list[Any]:
        """What a recording takes for granted: parts, memory and switches."""
        found: list[Any] = [mode.autocast, allow_tf32()]
        for m in self.modules:
            found += (m._hooked, type(m), *m._modules.values())
            for held in (m._parameters, m._buffers):
                found += [x if x is None else x.array for x in held.values()]
        return found

    def _read(self, name: str, idx: Tensor, *rest: Tensor | None) -> Tensor:
        """The logits; calls of one name are alike, and recorded where that is possible."""
        step = partial(_logits, self.model, self.cache)  # which does not hold the reader: a cycle
        now = self._facts() if self.may_record and idx.is_cuda else []
        if not (now and len(now) == len(self.facts) and all(map(is_, now, self.facts))):
            self.may_record = False
            return step(idx, *rest)
        if name not in self.recorded:
            self.recorded = {name: capture(step, warmup=1)}
        try:
            array: Any = idx.array
            with array.device:
                return self.recorded[name](idx, *rest).clone()
        except RuntimeError:  # of the recording; or the model's own, which comes again
            self.may_record = False
            return step(idx, *rest)
