"""How good a language model is: the perplexity of a text, with sliding windows, and how often it
prefers the right ending of several, as in HellaSwag. Nothing is trained and nothing is drawn here;
all that is given is checked before the first forward pass.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from ..data.shards import Shards, Tokens
from ..engine.pytorch import creation
from ..engine.pytorch.grad_mode import no_grad
from ..models.gpt import GPT
from ..nn import functional as F
from ..saving.files import StrPath
from ..saving.tree import parse
from ..text.tokenizers import Tokenizer
from .trainer import first_bad_value

# Shapes: B batch, T time, V vocabulary.

LOGITS_BYTES = 2**30  # of one forward pass: five windows of GPT-2
CHUNK = 2**16  # ids decoded at once
UTF8 = "utf-8", "surrogatepass"  # a half surrogate of a text is three bytes
END_OF_TEXT = "<|endoftext|>"

Progress = Callable[[int, int], None]  # what is done, of how much


class Evaluation(NamedTuple):
    """How well a text is predicted. The last two and the sizes are None where unknown."""

    tokens: int  # scored
    characters: int | None  # of the scored tokens, as are the bytes, in UTF-8
    bytes: int | None
    loss: float  # nats per token
    perplexity: float  # e to the loss; comparable between models of the same tokens only
    bits_per_byte: float | None  # comparable between all models
    bits_per_character: float | None


def perplexity(
    model: GPT,
    tokenizer: Tokenizer | None,
    text: str | Tokens,
    stride: int | None = None,
    batch_size: int = 8,
    *,
    start: bool | None = None,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """The loss of a text, or of the ids of one, (N,), in memory or mapped.

    Windows of T = block_size tokens advance by `stride` (by default T // 2); each scores the tokens
    that no window before has, so each token counts once, after T - stride tokens or more where the
    text has them (Baevski and Auli, 2018, arXiv 1809.10853; Press et al., 2020, arXiv 2012.15832).
    A small stride is exact and slow: 1 gives every token the longest context.

    start: whether the text begins after the tokenizer's <|endoftext|>, so that its first token is
    scored too; else that one is context alone. By default, where the tokenizer has that token in
    `special`. A text that begins with it already gets no second one. batch_size: windows in one
    pass; fewer where their logits would be above 1 GiB. progress(done, total): tokens scored, after
    each batch. Ids have sizes where the tokenizer has `decode_bytes`. ValueError, TypeError: what
    is given. RuntimeError: a loss is not finite.
    """
    T = model.config.block_size
    stride = max(1, T // 2) if stride is None else stride
    _check_windows(T, stride, batch_size)
    _check_vocabulary(model, tokenizer)
    ids = _ids(model, tokenizer, text)
    before = _before(tokenizer, start, ids)
    total = len(before) + len(ids) - 1
    if total < 1:
        message = "[eval] the text must have at least two tokens, one to predict from another"
        raise ValueError(f"{message}, got {len(ids)}; a longer text?")
    characters, size = _sizes(tokenizer, text, ids, not len(before))
    pieces = ((_piece(before, ids, a, b), first) for a, b, first in _windows(total, T, stride))
    done, nats = 0, 0.0
    with _evaluating(model):
        while rows := [*islice(pieces, batch_size)]:
            nats += math.fsum(_nats(model, rows))
            done += sum(len(tokens) - first for tokens, first in rows)
            progress(done, total)
    loss = nats / total
    value = math.exp(loss) if loss < 700 else math.inf
    bits = [nats / math.log(2) / n if n else None for n in (size, characters)]
    return Evaluation(total, characters, size, loss, value, bits[0], bits[1])


def _windows(total: int, T: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(a, b, first): a window is tokens a..b, the last of them a target alone, and scores those
    from its place `first` on. Token 0 of all total + 1 is never scored."""
    scored = 0
    for a in range(0, total, stride):
        b = min(a + T, total)
        yield a, b + 1, scored + 1 - a
        scored = b
        if b == total:
            return


def _nats(model: GPT, rows: Sequence[tuple[np.ndarray, int]]) -> list[float]:
    """For each (tokens, first): minus the log-probability of its tokens from place `first` >= 1 on,
    in nats. Rows may differ in length; the places after a short one change nothing before them."""
    longest = max(len(tokens) for tokens, _ in rows) - 1
    itemsize = next(model.parameters()).dtype.itemsize
    each = 10 if itemsize == 2 else itemsize  # computed in float32: two such copies beside them
    most = max(1, LOGITS_BYTES // (longest * model.config.vocab_size * each))
    parts = (rows[at : at + most] for at in range(0, len(rows), most))
    return [nats for part in parts for nats in _one_pass(model, part, longest)]


def _one_pass(model: GPT, rows: Sequence[tuple[np.ndarray, int]], longest: int) -> list[float]:
    ids = np.zeros((len(rows), longest), np.int64)
    wanted = np.full_like(ids, -1)
    for row, target, (tokens, first) in zip(ids, wanted, rows):
        row[: len(tokens) - 1] = tokens[:-1]
        target[first - 1 : len(tokens) - 1] = tokens[first:]
    device = next(model.parameters()).device
    x, y = creation.tensor(ids, device=device), creation.tensor(wanted, device=device)
    logits, found = model(x, y)[0], []  # (B, T, V); the loss beside it is a mean over all
    for i, (tokens, first) in enumerate(rows):
        places = slice(first - 1, len(tokens) - 1)
        scores = logits[i, places]
        scores = scores.float() if scores.dtype.itemsize < 4 else scores
        nats = F.cross_entropy(scores, y[i, places], reduction="sum").item()
        if not math.isfinite(nats):
            message = f"[eval] every loss must be finite, got {nats}"
            came = f"first in {first_bad_value(model, x, y)}"
            raise RuntimeError(f"{message}, {came}; did its training diverge?")
        found.append(nats)
    return found


@contextlib.contextmanager
def _evaluating(model: GPT) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        model.train(was_training)


def _check_windows(T: int, stride: int, batch_size: int) -> None:
    if not isinstance(stride, int) or not 1 <= stride <= T:
        message = f"[eval] stride must be in 1..{T}, the model's block_size, got {stride!r}"
        raise ValueError(f"{message}; {max(1, T // 2)} gives each token half a window of context")
    if batch_size < 1:
        raise ValueError(f"[eval] batch_size must be >= 1, got {batch_size}; try 8")


def _check_vocabulary(model: GPT, tokenizer: Tokenizer | None) -> None:
    known, most = getattr(tokenizer, "vocab_size", 0), model.config.vocab_size
    if known > most:
        message = f"[eval] the tokenizer must have at most {most} ids, the model's vocabulary"
        raise ValueError(f"{message}, got {known}; is it another model's tokenizer?")


def _ids(model: GPT, tokenizer: Tokenizer | None, text: str | Tokens) -> Tokens:
    """The ids of a text, or those that were given, (N,); all are in the model's vocabulary."""
    if isinstance(text, str) and tokenizer is not None:
        ids: Tokens = np.asarray(tokenizer.encode(text), np.int64)
    elif isinstance(text, np.ndarray | Shards) and text.ndim == 1 and text.dtype.kind in "iu":
        ids = text
    else:
        came = f"{type(text).__name__}" + " without a tokenizer" * isinstance(text, str)
        if isinstance(text, np.ndarray):
            came = f"{text.dtype} of shape {text.shape}"
        message = f"[eval] the text must be a str and its tokenizer, or integers (N,), got {came}"
        raise TypeError(f"{message}; open_tokens(path) gives such an array")
    if not len(ids):
        raise ValueError("[eval] the text must not be empty, got none; is it the right file?")
    low, high, most = int(ids.min()), int(ids.max()), model.config.vocab_size
    if low < 0 or high >= most:
        message = f"[eval] ids must be in 0..{most - 1}, the model's vocabulary"
        raise ValueError(f"{message}, got {low if low < 0 else high}; another model's tokens?")
    return ids


def _before(tokenizer: Tokenizer | None, start: bool | None, ids: Tokens) -> np.ndarray:
    """What is put before a text, int64: the token that ends one, or nothing."""
    token = (getattr(tokenizer, "special", None) or {}).get(END_OF_TEXT)
    if start and token is None:
        message = f"[eval] start must be False for a tokenizer without {END_OF_TEXT}, got True"
        raise ValueError(f"{message}; leave it out, and the first token is context alone")
    wanted = token is not None and start is not False and ids[0] != token
    return np.array([token] if wanted else [], np.int64)


def _piece(before: np.ndarray, ids: Tokens, a: int, b: int) -> np.ndarray:
    """Tokens a..b of the two as one, int64; only these are read."""
    n = len(before)
    return np.concatenate([before[a:b], np.asarray(ids[max(a - n, 0) : b - n], np.int64)])


def _sizes(
    tokenizer: Any, text: str | Tokens, ids: Tokens, but_first: bool
) -> tuple[int, int] | tuple[None, None]:
    """Characters and UTF-8 bytes of a text, or of all but its first token; None where only ids are
    known. A character counts where its first byte is."""
    decode_bytes = getattr(tokenizer, "decode_bytes", None)

    def decoded(a: int, b: int) -> bytes:
        part = np.asarray(ids[a:b]).tolist()
        return decode_bytes(part) if decode_bytes else tokenizer.decode(part).encode(*UTF8)

    parts: Iterable[bytes]
    if isinstance(text, str):
        parts = [text.encode(*UTF8)[len(decoded(0, int(but_first))) :]]
    elif decode_bytes:
        parts = (decoded(at, at + CHUNK) for at in range(int(but_first), len(ids), CHUNK))
    else:
        return None, None
    characters = size = 0
    for part in parts:
        characters += int(np.count_nonzero(np.frombuffer(part, np.uint8) & 0xC0 != 0x80))
        size += len(part)
    return characters, size


class Completions(NamedTuple):
    """How often the right ending is the one that the model prefers: the likeliest as a whole, per
    token, or per byte. A share p of n rows has the standard error sqrt(p (1 - p) / n)."""

    rows: int
    accuracy: float  # by the sum of log-probabilities
    accuracy_per_token: float  # by their mean over the tokens of the ending
    accuracy_per_byte: float  # by their sum over the UTF-8 bytes of the ending, its space left out
    standard_errors: tuple[float, float, float]  # of the three


class _Question(NamedTuple):
    rows: list[tuple[np.ndarray, int]]  # for `_nats`, one for each ending
    lengths: np.ndarray  # by which the sums are divided, (3, B): 1, tokens, bytes
    label: int


def score_completions(
    model: GPT,
    tokenizer: Tokenizer,
    path_or_rows: StrPath | Iterable[Any],
    limit: int | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> Completions:
    """Which ending of a context a model prefers (Zellers et al., 2019, arXiv 1905.07830).

    Rows are {"ctx": str, "endings": [str, ...], "label": int}, in a list or as lines of a JSON
    file; HellaSwag's own files have this form, and a label that is a text, "2", is taken. The
    tokens are those of `ctx` and then those of " " + ending, each tokenised by itself; scored are
    the latter alone, as one batch for each row. A context that is too long loses its beginning.
    limit: only the first rows. progress(done, total): rows. ValueError: a row, with its line.
    RuntimeError: a loss is not finite.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"[eval] limit must be >= 1, got {limit}; None takes every row")
    _check_vocabulary(model, tokenizer)
    with contextlib.closing(_rows(path_or_rows)) as found:  # a file, also after a row is refused
        given = islice(found, limit)
        questions = [_question(model, tokenizer, row, where) for where, row in given]
    if not questions:
        raise ValueError("[eval] there must be at least one row, got none; is the file empty?")
    right = np.zeros(3)
    with _evaluating(model):
        for done, question in enumerate(questions, 1):
            best = (np.array(_nats(model, question.rows)) / question.lengths).argmin(1)
            right += best == question.label
            progress(done, len(questions))
    n = len(questions)
    shares = [float(p) for p in right / n]
    errors = [math.sqrt(p * (1 - p) / n) for p in shares]
    return Completions(n, shares[0], shares[1], shares[2], (errors[0], errors[1], errors[2]))


def _rows(path_or_rows: StrPath | Iterable[Any]) -> Generator[tuple[str, Any], None, None]:
    """Each row, and before it what an error calls it."""
    if not isinstance(path_or_rows, (str, os.PathLike)):
        yield from ((f"row {number}", row) for number, row in enumerate(path_or_rows, 1))
        return
    name = repr(str(path_or_rows))
    if not os.path.isfile(path_or_rows):
        raise FileNotFoundError(f"[eval] a file must exist at {name}, got none; a typo?")
    with open(path_or_rows, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"line {number} of {name}"
            try:
                yield where, parse(line)
            except ValueError as error:
                message = f"[eval] {where} must be JSON, got: {error}"
                raise ValueError(f"{message}; one row on every line?") from error


def _question(model: GPT, tokenizer: Tokenizer, row: Any, where: str) -> _Question:
    """A row, checked and as tokens."""

    def wrong(must: str, came: Any, hint: str) -> ValueError:
        return ValueError(f"[eval] {where} must {must}, got {came}; {hint}?")

    if not isinstance(row, dict) or (missing := {"ctx", "endings", "label"} - row.keys()):
        came = f"no {min(missing)}" if isinstance(row, dict) else type(row).__name__
        raise wrong("have ctx, endings and label", came, "are these rows of another task")
    context, endings, label = row["ctx"], row["endings"], row["label"]
    if not isinstance(context, str) or not context:
        raise wrong("have a text as ctx", repr(context), "is it a file of another task")
    if not isinstance(endings, list) or not endings:
        raise wrong("have a list of endings", repr(endings), "are they in another field")
    for ending in endings:
        if not isinstance(ending, str) or not ending.strip():
            raise wrong("have texts as endings", repr(ending), "leave that row out")
    if isinstance(label, str) and label.isascii() and label.isdigit():
        label = int(label)
    if type(label) is not int or not 0 <= label < len(endings):
        hint = "a test set comes without labels; is there one for validation"
        raise wrong(f"have a label in 0..{len(endings) - 1}", repr(label), hint)
    try:
        start, *ends = [tokenizer.encode(text) for text in (context, *(f" {e}" for e in endings))]
    except ValueError as error:
        raise wrong("be of tokens that there are", error, "leave that row out") from error
    T, rows = model.config.block_size, []
    for end in ends:
        if len(end) > T:
            raise wrong(f"have endings of at most {T} tokens", len(end), "a larger block_size")
        tokens = np.array([*start, *end][-T - 1 :], np.int64)
        rows.append((tokens, len(tokens) - len(end)))
    sizes = [len(e.encode(*UTF8)) for e in endings]
    return _Question(rows, np.array([[1] * len(ends), [*map(len, ends)], sizes]), label)
