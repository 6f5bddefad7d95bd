r"""Texts of any size made into token shards, by several processes, in a memory that does not grow.

    out/tokens-000000.bin ...   token files, whose ids one after the other are those of the texts
    out/tokenizer.json          what the ids mean
    out/manifest.json           checksums, sizes and counts of all; written last
    out/unfinished.json         until then: what was asked for, so that the same command goes on

What goes into which shard depends on the texts, the tokenizer and the size of a shard alone.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ..data.corpora import not_utf8
from ..data.shards import FORMAT, FORMAT_VERSION, MANIFEST, TOKENIZER, check_tokenizer
from ..data.token_files import open_tokens, read_header, write_tokens
from ..saving.files import StrPath, check_writable, replacing
from ..saving.tree import parse
from ..text.generation import end_of_text
from ..text.pieces import CHUNK, Piece, chunks, cut_count
from ..text.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    Tokenizer,
    load_tokenizer,
)
from .folder import Lock
from .processes import Run, cores, processes

UNFINISHED = "unfinished.json"
MIB = 2**20
BLOCK = MIB  # bytes read at once


def prepare(
    files: Sequence[StrPath],
    out: StrPath,
    tokenizer: str,
    vocab_size: int = 1024,
    *,
    workers: int | None = None,
    shard_size: int = 16,
) -> dict[str, Any]:
    """Make the folder `out` of UTF-8 files, and return its manifest; `open_shards` reads it.

    tokenizer: char, byte, bpe with vocab_size tokens, made of the texts; or a file or folder with
    one. Its end-of-text token, if it has one, comes between two files. workers: processes, by
    default one per core; the result is the same with any number. shard_size: MiB of text in a
    shard, about. Where the folder is there already, what is whole in it is kept; so it goes on
    after a kill at any moment. ValueError, OSError: a text is empty, not UTF-8 or not there, or the
    folder is of something else.

    "within_words" in the result: how often, in the shards made now, no word ended for so long that
    a chunk was cut elsewhere; the tokens there may not be those of the whole text.
    """
    workers = cores() if workers is None else workers
    numbers = {"workers": workers, "shard_size": shard_size, "vocab_size": vocab_size}
    for name, value in numbers.items():
        if not 1 <= value < 2**20:
            message = f"[prepare] {name} must be in 1 ... 2**20 - 1, got {value}"
            raise ValueError(f"{message}; leave it out?")
    out, paths = Path(out), [os.fspath(file) for file in files]
    _check_files(paths)
    given = _given(tokenizer, vocab_size)
    asked = {"tokenizer": _name(given) if given else tokenizer, "shard_size": shard_size}
    asked |= {"vocab_size": vocab_size} if tokenizer == "bpe" else {}
    _former(out)
    try:
        with processes(workers) as run:
            sources = _scanned(paths, tokenizer == "char", run)
            check_writable(out)
            lock = Lock(out)
            try:
                plan = _plan(out, asked, sources)
                return _finished(out, plan, sources, given, run)
            finally:
                lock.release()
    except OSError as error:
        if error.errno is None:  # one of our messages
            raise
        message = f"[prepare] the texts must be readable and {out} writable, got: {error}"
        raise OSError(f"{message}; the same command goes on from here") from error


# ---------------------------------------------------------------- what is given


def _check_files(paths: Sequence[str]) -> None:
    if not paths:
        raise ValueError("[prepare] there must be at least one text, got none; which file?")
    for path in paths:
        if not os.path.isfile(path):
            came = "a folder or device" if os.path.exists(path) else "nothing"
            message = f"[prepare] a text must be a file, got {came} at {path!r}"
            raise FileNotFoundError(f"{message}; name the files themselves?")


def _given(kind: str, vocab_size: int) -> Tokenizer | None:
    """The tokenizer, where it does not depend on the texts; else what it needs is looked at."""
    if kind == "bpe":
        BPETokenizer.train("", min(vocab_size, 999))  # the library makes room for all it is told
    if kind in ("char", "bpe"):
        return None
    return ByteTokenizer() if kind == "byte" else load_tokenizer(kind)


def _name(tokenizer: Tokenizer) -> str:
    """Two that are equal have one."""
    return f"{tokenizer.kind} {tokenizer.to_json()['sha256']}"


class Source(NamedTuple):
    """A file that has been read once, and how to see whether it is still the same."""

    path: str
    entry: dict[str, Any]  # of the manifest
    changed: int  # nanoseconds
    distinct: str  # its characters, in order, where somebody wants them

    def piece(self, first: int, last: int) -> Piece:
        return Piece(self.path, self.entry["bytes"], self.changed, first, last)


def _scanned(paths: Sequence[str], distinct: bool, run: Run) -> list[Source]:
    """All files, each read once by one process."""
    found = {}
    with _bar(sum(map(os.path.getsize, paths)), "reading") as bar:
        for source in run(functools.partial(_scan, distinct=distinct), dict.fromkeys(paths)):
            found[source.path] = source
            bar.update(source.entry["bytes"])
    return [found[path] for path in paths]


def _scan(path: str, distinct: bool) -> Source:
    """ValueError: it is empty, or not UTF-8."""
    before, digest, size, characters = os.stat(path), hashlib.sha256(), 0, 0
    seen = np.zeros(0x110000, bool)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
    with open(path, "rb") as file:
        start = block = file.read(BLOCK)
        while True:
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                at = size + len(block) - len(error.object) + error.start
                raise not_utf8(path, start, error.object[error.start], at) from error
            digest.update(block)
            text = text if size else text.removeprefix("\ufeff")
            characters += len(text)
            if distinct:
                seen[np.frombuffer(text.encode("utf-32-le"), "<u4")] = True
            if not block:
                break
            size += len(block)
            block = file.read(BLOCK)
    if not characters:
        raise ValueError(f"[prepare] {path!r} must hold text, got an empty file; leave it out?")
    entry = {"name": path, "bytes": size, "characters": characters, "sha256": digest.hexdigest()}
    return Source(path, entry, before.st_mtime_ns, "".join(map(chr, np.flatnonzero(seen))))


# ---------------------------------------------------------------- the folder


def _former(out: Path) -> dict[str, Any] | None:
    """What the folder was made of, if it was. ValueError: it is something else's."""
    for name in (MANIFEST, UNFINISHED):
        if (out / name).is_file():
            with contextlib.suppress(ValueError):
                found = parse((out / name).read_bytes())
                if isinstance(found, dict) and found.get("format") == FORMAT:
                    return found
            message = f"[prepare] {str(out / name)!r} must be of a folder of shards, got another"
            raise ValueError(f"{message} file, or a damaged one; choose another --out?")
    if out.is_dir() and (names := [n for n in sorted(os.listdir(out)) if n[0] != "."]):
        message = f"[prepare] the folder must be empty or made by this command, got {names[:5]}"
        raise ValueError(f"{message} in {str(out)!r}; choose another --out?")
    return None


