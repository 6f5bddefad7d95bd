"""What every tokenizer can do, and the two that need no library: one id per character, the
vocabulary being the characters of a text, and one id per byte.

They take strings and give lists or NumPy arrays, no Tensors. A tokenizer is saved as JSON, with a
checksum.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..saving.files import StrPath, replacing, sha256_of
from ..saving.tree import parse

FORMAT, FORMAT_VERSION = "tinygrad_lm tokenizer", 2  # 1 has no checksum, and is read
Kind = TypeVar("Kind", bound="Tokenizer")


class Tokenizer:
    """Text to ids and back. A kind of tokenizer gives `kind`, `fields`, `_ordinary` and `_pieces`.

    `special` are the tokens that no text contains, with their ids: "<|endoftext|>" in a text is
    twelve ordinary characters, unless `allowed_special` says otherwise.
    """

    kind: str
    fields: dict[str, type]  # what a file holds, by the names of the attributes: texts and lists
    errors = "replace"  # where bytes are no UTF-8, as `bytes.decode` has it
    special: dict[str, int] = {}
    _pieces: dict[int, bytes]  # what each id stands for; ids may be missing in between

    def _know(self, pieces: Mapping[int, bytes], special: Iterable[tuple[str, int]]) -> None:
        """Take over the ids. ValueError: a special token that is no text, or has no id alone."""
        pairs = [*special]
        named = {i: n for n, i in pairs if type(i) is int and i >= 0 and isinstance(n, str) and n}
        if len({*named.values()}) < len(pairs) or named.keys() & pieces.keys():
            message = f"[{type(self).__name__}] special tokens must be texts with an id of their"
            raise ValueError(f"{message} own, got {pairs!r:.200}; choose other ids?")
        self._pieces = {**pieces, **{i: _joined(name).encode() for i, name in named.items()}}
        self.special = dict(pairs)

    @functools.cached_property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return max(self._pieces) + 1

    def holes(self, size: int) -> list[int]:
        """The ids below `size`, which is at most vocab_size, that stand for nothing."""
        if len(self._pieces) == self.vocab_size:
            return []
        return [i for i in range(size) if i not in self._pieces]

    def _ordinary(self, text: str) -> list[int] | np.ndarray:
        """Ids of a text in which nothing is special."""
        raise NotImplementedError

    def encode_array(self, text: str, allowed_special: Collection[str] = ()) -> np.ndarray:
        """Ids of `text`, int64, flat.

        allowed_special: the special tokens that are recognised; the text between them is encoded
        piece by piece. ValueError: one that is not known, or a character that is not.
        """
        if not isinstance(text, str):
            message = f"[encode] the text must be a str, got {type(text).__name__}"
            raise TypeError(f"{message}; .decode() it?")
        if unknown := set(allowed_special) - self.special.keys():
            message = f"[encode] allowed_special must be among {[*self.special][:9]!r}, got"
            raise ValueError(f"{message} {sorted(unknown)[:9]!r}; is the tokenizer another one?")
        if not allowed_special:
            return np.array(self._ordinary(text), np.int64)
        names = sorted(allowed_special, key=len, reverse=True)  # the longest first, as the others
        parts = re.split(f"({'|'.join(map(re.escape, names))})", text)
        ids = [[self.special[p]] if i % 2 else self._ordinary(p) for i, p in enumerate(parts)]
        return np.concatenate([np.array(part, np.int64) for part in ids])

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Ids of `text`, as `encode_array`."""
        return self.encode_array(text, allowed_special).tolist()

    def _known(self, ids: Sequence[int] | np.ndarray) -> list[bytes]:
        """What each id stands for. TypeError: no flat sequence of integers; ValueError: unknown."""
        array = np.asarray(ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            message = "[decode] ids must be one flat sequence of integers, got"
            raise TypeError(
                f"{message} {array.dtype} of shape {array.shape}; decode(ids[0].tolist())?"
            )
        found = [self._pieces.get(i) for i in array.tolist()]
        pieces = [piece for piece in found if piece is not None]
        if len(pieces) < len(found):
            at = found.index(None)
            message = f"[decode] ids must be known, 0..{self.vocab_size - 1}, got {array[at]}"
            raise ValueError(f"{message} at position {at}; is the model's vocabulary another one?")
        return pieces

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """What `ids`, a flat sequence of integers, stand for, which need not be whole characters.
        ValueError: an id that is not known."""
        return b"".join(self._known(ids))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD. Errors as for decode_bytes."""
        return self.decode_bytes(ids).decode("utf-8", self.errors)

    def _content(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.fields}

    def to_json(self) -> dict[str, Any]:
        """All there is to know, as a dict of plain values; `from_json` takes it back."""
        header = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": self.kind}
        return {**header, **self._content(), "sha256": _checksum(self._content())}

    @classmethod
    def from_json(cls: type[Kind], content: Mapping[str, Any], where: str = "it") -> Kind:
        """The tokenizer whose `to_json` is `content`. ValueError: it is damaged or foreign; `where`
        is what the message calls it."""
        kind_of(content, where, [cls.kind])
        found = {name: content.get(name) for name in cls.fields}
        for name, value in found.items():
            if type(value) is not cls.fields[name]:
                what = "text" if cls.fields[name] is str else "list"
                message = f"[load_tokenizer] {where} must hold kind {cls.kind!r} and {name}, a"
                raise ValueError(f"{message} {what}, got {type(value).__name__}; is it damaged?")
        if content["format_version"] != 1 and content.get("sha256") != _checksum(found):
            message = f"[load_tokenizer] {where} must hold the {', '.join(found)} of its checksum,"
            came = repr(next(iter(found.values())))[:40]
            raise ValueError(f"{message} got {came}; is it damaged?")
        return cls._made(found, where)

    @classmethod
    def _made(cls: type[Kind], content: dict[str, Any], where: str) -> Kind:
        with refusing(where, f"a {cls.kind} tokenizer"):
            return cls(**content)

    def save(self, path: StrPath) -> None:
        """Write `to_json()` to `path`, all or nothing."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="ascii")

    @classmethod
    def load(cls: type[Kind], path: StrPath) -> Kind:
        """The tokenizer saved at `path`. FileNotFoundError, or ValueError: damaged or foreign."""
        return cls.from_json(read_json(path), repr(str(path)))

    def has_all_of(self, other: Tokenizer) -> bool:
        """Whether every id of `other` stands for the same here, whatever kind either is."""
        return self._pieces.items() >= other._pieces.items()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(_checksum(self._content()))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self.vocab_size} tokens, special {[*self.special][:9]}>"


