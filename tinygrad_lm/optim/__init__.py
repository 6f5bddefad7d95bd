"""Optimisers with PyTorch's signatures, and schedules of their rate. Start reading
in `optimizer.py`, then `adam.py` for a rule and `flat.py` for how it is applied."""

import importlib
from typing import Any

from . import kernels, lr_scheduler
from .adam import Adam, AdamW
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

# What is loaded when it is asked for -> the file it is in.
LATER = {
    **dict.fromkeys(("Adadelta", "Adagrad", "Adamax", "RAdam", "Rprop", "SparseAdam"), "adaptive"),
    **dict.fromkeys(("ASGD", "NAdam"), "nadam"),
    **dict.fromkeys(("Adafactor", "Muon"), "muon"),
    "LBFGS": "lbfgs",
}

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler", "swa_utils", *LATER]


def __getattr__(name: str) -> Any:
    if name == "swa_utils":
        return importlib.import_module(f"{__name__}.swa_utils")
    if name in LATER:
        return getattr(importlib.import_module(f"{__name__}.{LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
