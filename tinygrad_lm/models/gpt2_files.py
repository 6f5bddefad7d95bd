"""What GPT-2 consists of on a disk: the files of a folder, and the names and shapes of the tensors
in them, which transformers, nanoGPT and OpenAI each write in their own way. Nothing is computed
here, and of a file no more is read than its table of contents.
"""

from __future__ import annotations

import contextlib
import math
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..saving.files import Arrays, load_safetensors, shapes_in
from ..saving.tree import parse

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt")  # the first, or the others
NOT_READ = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt*", "*.h5", "*.msgpack")

# Matrices (in, out) in the files of transformers and OpenAI; nanoGPT has (out, in), as we do.
MATRICES = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
BUFFERS = re.compile(r"transformer\.h\.\d+\.attn\.(masked_)?bias")  # masks, always the same
HEAD, EMBEDDING = "lm_head.weight", "transformer.wte.weight"
FLOATS = ("float16", "bfloat16", "float32", "float64")


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. ValueError: it is none."""
    try:
        content = parse(path.read_bytes())
    except ValueError as error:
        message = f"[from_pretrained] {str(path)!r} must be JSON, got: {error}"
        raise ValueError(f"{message}; copy it again?") from error
    if not isinstance(content, dict):
        message = f"[from_pretrained] {str(path)!r} must hold one JSON object"
        raise ValueError(f"{message}, got {type(content).__name__}; is it the right file?")
    return content


# ---------------------------------------------------------------- files


def shards(index: Path) -> list[str]:
    """The names of the files that an index lists, each once. ValueError: it lists none, or a path,
    which could lead out of the folder."""
    placed = read_json_object(index).get("weight_map")
    names: dict[str, None] = {}
    for name in placed.values() if isinstance(placed, dict) and placed else [None]:
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name):
            message = f"[from_pretrained] weight_map in {str(index)!r} must give names of"
            hint = "shards lie beside their index"
            raise ValueError(f"{message} safetensors files, got {name!r}; {hint}")
        names[name] = None
    return [*names]


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights. ValueError or FileNotFoundError: none that is read, or a shard
    is missing."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        found = [folder / name for name in shards(folder / INDEX)]
        if missing := [path.name for path in found if not path.is_file()]:
            message = f"[from_pretrained] {str(folder)!r} must hold every shard of its index, got"
            raise FileNotFoundError(f"{message} no {', '.join(missing)}; copy the folder again?")
        return found
    if len(archives := [*folder.glob("*.npz")]) == 1:
        return archives
    message = f"[from_pretrained] {str(folder)!r} must hold {WEIGHTS}, got"
    refused = sorted(path.name for kind in NOT_READ for path in folder.glob(kind))
    if refused:
        raise ValueError(f"{message} {refused[0]!r}, {WHY_NOT}")
    came = ", ".join(sorted(path.name for path in folder.iterdir())[:9])
    raise FileNotFoundError(f"{message} {came or 'nothing'}; is it the right folder?")


WHY_NOT = (
    "which is not read, because a pickle runs whatever code is in it; where transformers is "
    "installed and you trust the file, convert it: "
    "GPT2LMHeadModel.from_pretrained(folder).save_pretrained(folder)"
)


def shapes_of(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The dtype and the shape of each tensor in a file, by name. ValueError: damaged."""
    if path.suffix != ".npz":
        return shapes_in(path)
    with _whole_npz(path) as file:
        members = file.infolist()
        found = dict(_npy_header(file, member) for member in members)
        if len(found) < len(members):
            raise ValueError("two arrays of one name")
        return found


def arrays_of(path: Path) -> Arrays:
    """The tensors in a file, by name. ValueError: damaged."""
    if path.suffix != ".npz":
        return load_safetensors(path)[0]
    with _whole_npz(path) as file:
        return {name[:-4]: np.lib.format.read_array(file.open(name)) for name in file.namelist()}


@contextlib.contextmanager
def _whole_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, open. ValueError: what is wrong with it, also inside."""
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except Exception as error:  # zipfile and NumPy raise almost all there is
        message = f"[from_pretrained] {str(path)!r} must be a whole .npz file of plain arrays, got"
        raise ValueError(f"{message}: {error!r:.200}; copy it again?") from error


def _npy_header(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> tuple[str, tuple[str, tuple[int, ...]]]:
    """The name, the dtype and the shape of an array of an .npz file, for which there are as many
    bytes as it needs: NumPy would ask for memory first."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}
        shape, _, dtype = read.get(version, np.lib.format.read_array_header_2_0)(file)
        needed = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject or needed != member.file_size or not member.filename.endswith(".npy"):
        came = f"{member.filename} of {dtype} {shape} in {member.file_size} bytes"
        raise ValueError(came)
    return member.filename[:-4], (dtype.name, shape)


