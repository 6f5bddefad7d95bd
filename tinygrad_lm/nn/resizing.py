"""Layers without parameters that give an image another size: borders, interpolation, and channels
that become pixels. What they compute is in `functional`."""

from __future__ import annotations

from typing import Any

from ..engine.core.tensor import Tensor
from . import functional as F
from .functional.convolution import Numbers
from .module import Module


class Padding(Module):
    """A border around the last axes: a number for all sides, or (before, after) of the last axis,
    then of the one before it, ..."""

    axes: int
    mode: str

    def __init__(self, padding: Numbers):
        super().__init__()
        sides = 2 * self.axes
        given = (padding,) * sides if isinstance(padding, int) else padding
        self.padding: tuple[int, ...] = tuple(given)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad(Padding):
    """A border of one value."""

    mode = "constant"

    def __init__(self, padding: Numbers, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad(ConstantPad):
    """A border of zeros."""

    def __init__(self, padding: Numbers):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad(Padding):
    """A border that mirrors the image at its edge."""

    mode = "reflect"


class ReplicationPad(Padding):
    """A border that repeats the last elements."""

    mode = "replicate"


class CircularPad(Padding):
    """A border from the other end."""

    mode = "circular"


def _along(kind: type[Padding]) -> list[Any]:
    """The classes kind1d, kind2d and kind3d, for as many axes."""
    shared = {"__doc__": kind.__doc__, "__module__": kind.__module__}
    return [type(f"{kind.__name__}{n}d", (kind,), {"axes": n, **shared}) for n in (1, 2, 3)]


ConstantPad1d, ConstantPad2d, ConstantPad3d = _along(ConstantPad)
ZeroPad1d, ZeroPad2d, ZeroPad3d = _along(ZeroPad)
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _along(ReflectionPad)
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _along(ReplicationPad)
CircularPad1d, CircularPad2d, CircularPad3d = _along(CircularPad)


class Upsample(Module):
    """`functional.interpolate` to a size, or by a factor."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        super().__init__()
        if isinstance(scale_factor, tuple):
            scale_factor = tuple(map(float, scale_factor))
        elif scale_factor:
            scale_factor = float(scale_factor)
        self.size, self.scale_factor, self.mode = size, scale_factor or None, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        how = (self.mode, self.align_corners, self.recompute_scale_factor)
        return F.interpolate(input, self.size, self.scale_factor, *how)

    def extra_repr(self) -> str:
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` with the nearest element."""

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """`Upsample` with "bilinear" and aligned corners."""

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    """(..., C r r, H, W) as (..., C, H r, W r)."""

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """The mirror of `PixelShuffle`."""

    def __init__(self, downscale_factor: int):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels of (B, C, ...), in groups, in turns."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
