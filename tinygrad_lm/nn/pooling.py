"""Pooling as layers, without parameters. What they compute is in `functional`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.core.tensor import Tensor
from . import functional as F
from .functional.convolution import Numbers
from .module import Module


class MaxPool(Module):
    """The largest element of each window, with return_indices also where it is."""

    function: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        dilation: Numbers = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        how = (self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)
        return type(self).function(input, self.kernel_size, *how)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(MaxPool):
    """`MaxPool` of (B, C, L) or (C, L)."""

    function = F.max_pool1d


class MaxPool2d(MaxPool):
    """`MaxPool` of (B, C, H, W) or (C, H, W)."""

    function = F.max_pool2d


class MaxPool3d(MaxPool):
    """`MaxPool` of (B, C, D, H, W) or (C, D, H, W)."""

    function = F.max_pool3d


class AvgPool(Module):
    """The mean of each window."""

    function: Callable[..., Tensor]

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        how = (self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)
        return type(self).function(input, self.kernel_size, self.stride, *how)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(AvgPool):
    """`AvgPool` of (B, C, L) or (C, L)."""

    function = F.avg_pool1d

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        for name in ("kernel_size", "stride", "padding"):
            value = getattr(self, name)
            setattr(self, name, (value,) if isinstance(value, int) else value)


class AvgPool2d(AvgPool):
    """`AvgPool` of (B, C, H, W) or (C, H, W)."""

    function = F.avg_pool2d


class AvgPool3d(AvgPool):
    """`AvgPool` of (B, C, D, H, W) or (C, D, H, W)."""

    function = F.avg_pool3d


class AdaptivePool(Module):
    """One element for each of output_size windows per axis, as equal as they can be; None keeps an
    axis."""

    function: Callable[..., Any]

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Any:
        return type(self).function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(AdaptivePool):
    """The means of windows of (B, C, L)."""

    function = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(AdaptivePool):
    """The means of windows of (B, C, H, W)."""

    function = F.adaptive_avg_pool2d


class AdaptiveAvgPool3d(AdaptivePool):
    """The means of windows of (B, C, D, H, W)."""

    function = F.adaptive_avg_pool3d


class AdaptiveMaxPool(AdaptivePool):
    """The largest elements of windows, with return_indices also where they are."""

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return type(self).function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(AdaptiveMaxPool):
    """`AdaptiveMaxPool` of (B, C, L)."""

    function = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(AdaptiveMaxPool):
    """`AdaptiveMaxPool` of (B, C, H, W)."""

    function = F.adaptive_max_pool2d


class AdaptiveMaxPool3d(AdaptiveMaxPool):
    """`AdaptiveMaxPool` of (B, C, D, H, W)."""

    function = F.adaptive_max_pool3d
