"""Token files that belong together: a folder of shards, read as one array that is never in memory.

Its manifest.json names the shards in their order, with their checksums, and the tokenizer and the
texts that they were made with. `tinygrad-lm prepare` writes such a folder.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..saving.files import StrPath
from ..saving.tree import parse
from .token_files import open_tokens, read_header

FORMAT, FORMAT_VERSION = "tinygrad_lm shards", 1
MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"
FIELDS = {"shards": list, "sources": list, "tokenizer": dict}  # beside the format
ENTRY = {"name": str, "tokens": int, "crc32": int, "sha256": str}


class Shards:
    """Arrays of ids one after the other, as one, (N,), read-only.

    `shards[a:b]` is such a view, `shards[ids]` an array of the shape of `ids`, which may lie in any
    of them, and np.asarray(shards) all that there is, in memory.
    """

    ndim = 1

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = [*parts]
        self.dtype = np.result_type(*self.parts) if self.parts else np.dtype(np.uint16)
        self._ends = np.cumsum([len(part) for part in self.parts], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.parts else 0

    @property
    def shape(self) -> tuple[int]:
        return (len(self),)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._slice(*index.indices(len(self)))
        places = np.asarray(index)
        if places.dtype.kind not in "iu":
            message = "[Shards] an index must be a slice or integers, got"
            raise TypeError(f"{message} {places.dtype}; np.asarray(shards) takes any?")
        places = np.where(places < 0, places + len(self), places)
        if places.size and not 0 <= places.min() <= places.max() < len(self):
            raise IndexError(f"[Shards] an index must be below {len(self)}, got {index!r:.80}")
        which = np.searchsorted(self._ends, places, side="right")
        found = np.empty(places.shape, self.dtype)
        for i in np.unique(which):
            here, part = which == i, self.parts[i]
            found[here] = part[places[here] - (self._ends[i] - len(part))]
        return found[()]

    def _slice(self, start: int, stop: int, step: int) -> Shards:
        if step != 1:
            message = "[Shards] a slice must have the step 1, got"
            raise ValueError(f"{message} {step}; shards[np.arange(a, b, step)] copies")
        starts = itertools.chain([0], self._ends.tolist())
        cuts = [part[max(0, start - a) : max(0, stop - a)] for a, part in zip(starts, self.parts)]
        return Shards([part for part in cuts if len(part)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.concatenate([np.empty(0, self.dtype), *self.parts])
        return whole if dtype is None else whole.astype(dtype)

    def min(self) -> int:
        return min(int(part.min()) for part in self.parts)

    def max(self) -> int:
        return max(int(part.max()) for part in self.parts)


Tokens = np.ndarray | Shards  # flat ids, in memory or mapped


def read_manifest(folder: StrPath) -> dict[str, Any]:
    """What is in a folder of shards, none of which is read. FileNotFoundError: no such folder, or
    not yet whole. ValueError: damaged, or of another version."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        message = f"[open_shards] the folder must hold {MANIFEST}, got {str(folder)!r} without"
        hint = "`tinygrad-lm prepare` makes one; if it was stopped, run the same command again"
        raise FileNotFoundError(f"{message}; {hint}")
    try:
        found = parse(path.read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        message = f"[open_shards] {str(path)!r} must be a manifest of {FORMAT}, got another file"
        raise ValueError(f"{message}; is it damaged, or the folder another?")
    if (version := found.get("format_version")) != FORMAT_VERSION:
        message = f"[open_shards] {str(path)!r} must be of format {FORMAT_VERSION}, got {version!r}"
        raise ValueError(f"{message}; install the version of tinygrad_lm that wrote it?")
    right = all(type(found.get(name)) is kind for name, kind in FIELDS.items())
    right = right and found["shards"] and all(map(_is_entry, found["shards"]))
    if not right or type(found["tokenizer"].get("sha256")) is not str:
        message = f"[open_shards] {str(path)!r} must name shards and a tokenizer with checksums"
        raise ValueError(f"{message}, got others; it was changed: make the folder again?")
    return found


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    right = all(type(entry.get(name)) is kind for name, kind in ENTRY.items())
    return right and Path(entry["name"]).name == entry["name"]


def open_shards(folder: StrPath, verify: slice = slice(None)) -> Shards:
    """The shards of a folder, mapped; the disk is read where you index.

    verify: those whose every id is read now and checked, as `open_tokens` does (1 to 2 GB/s); of
    the others the header alone. Of N processes each can take slice(rank, None, N). Errors as for
    `read_manifest` and `open_tokens`; ValueError: a shard or the tokenizer is not the manifest's.
    """
    manifest, folder = read_manifest(folder), Path(folder)
    entries = manifest["shards"]
    now = {*range(len(entries))[verify]}
    for entry in entries:  # first all headers, which takes no time
        header = read_header(folder / entry["name"])
        for name, came in (("tokens", header["count"]), ("crc32", header.get("crc32"))):
            if came != entry[name]:
                message = f"[open_shards] {str(folder / entry['name'])!r} must have {entry[name]}"
                message = f"{message} as its {name} by {MANIFEST}, got {came}"
                raise ValueError(f"{message}; is it of another folder?")
    check_tokenizer(folder, manifest)
    names = [entry["name"] for entry in entries]
    return Shards([open_tokens(folder / n, verify=i in now) for i, n in enumerate(names)])


def check_tokenizer(folder: Path, manifest: dict[str, Any]) -> None:
    """ValueError: the tokenizer in the folder is not the one that made the shards."""
    path = folder / TOKENIZER
    came = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
    if came != (wanted := manifest["tokenizer"]["sha256"]):
        message = f"[open_shards] {str(path)!r} must have the sha256 {wanted}, got {came}"
        raise ValueError(f"{message}; it was changed: make the folder again?")
