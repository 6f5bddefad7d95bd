"""`save` and `load`: nested Python data with tensors anywhere, in one file and without pickle.

The arrays lie in a safetensors file, the tree around them as JSON in its metadata; a tensor that
occurs twice is stored once and is one again after loading. Modules and PyTorch's own files, which
would need pickle, are refused.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from ..engine import arrays
from ..engine.core.tensor import Tensor, wrap
from ..engine.pytorch.tensor_extras import Size
from ..nn.module import Module
from ..nn.parameter import Parameter
from .files import Arrays, StrPath, load_safetensors, save_safetensors, sha256_of
from .tree import Decoder, Encoder

FORMAT, VERSION = "tinygrad_lm saved data", "2"  # 1 has no checksum, and is read
NAMED: dict[str, type] = {"set": set, "frozenset": frozenset, "Size": Size}


def save(obj: Any, f: StrPath | BinaryIO, *settings: Any, **named: Any) -> None:
    """Write obj to a path (all or nothing) or to an open binary file.

    obj: None, bool, int, float, complex, str, bytes, list, tuple, set, dict with any such keys,
    OrderedDict, argparse.Namespace, dtypes, devices, NumPy arrays and numbers, and Tensors, nested
    at will. Settings of PyTorch's pickling are accepted and have nothing to act on. TypeError says
    where something else is.
    """
    encoder = DataEncoder()
    tree = json.dumps(encoder.whole(obj, "obj"), separators=(",", ":"))
    metadata = {"format": FORMAT, "format_version": VERSION, "tree": tree}
    metadata["sha256"] = _sha256(encoder.arrays, tree)
    if not hasattr(f, "write"):
        save_safetensors(f, encoder.arrays, metadata)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_safetensors(Path(folder, "file"), encoder.arrays, metadata)
        f.write(Path(folder, "file").read_bytes())


def load(
    f: StrPath | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **settings: Any,
) -> Any:
    """What `save` wrote to f, with tensors on the device they were on, or on `map_location`: a
    device, or a dict from devices to devices, or a function (whose tensors stay on the CPU).

    Nothing in a file is ever executed, so `weights_only` has nothing to decide. All of it is
    checked against its checksum. ValueError for a file that is damaged or not one of `save`,
    RuntimeError for a device that is not here.
    """
    if not hasattr(f, "read"):
        _refuse_pickle(f)
        return _decode(f, repr(str(f)), map_location)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(f.read())
        _refuse_pickle(path)
        return _decode(path, "the open file", map_location)


class DataEncoder(Encoder):
    """Codes what `save` takes, and collects the arrays that occur in it."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays: Arrays = {}
        self.names: dict[tuple, str] = {}
        self.kept: list[Any] = []  # so that an address stays taken while it is a key

    def other(self, value: Any, where: str) -> Any:
        kind = type(value)
        if kind in NAMED.values():
            return {f"${kind.__name__}": self.items(value, where)}
        if kind in (dict, OrderedDict):
            pairs = [
                [self.encode(key, f"a key of {where}"), self.encode(item, f"{where}[{key!r}]")]
                for key, item in value.items()
            ]
            return {f"${kind.__name__}": pairs}
        if kind is argparse.Namespace:
            return {"$Namespace": self.encode(vars(value), where)}
        return self.leaf(value, where)

    def leaf(self, value: Any, where: str) -> Any:
        if isinstance(value, Tensor):
            kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
            name = self.store(value.array)
            return {f"${kind}": [name, str(value.device), value.requires_grad]}
        if type(value) is np.ndarray and value.dtype.kind in "biuf":
            return {"$array": self.store(value)}
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            return {"$number": self.store(np.asarray(value))}
        if isinstance(value, bytes):
            return {"$bytes": base64.b64encode(value).decode()}
        if isinstance(value, complex):
            return {"$complex": repr(value)}
        if isinstance(value, (arrays.dtype, arrays.device)):
            word = value.name if isinstance(value, arrays.dtype) else str(value)
            return {f"${type(value).__name__}": word}
        return super().other(value, where)

    def refuse(self, value: Any, where: str) -> NoReturn:
        came = type(value).__name__
        if isinstance(value, Module):
            raise TypeError(
                f"[save] {where} must be data, got the whole module {came}; save its state_dict(), "
                "and load that into a module built by the same code"
            )
        raise TypeError(
            f"[save] {where} must be plain data or a Tensor, got {came}; turn it into a dict, "
            "or an optimiser into its state_dict()?"
        )

    def store(self, array: Any) -> str:
        """The name of an array's memory in the file; the same memory has one name."""
        address = array.ctypes.data if type(array) is np.ndarray else array.data.ptr
        key = (address, array.shape, array.strides, array.dtype, type(array))
        if key not in self.names or array.size == 0:
            self.names[key] = str(len(self.arrays))
            self.arrays[self.names[key]] = arrays.to_numpy(array)
            self.kept.append(array)
        return self.names[key]


