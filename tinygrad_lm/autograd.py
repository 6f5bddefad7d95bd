"""The public door to the graph, under PyTorch's path: whether to record, gradients on request,
one's own ops and their check. The machinery is in `engine/core/`."""

from .engine.gradcheck import gradcheck
from .engine.pytorch.custom_function import Function
from .engine.pytorch.grad import backward, grad
from .engine.pytorch.grad_mode import (
    enable_grad,
    higher_order,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from .engine.pytorch.legacy import Variable

__path__: list[str] = []  # so that torch.autograd.profiler and its like can be imported

__all__ = [
    "Function",
    "Variable",
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
