"""A text as it is written: shown as far as it is certain, and ended where it is to end."""

from __future__ import annotations

from collections.abc import Sequence

from .tokenizers import StreamDecoder, Tokenizer


class Row:
    """One text in the making: ids go in, text comes out as soon as nothing can change it any more.

    stop: texts that end it and are left out; what may be the beginning of one is held back.
    stop_ids: ids that end it, of which there is no text. after: the ids before it, whose text it
    goes on with. ValueError: an empty stop text, or an id before it that is unknown.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: str | Sequence[str] | None = None,
        stop_ids: Sequence[int] = (),
        after: Sequence[int] = (),
    ) -> None:
        self.stops = [stop] if isinstance(stop, str) else [*(stop or ())]
        if not all(self.stops):
            message = "[generate] stop must be a text, or several, got an empty text"
            raise ValueError(f"{message}; leave it out?")
        self.stop_ids, self.decoder = {*stop_ids}, StreamDecoder(tokenizer, after)
        self.ended, self._held = False, ""

    def push(self, token: int) -> str:
        """The text that is certain now that this id has come; `ended` says whether it was the
        last."""
        if token in self.stop_ids:
            rest = self.finish()
            self.ended = True
            return rest
        return self._certain(self.decoder.push(token))

    def finish(self) -> str:
        """What was held back, now that nothing more comes."""
        if self.ended:
            return ""
        text = self._certain(self.decoder.flush()) + self._held
        self._held = ""
        return text

    def _certain(self, more: str) -> str:
        text = self._held + more
        found = [at for stop in self.stops if (at := text.find(stop)) >= 0]
        if found:
            self.ended, self._held = True, ""
            return text[: min(found)]
        kept = max((_overlap(text, stop) for stop in self.stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    most = min(len(text), len(stop) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(stop[:n])), 0)
