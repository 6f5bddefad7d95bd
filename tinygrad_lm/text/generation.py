"""Text out of a language model: one token at a time, each drawn from what the model expects next.

Works on any module that maps ids (B, T) to logits (B, T', V), alone or first in a tuple. One with
`new_cache`, as GPT has, reads each position once; without, the whole context for every token.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..engine.arrays import ask_devices
from ..engine.core.tensor import Tensor
from ..engine.pytorch import creation
from ..engine.pytorch.grad_mode import no_grad
from ..engine.pytorch.joining import cat
from ..engine.random.generator import Generator
from ..nn import Module
from .reading import Reader
from .sampling import Sampling
from .streaming import Row
from .tokenizers import Tokenizer

# Shapes: B batch, T time, V vocabulary.

ENDS = ("<|endoftext|>", "</s>")  # special tokens that end a text
NO_TOKEN = 2**31  # above every id

# How many threads are just writing with a module that trains otherwise.
_HELD: dict[Module, int] = {}
_LOCK = threading.Lock()

OPTIONS = ("temperature", "top_k", "top_p", "greedy", "min_p", "repetition_penalty")


class Step(NamedTuple):
    """One more token of every text."""

    ids: Tensor  # (B, 1), int64
    logits: Tensor  # (B, V): what the model expected here, before any setting

    @property
    def logprobs(self) -> Tensor:
        """(B,): log-probabilities of the ids as the model saw them, in nats."""
        return self.logits.log_softmax(-1).gather(1, self.ids)[:, 0]


def steps(
    model: Module,
    idx: Tensor,
    max_new_tokens: int,
    sampling: Sampling,
    *,
    generator: Generator | None = None,
    padding: Tensor | None = None,
    tokenizer: Tokenizer | None = None,
    use_cache: bool = True,
) -> Iterator[Step]:
    """The continuation of ids (B, T) as it comes, token by token.

    padding (B,): how many places at the start of each row are empty, where texts differ in length.
    tokenizer: only ids of which it has a text are written; a model may know more. use_cache:
    whether keys and values are kept, and on a GPU the call for one token recorded (see `Reader`),
    which changes the time and, but for rounding, nothing else; a context that has outgrown the
    model's block_size loses its beginning and is read anew for every token. All of the model
    computes in eval mode, and each module is put back into its own mode after every token.
    """
    _check(idx, max_new_tokens)

    def write(idx: Tensor) -> Iterator[Step]:
        reader = Reader(model, padding, idx.shape[1] + max_new_tokens if use_cache else 0)
        limit, holes = getattr(tokenizer, "vocab_size", None), None
        modules = [*model.modules()]  # once: walking takes longer than looking at each
        for n in range(max_new_tokens):
            with no_grad():
                with _evaluating(modules):
                    logits = reader(idx)[:, :limit]
                if tokenizer is not None and n == 0:
                    holes = _holes(tokenizer, logits)
                if holes is not None:
                    logits = logits.masked_fill(holes, -math.inf)
                chosen = sampling.choose(logits, _context(idx, padding), generator)
                idx = cat([idx, chosen], 1)
            yield Step(chosen, logits)

    return write(idx)


@contextmanager
def _evaluating(modules: Sequence[Module]) -> Iterator[None]:
    """None of them trains inside: dropout would spoil text and stream. Each that did trains again
    when the last thread that writes with it is through."""
    with _LOCK:
        held = [module for module in modules if module.training or module in _HELD]
        for module in held:
            _HELD[module] = _HELD.get(module, 0) + 1
            object.__setattr__(module, "training", False)
    try:
        yield
    finally:
        with _LOCK:
            for module in held:
                _HELD[module] -= 1
                if not _HELD[module]:
                    del _HELD[module]
                    object.__setattr__(module, "training", True)


def _holes(tokenizer: Tokenizer, logits: Tensor) -> Tensor | None:
    """(V,), bool: the ids of logits (B, V) of which there is no text; None: all have one."""
    holes = getattr(tokenizer, "holes", None)  # yours may have no such function
    found = holes(logits.shape[-1]) if holes else []
    if not found:
        return None
    mask = np.zeros(logits.shape[-1], bool)
    mask[found] = True
    return creation.tensor(mask, device=logits.device)


def _context(idx: Tensor, padding: Tensor | None) -> Tensor:
    """idx (B, T) with an id of no token in the places that are empty."""
    if padding is None:
        return idx
    places = creation.arange(idx.shape[1], device=idx.device)
    return idx.masked_fill(places < padding[:, None], NO_TOKEN)


def generate(
    model: Module,
    idx: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    greedy: bool = False,
    stop: str | Sequence[str] | None = None,
    tokenizer: Tokenizer | None = None,
    generator: Generator | None = None,
    *,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_cache: bool = True,
) -> Tensor:
    """ids (B, T), int64, continued: (B, T + n), n <= max_new_tokens.

    The settings are those of `Sampling`. stop: end with this text, or the first of these (one row;
    needs the tokenizer). generator: the source of random numbers; with one of its own the global
    stream is not touched. tokenizer, use_cache: as for `steps`. ValueError: an option out of its
    range. RuntimeError: the model computes NaN.
    """
    sampling = Sampling(temperature, top_k, top_p, greedy, min_p, repetition_penalty)
    row = None
    if stop is not None:
        if tokenizer is None or idx.shape[0] != 1:
            message = "[generate] stop must be a text, with a tokenizer and one row of ids"
            came = f"{idx.shape[0]} rows, tokenizer {tokenizer!r}"
            raise ValueError(f"{message}, got {came}; generate_texts ends each text by itself")
        row = Row(tokenizer, stop, after=idx[0].tolist())
    found = [idx]
    options: dict[str, Any] = {"generator": generator, "use_cache": use_cache}
    for step in steps(model, idx, max_new_tokens, sampling, tokenizer=tokenizer, **options):
        found.append(step.ids)
        if row is not None:
            row.push(int(step.ids[0, 0].item()))
            if row.ended:
                break
    ask_devices()
    return cat(found, 1)


class Piece(NamedTuple):
    """One more token of a text."""

    text: str  # what is certain now: "" while a character or perhaps a stop text is incomplete
    id: int | None  # None for the last, which brings what was held back
    logprob: float  # of the token, as the model saw it, in nats
    top: list[tuple[int, float]]  # the likeliest ids here, with their log-probabilities


def stream_text(
    model: Module,
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    max_new_tokens: int,
    *,
    stop: str | Sequence[str] | None = None,
    stop_ids: Sequence[int] = (),
    alternatives: int = 0,
    generator: Generator | None = None,
    use_cache: bool = True,
    **sampling: Any,
) -> Iterator[Piece]:
    """What follows a prompt, as it comes. Everything given is checked before the first token.

    prompt: a text, or ids. stop: texts that end it, and are left out; stop_ids: tokens that do.
    alternatives: how many of the likeliest tokens to name at each place. sampling: the fields of
    `Sampling`. ValueError: an empty prompt, one longer than the model's block_size, an id or a
    character that is not in the vocabulary.
    """
    ids = _prompt_ids(model, tokenizer, prompt)
    row, settings = Row(tokenizer, stop, stop_ids, ids), _sampling(sampling)
    if alternatives < 0:
        message = f"[generate] alternatives must be >= 0, got {alternatives}"
        raise ValueError(f"{message}; 10 names the ten likeliest tokens")
    idx = creation.tensor([ids], device=_device(model))
    options: dict[str, Any] = {"generator": generator, "use_cache": use_cache}
    found = steps(model, idx, max_new_tokens, settings, tokenizer=tokenizer, **options)
    return _pieces(found, row, alternatives)


def _pieces(found: Iterator[Step], row: Row, alternatives: int) -> Iterator[Piece]:
    for step in found:
        with no_grad():
            expected = step.logits.log_softmax(-1)[0]
            top: list[tuple[int, float]] = []
            if alternatives:
                values, ids = expected.topk(min(alternatives, len(expected)))
                top = [(i, x) for i, x in zip(ids.tolist(), values.tolist()) if x > -math.inf]
        chosen = int(step.ids[0, 0].item())
        yield Piece(row.push(chosen), chosen, expected[chosen].item(), top)
        if row.ended:
            return
    if rest := row.finish():
        yield Piece(rest, None, 0.0, [])


def generate_texts(
    model: Module,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Sequence[int]],
    max_new_tokens: int,
    *,
    stop: str | Sequence[str] | None = None,
    stop_ids: Sequence[int] = (),
    generator: Generator | None = None,
    use_cache: bool = True,
    **sampling: Any,
) -> list[str]:
    """The continuations of several prompts, which may differ in length, computed together. Each
    ends by itself; the arguments and errors are those of `stream_text`."""
    ids = [_prompt_ids(model, tokenizer, prompt) for prompt in prompts]
    rows = [Row(tokenizer, stop, stop_ids, before) for before in ids]
    settings, device = _sampling(sampling), _device(model)
    if not ids:
        return []
    longest = max(map(len, ids))
    empty = [longest - len(row) for row in ids]
    idx = creation.tensor([[0] * n + row for n, row in zip(empty, ids)], device=device)
    options: dict[str, Any] = {"generator": generator, "use_cache": use_cache}
    if any(empty):
        options["padding"] = creation.tensor(empty, device=device)
    texts = [""] * len(rows)
    for step in steps(model, idx, max_new_tokens, settings, tokenizer=tokenizer, **options):
        for i, (row, chosen) in enumerate(zip(rows, step.ids[:, 0].tolist())):
            if not row.ended:
                texts[i] += row.push(chosen)
        if all(row.ended for row in rows):
            break
    return [text + row.finish() for text, row in zip(texts, rows)]


def generate_text(
    model: Module, tokenizer: Tokenizer, prompt: str, max_new_tokens: int, **options: Any
) -> str:
    """The prompt and its continuation; the options and errors are those of `stream_text`."""
    pieces = stream_text(model, tokenizer, prompt, max_new_tokens, **options)
    return prompt + "".join(piece.text for piece in pieces)


def start_of_text(tokenizer: Tokenizer) -> str:
    """What a text begins with where nobody says: a newline, or the first token of a tokenizer that
    knows none."""
    try:
        tokenizer.encode("\n")
    except ValueError:
        return tokenizer.decode([0])
    return "\n"


def end_of_text(tokenizer: Tokenizer) -> list[int]:
    """The ids after which a text is over."""
    return [i for name, i in getattr(tokenizer, "special", {}).items() if name in ENDS]


def _sampling(given: dict[str, Any]) -> Sampling:
    if unknown := [name for name in given if name not in OPTIONS]:
        message = f"[generate] the settings must be {', '.join(OPTIONS)}, got {unknown[0]!r}"
        raise TypeError(f"{message}; a typo?")
    return Sampling(**given)


def _device(model: Module) -> Any:
    return next((p.device for p in model.parameters()), None)


def _prompt_ids(model: Module, tokenizer: Tokenizer, prompt: str | Sequence[int]) -> list[int]:
    """The ids of a prompt that can be continued."""
    if not len(prompt):
        message = "[generate] the prompt must hold at least one character, got an empty text"
        raise ValueError(f"{message}; start_of_text(tokenizer) is one")
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else [int(i) for i in prompt]
    config = getattr(model, "config", None)
    most, known = getattr(config, "block_size", None), getattr(config, "vocab_size", None)
    if most is not None and len(ids) > most:
        message = f"[generate] the prompt must have at most {most} tokens, the model's block_size"
        raise ValueError(f"{message}, got {len(ids)}; pass its end?")
    if known is not None and not (0 <= min(ids) and max(ids) < known):
        wrong = next(i for i in ids if not 0 <= i < known)
        message = f"[generate] ids must be in 0..{known - 1}, the model's vocabulary, got {wrong}"
        raise ValueError(f"{message}; is it another model's tokenizer?")
    return ids


def _check(idx: Tensor, max_new_tokens: int) -> None:
    if idx.ndim != 2 or idx.shape[1] < 1:
        message = f"[generate] the prompt must be ids (B, T) with T >= 1, got {tuple(idx.shape)}"
        raise ValueError(f"{message}; start from the id of a newline?")
    if max_new_tokens < 0:
        raise ValueError(f"[generate] max_new_tokens must be >= 0, got {max_new_tokens}; try 200")
