"""PyTorch's wrappers for training on several devices, for one device: the module is inside as
`.module` and does all the work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Dtype
from .module import Module
from .norms import BatchNorm1d


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


class DistributedDataParallel(Module):
    """Calls `module`; its parameters are named `module.…`. With one process there is no gradient
    to exchange, so `require_backward_grad_sync` and `no_sync()` change nothing."""

    def __init__(
        self,
        module: Module,
        device_ids: Sequence | None = None,
        output_device: Device = None,
        dim: int = 0,
        **settings: Any,
    ):
        super().__init__()
        self.module = module
        self.require_backward_grad_sync = True

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.module(*inputs, **named)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before


class SyncBatchNorm(BatchNorm1d):
    """Batch normalization of (N, C, ...) over all processes, of which there is one."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Device = None,
        dtype: Dtype = None,
        *,
        bias: bool = True,
    ):
        how: dict[str, Any] = {"device": device, "dtype": dtype, "bias": bias}
        super().__init__(num_features, eps, momentum, affine, track_running_stats, **how)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.reshape(*input.shape[:2], -1)).reshape(input.shape)

    @staticmethod
    def convert_sync_batchnorm(module: Module, process_group: Any = None) -> Module:
        """The module itself: with one process its batch norms are in step."""
        return module
