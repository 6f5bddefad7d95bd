"""What a checkpoint must be to go on from."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from ..saving.checkpoint import load_checkpoint
from ..saving.files import Arrays, StrPath
from .config import TrainConfig

SAVED = {"sha256": str, "metrics": int, "seconds": float, "trainer": dict}  # beside the model
COUNTERS = {"step": int, "evaluated": int, "best": float}  # of the trainer


def saved_config(folder: StrPath) -> TrainConfig:
    """The configuration of the run in a folder. FileNotFoundError, or ValueError: damaged."""
    return config_in(load_checkpoint(folder, "last")[1], folder)


def config_in(meta: dict[str, Any], folder: StrPath) -> TrainConfig:
    try:
        return TrainConfig(**meta["config"])
    except (KeyError, TypeError) as error:
        raise foreign(folder, error) from error


def foreign(folder: StrPath, error: Exception) -> ValueError:
    message = f"[resume] {folder} must hold a run of this version, got: {error!r}"
    return ValueError(f"{message}; was it made by `tinygrad-lm train`?")


def check_same(config: TrainConfig, old: TrainConfig) -> None:
    """A resumed run may differ only in what decides nothing already computed."""
    differing = [
        f"{field.name} ({getattr(old, field.name)!r}, now {getattr(config, field.name)!r})"
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(old, field.name)
        # What low-rank additions are added to has no float32 master.
        and not (field.metadata["free"] and (field.name != "dtype" or not config.lora_rank))
    ]
    if differing:
        message = f"[resume] the configuration must be that of the run in {config.out}, got another"
        hint = "leave those out, or start a new run in another folder with --init-from"
        raise ValueError(f"{message} {', '.join(differing)}; {hint}?")


class Saved(NamedTuple):
    """A checkpoint that was read, and what pointed to it then."""

    arrays: Arrays
    meta: dict[str, Any]
    pointer: bytes


def check_saved(saved: Saved, config: TrainConfig, sha256: str) -> None:
    """ValueError: the checkpoint is not of this configuration and this text."""
    check_same(config, config_in(saved.meta, config.out))
    trainer = saved.meta.get("trainer") or {}
    for place, kinds in ((saved.meta, SAVED), (trainer, COUNTERS)):
        for name, kind in kinds.items():
            if type(came := place.get(name)) is not kind:
                raise foreign(config.out, TypeError(f"{name} is {came!r}"))
    if saved.meta["sha256"] != sha256:
        message = f"[resume] {config.data} must be the text the run began with"
        raise ValueError(f"{message}, got another; put the old one back?")
