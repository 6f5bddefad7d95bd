"""The public door to the graph, under PyTorch's path: whether to record, gradients on request, one's
own ops and their check. The machinery is in `engine/autograd.py`; nothing is computed here."""

from .engine.autograd import (
    enable_grad,
    higher_order,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from .engine.function import Function
from .engine.gradcheck import gradcheck
from .engine.tensor import backward, grad

__all__ = [
    "Function",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "higher_order",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
