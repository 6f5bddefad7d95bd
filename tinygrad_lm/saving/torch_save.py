"""`save` and `load`: nested Python data with tensors anywhere, in one file and without pickle.

The arrays lie in a safetensors file, the tree around them as JSON in its metadata; a tensor that
occurs twice is stored once and is one again after loading. Objects of a script's own classes are
kept by `objects.py`. PyTorch's own files, which would need pickle, are refused.
"""

from __future__ import annotations

import argparse
import base64
import enum
import json
import os
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePath
from pickle import UnpicklingError
from typing import Any, BinaryIO, NoReturn

import numpy as np

from ..engine import arrays
from ..engine.core.tensor import Tensor, wrap
from ..engine.pytorch.tensor_extras import Size
from ..nn.parameter import Parameter
from .files import Arrays, StrPath, load_safetensors, save_safetensors, sha256_of
from .objects import (
    SAFE,
    add_safe_globals,
    attributes_of,
    has_state_dict,
    made_of_attributes,
    name_of,
    named,
    safe_globals,
    with_attributes,
)
from .tree import Decoder, Encoder

FORMAT, VERSION = "tinygrad_lm saved data", "2"  # 1 has no checksum, and is read
NAMED: dict[str, type] = {"set": set, "frozenset": frozenset, "Size": Size}
DICTS: dict[str, type] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}

__all__ = ["add_safe_globals", "load", "safe_globals", "save"]


def save(obj: Any, f: StrPath | BinaryIO, *settings: Any, **named: Any) -> None:
    """Write obj to a path (all or nothing) or to an open binary file.

    obj: None, bool, int, float, complex, str, bytes, list, tuple, set, range, Path, dict with any
    such keys, OrderedDict, Counter, argparse.Namespace, dtypes, devices, NumPy arrays and numbers,
    and Tensors, nested at will; also objects of classes written in Python: dataclasses, members of
    enumerations, whole modules. Of these the attributes are kept, whatever pickle would do. Of
    classes and functions their names are. Settings of PyTorch's pickling are accepted and have
    nothing to act on. TypeError says where something else is.
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

    weights_only: as in PyTorch from 2.6 on, objects of classes are taken with False alone, or if
    `add_safe_globals` has named their class; otherwise they are an UnpicklingError. A file chooses
    the class, the attributes, and the module that is imported for it, so that who wrote it matters;
    nothing else in a file is ever executed. Scripts that load whole modules in PyTorch write it.
    All of a file is checked against its checksum. ValueError: it is damaged or not one of `save`.
    RuntimeError: a device is not here. AttributeError: a class is not there.
    """
    trusted = weights_only is False
    if not hasattr(f, "read"):
        _refuse_pickle(f)
        return _decode(f, repr(str(f)), map_location, trusted)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(f.read())
        _refuse_pickle(path)
        return _decode(path, "the open file", map_location, trusted)


class Refused(Exception):
    """Holds the error that the caller of `load` gets."""


