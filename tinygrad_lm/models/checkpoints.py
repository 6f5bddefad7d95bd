"""A GPT and its tokenizer in a checkpoint, and back: the part of a run that sampling needs.

The optimiser and the position in training, which only resuming needs, are kept by `training/`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..engine.arrays import device as Device
from ..engine.pytorch import creation
from ..saving.checkpoint import load_checkpoint
from ..saving.files import Arrays, StrPath
from ..text.tokenizers import CharTokenizer, load_tokenizer
from .gpt import GPT, GPTConfig

PREFIX = "model."


def model_state(model: GPT, tokenizer: CharTokenizer) -> tuple[Arrays, dict[str, Any]]:
    """(arrays, meta) for `save_checkpoint`, from which `load_gpt` makes both again."""
    arrays = {PREFIX + name: t.detach().cpu().numpy() for name, t in model.state_dict().items()}
    return arrays, {"gpt": dataclasses.asdict(model.config), "tokenizer": tokenizer.to_json()}


def load_gpt(
    folder: StrPath,
    which: str = "best",
    device: str | Device | None = None,
    dropout: float | None = None,
) -> tuple[GPT, CharTokenizer]:
    """The model and the tokenizer of the checkpoint `which` ("best" or "last") of a run's folder.

    dropout: another rate than the run's. FileNotFoundError: none there. ValueError: damaged, not of
    a GPT, of another shape, or with weights that are no finite floats.
    """
    arrays, meta = load_checkpoint(folder, which)
    model, tokenizer = rebuild(arrays, meta, f"{str(folder)!r} ({which})", dropout)
    return (model if device is None else model.to(device)), tokenizer


def rebuild(
    arrays: Arrays, meta: dict[str, Any], where: str, dropout: float | None = None
) -> tuple[GPT, CharTokenizer]:
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
    model = GPT(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    shapes = {name: array.shape for name, array in found.items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            message = f"[load_gpt] {name} in {where} must have the shape {wanted.get(name)} of"
            came = f"its {config}, got {shapes.get(name)}"
            raise ValueError(f"{message} {came}; were its files mixed with another run's?")
    model.load_state_dict({name: creation.from_numpy(array) for name, array in found.items()})
    return model, tokenizer


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
    least = 12 * config.n_layer * width**2 + (config.vocab_size + config.block_size) * width
    if count < least:
        message = f"[load_gpt] {where} must hold at least {least:,} weights, as its {config} says"
        raise ValueError(f"{message}, got {count:,}; were its files mixed with another run's?")
