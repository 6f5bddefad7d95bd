"""What all ranks of a run must have alike, so that together they are one: looked at before any work
is done, on whatever machines they are."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import sys
from typing import Any

from ..models.gpt import GPT
from ..ranks.environment import place
from ..ranks.group import Group
from ..ranks.together import check_alike
from .config import TrainConfig
from .corpus import Corpus
from .folder import made_with

OF_A_MACHINE = ("data", "out", "device", "threads")  # the text is compared itself


def device_of_rank(group: Group, device: str | None) -> str | None:
    """ "cuda" is a GPU for each rank of a machine."""
    here = place()
    return f"cuda:{here.local_rank}" if here and group.size > 1 and device == "cuda" else device


def check_installed(group: Group) -> None:
    """ValueError: the ranks are not of one version."""
    package = sys.modules[__name__.partition(".")[0]]
    versions = {"the version of tinygrad_lm": package.__version__}
    versions["the version of Python"] = platform.python_version()
    made = {name: value for name, value in made_with().items() if name != "threads"}
    check_alike(group, {**versions, **made}, "install the same on all machines?")


def check_asked(group: Group, config: TrainConfig, **more: Any) -> None:
    """ValueError: the ranks are not asked for the same."""
    fields = dataclasses.asdict(config)
    asked = {name: value for name, value in fields.items() if name not in OF_A_MACHINE}
    check_alike(group, {**asked, **more}, "start all by the same command?")


def check_text(group: Group, corpus: Corpus) -> None:
    """ValueError: the ranks have not the same text."""
    sha256 = {"the sha256 of the text": corpus.sha256[:16]}
    check_alike(group, sha256, "copy one file to all machines?")


def check_model(group: Group, model: GPT) -> None:
    """ValueError: the ranks do not begin with the same model, on the same kind of device."""
    if group.size == 1:
        return
    parameters, digest = dict(model.named_parameters()), hashlib.sha256()
    for name, p in parameters.items():
        digest.update(f"{name} {p.dtype} {tuple(p.shape)}".encode())
        digest.update(p.detach().cpu().numpy().tobytes())
    found = {
        "the kind of device": model.lm_head.weight.device.type,
        "the number of parameters": sum(p.numel() for p in parameters.values()),
        "the sha256 of the parameters": digest.hexdigest()[:16],
    }
    check_alike(group, found, "start all from the same files?")
