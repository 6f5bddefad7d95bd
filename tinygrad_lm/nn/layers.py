"""Linear layers, and those that only drop or reshape. First values are drawn as
PyTorch draws them, in the same order. What the layers compute is in `functional`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch import creation
from ..engine.pytorch.common import Device, Dtype
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter


def new(*size: int, device: Device = None, dtype: Dtype = None) -> Parameter:
    """A parameter without values yet."""
    return Parameter(creation.empty(*size, device=device, dtype=dtype))


class Identity(Module):
    """Its input; takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    """x (..., in) @ weight (out, in).T + bias (out,), both uniform within 1 / sqrt(in) at first."""

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = new(out_features, in_features, device=device, dtype=dtype)
        made = new(out_features, device=device, dtype=dtype) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    """x1 (..., in1), x2 (..., in2): sum of x1_i weight_oij x2_j + bias_o, (..., out); both uniform
    within 1 / sqrt(in1) at first."""

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__()
        if in1_features < 1:
            raise ValueError(f"[Bilinear] in1_features must be at least 1, got {in1_features}")
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        self.weight = new(out_features, in1_features, in2_features, device=device, dtype=dtype)
        made = new(out_features, device=device, dtype=dtype) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.in1_features)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Dropout(Module):
    """In training, 0 with probability p, else x / (1 - p)."""

    drop = staticmethod(F.dropout)

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"[{type(self).__name__}] p must be in 0 ... 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        return self.drop(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """`Dropout` of whole channels of (B, C, L)."""

    drop = staticmethod(F.dropout1d)


class Dropout2d(Dropout):
    """`Dropout` of whole channels of (B, C, H, W)."""

    drop = staticmethod(F.dropout2d)


class Dropout3d(Dropout):
    """`Dropout` of whole channels of (B, C, D, H, W)."""

    drop = staticmethod(F.dropout3d)


class Flatten(Module):
    """Axes start_dim to end_dim as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Axis dim in the shape unflattened_size."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]):
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        shape, dim = tuple(input.shape), self.dim % input.ndim
        return input.reshape(*shape[:dim], *self.unflattened_size, *shape[dim + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
