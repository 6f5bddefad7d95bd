"""GPT-2's weights, in and out, in the files that transformers reads and writes: config.json and
model.safetensors, with or without shards. `GPT.from_pretrained` and `GPT.save_pretrained` are these
functions; neither PyTorch nor transformers is needed.

Their model computes what ours does, under other names and with some matrices transposed. What it
can be told to compute otherwise is refused by name.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.arrays import as_dtype
from ..engine.pytorch.common import Dtype
from ..saving.files import Arrays, StrPath, check_writable, fsync, replacing, save_safetensors
from .gpt2_files import (
    BUFFERS,
    CONFIG,
    EMBEDDING,
    HEAD,
    INDEX,
    TOKENIZER,
    WEIGHTS,
    Entry,
    arrays_of,
    check_entries,
    is_matrix,
    our_name,
    read_json_object,
    shapes_of,
    squeezed,
    stored_transposed,
    wanted,
    weight_files,
)

ACTIVATIONS = {name: name for name in ("gelu", "gelu_new", "relu", "silu")} | {
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_fast": "gelu_new",
    "swish": "silu",
}
# What transformers can be told to compute otherwise: (what we compute, in words).
OURS: dict[str, tuple[Any, str]] = {
    "model_type": ("gpt2", "other models are other functions"),
    "scale_attn_weights": (True, "attention divides its scores by the root of the head size"),
    "scale_attn_by_inverse_layer_idx": (False, "attention is the same in every layer"),
    "add_cross_attention": (False, "there is no encoder to look at"),
}
END = "<|endoftext|>"
HPARAMS = "hparams.json"  # OpenAI's, read where there is no config.json
FILES = (HPARAMS, CONFIG, WEIGHTS, INDEX, *TOKENIZER)  # what makes up a model


# ---------------------------------------------------------------- reading


def read_config(folder: Path) -> dict[str, Any]:
    """The fields of our GPTConfig, without dropout, that a folder's config.json says (or OpenAI's
    hparams.json). ValueError, by name: what we cannot compute, or a value that is none."""
    path = _config_file(folder)
    given, where = read_json_object(path), repr(str(path))
    given.setdefault("vocab_size", given.get("n_vocab"))  # OpenAI's name
    for name, (ours, why) in OURS.items():
        if given.get(name, ours) != ours:
            message = f"[from_pretrained] {name} in {where} must be {ours!r}, as {why}"
            raise ValueError(f"{message}; got {given[name]!r}, which this GPT cannot compute")
    found: dict[str, Any] = {}
    for field, name in {
        "block_size": "n_positions" if "n_positions" in given else "n_ctx",
        **{name: name for name in ("vocab_size", "n_layer", "n_head", "n_embd")},
    }.items():
        found[field] = _number(given.get(name), int, name, where)
    if given.get("n_inner") is not None:
        found["n_inner"] = _number(given["n_inner"], int, "n_inner", where)
    epsilon = given.get("layer_norm_epsilon", 1e-5)
    found["layer_norm_epsilon"] = _number(epsilon, (int, float), "layer_norm_epsilon", where)
    activation = given.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        message = f"[from_pretrained] activation_function in {where} must be one of"
        raise ValueError(f"{message} {', '.join(ACTIVATIONS)}, got {activation!r}; another model?")
    bias = given.get("bias", True)
    if not isinstance(bias, bool):
        message = f"[from_pretrained] bias in {where} must be true or false, got {bias!r}"
        raise ValueError(f"{message}; leave it out where there are biases")
    return {**found, "activation": ACTIVATIONS[activation], "bias": bias}


def _config_file(folder: Path) -> Path:
    for name in (CONFIG, HPARAMS):
        if (folder / name).is_file():
            return folder / name
    came = ", ".join(sorted(path.name for path in folder.iterdir())[:9])
    message = f"[from_pretrained] {str(folder)!r} must hold {CONFIG}, got {came or 'nothing'}"
    raise FileNotFoundError(f"{message}; is it the right folder?")


def _number(value: Any, kinds: Any, name: str, where: str) -> Any:
    """`value`, a positive number. ValueError: it is none."""
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < math.inf:
        what = "a whole number >= 1" if kinds is int else "a number above 0"
        message = f"[from_pretrained] {name} in {where} must be {what}, got {value!r}"
        raise ValueError(f"{message}; is the file damaged?")
    return value


def read_weights(folder: Path, config: Mapping[str, Any], dtype: Dtype = "float32") -> Arrays:
    """The parameters of a GPT by our names, contiguous, from the files of a folder.

    config: the fields of its GPTConfig, which says what must be there; that is looked at before
    any tensor is read. One file is in memory at a time, beside what is returned. dtype: of what
    comes out, whatever the file has. ValueError, by name: tensors that are missing, unexpected, of
    another shape, no finite numbers, a head that is not the embedding; a damaged file.
    """
    kind = as_dtype(dtype)
    if not kind.is_floating_point:
        raise TypeError(f"[from_pretrained] dtype must be floating-point, got {dtype!r}")
    files, where = weight_files(folder), repr(str(folder))
    entries = _entries(files, config["block_size"], where)
    check_entries(entries, config, where)
    tied = read_json_object(_config_file(folder)).get("tie_word_embeddings", True)
    if not tied and HEAD not in entries:
        message = f"[from_pretrained] {where} must hold {HEAD}, as its {CONFIG} has"
        raise ValueError(f"{message} tie_word_embeddings false, got none; copy it again?")
    back = stored_transposed(entries, config)
    found: Arrays = {}
    for path in files:
        arrays = arrays_of(path)
        while arrays:
            given, array = arrays.popitem()
            name = our_name(given)
            if name in entries:
                array = array.reshape(squeezed(array.shape)) if is_matrix(name) else array
                array = array.T if back and is_matrix(name) else array
                found[name] = _finite(array, kind.np, f"{given!r} in {str(path)!r}")
    _check_tied(found, where)
    return found if config["bias"] else _without_biases(found, config, where)


def _entries(files: list[Path], block_size: int, where: str) -> dict[str, Entry]:
    """What the files hold, by our names, without the masks. ValueError: two of one name."""
    found: dict[str, Entry] = {}
    for path in files:
        for given, (dtype, shape) in shapes_of(path).items():
            name = our_name(given)
            if BUFFERS.fullmatch(name) and math.prod(shape) <= block_size**2:
                continue
            if name in found:
                message = f"[from_pretrained] {where} must hold each tensor once, got {given!r}"
                raise ValueError(f"{message} and {found[name].name!r}; were files mixed?")
            found[name] = Entry(given, dtype, shape)
    return found


def _finite(array: np.ndarray, kind: np.dtype, where: str) -> np.ndarray:
    """`array`, contiguous, as floats of a kind. ValueError: not all of them are numbers."""
    with np.errstate(over="ignore", invalid="ignore"):  # looked for below
        found = np.asarray(array, kind, "C")
    if not np.isfinite(found).all():
        came = found[~np.isfinite(found)][0]
        message = f"[from_pretrained] {where} must hold finite numbers, got {came}"
        raise ValueError(f"{message} as {kind.name}; was it saved by a run that went wrong?")
    return found


def _check_tied(found: Arrays, where: str) -> None:
    """Take the head away, which is the embedding. ValueError: it is not."""
    head = found.pop(HEAD, None)
    if head is not None and not np.array_equal(head, found[EMBEDDING]):
        message = f"[from_pretrained] {HEAD} in {where} must equal {EMBEDDING}, got another matrix"
        raise ValueError(f"{message}; this GPT reads and writes tokens with one")


def _without_biases(found: Arrays, config: Mapping[str, Any], where: str) -> Arrays:
    """What a model without biases keeps. ValueError: one that would have to be 0 is not."""
    kept = wanted(config, False)
    wrong = [name for name, array in found.items() if name not in kept and array.any()]
    if wrong:
        message = f'[from_pretrained] {where} must have zeros for biases, as "bias" is false in its'
        raise ValueError(f"{message} {CONFIG}, got others in {', '.join(wrong)}; leave it out?")
    return {name: found[name] for name in kept}


# ---------------------------------------------------------------- writing


def write(
    path: StrPath,
    config: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    tokenizer: Any = None,
    vocab_size: int | None = None,
    overwrite: bool = False,
) -> None:
    """A folder that `read_config` and `read_weights` read, and transformers' GPT2LMHeadModel.

    config: the fields of a GPTConfig. weights: its parameters by our names. tokenizer: gives the
    size of the vocabulary and the id of "<|endoftext|>", and is written beside the weights where
    transformers could read it (kind "bpe"). vocab_size: how many tokens there are, where the
    model's vocabulary is padded. A model without biases gets zeros, which compute the same, and
    "bias": false for ourselves. Nothing that was there is touched before all is written beside it;
    then it goes, another model's tokenizer too, config.json first, and comes config.json last.
    ValueError: other parameters than GPT-2's, a vocabulary that does not fit, or no path.
    FileExistsError: such files are there, and overwrite is False. OSError: it cannot be written.
    """
    if not (place := os.fspath(path)) or "\0" in place:
        message = f"[save_pretrained] it must be a folder's path, got {place!r}"
        raise ValueError(f"{message}; '.' is the current folder")
    vocabulary = _vocabulary(config["vocab_size"], tokenizer, vocab_size)
    shapes = wanted(config, config["bias"])
    if other := shapes.keys() ^ weights.keys():
        message = "[save_pretrained] the model must have GPT-2's parameters and no others, got"
        hint = "merge what was added to it first"
        raise ValueError(f"{message} a difference in {', '.join(sorted(other)[:9])}; {hint}?")
    arrays = {
        name: np.ascontiguousarray(array.T if is_matrix(name) else array)
        for name, array in weights.items()
    }
    arrays[EMBEDDING] = arrays[EMBEDDING][:vocabulary]
    kind = arrays[EMBEDDING].dtype
    for name, shape in wanted(config).items():
        arrays.setdefault(name, np.zeros(shape, kind))
    folder, with_tokenizer = Path(path), getattr(tokenizer, "kind", None) == "bpe"
    if there := [name for name in FILES if os.path.lexists(folder / name) and not overwrite]:
        message = f"[save_pretrained] {str(folder)!r} must be without {', '.join(FILES)}, got"
        raise FileExistsError(f"{message} {', '.join(there)}; overwrite=True replaces them")
    check_writable(folder)
    content = _their_config(config, vocabulary, getattr(tokenizer, "special", {}).get(END))
    _replace(folder, content, arrays, tokenizer if with_tokenizer else None)


def _replace(folder: Path, content: dict[str, Any], arrays: Arrays, tokenizer: Any) -> None:
    """The files of a model in place of another's, of which none stays."""
    for name in FILES:  # of a process that was killed
        for left in [*folder.glob(f".{name}.*.tmp"), *folder.glob(f"..{name}.*.tmp")]:
            left.unlink()
    with contextlib.ExitStack() as stack:  # leaving it puts the last of these in its place first
        new = [CONFIG, *([] if tokenizer is None else TOKENIZER[:1]), WEIGHTS]
        temporary = {name: stack.enter_context(replacing(folder / name)) for name in new}
        save_safetensors(temporary[WEIGHTS], arrays, {"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(temporary[TOKENIZER[0]])
        temporary[CONFIG].write_text(json.dumps(content, indent=2) + "\n", encoding="ascii")
        # Until config.json is there again, this is no model: never new weights under an old one.
        for name in FILES:
            if name == CONFIG or name not in new:
                (folder / name).unlink(missing_ok=True)
        fsync(folder)


def _vocabulary(most: int, tokenizer: Any, vocab_size: int | None) -> int:
    least = 1 if tokenizer is None else tokenizer.vocab_size
    size = vocab_size if vocab_size is not None else most if tokenizer is None else least
    if isinstance(size, bool) or not isinstance(size, int) or not least <= size <= most:
        message = f"[save_pretrained] vocab_size must be in {least}..{most}, from the tokenizer's"
        raise ValueError(f"{message} to the model's, got {size!r}; is it another tokenizer?")
    return size


def _their_config(config: Mapping[str, Any], vocabulary: int, end: int | None) -> dict[str, Any]:
    """The config.json of transformers. Of the fields of GPTConfig, only `bias` is not theirs."""
    same = {name: config[name] for name in ("n_layer", "n_head", "n_embd", "layer_norm_epsilon")}
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **same,
        "n_positions": config["block_size"],
        "n_ctx": config["block_size"],
        "n_inner": config["n_inner"] or None,
        "vocab_size": vocabulary,
        "activation_function": config["activation"],
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config["dropout"]),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), end),
        "tie_word_embeddings": True,
        **({} if config["bias"] else {"bias": False}),
    }
