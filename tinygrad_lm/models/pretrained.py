"""GPT-2's files as Hugging Face has them, config.json and model.safetensors, read and written
without torch or transformers: names, the orientation of matrices, and what cannot be computed here.

Arrays come under the names of a GPT's `state_dict` and in its orientation (out, in). Everything is
checked before a model is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..saving.files import Arrays, StrPath, load_safetensors, replacing, save_safetensors
from ..saving.tree import parse

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# Conv1D keeps these as (in, out).
TURNED = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")
BUFFERS = re.compile(r"\bh\.\d+\.attn\.(masked_)?bias$")  # the causal mask
SIZES = {"n_positions": "block_size", "vocab_size": "vocab_size", "n_layer": "n_layer"}
SIZES |= {"n_head": "n_head", "n_embd": "n_embd"}
SAME = {"gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new", "swish": "silu"}
# Settings under which GPT-2 computes what we do not.
NEEDED = {
    "model_type": "gpt2",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}
SHOWN = 9  # names in a message


def _refused(where: StrPath, must: str, came: Any, hint: str) -> ValueError:
    return ValueError(f"[from_pretrained] {str(where)!r} must {must}, got {came}; {hint}?")


# ---------------------------------------------------------------- reading


def read_config(folder: StrPath) -> dict[str, Any]:
    """The fields of GPTConfig that a config.json says. FileNotFoundError, or ValueError: it is
    damaged, or asks for what is not computed here."""
    path = Path(folder, CONFIG)
    if not path.is_file():
        message = f"[from_pretrained] there must be a file {str(path)!r}, got none"
        raise FileNotFoundError(f"{message}; is it the folder of a GPT-2?")
    try:
        found = parse(path.read_bytes())
    except ValueError as error:
        raise _refused(path, "be JSON", error, "copy it again") from error
    if not isinstance(found, Mapping):
        raise _refused(path, "be a JSON object", type(found).__name__, "is it damaged")
    for name, value in NEEDED.items():
        if found.get(name, value) != value:
            came = f"{name} {found[name]!r}"
            raise _refused(path, f"have {name} {value!r}", came, "is it another kind of model")
    found = {"n_positions": found.get("n_ctx"), **found}
    fields: dict[str, Any] = {ours: found.get(theirs) for theirs, ours in SIZES.items()}
    for theirs, ours in SIZES.items():
        if type(fields[ours]) is not int or fields[ours] < 1:
            raise _refused(path, f"say {theirs}, a number >= 1", repr(fields[ours]), "damaged")
    inner, epsilon = found.get("n_inner") or 0, found.get("layer_norm_epsilon", 1e-5)
    if type(inner) is not int or type(epsilon) not in (int, float):
        came = f"{inner!r} and {epsilon!r}"
        raise _refused(path, "have numbers as n_inner and layer_norm_epsilon", came, "damaged")
    activation = found.get("activation_function", "gelu_new")
    fields["activation"] = SAME.get(activation, activation) if isinstance(activation, str) else ""
    bias = found.get("bias", True)  # ours alone: theirs always has biases
    if type(bias) is not bool:
        raise _refused(path, "have true or false as bias", repr(bias), "damaged")
    return {**fields, "layer_norm_epsilon": epsilon, "n_inner": inner, "bias": bias}


def read_weights(folder: StrPath, fields: Mapping[str, Any]) -> Arrays:
    """All of a GPT's parameters as float32. ValueError: names are missing or unexpected, shapes are
    not those of `fields`, a file is damaged or a pickle, or a number is not finite."""
    wanted, found = shapes({**fields, "bias": True}), {}
    unexpected: list[str] = []
    for file, name, array in _stored(Path(folder)):
        ours = canonical(name)
        if BUFFERS.search(ours):
            continue
        if ours not in wanted and ours != "lm_head.weight":
            unexpected.append(name)
            continue
        if ours in found:
            raise _refused(file, "have a tensor once", f"{name!r} again", "which one is right")
        found[ours] = _float32(file, name, array)
    _check_names(folder, wanted, found, unexpected)
    _turn(folder, found, fields)
    head = found.pop("lm_head.weight", None)
    wrong = [
        f"{name} {found[name].shape}, not {shape}"
        for name, shape in wanted.items()
        if found[name].shape != shape
    ]
    if wrong:
        raise _refused(folder, f"have the shapes of its {CONFIG}", _listed(wrong), "mixed files")
    if head is not None and not np.array_equal(head, found["transformer.wte.weight"]):
        must = "have one matrix to read and to write tokens"
        raise _refused(folder, must, "an lm_head.weight that is not wte.weight", "another model")
    kept = shapes(fields)
    if biased := [name for name in found if name not in kept and found[name].any()]:
        raise _refused(folder, "have no biases but 0, as bias is false", _listed(biased), "mixed")
    return {name: found[name] for name in kept}


def shapes(fields: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of a GPT, by its name; the head is the table of tokens."""
    C, inner = fields["n_embd"], fields.get("n_inner") or 4 * fields["n_embd"]
    found: dict[str, tuple[int, ...]] = {}

    def add(name: str, *shape: int) -> None:
        found[f"transformer.{name}.weight"] = shape
        if name not in ("wte", "wpe") and fields.get("bias", True):
            found[f"transformer.{name}.bias"] = shape[:1]

    add("wte", fields["vocab_size"], C)
    add("wpe", fields["block_size"], C)
    for i in range(fields["n_layer"]):
        add(f"h.{i}.ln_1", C)
        add(f"h.{i}.attn.c_attn", 3 * C, C)
        add(f"h.{i}.attn.c_proj", C, C)
        add(f"h.{i}.ln_2", C)
        add(f"h.{i}.mlp.c_fc", inner, C)
        add(f"h.{i}.mlp.c_proj", C, inner)
    add("ln_f", C)
    return found