def _plan(out: Path, asked: dict[str, Any], sources: Sequence[Source]) -> dict[str, Any]:
    """What the folder is to be made of, written there. ValueError: it is made of something else."""
    plan: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION, "asked": asked}
    plan["sources"] = [source.entry for source in sources]
    plan |= {n: sum(e[n] for e in plan["sources"]) for n in ("bytes", "characters")}
    former = _former(out)
    if former is None or not ((out / MANIFEST).exists() or any(out.glob("tokens-*"))):
        _write(out / UNFINISHED, plan)
        return plan
    try:
        differing = _differing(former, plan)
    except (LookupError, TypeError, AttributeError) as error:
        differing = [f"a damaged file ({error!r})"]
    if differing:
        message = f"[prepare] {str(out)!r} must be of the same command and texts, got another"
        hint = "choose another --out, or delete this one"
        raise ValueError(f"{message}: {', '.join(differing[:5])}; {hint}?")
    return {**plan, **{name: former[name] for name in ("tokenizer",) if name in former}}


def _differing(former: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """In words, what two folders are made of that is not the same."""
    was, now = [{"version": p["format_version"], **p["asked"]} for p in (former, plan)]
    was["texts"], now["texts"] = len(former["sources"]), len(plan["sources"])
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    found = [f"{name} (was {was.get(name)!r}, now {now.get(name)!r})" for name in names]
    pairs = zip(former["sources"], plan["sources"])
    changed = [new["name"] for old, new in pairs if old["sha256"] != new["sha256"]]
    return found or [f"the text {name!r} has changed" for name in changed]


def _finished(
    out: Path, plan: dict[str, Any], sources: list[Source], given: Tokenizer | None, run: Run
) -> dict[str, Any]:
    """The folder made whole, and its manifest, which says so."""
    for left in out.glob(".*.tmp"):
        left.unlink()  # of a process that was killed
    if "tokenizer" in plan:
        check_tokenizer(out, plan)
        tokenizer = load_tokenizer(out / TOKENIZER)
    else:
        tokenizer = given or _new(plan["asked"], sources)
        tokenizer.save(out / TOKENIZER)
        entry = {"kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size}
        plan["tokenizer"] = {**entry, "sha256": _sha256(out / TOKENIZER)}
        _write(out / UNFINISHED, plan)
    shards, forced = {}, 0
    with _bar(plan["bytes"], "encoding") as bar:
        for entry, hard, size in run(_shard, _tasks(out, plan, sources, tokenizer)):
            shards[entry["name"]] = entry
            forced += hard
            bar.update(size)
    plan["shards"] = [shards[name] for name in sorted(shards, key=lambda name: (len(name), name))]
    plan |= {"tokens": sum(entry["tokens"] for entry in shards.values())}
    _write(out / MANIFEST, plan)
    (out / UNFINISHED).unlink(missing_ok=True)
    return {**plan, "within_words": forced}


def _new(asked: dict[str, Any], sources: Sequence[Source]) -> Tokenizer:
    """The tokenizer that is made of the texts."""
    if asked["tokenizer"] == "char":
        return CharTokenizer("".join(sorted({c for source in sources for c in source.distinct})))
    total = sum(source.entry["bytes"] for source in sources)
    with _bar(total, "vocabulary") as bar:

        def texts() -> Iterator[str]:
            for source in sources:
                for chunk in chunks(source.piece(0, cut_count(source.entry["bytes"])), None):
                    yield chunk.text
                    bar.update(chunk.size)

        return BPETokenizer.train(texts(), min(asked["vocab_size"], 257 + total))


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _bar(total: int, what: str) -> tqdm:
    return tqdm(total=total, desc=what, unit="B", unit_scale=True, disable=None, leave=False)


# ---------------------------------------------------------------- shards, each by one process


class Task(NamedTuple):
    """A shard to make."""

    out: Path
    name: str
    size: int  # of its texts, in bytes, about
    tokenizer: str  # its checksum, so that a process loads it once
    parts: list[tuple[Piece, list[int]]]  # and what follows each: the end of a text, or nothing


def _tasks(
    out: Path, plan: dict[str, Any], sources: Sequence[Source], tokenizer: Tokenizer
) -> Iterator[Task]:
    """All shards: neighbouring pieces of the texts, until they have shard_size together."""
    most, between = plan["asked"]["shard_size"] * MIB, end_of_text(tokenizer)[:1]
    parts: list[tuple[Piece, list[int]]] = []
    filled, names = 0, (f"tokens-{number:06}.bin" for number in itertools.count())
    for number, source in enumerate(sources, 1):
        size, count, step = source.entry["bytes"], cut_count(source.entry["bytes"]), most // CHUNK
        for first in [0, *range(step, count - step + 1, step)]:
            last = first + step if first + 2 * step <= count else count
            is_end = last == count
            is_last = is_end and number == len(sources)
            parts.append((source.piece(first, last), between if is_end and not is_last else []))
            filled += (size if is_end else last * CHUNK) - first * CHUNK
            if filled >= most or is_last:
                yield Task(out, next(names), filled, plan["tokenizer"]["sha256"], parts)
                parts, filled = [], 0


def _shard(task: Task) -> tuple[dict[str, Any], int, int]:
    """Its entry in the manifest, how many cuts are within words, and the size of its texts; made
    where it is not there, or not whole."""
    path, forced = task.out / task.name, 0
    tokenizer = _tokenizer(task.out / TOKENIZER, task.tokenizer)

    def ids() -> Iterator[np.ndarray]:
        nonlocal forced
        for piece, after in task.parts:
            for chunk in chunks(piece, tokenizer):
                forced += not chunk.whole
                try:
                    yield tokenizer.encode_array(chunk.text)
                except ValueError as error:  # a character that the tokenizer has not
                    message = f"[prepare] {piece.path!r} must be a text for the tokenizer, got"
                    raise ValueError(f"{message}: {error}") from error
            yield np.array(after, np.int64)

    try:
        open_tokens(path)
    except (FileNotFoundError, ValueError):
        write_tokens(path, ids(), tokenizer.vocab_size)
    header = read_header(path)
    entry = {"name": task.name, "bytes": path.stat().st_size, "tokens": header["count"]}
    entry |= {"crc32": header["crc32"], "sha256": _sha256(path)}
    return entry, forced, task.size


@functools.lru_cache(maxsize=1)
def _tokenizer(path: Path, sha256: str) -> Tokenizer:
    return load_tokenizer(path)
