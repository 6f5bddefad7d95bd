"""A GPT and its tokenizer in a checkpoint, and back: the part of a run that sampling needs. Instead
of a run's folder there may be one with GPT-2's files, or the name of one of OpenAI's models.

The optimiser and the position in training, which only resuming needs, are kept by `training/`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..engine.arrays import device as Device
from ..engine.pytorch import creation
from ..saving.checkpoint import load_checkpoint
from ..saving.files import Arrays, StrPath
from ..text.tokenizers import Tokenizer, load_tokenizer
from .gpt import GPT, GPTConfig
from .hub import OPENAI, find_pretrained
from .lora import add_lora, lora_settings, merge_lora
from .pretrained import read_config

PREFIX = "model."


def model_state(model: GPT, tokenizer: Tokenizer) -> tuple[Arrays, dict[str, Any]]:
    """(arrays, meta) for `save_checkpoint`, from which `load_gpt` makes both again."""
    arrays = {PREFIX + name: t.detach().cpu().numpy() for name, t in model.state_dict().items()}
    meta = {"gpt": dataclasses.asdict(model.config), "tokenizer": tokenizer.to_json()}
    return arrays, {**meta, "lora": lora_settings(model)}


def pretrained_folder(place: StrPath) -> Path | None:
    """The folder of GPT-2's files that `place` is or names, downloaded if need be; None where it is
    to be a run's."""
    if Path(place, "config.json").is_file() and not Path(place, "last.json").is_file():
        return Path(place)
    if str(place) in OPENAI and not Path(place).exists():
        return find_pretrained(str(place))
    if str(place).startswith("gpt2") and not Path(place).exists():
        message = f"[load_gpt] there must be a folder {str(place)!r}, got none"
        raise FileNotFoundError(f"{message}; what can be downloaded is {', '.join(OPENAI)}")
    return None


def shape_of(place: StrPath) -> dict[str, Any]:
    """The fields of the GPTConfig of what `load_gpt` would load. Errors as for it."""
    if folder := pretrained_folder(place):
        return read_config(folder)
    return dataclasses.asdict(load_gpt(place)[0].config)


def load_gpt(
    place: StrPath,
    which: str = "best",
    device: str | Device | None = None,
    dropout: float | None = None,
) -> tuple[GPT, Tokenizer]:
    """The model and tokenizer of the checkpoint `which` ("best" or "last") of a run's folder, of a
    folder with config.json, model.safetensors and a tokenizer, or of "gpt2", "gpt2-medium", ...

    dropout: another rate than the run's (GPT-2's files: than 0). Low-rank additions are merged.
    FileNotFoundError: none there. ValueError: damaged, not of a GPT, of another shape, or with
    weights that are no finite floats.
    """
    if found := pretrained_folder(place):
        tokenizer = load_tokenizer(found)
        model = GPT.from_pretrained(found, dropout=dropout or 0.0)
        check_vocabulary(tokenizer, model.config.vocab_size)
    else:
        arrays, meta = load_checkpoint(place, which)
        model, tokenizer = rebuild(arrays, meta, f"{str(place)!r} ({which})", dropout)
        if meta.get("lora"):
            merge_lora(model)
    return (model if device is None else model.to(device)), tokenizer


def check_vocabulary(tokenizer: Tokenizer, known: int) -> None:
    """ValueError: the tokenizer has ids that a model with `known` of them does not know."""
    if tokenizer.vocab_size > known:
        message = f"[load_gpt] the tokenizer must have at most {known} tokens, as the model, got"
        raise ValueError(f"{message} {tokenizer.vocab_size}; is it another model's?")


def rebuild(
    arrays: Arrays, meta: dict[str, Any], where: str, dropout: float | None = None
) -> tuple[GPT, Tokenizer]:
    """What `model_state` was given. where: for the error, the place the arrays came from."""
    try:
        changed = {} if dropout is None else {"dropout": dropout}
        config = GPTConfig(**{**meta["gpt"], **changed})
        tokenizer = load_tokenizer(dict(meta["tokenizer"]))  # a dict, and no path of a file
    except (KeyError, TypeError, ValueError) as error:
        came = repr(error) if isinstance(error, KeyError) else error
        message = f"[load_gpt] {where} must hold a GPT and its tokenizer, got: {came}"
        raise ValueError(f"{message}; is it another kind of model?") from error
    found = {n.removeprefix(PREFIX): a for n, a in arrays.items() if n.startswith(PREFIX)}
    _check_weights(found, config, where)
    with nn.init.without_values():
        model = GPT(config)
    _add_lora(model, meta.get("lora"), found, where)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    shapes = {name: array.shape for name, array in found.items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            message = f"[load_gpt] {name} in {where} must have the shape {wanted.get(name)} of"
            came = f"its {config}, got {shapes.get(name)}"
            raise ValueError(f"{message} {came}; were its files mixed with another run's?")
    model.load_state_dict({name: creation.from_numpy(array) for name, array in found.items()})
    return model, tokenizer


def _add_lora(model: GPT, settings: Any, found: Arrays, where: str) -> None:
    if settings is not None:
        ranks = {len(array) for name, array in found.items() if name.endswith(".lora_A")}
        try:
            if ranks != {settings["rank"]}:
                raise ValueError(f"the rank {settings['rank']} where there is {ranks}")
            add_lora(model, **settings)
        except (TypeError, ValueError, KeyError) as error:
            message = f"[load_gpt] {where} must say how its low-rank additions were made, got"
            raise ValueError(f"{message}: {error}; is it damaged?") from error


def _check_weights(found: Arrays, config: GPTConfig, where: str) -> None:
    """All finite floats, and enough of them, before a model is made of a size that is a lie."""
    for name, array in found.items():
        came: Any = array.dtype
        if came.name in ("float16", "bfloat16", "float32", "float64"):
            came = next(iter(array[~np.isfinite(array)]), None)
        if came is not None:
            message = f"[load_gpt] {name} in {where} must be finite floats, got {came}"
            raise ValueError(f"{message}; was it saved by a run that went wrong?")
    width, count = config.n_embd, sum(array.size for array in found.values())
    inner = config.n_inner or 4 * width
    least = config.n_layer * (4 * width + 2 * inner) * width
    least += (config.vocab_size + config.block_size) * width
    if count < least:
        message = f"[load_gpt] {where} must hold at least {least:,} weights, as its {config} says"
        raise ValueError(f"{message}, got {count:,}; were its files mixed with another run's?")
