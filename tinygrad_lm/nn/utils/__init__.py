"""Tools for modules: clipping gradients, packing sequences, weights computed from other weights.
This page only collects them; what few scripts use is loaded on first use."""

import importlib
from typing import Any

from . import rnn
from .clip_grad import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from .convert_parameters import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_",
    "get_total_norm", "parameters_to_vector", "parametrizations", "parametrize",
    "remove_spectral_norm", "remove_weight_norm", "rnn", "skip_init", "spectral_norm",
    "vector_to_parameters", "weight_norm",
]  # fmt: skip

_LATER = {"skip_init": "init"} | dict.fromkeys(
    ("remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm"), "reweighting"
)


def __getattr__(name: str) -> Any:
    if name in ("parametrizations", "parametrize"):
        return importlib.import_module(f"{__name__}.{name}")
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
