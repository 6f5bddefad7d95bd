"""What a run is trained on: a text, of which a tokenizer makes ids, or a file or folder of them."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np

from ..data import load_text, open_shards, open_tokens
from ..data.corpora import DOWNLOADS
from ..data.shards import Tokens, read_manifest
from ..data.token_files import read_header
from ..text.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    Tokenizer,
    load_tokenizer,
)
from .config import TrainConfig

TOKEN_FILE = ".bin"


class Corpus:
    """The text called `data`, or the token file or the folder of them, mapped and not read. sha256:
    of what is in it. Errors as for `load_text`, `open_tokens` and `open_shards`."""

    def __init__(self, data: str) -> None:
        self.data, self.text = data, ""
        self.tokens: Tokens = np.empty(0, np.uint16)
        self.is_folder = data not in (*DOWNLOADS, "builtin") and os.path.isdir(data)
        self.is_text = not self.is_folder and not data.endswith(TOKEN_FILE)
        if self.is_folder:
            self.tokens = open_shards(data)
            content = json.dumps([e["sha256"] for e in read_manifest(data)["shards"]]).encode()
        elif self.is_text:
            self.text = load_text(data)
            content = self.text.encode("utf-8", "surrogatepass")
        else:
            self.tokens = open_tokens(data)  # the header has the checksum of the ids
            content = json.dumps(read_header(data), sort_keys=True).encode()
        self.sha256 = hashlib.sha256(content).hexdigest()

    def tokenizer(self, kind: str, vocab_size: int) -> Tokenizer:
        """A new one: char, byte, or bpe with vocab_size tokens, made of the text; or that of a file
        or a folder. ValueError: tokens need the one that they were made with."""
        if self.is_folder:
            if kind != TrainConfig.tokenizer:
                message = f"[train] the tokenizer must be the one in {self.data}, got"
                raise ValueError(f"{message} {kind!r}; leave it out?")
            return load_tokenizer(self.data)
        if kind not in ("char", "byte", "bpe"):
            return load_tokenizer(kind)
        if not self.is_text:
            message = "[train] a token file must come with its tokenizer, got"
            raise ValueError(f"{message} {kind!r}; pass the tokenizer's file, or --init-from?")
        if kind == "bpe":
            most = 257 + 4 * len(self.text)  # no more merges than bytes
            return BPETokenizer.train(self.text, min(vocab_size, most))
        return ByteTokenizer() if kind == "byte" else CharTokenizer.from_text(self.text)

    def ids(self, tokenizer: Tokenizer) -> Tokens:
        """All tokens, (N,). ValueError: a character or a vocabulary that is not the tokenizer's."""
        if self.is_text:
            return tokenizer.encode_array(self.text)
        if self.is_folder:
            if not tokenizer.has_all_of(load_tokenizer(self.data)):
                message = f"[train] the tokenizer must have the tokens of that in {self.data}"
                raise ValueError(f"{message}, got another; prepare the texts with the model's?")
            return self.tokens
        if (wanted := read_header(self.data)["vocab_size"]) > tokenizer.vocab_size:
            message = f"[train] the tokenizer must have the {wanted} tokens of {self.data}"
            raise ValueError(f"{message}, got {tokenizer.vocab_size}; is it another one?")
        return self.tokens

    def size(self, tokenizer: Tokenizer, count: int) -> str:
        """In words, where it has `count` tokens."""
        if isinstance(tokenizer, CharTokenizer) and self.is_text:
            return f"{count:,} characters, {tokenizer.vocab_size} distinct"
        return f"{count:,} tokens, {tokenizer.vocab_size:,} in the vocabulary"