class CharTokenizer(Tokenizer):
    """One id per character: id i stands for `characters[i]`. Half surrogates are characters too.

    >>> tokenizer = CharTokenizer.from_text("hello")
    >>> tokenizer.characters, tokenizer.encode("hole")
    ('ehlo', [1, 3, 2, 0])
    """

    kind = "char"
    fields = {"characters": str}
    errors = "surrogatepass"

    def __init__(self, characters: str) -> None:
        """characters: all that can occur, each once. ValueError: none, or one twice."""
        if not characters or len(set(characters)) < len(characters):
            came = repr(characters[:40]) if characters else "no characters"
            message = f"[CharTokenizer] the characters must be at least one, each once, got {came}"
            raise ValueError(f"{message}; use CharTokenizer.from_text(text)?")
        self.characters = characters
        points = _code_points(characters)
        # _ids[p] is the id of code point p, or -1. The last entry, one above the highest known
        # code point, is -1 as well and stands for all that lie beyond.
        self._ids = np.full(int(points.max()) + 2, -1)
        self._ids[points] = np.arange(len(characters))

    @classmethod
    def from_text(cls, text: str) -> CharTokenizer:
        """A tokenizer of the characters that occur in `text`, in the order of their code points."""
        return cls("".join(sorted(set(text))))

    def to_json(self) -> dict[str, Any]:
        """As any tokenizer's, with a list of code points where JSON would join two halves."""
        content, points = super().to_json(), _code_points(self.characters)
        if len(json.loads(json.dumps(self.characters))) < len(points):
            content["characters"] = points.tolist()
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str = "it") -> CharTokenizer:
        kind_of(content, where, [cls.kind])
        if isinstance(points := content.get("characters"), list):
            with refusing(where, "a char tokenizer with characters or their code points"):
                content = {**content, "characters": "".join(map(chr, points))}
        return super().from_json(content, where)

    @functools.cached_property
    def _pieces(self) -> dict[int, bytes]:  # type: ignore[override]
        return {i: c.encode("utf-8", self.errors) for i, c in enumerate(self.characters)}

    def _ordinary(self, text: str) -> np.ndarray:
        ids = self._ids[np.minimum(_code_points(text), len(self._ids) - 1)]
        if ids.size and ids.min() < 0:
            at = int(np.argmin(ids))
            known = repr(self.characters if self.vocab_size <= 99 else self.characters[:99] + "...")
            message = f"[encode] every character must be one of {known}, got {text[at]!r}"
            message = f"{message} (U+{ord(text[at]):04X}) at position {at}"
            raise ValueError(f"{message}; leave it out, or train on text that has it?")
        return ids

    def __repr__(self) -> str:
        return f"CharTokenizer({self.characters!r})"


