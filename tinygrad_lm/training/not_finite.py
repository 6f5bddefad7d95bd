"""Where in a model the first value is that is NaN or infinite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch.grad_mode import no_grad
from ..models.gpt import GPT


class NotFinite(ArithmeticError):
    """A loss or a gradient is NaN or infinite; nothing has been updated with it."""


def first_bad_value(model: GPT, x: Tensor, y: Tensor) -> str:
    """The first tensor that is not finite: a parameter, else what a module computes from (x, y)."""
    for name, parameter in model.named_parameters():
        if not bool(parameter.detach().isfinite().all()):
            return f"parameter {name}"
    found: list[str] = []

    def look(name: str) -> Callable:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not bool(output.detach().isfinite().all()):
                found.append(f"the output of {name}")

        return hook

    handles = [m.register_forward_hook(look(name)) for name, m in model.named_modules()]
    with no_grad():
        model(x, y)
    for handle in handles:
        handle.remove()
    return found[0] if found else "the loss itself"


def first_bad_gradient(model: GPT) -> str:
    """The first parameter whose gradient is not finite."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            return f"the gradient of {name}"
    return "the norm over all parameters"
