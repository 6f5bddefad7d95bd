"""Dialogues as ids: who speaks is said by special tokens, which no text that somebody types can
make. What the assistant says is what a model learns; the rest is only read.

    <|user|>Which day comes after Monday?<|end|><|assistant|>Tuesday.<|end|>
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..nn import Module
from .generation import Piece, end_of_text, stream_text
from .tokenizers import Tokenizer

ROLES = {"user": "<|user|>", "assistant": "<|assistant|>"}
END = "<|end|>"
SPECIAL = ("<|endoftext|>", *ROLES.values(), END)  # for a tokenizer of one's own

Message = Mapping[str, str]  # {"role": "user" or "assistant", "content": a text}


def can_chat(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer has the special tokens of a dialogue."""
    return {*ROLES.values(), END} <= getattr(tokenizer, "special", {}).keys()


def conversation(tokenizer: Tokenizer, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
    """(ids, graded): all messages, and for each id whether it is to be learned, as what the
    assistant says, its end included. ValueError: a tokenizer, a role or a content that does not
    fit."""
    if not can_chat(tokenizer):
        must = f"[chat] the tokenizer must have the special tokens {', '.join(SPECIAL[1:])}"
        raise ValueError(f"{must}, got {tokenizer!r}; is the model one for dialogues?")
    ids: list[int] = []
    graded: list[bool] = []
    for i, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(content, str):
            must = (
                f"[chat] message {i} must have a role, {' or '.join(ROLES)}, and a content, a text"
            )
            raise ValueError(f"{must}, got {dict(message)!r:.200}; are these the keys?")
        said = [*tokenizer.encode(content), tokenizer.special[END]]
        ids += [tokenizer.special[ROLES[role]], *said]
        graded += [False, *[role == "assistant"] * len(said)]
    return ids, graded


def reply(
    model: Module,
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    max_new_tokens: int,
    **options: Any,
) -> Iterator[Piece]:
    """What the assistant says next, as it comes. The options are those of `stream_text`; of a
    dialogue that is too long for the model the first messages are left out, two at a time."""
    most = getattr(getattr(model, "config", None), "block_size", None)
    kept = [*messages]
    while True:
        ids = conversation(tokenizer, kept)[0] + [tokenizer.special[ROLES["assistant"]]]
        if most is None or len(ids) + max_new_tokens <= most or len(kept) <= 2:
            break
        kept = kept[2:]
    stop_ids = [tokenizer.special[END], *end_of_text(tokenizer)]
    return stream_text(model, tokenizer, ids, max_new_tokens, stop_ids=stop_ids, **options)
