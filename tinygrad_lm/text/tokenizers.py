"""Between text and ids: one id per character, the vocabulary being the characters of a text.

It takes strings and gives lists or NumPy arrays, no Tensors. A tokenizer is saved as JSON, with a
checksum.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..saving.files import StrPath, replacing, sha256_of
from ..saving.tree import parse

FORMAT, FORMAT_VERSION = "tinygrad_lm tokenizer", 2  # 1 has no checksum, and is read


def _code_points(text: str) -> np.ndarray:
    """The characters of `text` as numbers, uint32, shape (len(text),); half surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


class Tokenizer(Protocol):
    """What generating text needs of a tokenizer; yours may be another than those here."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class CharTokenizer:
    """One id per character: id i stands for `characters[i]`.

    >>> tokenizer = CharTokenizer.from_text("hello")
    >>> tokenizer.characters, tokenizer.encode("hole")
    ('ehlo', [1, 3, 2, 0])
    """

    kind = "char"

    def __init__(self, characters: str) -> None:
        """characters: all that can occur, each once. ValueError: none, or one twice."""
        if not characters or len(set(characters)) < len(characters):
            came = repr(characters[:40]) if characters else "no characters"
            message = f"[CharTokenizer] the characters must be at least one, each once, got {came}"
            raise ValueError(f"{message}; use CharTokenizer.from_text(text)?")
        self.characters = characters
        self._points = _code_points(characters)
        # _ids[p] is the id of code point p, or -1. The last entry, one above the highest known
        # code point, is -1 as well and stands for all that lie beyond.
        self._ids = np.full(int(self._points.max()) + 2, -1)
        self._ids[self._points] = np.arange(len(characters))

    @classmethod
    def from_text(cls, text: str) -> CharTokenizer:
        """A tokenizer of the characters that occur in `text`, in the order of their code points."""
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    def encode_array(self, text: str) -> np.ndarray:
        """Ids of `text`, int64, shape (len(text),). ValueError: a character that is not known."""
        ids = self._ids[np.minimum(_code_points(text), len(self._ids) - 1)]
        if ids.size and ids.min() < 0:
            at = int(np.argmin(ids))
            known = repr(self.characters if self.vocab_size <= 99 else self.characters[:99] + "...")
            message = f"[encode] every character must be one of {known}, got {text[at]!r}"
            message = f"{message} (U+{ord(text[at]):04X}) at position {at}"
            raise ValueError(f"{message}; leave it out, or train on text that has it?")
        return ids

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, one per character. ValueError: a character that is not known."""
        return self.encode_array(text).tolist()

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`, a flat sequence of integers. ValueError: an id that is not known."""
        array = np.asarray(ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            message = "[decode] ids must be one flat sequence of integers, got"
            raise TypeError(
                f"{message} {array.dtype} of shape {array.shape}; decode(ids[0].tolist())?"
            )
        if array.size == 0:
            return ""
        if array.min() < 0 or array.max() >= self.vocab_size:
            at = int(np.argmax((array < 0) | (array >= self.vocab_size)))
            message = f"[decode] ids must be in 0..{self.vocab_size - 1}, got {array[at]}"
            raise ValueError(f"{message} at position {at}; is the model's vocabulary another one?")
        return self._points[array].tobytes().decode("utf-32-le", "surrogatepass")

    def to_json(self) -> dict[str, Any]:
        """All there is to know, as a dict of plain values; `from_json` takes it back."""
        header = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": self.kind}
        return {**header, "characters": self.characters, "sha256": sha256_of(self.characters)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str = "it") -> CharTokenizer:
        """The tokenizer whose `to_json` is `content`. ValueError: it is damaged or foreign; `where`
        is what the message calls it."""
        characters = content.get("characters") if _kind(content, where) == cls.kind else None
        if not isinstance(characters, str):
            message = f"[load_tokenizer] {where} must hold kind {cls.kind!r} and characters, a text"
            raise ValueError(f"{message}, got {type(characters).__name__}; is it damaged?")
        if content["format_version"] != 1 and content.get("sha256") != sha256_of(characters):
            message = f"[load_tokenizer] {where} must hold the characters of its checksum, got"
            raise ValueError(f"{message} {characters[:40]!r}; is it damaged?")
        return cls(characters)

    def save(self, path: StrPath) -> None:
        """Write `to_json()` to `path`, all or nothing."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="ascii")

    @classmethod
    def load(cls, path: StrPath) -> CharTokenizer:
        """The tokenizer saved at `path`. FileNotFoundError, or ValueError: damaged or foreign."""
        return cls.from_json(_read_json(path), repr(str(path)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CharTokenizer) and other.characters == self.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def __repr__(self) -> str:
        return f"CharTokenizer({self.characters!r})"


KINDS = {tokenizer.kind: tokenizer for tokenizer in (CharTokenizer,)}


def load_tokenizer(source: Mapping[str, Any] | StrPath) -> CharTokenizer:
    """The tokenizer of a file, or of a `to_json` dict, whatever its kind. Errors as for `load`."""
    if isinstance(source, Mapping):
        content, where = source, "it"
    else:
        content, where = _read_json(source), repr(str(source))
    return KINDS[_kind(content, where)].from_json(content, where)


def _kind(content: Any, where: str) -> str:
    """The kind of tokenizer that `content` describes; ValueError where it describes none."""
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        came = sorted(content)[:9] if isinstance(content, Mapping) else type(content).__name__
        message = f"[load_tokenizer] {where} must be a {FORMAT}, got {came}"
        raise ValueError(f"{message}; is this the right file?")
    version, kind = content.get("format_version"), content.get("kind")
    if version not in (1, FORMAT_VERSION) or kind not in [*KINDS]:
        message = f"[load_tokenizer] {where} must be of format {FORMAT_VERSION} and of a kind of"
        hint = "install the version of tinygrad_lm that wrote it"
        raise ValueError(f"{message} {', '.join(KINDS)}, got {version!r} and {kind!r}; {hint}?")
    return kind


def _read_json(path: StrPath) -> Any:
    if not os.path.isfile(path):
        message = f"[load_tokenizer] a file must exist at {str(path)!r}, got none"
        raise FileNotFoundError(f"{message}; is the path right?")
    try:
        return parse(Path(path).read_bytes())
    except ValueError as error:
        message = f"[load_tokenizer] {str(path)!r} must be JSON, got: {error}"
        raise ValueError(f"{message}; is it damaged, or another file?") from error


class StreamDecoder:
    """Ids one at a time, and of the text what is certain."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def push(self, token: int) -> str:
        return self.tokenizer.decode([token])

    def flush(self) -> str:
        return ""
