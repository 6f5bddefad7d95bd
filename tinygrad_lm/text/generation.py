"""Text out of a language model: one token at a time, each drawn from what the model expects next.

Works on any module that maps ids (B, T) to logits (B, T', V), alone or first in a tuple.
"""

from __future__ import annotations

import math
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch import creation, random
from ..engine.pytorch.grad_mode import no_grad
from ..engine.pytorch.joining import cat
from ..engine.random.generator import Generator
from ..nn import Module
from .tokenizers import Tokenizer


def generate(
    model: Module,
    idx: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    greedy: bool = False,
    stop: str | None = None,
    tokenizer: Tokenizer | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """ids (B, T), int64, continued: (B, T + n), n <= max_new_tokens.

    temperature: logits are divided by it. top_k: draw among the k likeliest only. top_p: among the
    smallest set of tokens that holds this share (Holtzman et al., 2019, arXiv 1904.09751). greedy:
    take the likeliest, draw nothing. stop: end with this text (one row; needs the tokenizer).
    generator: the source of random numbers; with one of its own the global stream is not touched.

    The model is put into eval mode meanwhile: dropout would spoil text and stream. Contexts longer
    than model.config.block_size lose their beginning. ValueError: an option out of its range.
    RuntimeError: the model computes NaN.
    """
    _check(idx, max_new_tokens, temperature, top_k, top_p, stop, tokenizer)
    block_size = getattr(getattr(model, "config", None), "block_size", None)
    prompt_length, was_training = idx.shape[1], model.training
    model.eval()
    try:
        with no_grad():
            for _ in range(max_new_tokens):
                out = model(idx if block_size is None else idx[:, -block_size:])
                logits = (out[0] if isinstance(out, tuple) else out)[:, -1, :]  # (B, V)
                if greedy:
                    highest, chosen = logits.max(-1, keepdim=True)
                    if bool(highest.isnan().any()):  # drawing looks by itself
                        message = "[generate] logits must be numbers, got NaN"
                        raise RuntimeError(f"{message}; are the model's weights damaged?")
                else:
                    probs = _narrowed(logits / temperature, top_k, top_p).softmax(-1)
                    chosen = random.multinomial(probs, 1, generator=generator)
                idx = cat([idx, chosen], 1)
                if stop and tokenizer is not None:
                    if stop in _tail(idx, prompt_length, stop, tokenizer):
                        break
    finally:
        model.train(was_training)
    return idx


def generate_text(
    model: Module,
    tokenizer: Tokenizer,
    prompt: str,
    max_new_tokens: int,
    *,
    stop: str | None = None,
    **options: Any,
) -> str:
    """The prompt and its continuation; a stop text ends it and is left out.

    options: those of `generate`. ValueError: an empty prompt, or a character out of the vocabulary.
    """
    if not prompt:
        message = "[generate] the prompt must hold at least one character, got an empty text"
        raise ValueError(f"{message}; start_of_text(tokenizer) is one")
    device = next((p.device for p in model.parameters()), None)
    idx = creation.tensor([tokenizer.encode(prompt)], device=device)
    options = {**options, "stop": stop, "tokenizer": tokenizer}
    out = generate(model, idx, max_new_tokens, **options)[0].tolist()
    text = tokenizer.decode(out[idx.shape[1] :])
    return prompt + (text.split(stop)[0] if stop else text)


def start_of_text(tokenizer: Tokenizer) -> str:
    """What a text begins with where nobody says: a newline, or the first token of a tokenizer that
    knows none."""
    try:
        tokenizer.encode("\n")
    except ValueError:
        return tokenizer.decode([0])
    return "\n"


def _check(
    idx: Tensor,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stop: str | None,
    tokenizer: Tokenizer | None,
) -> None:
    if idx.ndim != 2 or idx.shape[1] < 1:
        message = f"[generate] the prompt must be ids (B, T) with T >= 1, got {tuple(idx.shape)}"
        raise ValueError(f"{message}; start from the id of a newline?")
    if max_new_tokens < 0:
        raise ValueError(f"[generate] max_new_tokens must be >= 0, got {max_new_tokens}; try 200")
    if not 0 < temperature < math.inf:
        message = f"[generate] temperature must be above 0 and finite, got {temperature}"
        raise ValueError(f"{message}; for the likeliest token pass greedy=True")
    if top_k is not None and top_k < 1:
        raise ValueError(f"[generate] top_k must be >= 1, got {top_k}; None keeps every token")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"[generate] top_p must be in (0, 1], got {top_p}; 1 keeps every token")
    if stop is not None and (not stop or tokenizer is None or idx.shape[0] != 1):
        came = "an empty text" if not stop else f"{idx.shape[0]} rows, tokenizer {tokenizer!r}"
        message = "[generate] stop must be a text, with a tokenizer and one row of ids"
        raise ValueError(f"{message}, got {came}; generate row by row?")


def _narrowed(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """logits (B, V) with -inf for the tokens that top_k and top_p exclude."""
    if top_k is not None:
        kept, _ = logits.topk(min(top_k, logits.shape[-1]))
        logits = logits.masked_fill(logits < kept[:, -1:], -math.inf)
    if top_p is not None:
        ranked, order = logits.softmax(-1).sort(dim=-1, descending=True)
        beyond = ranked.cumsum(-1) - ranked >= top_p  # those before it hold the share already
        places = order.argsort(-1)  # the rank of each token
        logits = logits.masked_fill(beyond.take_along_dim(places, 1), -math.inf)
    return logits


def _tail(idx: Tensor, prompt_length: int, stop: str, tokenizer: Tokenizer) -> str:
    """The last new characters, as many as can newly complete `stop`: no token is empty."""
    new = idx[0, prompt_length:].tolist()
    return tokenizer.decode(new[-len(stop.encode("utf-8", "surrogatepass")) :])
