"""Dialogues as ids: who speaks is said by special tokens, which no text that somebody types can
make. What the assistant says is what a model learns; the rest is only read.

    <|user|>Which day comes after Monday?<|end|><|assistant|>Tuesday.<|end|>
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..nn import Module
from .generation import Piece, end_of_text, stream_text
from .tokenizers import Tokenizer

ROLES = ("user", "assistant")  # who speak by turns
END = "<|end|>"
SPECIAL = ("<|endoftext|>", "<|user|>", "<|assistant|>", END)  # for a tokenizer of one's own


def can_chat(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer has the special tokens of a dialogue."""
    return {*SPECIAL[1:]} <= getattr(tokenizer, "special", {}).keys()


def conversation(messages: Any, tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
    """(ids, graded) of messages {"role": "user" or "assistant", "content": a text}, the user's
    first: for each id whether it is to be learned, as what the assistant says, its end included.
    ValueError: a tokenizer or a message that does not fit."""
    ids: list[int] = []
    graded: list[bool] = []
    for place, row in enumerate(_rows(messages, tokenizer)):
        ids += row
        graded += [False, *[place % 2 == 1] * (len(row) - 1)]
    return ids, graded


def chat_ids(messages: Any, tokenizer: Tokenizer, most: int | None = None) -> list[int]:
    """The ids of a dialogue, up to where the assistant speaks.

    most: where there are more ids, the oldest questions are left out, with their answers.
    ValueError: as for `conversation`; or the last message is not the user's, is empty, or alone is
    too long.
    """
    rows = _rows(messages, tokenizer)
    if len(rows) % 2 == 0 or not messages[-1]["content"]:
        wrong = "[chat] messages must be a list that ends with what the user says"
        raise ValueError(f"{wrong}, got {_shortened(messages)}; say something?")
    while most is not None and sum(map(len, rows)) + 1 > most:
        if len(rows) == 1:
            wrong = f"[chat] the last message must have at most {max(most - 3, 0)} tokens, to leave"
            came = f"room for the answer, got {len(rows[0]) - 2}"
            raise ValueError(f"{wrong} {came}; a smaller max_new_tokens?")
        rows = rows[2:]
    return [*sum(rows, []), tokenizer.special["<|assistant|>"]]


def reply(
    model: Module, tokenizer: Tokenizer, messages: Any, max_new_tokens: int, **options: Any
) -> Iterator[Piece]:
    """What the assistant says next, as it comes. Options are those of `stream_text`; of a dialogue
    that is too long for the model the beginning is left out. Errors as for `chat_ids`."""
    size = getattr(getattr(model, "config", None), "block_size", None)
    ids = chat_ids(messages, tokenizer, None if size is None else size - max_new_tokens)
    stop_ids = [tokenizer.special[END], *end_of_text(tokenizer)]
    return stream_text(model, tokenizer, ids, max_new_tokens, stop_ids=stop_ids, **options)


def _rows(messages: Any, tokenizer: Tokenizer) -> list[list[int]]:
    """The ids of each message: its speaker's token, its text, and the end."""
    if not can_chat(tokenizer):
        must = f"[chat] the tokenizer must have the special tokens {', '.join(SPECIAL[1:])}"
        raise ValueError(f"{must}, got {tokenizer!r}; is the model one for dialogues?")
    special, rows = tokenizer.special, []
    for place, message in enumerate(messages if isinstance(messages, list) else []):
        role = ROLES[place % 2]
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, str) or message != {"role": role, "content": content}:
            wrong = f"[chat] message {place} must hold role {role!r} and content, a text"
            raise ValueError(f"{wrong}, got {_shortened(message)}; the two speak by turns")
        rows.append([special[f"<|{role}|>"], *tokenizer.encode(content), special[END]])
    return rows


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