class ByteTokenizer(Tokenizer):
    """One id per byte of UTF-8, so any text can be encoded; special tokens follow from id 256.

    >>> ByteTokenizer().encode("né")
    [110, 195, 169]
    """

    kind = "byte"
    fields = {"special": list}

    def __init__(self, special: Iterable[str] = ()) -> None:
        """special: the names of the tokens after the bytes, each once."""
        self._know({i: bytes([i]) for i in range(256)}, zip(special, itertools.count(256)))

    def _ordinary(self, text: str) -> np.ndarray:
        return np.frombuffer(_joined(text).encode(), np.uint8)

    def _content(self) -> dict[str, Any]:
        return {"special": [*self.special]}


# ---------------------------------------------------------------- texts, files and what is wrong


def _code_points(text: str) -> np.ndarray:
    """The characters of `text` as numbers, uint32, shape (len(text),); half surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _joined(text: str) -> str:
    """`text` as UTF-8 can hold it: two halves of a pair are one character, any other is U+FFFD."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _checksum(content: Mapping[str, Any]) -> str:
    return sha256_of(*(v if isinstance(v, str) else json.dumps(v) for v in content.values()))


@contextlib.contextmanager
def refusing(where: str, must: str) -> Iterator[None]:
    """What goes wrong inside, in a library too, is one ValueError: `where` must be `must`."""
    try:
        yield
    except (ImportError, OSError, MemoryError):
        raise
    except Exception as error:  # `tokenizers` raises no other
        came = repr(str(error))[:300]
        message = f"[load_tokenizer] {where} must be {must}, got: {came}"
        raise ValueError(f"{message}; is it damaged, or another file?") from error


def kind_of(content: Any, where: str, kinds: Collection[str]) -> str:
    """The kind of tokenizer that `content` describes; ValueError where it describes none."""
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        came = sorted(content)[:9] if isinstance(content, Mapping) else type(content).__name__
        message = f"[load_tokenizer] {where} must be a {FORMAT}, got {came}"
        raise ValueError(f"{message}; is this the right file?")
    version, kind = content.get("format_version"), content.get("kind")
    if version not in (1, FORMAT_VERSION) or kind not in [*kinds]:
        message = f"[load_tokenizer] {where} must be of format {FORMAT_VERSION} and of a kind of"
        hint = "install the version of tinygrad_lm that wrote it"
        raise ValueError(f"{message} {', '.join(kinds)}, got {version!r} and {kind!r}; {hint}?")
    return kind


def read_bytes(path: StrPath) -> bytes:
    """The content of a file. FileNotFoundError: there is none."""
    if not os.path.isfile(path):
        message = f"[load_tokenizer] a file must exist at {str(path)!r}, got none"
        raise FileNotFoundError(f"{message}; is the path right?")
    return Path(path).read_bytes()


def read_json(path: StrPath) -> Any:
    """The JSON in a file. FileNotFoundError, or ValueError: it is damaged."""
    content = read_bytes(path)
    with refusing(repr(str(path)), "JSON"):
        return parse(content)