class DataDecoder(Decoder):
    """Gives back what `save` took; tensors that were one are one again."""

    def __init__(self, arrays: Arrays, map_location: Any, shown: str):
        self.arrays, self.map_location, self.shown = arrays, map_location, shown
        self.placed: dict[tuple[str, str], Any] = {}
        self.tensors: dict[tuple, Tensor] = {}

    def special(self, kind: str, coded: Any) -> Any:
        simple: dict[str, Callable] = {
            "complex": complex, "bytes": base64.b64decode,
            "dtype": arrays.dtype_named, "device": arrays.device,
            "array": self.arrays.__getitem__, "number": lambda name: self.arrays[name][()],
        }  # fmt: skip
        if kind in simple:
            return simple[kind](coded)
        if kind in ("Tensor", "Parameter"):
            return self.tensor(kind, *coded)
        if kind in NAMED:
            return NAMED[kind](self.decode(coded))
        if kind == "Namespace":
            return argparse.Namespace(**self.decode(coded))
        if kind in ("dict", "OrderedDict"):
            return (dict if kind == "dict" else OrderedDict)(self.decode(coded))
        return super().special(kind, coded)

    def tensor(self, kind: str, name: str, device: str, requires_grad: bool) -> Tensor:
        key = (kind, name, device, requires_grad)
        if key not in self.tensors:
            where = self.location(device)
            if (name, where) not in self.placed:
                self.placed[name, where] = arrays.to_device(self.arrays[name], where)
            made = wrap(self.placed[name, where])
            if kind == "Parameter":
                made = Parameter(made, requires_grad)
            self.tensors[key] = made.requires_grad_() if requires_grad else made
        return self.tensors[key]

    def location(self, device: str) -> str:
        if callable(self.map_location):
            return "cpu"
        if isinstance(self.map_location, dict):
            return str(self.map_location.get(device, device))
        if self.map_location is not None:
            return str(self.map_location)
        if device != "cpu" and not arrays.cuda_is_available():
            raise RuntimeError(
                f"[load] a tensor of {self.shown} was saved on {device!r}, and there is no GPU "
                "here; pass map_location='cpu'"
            )
        return device


def _refuse_pickle(path: StrPath) -> None:
    """PyTorch's files are a zip archive around a pickle, older ones a pickle; neither is read."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"[load] a file must exist at {str(path)!r}, got none; a typo?")
    with open(path, "rb") as file:
        start = file.read(9)  # of safetensors: the header's length, which may be anything, and {
    if (start[:2] == b"PK" or start[:1] == b"\x80") and start[8:] != b"{":
        raise ValueError(
            f"[load] {str(path)!r} must be a file of this project's save, got one of PyTorch (a "
            "pickle); write its state_dict with safetensors there, and use load_safetensors"
        )


def _decode(path: StrPath, shown: str, map_location: Any) -> Any:
    arrays, metadata = load_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"[load] {shown} must be a {FORMAT} file, got another kind of safetensors; "
            "read it with load_safetensors"
        )
    version, tree = metadata.get("format_version"), metadata.get("tree", "")
    if version not in ("1", VERSION):
        raise ValueError(
            f"[load] {shown} must be of format {VERSION}, got {version!r}; "
            "install the version of tinygrad_lm that wrote it?"
        )
    try:
        if version == VERSION and _sha256(arrays, tree) != metadata.get("sha256"):
            raise ValueError("data that is not what its checksum was made of")
        return DataDecoder(arrays, map_location, shown).whole(tree)
    except ValueError as error:
        raise ValueError(f"[load] {shown} must be whole, got: {error}; copy it again?") from error


def _sha256(arrays: Arrays, tree: str) -> str:
    return sha256_of(tree, *(part for name in sorted(arrays) for part in (name, arrays[name])))