def canonical(name: str) -> str:
    """A tensor's name as ours: of Hugging Face, with `transformer.` or without, of a compiled model
    of nanoGPT, or of OpenAI (model/h0/attn/c_attn/w)."""
    name = name.removeprefix("_orig_mod.")
    if name.startswith("model/"):
        parts = re.sub(r"^h(\d+)", r"h.\1", name.removeprefix("model/")).split("/")
        last = {"w": "weight", "g": "weight", "b": "bias"}.get(parts[-1])
        name = ".".join([*parts[:-1], last] if last else [*parts, "weight"])
    return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"


def _stored(folder: Path) -> Iterator[tuple[Path, str, np.ndarray]]:
    """(file, name, array) of all tensors, one file after the other in memory."""
    if (folder / WEIGHTS).is_file():
        files: dict[str, Any] = {WEIGHTS: None}
    elif (folder / INDEX).is_file():
        files = _shards(folder)
    elif archives := sorted(folder.glob("*.npz")):
        with np.load(archives[0], allow_pickle=False) as stored:
            yield from ((archives[0], name, stored[name]) for name in stored.files)
        return
    else:
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        must = f"hold {WEIGHTS} or {INDEX}"
        if pickles:
            hint = "a pickle runs code of whoever made it, so none is opened here: load it with "
            hint += "transformers or torch where you trust it, and save it with save_pretrained"
            raise _refused(folder, must, f"the pickle {pickles[0]}", hint)
        message = f"[from_pretrained] {str(folder)!r} must {must}, got neither"
        raise FileNotFoundError(f"{message}; is the download complete?")
    for file, names in files.items():
        arrays, _ = load_safetensors(folder / file)
        if names is not None and (missing := names - arrays.keys()):
            came = f"none of {_listed(missing)}"
            raise _refused(folder / file, f"hold what {INDEX} says", came, "mixed files")
        while arrays:
            yield folder / file, *arrays.popitem()


