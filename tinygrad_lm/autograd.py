"""The public door to the graph, under PyTorch's path: whether to record, gradients on request,
one's own ops and their check. The machinery is in `engine/core/`."""

from typing import Any

from .aliases import later
from .engine.gradcheck import gradcheck, gradgradcheck
from .engine.pytorch.anomaly import detect_anomaly, set_detect_anomaly
from .engine.pytorch.custom_function import Function
from .engine.pytorch.grad import backward, grad
from .engine.pytorch.grad_mode import (
    enable_grad,
    higher_order,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from .engine.pytorch.legacy import Variable

__path__: list[str] = []  # `autograd.functional` and others are pages: see `aliases.py`
__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "higher_order",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


def __getattr__(name: str) -> Any:
    return later(name, "autograd.")
