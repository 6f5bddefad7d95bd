"""Token files: corpora larger than memory, as one flat array on disk that is mapped, not read.

A file is a header of 256 bytes, JSON that `head -c 256` shows, and then the ids, little-endian
uint16 (or uint32 for a vocabulary above 65,536), checked by CRC-32. What they mean is not kept.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..saving.files import StrPath, replacing
from ..saving.tree import parse

FORMAT, FORMAT_VERSION = "tinygrad_lm tokens", 2  # 1 has no checksum, and is read
HEADER_BYTES = 256
CHUNK_BYTES = 1 << 20  # what is checked at once stays in the processor's cache


def write_tokens(path: StrPath, tokens: np.ndarray | Iterable[Any], vocab_size: int) -> int:
    """Write an array of ids, or arrays one after the other as they come; return how many ids.

    tokens: integers of any shape, flattened, 0 <= id < vocab_size; an iterable is never held in
    memory as a whole. The file appears when all of it is on the disk, or not at all. ValueError:
    an id out of range, or no ids. TypeError: not integers.
    """
    if not 0 < vocab_size <= 2**32:
        message = f"[write_tokens] vocab_size must be in 1..2**32, got {vocab_size}"
        raise ValueError(f"{message}; pass tokenizer.vocab_size?")
    dtype = _dtype(vocab_size)
    count = crc32 = 0
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(bytes(HEADER_BYTES))
        for chunk in [tokens] if isinstance(tokens, np.ndarray) else tokens:
            ids = np.asarray(chunk)
            if ids.size:  # np.asarray([]) is an array of floats
                _check(ids, vocab_size, count)
                stored = np.ascontiguousarray(ids, dtype)
                file.write(stored.data)
                crc32 = zlib.crc32(stored.data, crc32)
                count += ids.size
        if not count:
            message = f"[write_tokens] there must be at least one token for {str(path)!r}, got none"
            raise ValueError(f"{message}; is the text empty, or the iterator already used up?")
        file.seek(0)
        header = {"format": FORMAT, "format_version": FORMAT_VERSION}
        header |= {"dtype": dtype.name, "count": count, "vocab_size": int(vocab_size)}
        header |= {"crc32": crc32}
        header |= {"header_crc32": _header_crc32(header)}
        file.write(json.dumps(header).encode().ljust(HEADER_BYTES - 1) + b"\n")
    return count


def _dtype(vocab_size: int) -> np.dtype:
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def _header_crc32(header: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps({**header, "header_crc32": 0}, sort_keys=True).encode())


def _check(ids: np.ndarray, vocab_size: int, start: int) -> None:
    if ids.ndim == 0 or ids.dtype.kind not in "iu":
        came = "single numbers" if ids.ndim == 0 else ids.dtype
        message = f"[write_tokens] tokens must be integers in arrays, got {came}"
        raise TypeError(f"{message}; pass np.array(tokens), or an iterable of arrays?")
    if ids.min() < 0 or ids.max() >= vocab_size:
        flat = ids.ravel()
        at = int(np.argmax((flat < 0) | (flat >= vocab_size)))
        message = f"[write_tokens] ids must be in 0..{vocab_size - 1}, got {flat[at]}"
        raise ValueError(f"{message} at token {start + at}; is that another tokenizer's output?")


def read_header(path: StrPath) -> dict[str, Any]:
    """dtype, count and vocab_size of a token file, whose ids are not looked at. ValueError: a
    foreign file, one cut short, or a damaged header."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"[open_tokens] a file must exist at {str(path)!r}, got none; a typo?"
        )
    with open(path, "rb") as file:
        start = file.read(HEADER_BYTES)
    try:
        header = parse(start)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        message = (
            f"[open_tokens] {str(path)!r} must begin with a {FORMAT} header, got {start[:20]!r}"
        )
        hint = "convert a raw file: write_tokens(new, np.fromfile(old, np.uint16), vocab_size)"
        raise ValueError(f"{message}; {hint}?")
    if (version := header.get("format_version")) not in (1, FORMAT_VERSION):
        message = f"[open_tokens] {str(path)!r} must be of format {FORMAT_VERSION}, got {version!r}"
        raise ValueError(f"{message}; install the version of tinygrad_lm that wrote it?")
    count: Any = header.get("count")
    vocab_size: Any = header.get("vocab_size")
    right = type(count) is int and type(vocab_size) is int and 0 < vocab_size <= 2**32 and count > 0
    right = right and header.get("dtype") == _dtype(vocab_size).name
    if not right or (version != 1 and header.get("header_crc32") != _header_crc32(header)):
        message = f"[open_tokens] {str(path)!r} must begin with the header of its ids, got {header}"
        raise ValueError(f"{message}; it was changed: copy or write it again?")
    wanted = HEADER_BYTES + count * _dtype(vocab_size).itemsize
    if (size := os.path.getsize(path)) != wanted:
        message = f"[open_tokens] {str(path)!r} must have {wanted} bytes, got {size}"
        raise ValueError(f"{message}; it was cut short or added to: copy or write it again?")
    return header


def open_tokens(path: StrPath, *, verify: bool = True) -> np.ndarray:
    """The ids of a token file, shape (count,), read-only; the disk is read where you index.

    Opening reads all of it once, 1 to 2 GB/s where the disk can: that each id is below vocab_size
    and that the checksum is right (not with verify=False: another process has done it). What
    changes in the file afterwards is not noticed. Any number of processes share one copy in memory.
    Errors as for `read_header`.
    """
    header = read_header(path)
    dtype = _dtype(header["vocab_size"])
    tokens = np.memmap(path, dtype, mode="r", offset=HEADER_BYTES, shape=(header["count"],))
    if verify:
        _verify(path, header, dtype)
    return tokens


def _verify(path: StrPath, header: dict[str, Any], dtype: np.dtype) -> None:
    """ValueError: an id or the checksum is wrong."""
    vocab_size = header["vocab_size"]
    crc32, step = 0, CHUNK_BYTES // dtype.itemsize
    with open(path, "rb") as file:  # not through the map, whose pages would count as memory
        file.seek(HEADER_BYTES)
        for start in range(0, header["count"], step):
            ids = np.fromfile(file, dtype, step)
            crc32 = zlib.crc32(ids.data, crc32)
            if ids.max() >= vocab_size:
                at = int(np.argmax(ids >= vocab_size))
                message = f"[open_tokens] ids in {str(path)!r} must be in 0..{vocab_size - 1}, got"
                message = f"{message} {ids[at]} at token {start + at}"
                raise ValueError(f"{message}; is it damaged, or of another vocabulary?")
    if header["format_version"] != 1 and crc32 != header["crc32"]:
        message = f"[open_tokens] the ids in {str(path)!r} must have the CRC-32 {header['crc32']}"
        raise ValueError(f"{message}, got {crc32}; they were changed: copy or write it again?")
