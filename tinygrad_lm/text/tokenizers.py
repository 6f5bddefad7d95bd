"""Between text and ids: every kind of tokenizer, one function that loads any of them, and a decoder
for ids that come one at a time.

The kinds are in `tokens.py` and, where a library computes them, in `libraries.py`.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..saving.files import StrPath
from .libraries import PATTERNS, BPETokenizer, SentencePieceTokenizer, TiktokenTokenizer
from .tokens import FORMAT as FORMAT
from .tokens import FORMAT_VERSION as FORMAT_VERSION
from .tokens import ByteTokenizer, CharTokenizer, Tokenizer, kind_of, read_bytes, read_json

ALL = CharTokenizer, ByteTokenizer, BPETokenizer, TiktokenTokenizer, SentencePieceTokenizer
KINDS: dict[str, type[Tokenizer]] = {tokenizer.kind: tokenizer for tokenizer in ALL}


def load_tokenizer(source: Mapping[str, Any] | StrPath) -> Tokenizer:
    """The tokenizer of a `to_json` dict, of a file or of a folder, whatever its kind.

    A file: what `save` wrote, a tokenizer.json of byte-level BPE, a SentencePiece `*.model`, or a
    `*.tiktoken`, which is taken for GPT-2's and without special tokens unless its name is another
    of PATTERNS. A folder: one of these, or vocab.json and merges.txt. FileNotFoundError,
    or ValueError: damaged or foreign.
    """
    if isinstance(source, Mapping):
        return KINDS[kind_of(source, "it", KINDS)].from_json(source)
    path = Path(source)
    if path.is_dir():
        return _of_folder(path)
    if path.suffix in (".model", ".tiktoken") and not read_bytes(path).startswith(b"{"):
        if path.suffix == ".model":
            return SentencePieceTokenizer.from_file(path)
        return TiktokenTokenizer.from_file(path, path.stem if path.stem in PATTERNS else "gpt2")
    content, where = read_json(path), repr(str(source))
    if isinstance(content, Mapping) and "model" in content and "format" not in content:
        return BPETokenizer.load(path)
    return KINDS[kind_of(content, where, KINDS)].from_json(content, where)


def _of_folder(folder: Path) -> Tokenizer:
    if (folder / "tokenizer.json").exists():
        return load_tokenizer(folder / "tokenizer.json")
    if (folder / "vocab.json").exists():
        return BPETokenizer.from_folder(folder)
    found = sorted([*folder.glob("*.model"), *folder.glob("*.tiktoken")])
    if len(found) == 1:
        return load_tokenizer(found[0])
    message = (
        f"[load_tokenizer] {str(folder)!r} must hold one tokenizer (tokenizer.json, vocab.json"
    )
    message = f"{message} and merges.txt, *.model or *.tiktoken), got"
    if found:
        raise ValueError(f"{message} {[path.name for path in found][:9]}; name the file?")
    raise FileNotFoundError(f"{message} none; is the path right?")


class StreamDecoder:
    """Text out of ids that come one at a time: what `push` and at last `flush` return is together
    what `decode` makes of all ids, whichever they are.

    after: ids before them, which are not shown, and whose text goes on: SentencePiece drops a space
    where a text starts, and here it does not, unless they end with a control token. ValueError: an
    unknown id.

    >>> stream = StreamDecoder(ByteTokenizer())
    >>> [stream.push(i) for i in "né".encode()], stream.flush()
    (['n', '', 'é'], '')
    """

    def __init__(self, tokenizer: Tokenizer, after: Sequence[int] = ()) -> None:
        self.tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors=tokenizer.errors)
        # The first ids, until they give anything.
        self._start: list[int] = []
        self._begun = b""
        tokenizer.decode_bytes(after)  # looks at all
        special = getattr(tokenizer, "special", {}).values()
        control = {i for i in special if not tokenizer.decode_bytes([i])}
        for id in after[max((n for n, i in enumerate(after, 1) if i in control), default=0) :]:
            self.push(id)

    def push(self, id: int) -> str:
        """The text that is certain after this id, which may be none. ValueError: an unknown id."""
        whole = self.tokenizer.decode_bytes([*self._start, id])
        new = whole[len(self._begun) :]
        if not self._begun:
            self._start, self._begun = [*self._start, id], whole
        return self._decoder.decode(new)

    def flush(self) -> str:
        """The rest, where the ids ended within a character; the next `push` starts a new text."""
        self._start, self._begun = [], b""
        return self._decoder.decode(b"", final=True)
