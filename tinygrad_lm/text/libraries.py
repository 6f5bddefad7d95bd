"""Tokenizers that other libraries compute, each an extra: byte-level BPE (`tokenizers`), the ranks
of `tiktoken`, and the models of `sentencepiece`.

A library gives the ids of a text. What an id stands for is known here, byte by byte, and which
tokens are special is decided here. Nothing is fetched: all content comes from files.
"""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..saving.files import StrPath, replacing
from ..saving.tree import parse
from .tokens import Kind, Tokenizer, _joined, read_bytes, read_json, refusing

# Byte-level BPE writes a byte as a character that can be seen: itself, or one from U+0100 on.
SEEN = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = {chr(b): b for b in SEEN}
BYTES |= {chr(256 + n): b for n, b in enumerate(b for b in range(256) if b not in SEEN)}

# How a text is cut before the merges, by the name of the vocabulary. As the original expressions,
# in the form in which a megabyte of one character costs no backtracking.
PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
}


def _library(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f"[tokenizers] this tokenizer needs {name}, which is not installed"
        raise ImportError(f"{message}; pip install 'tinygrad_lm[{extra}]'") from error


class _OfLibrary(Tokenizer):
    """A tokenizer whose constructor says itself where damaged content is."""

    @classmethod
    def _made(cls: type[Kind], content: dict[str, Any], where: str) -> Kind:
        return cls(**{**content, "where": where})


class BPETokenizer(_OfLibrary):
    """Byte-level BPE, as GPT-2 and most since: merges of pairs of tokens that begin as bytes
    (Sennrich et al., 2016, arXiv 1508.07909; Radford et al., 2019).

    `tokenizer` is the text of its tokenizer.json.
    """

    kind = "bpe"
    fields = {"tokenizer": str}

    def __init__(self, tokenizer: str, where: str = "it") -> None:
        """tokenizer: the text of a tokenizer.json. ValueError: damaged, or not byte-level BPE."""
        library = _library("tokenizers", "bpe")
        with refusing(where, "a tokenizer.json of byte-level BPE"):
            content = parse(tokenizer)
            _check_byte_level(content)
            made = library.Tokenizer.from_str(tokenizer)
            made.no_truncation()
            made.no_padding()
            made.model.dropout = None
            made.encode_special_tokens = True  # as ordinary text: special ones are found by us
            added = made.get_added_tokens_decoder()
            vocabulary = made.get_vocab(with_added_tokens=False)
            both = {
                **vocabulary,
                **{t["content"]: t["id"] for t in content.get("added_tokens", [])},
            }
            if both != made.get_vocab() or len({*both.values()}) < len(both):
                raise ValueError("one id for two tokens, or two ids for one")
            pieces = {i: _bytes_of(token) for token, i in vocabulary.items() if i not in added}
            _check_all_bytes(pieces.values())
            pieces |= {i: t.content.encode() for i, t in added.items() if not t.special}
            self._know(pieces, [(t.content, i) for i, t in added.items() if t.special])
        self._made_by, self.tokenizer = made, made.to_str()

    @classmethod
    def from_folder(cls, path: StrPath) -> BPETokenizer:
        """What a folder holds: tokenizer.json, or vocab.json and merges.txt as GPT-2 has them.

        In the latter, special tokens are those that no merge gives. FileNotFoundError, ValueError.
        """
        folder = Path(path)
        if (folder / "tokenizer.json").exists():
            return cls.load(folder / "tokenizer.json")
        vocabulary = read_json(folder / "vocab.json")
        where = f"{str(path)!r} (vocab.json, merges.txt)"
        if not (folder / "merges.txt").is_file():
            message = f"[load_tokenizer] {str(path)!r} must hold merges.txt beside vocab.json, got"
            raise ValueError(f"{message} none; copy it too?")
        with refusing(where, "the vocabulary and the merges of a byte-level BPE"):
            lines = read_bytes(folder / "merges.txt").decode().replace("\r\n", "\n").split("\n")
            merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
            if wrong := [merge for merge in merges if len(merge) != 2]:
                raise ValueError(f"a merge of {len(wrong[0])} tokens, {wrong[0]!r:.80}")
            reached = {*BYTES, *("".join(merge) for merge in merges)}
            special = {name: i for name, i in vocabulary.items() if name not in reached}
            text = json.dumps(_tokenizer_json(vocabulary, merges, special))
        return cls(text, where)

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        special: Sequence[str] = ("<|endoftext|>",),
    ) -> BPETokenizer:
        """The vocabulary that merges the most frequent pairs of `text`, or of several texts, first.

        vocab_size: at most so many tokens; of these, 256 are bytes, so any text can be encoded.
        special: come first, from id 0. The same text gives the same tokenizer. ValueError: too few.
        """
        if vocab_size < 256 + len(special):
            message = f"[BPETokenizer.train] vocab_size must be >= {256 + len(special)}, for the"
            raise ValueError(f"{message} bytes and special tokens, got {vocab_size}; try 1000")
        library = _library("tokenizers", "bpe")
        made = library.Tokenizer(library.models.BPE())
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[*special],
            initial_alphabet=sorted(BYTES),
            show_progress=False,
        )
        texts = map(_joined, [text] if isinstance(text, str) else text)
        made.train_from_iterator(texts, trainer)
        return cls(made.to_str())

    def _ordinary(self, text: str) -> list[int]:
        return self._made_by.encode(_joined(text), add_special_tokens=False).ids

    def save(self, path: StrPath) -> None:
        """Write a tokenizer.json that `tokenizers` and transformers load, all or nothing."""
        with replacing(path) as temporary:
            temporary.write_text(self.tokenizer, encoding="utf-8")

    @classmethod
    def load(cls, path: StrPath) -> BPETokenizer:
        """The tokenizer of a tokenizer.json. FileNotFoundError, or ValueError: it is no such."""
        content = read_bytes(path)
        with refusing(repr(str(path)), "a tokenizer.json of byte-level BPE"):
            text = content.decode()
        return cls(text, repr(str(path)))