def _shards(folder: Path) -> dict[str, Any]:
    """The files that the index names, with the names in each."""
    try:
        places = parse((folder / INDEX).read_bytes())["weight_map"]
        files: dict[str, Any] = {}
        for name, file in places.items():
            if Path(file).name != file or not file.endswith(".safetensors"):
                raise ValueError(f"the file {file!r}")
            files.setdefault(file, set()).add(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        must = "map names to files beside it"
        raise _refused(folder / INDEX, must, repr(error), "is it damaged") from error
    if missing := [file for file in files if not (folder / file).is_file()]:
        raise _refused(
            folder, f"hold the files of its {INDEX}", f"no {_listed(missing)}", "copy it"
        )
    return files


def _float32(file: Path, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise _refused(file, f"hold floats as {name!r}", array.dtype, "is it quantised")
    array = array.astype(np.float32, copy=False)
    if array.ndim == 3 and len(array) == 1:  # as OpenAI has it
        array = array[0]
    if not np.isfinite(array).all():
        came = array[~np.isfinite(array)][0]
        raise _refused(file, f"hold finite numbers in {name!r}", came, "is it damaged")
    return array


def _check_names(
    folder: StrPath, wanted: Mapping[str, Any], found: Mapping[str, Any], unexpected: list[str]
) -> None:
    missing = [name for name in wanted if name not in found]
    if missing or unexpected:
        came = [f"{len(missing)} missing: {_listed(missing)}"] if missing else []
        came += [f"{len(unexpected)} unexpected: {_listed(unexpected)}"] if unexpected else []
        must = f"hold the tensors of its {CONFIG}"
        raise _refused(folder, must, " and ".join(came), "is it another model's config.json")


def _turn(folder: StrPath, found: Arrays, fields: Mapping[str, Any]) -> None:
    """Matrices that are (in, out) become (out, in). The shape of c_attn tells which they are."""
    C = fields["n_embd"]
    first = found["transformer.h.0.attn.c_attn.weight"].shape
    if first == (C, 3 * C):
        for name in filter(TURNED.search, found):
            found[name] = np.ascontiguousarray(found[name].T)
    elif first != (3 * C, C):
        came = f"transformer.h.0.attn.c_attn.weight {first}"
        must = f"have {(C, 3 * C)} or {(3 * C, C)} as that shape"
        raise _refused(folder, must, came, f"is it another model's {CONFIG}")


def _listed(names: Any) -> str:
    names = sorted(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


# ---------------------------------------------------------------- writing


def write(
    folder: StrPath, fields: Mapping[str, Any], arrays: Arrays, tokenizer: Any, overwrite: bool
) -> None:
    """A folder that transformers loads as GPT2LMHeadModel, with equal logits.

    Rows of the table beyond the tokenizer's vocabulary are left out; a model without biases is
    written with zeros, and comes back without. FileExistsError: such files are there, and overwrite
    is False. ValueError: there are parameters that GPT-2 has not.
    """
    if more := arrays.keys() - shapes(fields):
        message = "[save_pretrained] the model must have the parameters of a GPT-2, got"
        raise ValueError(f"{message} {_listed(more)}; merge what was added to it?")
    folder = Path(folder)
    names = (CONFIG, WEIGHTS, INDEX, TOKENIZER)
    if there := [name for name in names if (folder / name).exists() and not overwrite]:
        message = f"[save_pretrained] {str(folder)!r} must be without {_listed(names)}"
        raise FileExistsError(f"{message}, got {_listed(there)}; overwrite=True replaces them")
    special = getattr(tokenizer, "special", {})
    V = min(fields["vocab_size"], getattr(tokenizer, "vocab_size", fields["vocab_size"]))
    stored: Arrays = {}
    for name, shape in shapes({**fields, "bias": True}).items():
        array = arrays[name] if name in arrays else np.zeros(shape, np.float32)
        array = array[:V] if name == "transformer.wte.weight" else array
        stored[name] = np.ascontiguousarray(array.T if TURNED.search(name) else array)
    end = special.get("<|endoftext|>")
    dropout = fields.get("dropout", 0.0)
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        **{theirs: fields[ours] for theirs, ours in SIZES.items()},
        "vocab_size": V,
        "n_ctx": fields["block_size"],
        "n_inner": fields.get("n_inner") or None,
        "activation_function": fields.get("activation", "gelu_new"),
        "layer_norm_epsilon": fields.get("layer_norm_epsilon", 1e-5),
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), end),
        "tie_word_embeddings": True,
        **({} if fields.get("bias", True) else {"bias": False}),
        "torch_dtype": stored["transformer.wte.weight"].dtype.name,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(folder / WEIGHTS, stored, {"format": "pt"})
    if getattr(tokenizer, "kind", "") == "bpe":
        tokenizer.save(folder / TOKENIZER)
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="ascii")
