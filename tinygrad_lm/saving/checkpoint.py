"""Checkpoints that survive a kill at any moment: safetensors and JSON, no pickle anywhere.

Each save writes a fresh sub-folder, which becomes the checkpoint by one rename of a small pointer
file. A checkpoint holds arrays and plain values; Tensors and modules are refused.

    run/last.json                             names the sub-folder that is the checkpoint `last`,
                                              and size and sha256 of its meta.json
    run/last.8c1f54d20b7a9e36/arrays.safetensors
    run/last.8c1f54d20b7a9e36/meta.json       meta, and size and sha256 of the arrays
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .files import (
    Arrays,
    StrPath,
    fsync,
    load_safetensors,
    replacing,
    save_safetensors,
)
from .tree import Decoder, Encoder

FORMAT, FORMAT_VERSION = "tinygrad_lm checkpoint", 2  # 1 had no checksum of meta, and is read
SUB_FOLDER = re.compile(r"([A-Za-z0-9_-]+)\.[0-9a-f]{16}")
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


def save_checkpoint(
    folder: StrPath, arrays: Arrays, meta: dict[str, Any], name: str = "last"
) -> None:
    """Replace the checkpoint `name` of `folder`; until the last rename the former one is in place.

    meta may hold None, bool, int, float (infinities too), str, list, tuple and dict, which
    load_checkpoint returns equal. One process at a time may save into a folder; others may load
    meanwhile. TypeError: something cannot be kept. ValueError: a bad name. OSError: the disk.
    """
    if not SUB_FOLDER.fullmatch(f"{name}.{0:016x}"):
        message = f"[save_checkpoint] a name must be letters, digits, _ and -, got {name!r}"
        raise ValueError(f"{message}; use 'last'?")
    content: dict[str, Any] = {"meta": MetaEncoder().whole(meta, "meta")}
    folder = Path(folder)
    fresh = folder / f"{name}.{os.urandom(8).hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unused(folder)
        fresh.mkdir()
        save_safetensors(fresh / "arrays.safetensors", arrays)
        content["arrays"] = _size_and_sha256(fresh / "arrays.safetensors")
        _write_json(fresh / "meta.json", content)
        fsync(folder)
        pointer = {"folder": fresh.name, "meta": _size_and_sha256(fresh / "meta.json")}
        _write_json(folder / f"{name}.json", pointer)
    except OSError as error:
        message = f"[save_checkpoint] {str(folder)!r} must be writable, got: {error}"
        raise OSError(f"{message}; is the disk full, or the folder gone?") from error
    finally:
        with contextlib.suppress(OSError):  # the next save deletes what cannot be deleted now
            remove_unused(folder)


def load_checkpoint(folder: StrPath, name: str = "last") -> tuple[Arrays, dict[str, Any]]:
    """(arrays, meta) as they were saved. FileNotFoundError: none there. ValueError: damaged; all of
    it is checked against its checksums, and the message says which other checkpoint is whole."""
    folder = Path(folder)
    there = sorted(path.stem for path in folder.glob("*.json"))
    if not (folder / f"{name}.json").is_file():
        came = f"only {', '.join(there) or 'none at all'}" if folder.is_dir() else "no such folder"
        message = f"[load_checkpoint] {str(folder)!r} must hold a checkpoint {name!r}, got {came}"
        raise FileNotFoundError(f"{message}; is the path right?")
    try:
        return _load(folder, name)
    except ValueError as error:
        whole = [repr(other) for other in there if other != name and _is_whole(folder, other)]
        way = "start from it with --init-from" if whole == ["'best'"] else "resume from it"
        hint = f" The checkpoint {' or '.join(whole)} beside it is whole: sample from it, or {way}?"
        raise ValueError(f"{error}{hint if whole else ''}") from error


def _is_whole(folder: Path, name: str) -> bool:
    try:
        return bool(_load(folder, name))
    except (ValueError, OSError, MemoryError):
        return False


def _load(folder: Path, name: str) -> tuple[Arrays, dict[str, Any]]:
    while True:
        target = _target(folder, name)
        try:
            return _read(folder, *target)
        except OSError as error:
            if _target(folder, name) != target:  # a save has just replaced it: look again
                continue
            message = f"[load_checkpoint] the checkpoint in {str(folder)!r} must be complete, got"
            raise ValueError(f"{message}: {error}; copy the whole folder again?") from error


def _read(folder: Path, target: str, meta: Any) -> tuple[Arrays, dict[str, Any]]:
    """What lies in the sub-folder `target`, after a look at every byte of it."""
    path = folder / target / "arrays.safetensors"
    if meta is not None:
        _check_sum(folder / target / "meta.json", meta)
    content = _read_json(folder / target / "meta.json")
    _check_sum(path, content.get("arrays"))
    if not isinstance(content.get("meta"), dict):
        message = f"[load_checkpoint] {str(path.with_name('meta.json'))!r} must hold a dict"
        raise ValueError(f"{message}, got {content.get('meta')!r}; who wrote it?")
    return load_safetensors(path)[0], content["meta"]


def _check_sum(path: Path, wanted: Any) -> None:
    if (found := _size_and_sha256(path)) != wanted:
        message = f"[load_checkpoint] {str(path)!r} must have {wanted!r}, got {found}"
        raise ValueError(f"{message}; it was cut short or changed: copy it again?")


def _target(folder: Path, name: str) -> tuple[str, Any]:
    """The sub-folder to which the pointer `name` points, and what its meta.json must have."""
    pointer = _read_json(folder / f"{name}.json")
    target = pointer.get("folder")
    if not isinstance(target, str) or not SUB_FOLDER.fullmatch(target):
        message = f"[load_checkpoint] {name}.json in {str(folder)!r} must name a sub-folder"
        raise ValueError(f"{message}, got {target!r}; is it damaged?")
    return target, None if pointer["format_version"] == 1 else pointer.get("meta") or {}


def remove_unused(folder: Path) -> None:
    """Delete what no pointer points to: superseded sub-folders, and the traces of a killed save."""
    fsync(folder)  # the former checkpoint must outlive a rename that is not yet on the disk
    for entry in list(folder.iterdir()):
        if TEMPORARY.fullmatch(entry.name):
            entry.unlink(missing_ok=True)
        elif match := SUB_FOLDER.fullmatch(entry.name):
            with contextlib.suppress(ValueError):  # beside a damaged pointer everything is kept
                pointer = folder / f"{match[1]}.json"
                if not pointer.exists() or _target(folder, match[1])[0] != entry.name:
                    shutil.rmtree(entry, ignore_errors=True)


def _size_and_sha256(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"size": path.stat().st_size, "sha256": digest.hexdigest()}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **content}, indent=1)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="ascii")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = Decoder().whole(path.read_bytes())
    except ValueError as error:
        message = f"[load_checkpoint] {str(path)!r} must be JSON, got: {error}"
        raise ValueError(f"{message}; is it damaged?") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        message = f"[load_checkpoint] {str(path)!r} must be a {FORMAT}, got another kind of file"
        raise ValueError(f"{message}; is this the right folder?")
    if (version := content.get("format_version")) not in (1, FORMAT_VERSION):
        message = (
            f"[load_checkpoint] {str(path)!r} must be of format {FORMAT_VERSION}, got {version!r}"
        )
        raise ValueError(f"{message}; install the version of tinygrad_lm that wrote it?")
    return content


class MetaEncoder(Encoder):
    """Plain data only; numbers of NumPy become Python's, and subclasses what they derive from."""

    op = "save_checkpoint"

    def other(self, value: Any, where: str) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        for kind in (list, tuple):
            if isinstance(value, kind):
                return self.container(kind(value), where)
        if isinstance(value, dict) and all(isinstance(k, str) and k[:1] != "$" for k in value):
            return self.container({str.__str__(k): item for k, item in value.items()}, where)
        return super().other(value, where)

    def refuse(self, value: Any, where: str) -> NoReturn:
        kinds = "None, bool, int, float, str, list, tuple or dict"
        came = f"the keys {list(value)[:9]}" if isinstance(value, dict) else type(value).__name__
        raise TypeError(
            f"[{self.op}] {where} must be {kinds} (its keys texts not beginning with $), got "
            f"{came}; keep arrays in `arrays`, and turn other things into text?"
        )