def _tokenizer_json(vocabulary: Any, merges: Any, special: Mapping[str, Any]) -> dict[str, Any]:
    """GPT-2's tokenizer.json: what vocab.json and merges.txt leave unsaid."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return {
        "added_tokens": [
            {"id": i, "content": s, **flags, "special": True} for s, i in special.items()
        ],
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }


def _check_byte_level(content: Any) -> None:
    """ValueError (or another) where a tokenizer.json is not one whose tokens are exact bytes."""
    model, decoder, before = (content.get(p) or {} for p in ("model", "decoder", "pre_tokenizer"))
    steps = [step.get("type") for step in before.get("pretokenizers", [before])]
    kinds = model.get("type", "BPE"), decoder.get("type")
    if kinds != ("BPE", "ByteLevel") or "ByteLevel" not in steps:
        raise ValueError(f"the model {kinds[0]} with the decoder {kinds[1]} after {steps}")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise ValueError("tokens with a prefix or a suffix, which are no bytes")


def _bytes_of(token: str) -> bytes:
    try:
        return bytes(map(BYTES.__getitem__, token))
    except KeyError as error:
        raise ValueError(f"the token {token!r:.80}, whose {error} stands for no byte") from error


def _check_all_bytes(pieces: Iterable[bytes]) -> None:
    """Without one of them, the libraries leave out a byte of the text, or end the process."""
    if missing := {bytes([b]) for b in range(256)} - {*pieces}:
        raise ValueError(
            f"no token for {len(missing)} of the 256 bytes, {min(missing)!r} the first"
        )


class TiktokenTokenizer(_OfLibrary):
    """The ranks of tokens, which say what is merged first, and the expression that cuts a text.

    `ranks` is the text of a .tiktoken file, `pattern` the expression.
    """

    kind = "tiktoken"
    fields = {"ranks": str, "pattern": str, "special": list}

    def __init__(
        self, ranks: str, pattern: str, special: Iterable[tuple[str, int]] = (), where: str = "it"
    ) -> None:
        """ranks: a token in base64 and its rank on each line. ValueError: they are damaged."""
        library = _library("tiktoken", "tiktoken")
        with refusing(where, "ranks of tokens (base64, a space, the rank on each line)"):
            lines = [line.split() for line in ranks.splitlines() if line]
            tokens = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
            pieces = {i: token for token, i in tokens.items()}
            if len(pieces) < len(lines) or min(pieces, default=0) < 0:
                raise ValueError("a token or a rank twice, or a rank below 0")
            _check_all_bytes(tokens)
            self._know(pieces, special)
            self._made_by = library.Encoding(
                "ranks", pat_str=pattern, mergeable_ranks=tokens, special_tokens=self.special
            )
            sample = " Aa1'\n\t!\u0301\u4e2d\U0001f600\0"
            if self.decode(self.encode(sample)) != sample:
                raise ValueError(f"a pattern that leaves out parts of a text, {pattern!r:.200}")
        self.ranks, self.pattern = ranks, pattern

    @classmethod
    def from_file(
        cls, path: StrPath, pattern: str = "gpt2", special: Mapping[str, int] | None = None
    ) -> TiktokenTokenizer:
        """The tokenizer of a .tiktoken file, which holds neither of these:

        pattern: "gpt2", "cl100k_base", or a regular expression. special: tokens with their ids.
        FileNotFoundError, or ValueError: the file is damaged.
        """
        content, where = read_bytes(path), repr(str(path))
        with refusing(where, "a text"):
            ranks = content.decode("ascii")
        return cls(ranks, PATTERNS.get(pattern, pattern), [*(special or {}).items()], where)

    def _ordinary(self, text: str) -> list[int]:
        try:
            return self._made_by.encode_ordinary(_joined(text))
        except BaseException as error:  # a panic in Rust is no Exception
            if type(error).__name__ != "PanicException":
                raise
            message = (
                "[encode] runs of blanks must be below a million characters for tiktoken, got:"
            )
            raise ValueError(f"{message} {str(error)[:200]!r}; cut the text?") from error

    def _content(self) -> dict[str, Any]:
        return {**super()._content(), "special": [list(pair) for pair in self.special.items()]}


class SentencePieceTokenizer(_OfLibrary):
    """Pieces of a text in which spaces are marked: BPE or a unigram model (Kudo and Richardson,
    2018, arXiv 1808.06226).

    `model` is its tokenizer.model in base64. Control tokens and the unknown one are special. What
    is encoded, and what lies between special tokens, may get a space in front, which `decode` drops
    at the start of a text.
    """

    kind = "sentencepiece"
    fields = {"model": str}

    def __init__(self, model: str, where: str = "it") -> None:
        """model: the bytes of a tokenizer.model in base64. ValueError: they are damaged."""
        library = _library("sentencepiece", "sentencepiece")
        with refusing(where, "a SentencePiece model"):
            made = library.SentencePieceProcessor()
            made.LoadFromSerializedProto(base64.b64decode(model, validate=True))
            names = {i: made.IdToPiece(i) for i in range(made.GetPieceSize())}
            pieces = {i: name.replace("\u2581", " ").encode() for i, name in names.items()}
            pieces |= {i: bytes([int(names[i][1:-1], 16)]) for i in names if made.IsByte(i)}
            special = [i for i in names if made.IsControl(i) or made.IsUnknown(i)]
            ordinary = {i: piece for i, piece in pieces.items() if i not in special}
            self._know(ordinary, [(names[i], i) for i in special])
            self._pieces |= {i: made.Decode([i]).encode() for i in special}
        self._made_by, self.model = made, model

    @classmethod
    def from_file(cls, path: StrPath) -> SentencePieceTokenizer:
        """The tokenizer of a tokenizer.model. FileNotFoundError, or ValueError: it is damaged."""
        return cls(base64.b64encode(read_bytes(path)).decode(), repr(str(path)))

    def _ordinary(self, text: str) -> list[int]:
        return self._made_by.EncodeAsIds(_joined(text))

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """What `ids` stand for; which spaces go at the start, the library decides."""
        pieces = self._known(ids)
        start = next((n for n, piece in enumerate(pieces) if piece.strip(b" ")), len(pieces))
        ids = [int(i) for i in ids[: start + 1]]
        if ids and self._made_by.IsByte(ids[-1]):  # perhaps no whole character
            ids.pop()
        return self._made_by.Decode(ids).encode() + b"".join(pieces[len(ids) :])
