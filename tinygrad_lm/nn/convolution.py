"""Convolutions as layers, their way back, and windows as columns. First values are drawn as PyTorch
draws them, in the same order. What the layers compute is in `functional`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Dtype
from . import functional as F
from . import init
from .functional.convolution import Numbers, numbers
from .layers import new
from .module import Module
from .parameter import Parameter

# What an input is filled with where a window looks over its edge; zeros are left to the function.
MODES = ("zeros", "reflect", "replicate", "circular")


class Convolution(Module):
    """The weight (out, in / groups, *kernel) times every window of (B, in, *sizes), plus bias
    (out,); both uniform within 1 / sqrt(in / groups * elements of a kernel) at first."""

    axes: int
    function: Callable[..., Tensor]
    transposed = False
    output_padding: tuple[int, ...]
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers | str = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__()
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"[{name}] channels must be multiples of groups, got {in_channels}, "
                f"{out_channels} and {groups}"
            )
        if padding_mode not in (("zeros",) if self.transposed else MODES):
            raise ValueError(f"[{name}] padding_mode must be one of {MODES}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.padding_mode, self.output_padding = padding_mode, (0,) * self.axes
        self.kernel_size = numbers(name, "kernel_size", kernel_size, self.axes, 0)
        self.stride = numbers(name, "stride", stride, self.axes)
        self.dilation = numbers(name, "dilation", dilation, self.axes)
        if padding in ("same", "valid"):
            if padding == "same" and max(self.stride) > 1:
                raise ValueError(f"[{name}] padding 'same' needs stride 1, got {stride!r}")
            self.padding: Any = padding
        elif isinstance(padding, str):
            raise ValueError(f"[{name}] padding must be 'same' or 'valid', got {padding!r}")
        else:
            self.padding = numbers(name, "padding", padding, self.axes, 0)
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *self.kernel_size)
        self.weight = new(*shape, device=device, dtype=dtype)
        made = new(out_channels, device=device, dtype=dtype) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._around(), self.padding_mode), 0
        how = (self.stride, padding, self.dilation, self.groups)
        return type(self).function(input, self.weight, self.bias, *how)

    def _around(self) -> list[int]:
        """(before, after) of each axis, the last one first, as `F.pad` takes them."""
        if self.padding == "same":
            both = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            pairs = [(n // 2, n - n // 2) for n in both]
        else:
            none = (0,) * self.axes
            pairs = [(p, p) for p in (none if self.padding == "valid" else self.padding)]
        return [n for pair in reversed(pairs) for n in pair]

    def extra_repr(self) -> str:
        none, ones = (0,) * self.axes, (1,) * self.axes
        usual = {"padding": none, "dilation": ones, "output_padding": none, "groups": 1}
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        for name, value in usual.items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        text += "" if self.bias is not None else ", bias=False"
        mode = self.padding_mode
        return text if mode == "zeros" else f"{text}, padding_mode={mode}"


class Conv1d(Convolution):
    """`Convolution` along one axis: (B, C, L) or (C, L)."""

    axes, function = 1, F.conv1d


class Conv2d(Convolution):
    """`Convolution` along two axes: (B, C, H, W) or (C, H, W)."""

    axes, function = 2, F.conv2d


class Conv3d(Convolution):
    """`Convolution` along three axes: (B, C, D, H, W) or (C, D, H, W)."""

    axes, function = 3, F.conv3d


class ConvolutionTranspose(Convolution):
    """The way back of a `Convolution`, which makes `stride` elements of one; weight
    (in, out / groups, *kernel)."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers = 0,
        output_padding: Numbers = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Numbers = 1,
        padding_mode: str = "zeros",
        device: Device = None,
        dtype: Dtype = None,
    ):
        how: tuple = (stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        super().__init__(in_channels, out_channels, kernel_size, *how)
        name = type(self).__name__
        self.output_padding = numbers(name, "output_padding", output_padding, self.axes, 0)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """output_size: the sizes wanted, among the `stride` ones that have the input's windows."""
        more = self.output_padding
        if output_size is not None:
            least = [
                (n - 1) * s - 2 * p + d * (k - 1) + 1
                for n, s, p, d, k in zip(
                    input.shape[-self.axes :],
                    self.stride,
                    self.padding,
                    self.dilation,
                    self.kernel_size,
                )
            ]
            wanted = list(output_size)[-self.axes :]
            more = tuple(n - m for n, m in zip(wanted, least))
            if len(wanted) != self.axes or not all(0 <= n < s for n, s in zip(more, self.stride)):
                raise ValueError(
                    f"[{type(self).__name__}] output_size must be in {least} ... "
                    f"{[n + s - 1 for n, s in zip(least, self.stride)]}, got {wanted}"
                )
        how = (self.stride, self.padding, more, self.groups, self.dilation)
        return type(self).function(input, self.weight, self.bias, *how)


class ConvTranspose1d(ConvolutionTranspose):
    """`ConvolutionTranspose` along one axis."""

    axes, function = 1, F.conv_transpose1d


class ConvTranspose2d(ConvolutionTranspose):
    """`ConvolutionTranspose` along two axes."""

    axes, function = 2, F.conv_transpose2d


class ConvTranspose3d(ConvolutionTranspose):
    """`ConvolutionTranspose` along three axes."""

    axes, function = 3, F.conv_transpose3d


class Unfold(Module):
    """Every window of (B, C, H, W) as a column: (B, C * elements, windows)."""

    def __init__(
        self,
        kernel_size: Numbers,
        dilation: Numbers = 1,
        padding: Numbers = 0,
        stride: Numbers = 1,
    ):
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Unfold):
    """The mirror of `Unfold`: columns added up into (B, C, *output_size)."""

    def __init__(self, output_size: Numbers, kernel_size: Numbers, *args: Any, **kwargs: Any):
        super().__init__(kernel_size, *args, **kwargs)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        how = (self.kernel_size, self.dilation, self.padding, self.stride)
        return F.fold(input, self.output_size, *how)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
