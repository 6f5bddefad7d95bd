"""PyTorch's wrappers for training on several devices: the module is inside as `.module` and does
all the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...engine.core.tensor import Tensor
from ...engine.pytorch.common import Device
from ..module import Module
from .distributed import DistributedDataParallel


class DataParallel(Module):
    """Calls `module`; its parameters are named `module.…`."""

    def __init__(
        self,
        module: Module,
        device_ids: Sequence | None = None,
        output_device: Device = None,
        dim: int = 0,
    ):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.module(*inputs, **named)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence | None = None,
    output_device: Device = None,
    dim: int = 0,
    module_kwargs: dict | None = None,
) -> Any:
    """`module` of the inputs: a tuple of arguments, or one argument."""
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*given, **(module_kwargs or {}))
