"""A text file read piece by piece, cut where the tokens of the pieces are those of the whole.

That is after a word, at a space or anything else that no word contains: the expressions that cut
a text before byte pairs are merged (GPT-2's, cl100k_base's) never go on from a letter or a digit to
what is neither, and what follows does not look back. What other tokenizers do there is tried out on
the text around. Where the cuts are depends on the file and the tokenizer alone, so that several
processes find the same ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from ..data.corpora import not_utf8, with_newlines
from .tokenizers import Tokenizer

CHUNK = 2**17  # bytes between two cuts, about; one is looked for in a quarter of it
ENDS = [re.compile(rf"(?<=[^\W\d_])(?={after})") for after in (r"\s", r"\W")]  # the best first
TRIES = 8  # places of each kind
AROUND = 256  # characters on either side that are encoded to try one
LOSSLESS = "utf-8", "surrogateescape"  # a window of bytes may begin and end within a character


class Piece(NamedTuple):
    """A part of a file, from one of its cuts to another."""

    path: str
    size: int  # of the file, in bytes
    changed: int  # when, in nanoseconds
    first: int  # cut 0 is the file's start, cut_count(size) its end
    last: int


class Chunk(NamedTuple):
    text: str
    size: int  # in bytes
    whole: bool  # whether its end is the end of a word, or of the file


def cut_count(size: int) -> int:
    """How many chunks a file of so many bytes has; each has CHUNK bytes, about, or more."""
    return max(1, size // CHUNK)


def chunks(piece: Piece, tokenizer: Tokenizer | None) -> Iterator[Chunk]:
    """The text of a piece, with the newlines of `load_text` and without a byte-order mark.

    tokenizer: None where none is made yet. ValueError: not UTF-8. OSError: the file has changed.
    """
    with open(piece.path, "rb") as file:
        start, _ = _cut(file, piece, piece.first, tokenizer)
        for number in range(piece.first + 1, piece.last + 1):
            stop, whole = _cut(file, piece, number, tokenizer)
            file.seek(start)
            content = file.read(stop - start)
            now = os.fstat(file.fileno())
            if (now.st_size, now.st_mtime_ns) != (piece.size, piece.changed):
                message = f"[prepare] {piece.path!r} must stay as it is while it is read, got it"
                raise OSError(f"{message} changed; is something still writing it?")
            try:
                text = content.decode()
            except UnicodeDecodeError as error:
                at = error.start
                raise not_utf8(piece.path, content, content[at], start + at) from error
            text = with_newlines(text if start else text.removeprefix("\ufeff"))
            yield Chunk(text, stop - start, whole)
            start = stop


def _cut(
    file: BinaryIO, piece: Piece, number: int, tokenizer: Tokenizer | None
) -> tuple[int, bool]:
    """The byte at which a cut is, and whether tokens end there in the whole text, too."""
    if number == cut_count(piece.size):
        return piece.size, True
    if not (at := number * CHUNK):
        return 0, True
    start = max(0, at - 4 * AROUND)
    file.seek(start)
    content = file.read(at - start + CHUNK // 4)
    at -= start
    while content[at : at + 1] and (
        content[at] & 0xC0 == 0x80 or content[at - 1 : at + 1] == b"\r\n"
    ):
        at += 1  # to the next character
    if tokenizer is not None and tokenizer.kind in ("char", "byte"):
        return start + at, True
    left, right = (part.decode(*LOSSLESS) for part in (content[:at], content[at:]))
    text, most = left + right, len(left) + len(right) - 4  # without half a character at the end
    places = [m.start() for e in ENDS for m in islice(e.finditer(text, len(left), most), TRIES)]
    for place in places:
        if tokenizer is None or _apart(tokenizer, text, place):
            return start + len(text[:place].encode(*LOSSLESS)), True
    return start + len(text[: (places or [len(left)])[0]].encode(*LOSSLESS)), False


def _apart(tokenizer: Tokenizer, text: str, place: int) -> bool:
    """Whether no token is on both sides of a place."""
    left = with_newlines(text[max(0, place - AROUND) : place])
    right = with_newlines(text[place : place + AROUND])
    return tokenizer.encode(left + right) == tokenizer.encode(left) + tokenizer.encode(right)
