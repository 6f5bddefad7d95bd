"""Activation functions as layers. What they compute is said in `functional`; only PReLU has a
parameter. Those that the course uses are written out, the others are a line each."""

from __future__ import annotations

from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Dtype
from . import functional as F
from .applied import Applied, settings_of
from .init import constant_
from .layers import new
from .module import Module
from .parameter import Parameter


class ReLU(Module):
    """max(x, 0)."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Tanh(Module):
    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class GELU(Module):
    """x Phi(x), exact ("none") or by its "tanh" form."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softmax(Module):
    """e^x over its sum along dim."""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of `Softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """e^x over its sum over the channels of (B, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(
                f"[Softmax2d] needs (B, C, H, W) or (C, H, W), got {tuple(input.shape)}"
            )
        return F.softmax(input, -3)


class Softmin(Softmax):
    """The `Softmax` of -x."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)


class PReLU(Module):
    """x above 0, weight x below, with one weight or one for each channel."""

    weight: Parameter

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = new(num_parameters, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class _Activation(Applied):
    """Shows its settings; `inplace` only where it is so."""

    def extra_repr(self) -> str:
        names = settings_of(self.function)[1].parameters
        shown = [f"{name}={getattr(self, name)!r}" for name in names if name != "inplace"]
        return ", ".join(shown + ["inplace=True"] * getattr(self, "inplace", False))


# fmt: off
class SiLU(_Activation, of=F.silu): ...
class Mish(_Activation, of=F.mish): ...
class LogSigmoid(_Activation, of=F.logsigmoid): ...
class Softplus(_Activation, of=F.softplus): ...
class Softsign(_Activation, of=F.softsign): ...
class Tanhshrink(_Activation, of=F.tanhshrink): ...
class LeakyReLU(_Activation, of=F.leaky_relu): ...
class ELU(_Activation, of=F.elu): ...
class CELU(_Activation, of=F.celu): ...
class SELU(_Activation, of=F.selu): ...
class GLU(_Activation, of=F.glu): ...
class Hardtanh(_Activation, of=F.hardtanh): ...
class ReLU6(_Activation, of=F.relu6): ...
class RReLU(_Activation, of=F.rrelu): ...
class Hardsigmoid(Applied, of=F.hardsigmoid): ...
class Hardswish(Applied, of=F.hardswish): ...
# fmt: on


class Hardshrink(Applied, of=F.hardshrink):
    lambd: float

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Hardshrink, of=F.softshrink):
    pass


class Threshold(Module):
    """x above the threshold, else value."""

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}" + ", inplace=True" * self.inplace


class AlphaDropout(Applied, of=F.alpha_dropout):
    p: float
    inplace: bool

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
