"""Single files written all or nothing, so that a crash never leaves half of one under its name.

Arrays are kept as safetensors; Tensors are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .tree import parse

StrPath = str | os.PathLike[str]
Arrays = dict[str, np.ndarray]

DTYPES = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64"
STORED = dict(zip("BOOL U8 I8 U16 I16 U32 I32 U64 I64 F16 BF16 F32 F64".split(), DTYPES.split()))


def fsync(path: Path) -> None:
    """Force a file, or the list of names in a folder, onto the disk."""
    if os.name == "nt" and path.is_dir():  # Windows can open no folder, and needs no such step
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replacing(path: StrPath) -> Iterator[Path]:
    """Yield a temporary name beside `path`; leaving the block puts that file in its place.

    That is one step, and durable. An exception inside the block leaves `path` as it was and
    removes the temporary file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors makes its files private; the user's umask decides here
        fsync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync(path.parent)


def check_writable(folder: StrPath) -> None:
    """Make `folder` and write into it once, before hours of work. OSError says what is wrong."""
    probe = Path(folder) / ".probe-of-tinygrad_lm"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        with replacing(probe) as temporary:
            temporary.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        message = f"[check_writable] the folder must be writable, got {str(folder)!r}: {error}"
        raise OSError(f"{message}; choose another folder?") from error


def _as_stored(name: str, array: np.ndarray) -> np.ndarray:
    """`array` contiguous, as the file holds it; 0-d stays 0-d."""
    came = array.dtype.name if isinstance(array, np.ndarray | np.generic) else type(array).__name__
    if came not in DTYPES.split():
        message = (
            f"[save_safetensors] {name!r} must be a NumPy array of one of {DTYPES}, got {came}"
        )
        raise TypeError(f"{message}; use .numpy() or .astype?")
    return np.asarray(array, order="C")  # the library writes whatever lies behind the pointer


def save_safetensors(
    path: StrPath, arrays: Arrays, metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays and texts to one file. TypeError for what the format cannot hold."""
    stored = {name: _as_stored(name, array) for name, array in arrays.items()}
    with replacing(path) as temporary:
        try:
            save_file(stored, temporary, dict(metadata) if metadata else None)
        except SafetensorError as error:  # so the library reports a full disk
            raise OSError(
                f"[save_safetensors] {str(path)!r} must be writable, got: {error}"
            ) from error


def sha256_of(*parts: Any) -> str:
    """One checksum of texts and arrays in this order: of an array dtype, shape and values."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.name} {part.shape}\n".encode())
            digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            digest.update(f"{len(part)}\n{part}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def load_safetensors(path: StrPath) -> tuple[Arrays, dict[str, str]]:
    """(arrays, metadata): the arrays in memory, writable. ValueError for a damaged file, or one
    with a dtype that NumPy has not. MemoryError: they do not fit."""
    with _whole(path) as file:
        return _arrays(path), file.metadata() or {}


def shapes_in(path: StrPath) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The dtype and the shape of every array in a file, none of which is read. ValueError as
    above."""
    with _whole(path) as file:
        entries = {name: file.get_slice(name) for name in file.keys()}
        return {
            name: (STORED.get(entry.get_dtype(), entry.get_dtype()), tuple(entry.get_shape()))
            for name, entry in entries.items()
        }


@contextlib.contextmanager
def _whole(path: StrPath) -> Iterator[Any]:
    """The file, open; what is wrong with it, also inside, as one of the errors above."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"[load_safetensors] a file must exist at {str(path)!r}, got none; a typo?"
        )
    try:
        with safe_open(path, framework="np") as file:  # the library finds what does not fit
            yield file
    except (SafetensorError, ValueError) as error:
        message = f"[load_safetensors] {str(path)!r} must be a whole safetensors file, got"
        raise ValueError(f"{message}: {str(error)!r}; copy it again?") from error
    except MemoryError as error:
        message = (
            f"[load_safetensors] {str(path)!r} must fit into memory, got {os.path.getsize(path)}"
        )
        raise MemoryError(f"{message} bytes; is it the right file?") from error


def _arrays(path: StrPath) -> Arrays:
    """What a file holds whose offsets are known to be right; the library would take a name twice,
    and ends the process where memory ends."""
    found = {}
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        for name, entry in parse(file.read(length)).items():
            if name == "__metadata__":
                continue
            if (kind := STORED.get(entry["dtype"])) is None:
                raise ValueError(f"{name!r} of the dtype {entry['dtype']}, not one of {DTYPES}")
            start, end = entry["data_offsets"]
            data = np.empty(end - start, np.uint8)
            file.seek(8 + length + start)
            file.readinto(data.data)
            found[name] = data.view(kind).reshape(entry["shape"])
    return found
