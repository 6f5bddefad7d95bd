"""Where texts are written: one model, and several who ask it at once. Each text has its own random
numbers and its own cache, and they take turns, a token each.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from ..engine.random.generator import Generator
from ..nn import Module
from ..text.chat import END, can_chat, chat_ids
from ..text.generation import Piece, end_of_text, stream_text
from ..text.tokenizers import Tokenizer
from .asked import Asked, shortened


class Turns:
    """A lock for those who take it again and again: whoever has waited longest is next."""

    def __init__(self) -> None:
        self._given = self._called = 0  # the numbers handed out, and the one whose turn it is
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            number = self._given
            self._given += 1
            self._changed.wait_for(lambda: self._called == number)

    def __exit__(self, *exc: Any) -> None:
        with self._changed:
            self._called += 1
            self._changed.notify_all()


class Desk:
    """A model with its tokenizer, and the turns of those who ask it."""

    def __init__(self, model: Module, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer, self.turns = model, tokenizer, Turns()
        config = getattr(model, "config", None)
        self.block_size = getattr(config, "block_size", None)
        self.vocabulary_size = getattr(tokenizer, "vocab_size", getattr(config, "vocab_size", None))

    def info(self) -> dict[str, Any]:
        return {
            "block_size": self.block_size,
            "vocabulary_size": self.vocabulary_size,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "chat": can_chat(self.tokenizer),
        }

    def lines(self, asked: Asked, kind: str) -> Iterator[str]:
        """The answer, a line of JSON for each token and one at the end; kind: "prompt" or
        "messages". ValueError: it cannot be given, before anything is computed."""
        stop_ids, start = end_of_text(self.tokenizer), asked.start
        if kind == "messages":
            most = None if self.block_size is None else self.block_size - asked.max_new_tokens
            start = chat_ids(start, self.tokenizer, most)
            stop_ids.append(self.tokenizer.special[END])
        elif not isinstance(start, str):
            message = f"[generate] prompt must be a text, got {shortened(start)}"
            raise ValueError(f"{message}; in quotes?")
        pieces = stream_text(
            self.model,
            self.tokenizer,
            start,
            asked.max_new_tokens,
            stop=asked.stops,
            stop_ids=stop_ids,
            alternatives=asked.alternatives,
            generator=Generator().manual_seed(asked.seed),
            **asked.sampling,
        )
        return self._written(pieces, asked, stop_ids)

    def _written(self, pieces: Iterator[Piece], asked: Asked, stop_ids: list[int]) -> Iterator[str]:
        ids: list[int] = []
        end: dict[str, Any] = {"done": True}
        began = time.monotonic()
        try:
            while True:
                with self.turns:
                    piece = next(pieces, None)
                if piece is None:
                    break
                ids += [] if piece.id is None else [piece.id]
                yield self._line(piece)
            end["reason"] = "stop" if self._stopped(ids, asked, stop_ids) else "length"
        except Exception as error:  # the answer has begun: its last line says it
            end |= {"reason": "error", "error": str(error) or type(error).__name__}
            if not str(error).startswith("["):  # not one of our messages: a bug
                traceback.print_exc()
        seconds = round(time.monotonic() - began, 3)
        yield json.dumps({**end, "tokens": len(ids), "seconds": seconds, "seed": asked.seed}) + "\n"

    def _line(self, piece: Piece) -> str:
        top = [(self.tokenizer.decode([i]), max(x, -1e9)) for i, x in piece.top]  # JSON has no -inf
        return json.dumps({**piece._asdict(), "top": top}) + "\n"

    def _stopped(self, ids: list[int], asked: Asked, stop_ids: list[int]) -> bool:
        if len(ids) < asked.max_new_tokens or ids and ids[-1] in stop_ids:
            return True
        text = self.tokenizer.decode(ids) if asked.stops else ""
        return any(stop in text for stop in asked.stops)