class DataEncoder(Encoder):
    """Codes what `save` takes, and collects the arrays that occur in it."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays: Arrays = {}
        self.names: dict[tuple, str] = {}
        self.kept: list[Any] = []  # so that an address stays taken while it is a key
        self.objects: dict[int, int] = {}  # id -> number

    def encode(self, value: Any, where: str) -> Any:
        if id(value) in self.objects:  # which may contain itself
            return {"$again": self.objects[id(value)]}
        return super().encode(value, where)

    def other(self, value: Any, where: str) -> Any:
        kind = type(value)
        if kind in NAMED.values():
            return {f"${kind.__name__}": self.items(value, where)}
        if kind in DICTS.values():
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
        if isinstance(value, arrays.dtype):
            return {"$dtype": value.name}
        if isinstance(value, arrays.device):
            return {"$device": str(value)}
        if isinstance(value, range):
            return {"$range": [value.start, value.stop, value.step]}
        if isinstance(value, PurePath):
            return {"$Path": str(value)}
        if isinstance(value, (int, float, str)):  # a subclass of these
            return super().other(value, where)
        return self.by_name(value, where)

    def by_name(self, value: Any, where: str) -> Any:
        """What goes by names: a class, a function, an object of a class."""
        if name := name_of(value):
            return {"$name": name}
        if (name := name_of(type(value))) is None:
            self.refuse(value, where)
        if isinstance(value, enum.Enum):
            return {"$enum": [*name, value.name]}
        held = None if has_state_dict(value) else attributes_of(value)
        if held is None:
            self.refuse(value, where)
        number = self.objects[id(value)] = len(self.objects)
        coded = {key: self.encode(item, f"{where}.{key}") for key, item in held.items()}
        return {"$object": [number, *name, coded]}

    def refuse(self, value: Any, where: str) -> NoReturn:
        came = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(
            f"[save] {where} must be plain data or a Tensor, or of a class of Python at the top of "
            f"its module, got {came}; move that class there, turn the object into a dict, or an "
            "optimiser into its state_dict()?"
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

    def __init__(self, arrays: Arrays, map_location: Any, shown: str, trusted: bool):
        self.arrays, self.map_location, self.shown = arrays, map_location, shown
        self.trusted, self.objects = trusted, {}  # type: ignore[var-annotated]
        self.placed: dict[tuple[str, str], Any] = {}
        self.tensors: dict[tuple, Tensor] = {}

    def special(self, kind: str, coded: Any) -> Any:
        simple: dict[str, Callable] = {
            "complex": complex, "bytes": base64.b64decode,
            "dtype": arrays.dtype_named, "device": arrays.device,
            "array": self.arrays.__getitem__, "number": lambda name: self.arrays[name][()],
            "range": lambda bounds: range(*bounds), "Path": Path,
            "again": self.objects.__getitem__, "name": lambda name: self.named(*name),
            "enum": lambda name: self.named(*name[:2])[name[2]],
        }  # fmt: skip
        if kind in simple:
            return simple[kind](coded)
        if kind in ("Tensor", "Parameter"):
            return self.tensor(kind, *coded)
        if kind in NAMED:
            return NAMED[kind](self.decode(coded))
        if kind == "Namespace":
            return argparse.Namespace(**self.decode(coded))
        if kind in DICTS:
            return DICTS[kind](dict(self.decode(coded)))
        if kind == "object":
            return self.built(*coded)
        return super().special(kind, coded)

    def built(self, number: int, module: str, name: str, held: dict[str, Any]) -> Any:
        kind = self.named(module, name)
        if not isinstance(kind, type) or not made_of_attributes(kind):
            raise ValueError(f"an object of {module}.{name}, which is no class of Python")
        made: Any = object.__new__(kind)
        self.objects[number] = made
        with_attributes(made, {key: self.decode(item) for key, item in held.items()})
        return made

    def named(self, module: str, name: str) -> Any:
        """A class or a function, where the caller of `load` has allowed it."""
        if not self.trusted and [module, name] not in [name_of(thing) for thing in SAFE]:
            raise Refused(
                UnpicklingError(
                    f"[load] {self.shown} must hold data alone (weights_only=True, the default), "
                    f"got {module}.{name}; if you trust who wrote it pass weights_only=False, or "
                    f"name that class with torch.serialization.add_safe_globals([{name}])"
                )
            )
        try:
            return named(module, name)
        except AttributeError as error:
            raise Refused(error) from error

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
            "pickle); write its state_dict with safetensors.torch.save_file(state_dict, FILE) "
            "there, and read it here with tinygrad_lm.saving.load_safetensors(FILE)[0]"
        )


def _decode(path: StrPath, shown: str, map_location: Any, trusted: bool) -> Any:
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
        return DataDecoder(arrays, map_location, shown, trusted).whole(tree)
    except Refused as refused:
        raise refused.args[0] from refused.__cause__
    except ValueError as error:
        raise ValueError(f"[load] {shown} must be whole, got: {error}; copy it again?") from error


def _sha256(arrays: Arrays, tree: str) -> str:
    return sha256_of(tree, *(part for name in sorted(arrays) for part in (name, arrays[name])))
