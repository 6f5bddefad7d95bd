"""Layers that learn the size of their input from the first one they see: `LazyLinear`,
`LazyConv2d`, `LazyBatchNorm2d` and their like, from then on Linear, Conv2d, BatchNorm2d."""

from __future__ import annotations

from typing import Any

from ..engine.core.tensor import Tensor
from . import convolution, layers, norms
from .module import Module
from .parameter import UninitializedBuffer, UninitializedParameter, is_lazy


class Lazy(Module):
    """A layer of `kind` from its first call on, or from the state it loads. Its arguments are those
    of `kind` without the first, `size`: the channels (features) of an input."""

    kind: Any
    size: str
    channels: int  # the axis of an input that has this size
    in_weight: int  # and the axis of a weight

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(0, *args, **settings)  # type: ignore[call-arg]
        self._given = args, settings
        how = {name: settings[name] for name in ("device", "dtype") if name in settings}
        for name in [name for name, p in self._parameters.items() if p is not None]:
            setattr(self, name, UninitializedParameter(**how))
        for name in ("running_mean", "running_var"):
            if getattr(self, name, None) is not None:
                setattr(self, name, UninitializedBuffer(**how))

    def reset_parameters(self) -> None:
        pass  # there are no elements yet

    def _become(self, size: int) -> None:
        """Take the shapes of a layer of this size; the values of parameters are not drawn."""
        args, settings = self.__dict__.pop("_given")
        made: Any = object.__new__(type(self))
        self.kind.__init__(made, size, *args, **settings)
        for name, tensor in {**made._parameters, **made._buffers}.items():
            own = getattr(self, name)
            if is_lazy(own):
                own.materialize(tensor.shape)
                own.data = tensor.detach()
        setattr(self, self.size, size)
        self.__class__ = self.kind

    def forward(self, input: Tensor) -> Tensor:
        if not -input.ndim <= self.channels < input.ndim:
            raise RuntimeError(
                f"[{type(self).__name__}] an input must have an axis {self.channels}, that of its "
                f"channels, got {tuple(input.shape)}"
            )
        self._become(input.shape[self.channels])
        self.reset_parameters()
        return self.forward(input)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *report: Any) -> None:
        kind = self.kind
        for name, axis in (("weight", self.in_weight), ("running_mean", 0)):
            if is_lazy(getattr(self, name, None)) and prefix + name in state_dict:
                groups = getattr(self, "groups", 1) if axis else 1
                self._become(state_dict[prefix + name].shape[axis] * groups)
        kind._load_from_state_dict(self, state_dict, prefix, *report)


class OfInstances(Lazy):
    """With weight, bias and running statistics, unlike an InstanceNorm that is given nothing."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        **how: Any,
    ):
        super().__init__(eps, momentum, affine, track_running_stats, **how)


def _lazy(
    place: Any, name: str, size: str, channels: int, in_weight: int, base: type[Lazy] = Lazy
) -> type[Lazy]:
    kind = getattr(place, name)
    body = {"kind": kind, "size": size, "channels": channels, "in_weight": in_weight}
    body |= {
        "__doc__": f"`{name}` that learns {size} from its first input.",
        "__module__": __name__,
    }
    return type(f"Lazy{name}", (base, kind), body)


LazyLinear = _lazy(layers, "Linear", "in_features", -1, 1)
LazyConv1d = _lazy(convolution, "Conv1d", "in_channels", -2, 1)
LazyConv2d = _lazy(convolution, "Conv2d", "in_channels", -3, 1)
LazyConv3d = _lazy(convolution, "Conv3d", "in_channels", -4, 1)
LazyConvTranspose1d = _lazy(convolution, "ConvTranspose1d", "in_channels", -2, 0)
LazyConvTranspose2d = _lazy(convolution, "ConvTranspose2d", "in_channels", -3, 0)
LazyConvTranspose3d = _lazy(convolution, "ConvTranspose3d", "in_channels", -4, 0)
LazyBatchNorm1d = _lazy(norms, "BatchNorm1d", "num_features", 1, 0)
LazyBatchNorm2d = _lazy(norms, "BatchNorm2d", "num_features", 1, 0)
LazyBatchNorm3d = _lazy(norms, "BatchNorm3d", "num_features", 1, 0)
LazyInstanceNorm1d = _lazy(norms, "InstanceNorm1d", "num_features", 1, 0, OfInstances)
LazyInstanceNorm2d = _lazy(norms, "InstanceNorm2d", "num_features", 1, 0, OfInstances)
LazyInstanceNorm3d = _lazy(norms, "InstanceNorm3d", "num_features", 1, 0, OfInstances)