# ---------------------------------------------------------------- tensors


class Entry(NamedTuple):
    """A tensor in a file: its name there, its dtype and its shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def our_name(name: str) -> str:
    """A tensor's name in our model, from its name in a file of transformers (with or without
    "transformer."), nanoGPT or OpenAI. Any other name comes out as one that we do not know."""
    name = name.removeprefix("_orig_mod.")  # torch.compile puts it there
    if name.startswith("model/"):  # OpenAI's: model/h0/attn/c_attn/w, model/ln_f/g, model/wte
        name = re.sub(r"^model/(?:h(?=\d+/))?", lambda m: "h." if m[0] != "model/" else "", name)
        ends = {"w": "weight", "g": "weight", "b": "bias", "wte": "wte.weight", "wpe": "wpe.weight"}
        *path, last = name.split("/")
        name = ".".join([*path, ends.get(last, last)])
    return name if name == HEAD else "transformer." + name.removeprefix("transformer.")


def wanted(config: Mapping[str, Any], biases: bool = True) -> dict[str, tuple[int, ...]]:
    """The shapes of a GPT's parameters, by name, from the fields of its GPTConfig; the biases of
    linear layers and norms are among them or not."""
    C, V, T = config["n_embd"], config["vocab_size"], config["block_size"]
    width = config["n_inner"] or 4 * C
    layer: dict[str, tuple[int, ...]] = {"ln_1.weight": (C,), "ln_2.weight": (C,)}
    layer |= zip(MATRICES, ((3 * C, C), (C, C), (width, C), (C, width)))
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (V, C), "transformer.wpe.weight": (T, C)}
    for i in range(config["n_layer"]):
        shapes |= {f"transformer.h.{i}.{name}": shape for name, shape in layer.items()}
    shapes["transformer.ln_f.weight"] = (C,)
    if biases:
        with_bias = [n for n in shapes if n not in (EMBEDDING, "transformer.wpe.weight")]
        shapes |= {n.removesuffix("weight") + "bias": shapes[n][:1] for n in with_bias}
    return shapes


def is_matrix(name: str) -> bool:
    return name.endswith(MATRICES)


def stored_transposed(entries: Mapping[str, Entry], config: Mapping[str, Any]) -> bool:
    """Whether matrices are (in, out) in a file. One c_attn decides, since it is never square."""
    found = entries.get("transformer.h.0.attn.c_attn.weight")
    return found is None or squeezed(found.shape) != (3 * config["n_embd"], config["n_embd"])


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a matrix without the leading 1 of OpenAI's convolutions."""
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


def check_entries(entries: Mapping[str, Entry], config: Mapping[str, Any], where: str) -> None:
    """ValueError, with every name at once: tensors that a GPT of this config has and `entries` (by
    our names) lacks, those that it has not, other shapes, and dtypes that are no floats."""
    layers, count = config["n_layer"], len(entries)
    if layers > count:  # before a list is made of a number that is a lie
        message = f"[from_pretrained] {where} must hold the {layers} layers of its {CONFIG}, got"
        raise ValueError(f"{message} {count} tensors; were files mixed?")
    shapes = wanted(config)
    optional = set() if config["bias"] else shapes.keys() - wanted(config, False).keys()
    known, back = {**shapes, HEAD: shapes[EMBEDDING]}, stored_transposed(entries, config)
    missing = [name for name in shapes if name not in entries and name not in optional]
    unexpected = [repr(entry.name) for name, entry in entries.items() if name not in known]
    other, no_floats = [], []
    for name, entry in entries.items():
        if name in known:
            must = known[name][::-1] if back and is_matrix(name) else known[name]
            came = squeezed(entry.shape) if is_matrix(name) else entry.shape
            if came != must:
                other.append(f"{entry.name} {entry.shape} in place of {must}")
            if entry.dtype not in FLOATS:
                no_floats.append(f"{entry.name} ({entry.dtype})")
    problems = {"missing": missing, "unexpected": unexpected}
    problems |= {"of another shape": other, "no floats": no_floats}
    if any(problems.values()):
        listed = "; ".join(f"{what}: {_listed(names)}" for what, names in problems.items() if names)
        message = f"[from_pretrained] {where} must hold the tensors that its {CONFIG} describes"
        hint = "is it another kind of model?"
        if missing and all(name.endswith(".bias") for name in missing):
            hint = f'a model without biases needs "bias": false in its {CONFIG}'
        raise ValueError(f"{message}, got {listed}; {hint}")


def _listed(names: Iterable[str], most: int = 200) -> str:
    names = [*names]
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])
