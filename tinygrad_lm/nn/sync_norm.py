"""Batch normalization whose batch is that of all ranks together: its sums, and in the walk back the
gradients of these, are added over ranks."""

from __future__ import annotations

from typing import Any

from ..engine.arrays import Array
from ..engine.core.op import primitive
from ..engine.core.tensor import Tensor
from ..engine.ops.shape import concatenate
from ..engine.pytorch import creation
from ..engine.pytorch.common import Device, Dtype
from ..ranks.gradients import reduced
from ..ranks.group import Group, Work, World
from ..ranks.tree import Subtree
from .functional.layers import approach
from .module import Module
from .norms import BatchNorm, InstanceNorm


@primitive
def over_ranks(x, *, group):
    """The sum over ranks. Each rank's loss depends on it, so dx is the sum of the g of all."""
    return _sum(x, group), (lambda g: _sum(g, group),)


def _sum(x: Array, group: Group) -> Array:
    flat = x.reshape(-1).copy()
    places = [[Subtree(0, rank)] for rank in range(group.size)]
    Work(group, reduced(group, [flat], flat, places, group.tag(), 1)).wait()
    return flat.reshape(x.shape)


class SyncBatchNorm(BatchNorm):
    """`BatchNorm` of (N, C, ...) by the mean and variance over all ranks, whose N may differ.
    Gradients of weight and bias are this rank's, as PyTorch's are; `DistributedDataParallel` takes
    their mean. In training all ranks call it alike, and all go back through it.

    process_group: from `new_group`, else all ranks. Without mpiexec it is batch normalization."""

    axes = (3,)

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
        self.process_group = process_group

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2D input (got {input.ndim}D input)")
        flat = input.flatten(2) if input.ndim > 2 else input.unsqueeze(2)
        return super().forward(flat).reshape(input.shape)

    def normalized(self, input: Tensor, training: bool, momentum: float) -> Tensor:
        group = self.process_group or World.group
        if not training or group is None or group.size < 2:
            return super().normalized(input, training, momentum)
        x = input.float() if input.dtype.itemsize < 4 else input
        rows = creation.full((1,), x.numel() // self.num_features, dtype=x.dtype, device=x.device)
        sums = over_ranks(concatenate(x.sum((0, 2)), rows, axis=0), group=group)
        count, mean = sums.detach()[-1], sums[:-1] / sums.detach()[-1]
        if count.item() < 2:
            raise ValueError(
                "[SyncBatchNorm] training needs more than 1 value per channel over all ranks, got "
                f"{count.item():.0f}; use a larger batch, or eval()"
            )
        x = x - mean[:, None]
        var = over_ranks((x * x).sum((0, 2)), group=group) / count
        for running, found in (
            (self.running_mean, mean.detach()),
            (self.running_var, var.detach() * (count / (count - 1))),
        ):
            if running is not None:
                approach(running.array, found.array, momentum)
        x = x * (var + self.eps).rsqrt()[:, None]
        if self.weight is not None:
            x = x * self.weight[:, None]
        if self.bias is not None:
            x = x + self.bias[:, None]
        return x.to(input.dtype)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with a SyncBatchNorm in place of each BatchNorm in it, of the same parameters
        and buffers."""
        made = module
        if isinstance(module, BatchNorm) and not isinstance(module, (InstanceNorm, SyncBatchNorm)):
            made = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
                bias=module.bias is not None,
            )
            for name, tensor in {**module._parameters, **module._buffers}.items():
                setattr(made, name, tensor)
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made
