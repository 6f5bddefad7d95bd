"""A Linear that learns the size of its input from the first one it sees."""

from __future__ import annotations

from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Dtype
from ..engine.pytorch.creation import empty
from .layers import Linear
from .module import Module
from .parameter import Parameter


class UninitializedParameter(Parameter):
    """A parameter without a shape, and so without elements, until `materialize(shape)`."""

    def __init__(self, requires_grad: bool = True, device: Device = None, dtype: Dtype = None):
        super().__init__(empty(0, device=device, dtype=dtype), requires_grad)

    def materialize(self, shape: Any, device: Device = None, dtype: Dtype = None) -> None:
        """Memory for a shape, without values; from now on it is a Parameter."""
        self.data = empty(shape, device=device or self.device, dtype=dtype or self.dtype)
        self.__class__ = Parameter  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<UninitializedParameter>"


class LazyLinear(Linear):
    """A Linear from its first call on, or from the state it loads; then its values are drawn."""

    def __init__(
        self, out_features: int, bias: bool = True, device: Device = None, dtype: Dtype = None
    ):
        Module.__init__(self)
        self.in_features, self.out_features = 0, out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.bias = UninitializedParameter(device=device, dtype=dtype) if bias else None

    def _become_linear(self, in_features: int) -> None:
        self.in_features = in_features
        for p, shape in (
            (self.weight, (self.out_features, in_features)),
            (self.bias, (self.out_features,)),
        ):
            if isinstance(p, UninitializedParameter):
                p.materialize(shape)
        self.__class__ = Linear  # type: ignore[assignment]

    def forward(self, input: Tensor) -> Tensor:
        self._become_linear(input.shape[-1])
        self.reset_parameters()
        return self.forward(input)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *report: Any) -> None:
        weight = state_dict.get(prefix + "weight")
        if weight is not None:
            self._become_linear(weight.shape[-1])
        Linear._load_from_state_dict(self, state_dict, prefix, *report)
