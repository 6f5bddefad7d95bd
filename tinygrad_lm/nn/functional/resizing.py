"""Images of another size: interpolation, axis by axis, and channels that become pixels. Each new
element of an axis is a sum of a few old ones with weights, the taps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ...engine.arrays import Array, library, widened
from ...engine.core.tensor import Tensor, wrap
from ...engine.ops.index import take
from ...engine.pytorch.names import named, one_op
from .pooling import adaptive_avg_pool

# Each finds the taps of an axis: (new positions on the scale of the old ones, counted from their
# middle) -> pairs (old positions, weights; None for 1).


def _nearest(at: Array) -> list[tuple[Array, Any]]:
    return [(numpy.floor(at), None)]


def _linear(at: Array) -> list[tuple[Array, Any]]:
    first = numpy.floor(at)
    return [(first, 1 - (at - first)), (first + 1, at - first)]


def _cubic(at: Array) -> list[tuple[Array, Any]]:
    """Cubic convolution with a = -3/4 (Keys, 1981)."""
    first, a = numpy.floor(at), -0.75

    def weight(distance: Array) -> Array:
        d = abs(distance)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        return numpy.where(d <= 1, near, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)

    return [(first + k, weight(at - first - k)) for k in (-1, 0, 1, 2)]


# mode -> (number of axes, 0 for any; what finds the taps)
TAPS: dict[str, tuple[int, Callable]] = {
    "nearest": (0, _nearest),
    "nearest-exact": (0, _nearest),
    "linear": (1, _linear),
    "bilinear": (2, _linear),
    "trilinear": (3, _linear),
    "bicubic": (2, _cubic),
}


def _new_sizes(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool
) -> tuple[list[int], list[float | None]]:
    """New sizes, and the factors they were given by, where those count."""
    axes = input.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ValueError("[interpolate] give size or scale_factor, one of the two")
    given = scale_factor if size is None else size
    each = list(given) if isinstance(given, (tuple, list)) else [given] * axes
    if len(each) != axes:
        raise ValueError(
            f"[interpolate] needs one size or factor for each of {axes} axes, got {given!r}"
        )
    if size is not None:
        return each, [None] * axes
    sizes = [math.floor(n * factor) for n, factor in zip(input.shape[2:], each)]
    return sizes, [None] * axes if recompute else each


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """input (B, C, *sizes) in another size: the "nearest" element, "linear", "bilinear",
    "trilinear", "bicubic", or "area" (means). align_corners: the middles of the outermost elements
    stay where they are, otherwise their outer edges do."""
    axes = input.ndim - 2
    wanted = 0 if mode == "area" else TAPS[mode][0] if mode in TAPS else -1
    if axes not in (1, 2, 3) or wanted not in (0, axes):
        raise NotImplementedError(
            f"[interpolate] mode must be 'area' or one of {[*TAPS]} with as many axes behind "
            f"(B, C), got {mode!r} for {tuple(input.shape)}"
        )
    if antialias:
        raise NotImplementedError("[interpolate] antialias must be False here")
    if align_corners is not None and wanted == 0:
        raise ValueError(f"[interpolate] align_corners is for linear and cubic modes, got {mode!r}")
    recompute = bool(recompute_scale_factor) or mode == "area"
    sizes, factors = _new_sizes(input, size, scale_factor, recompute)
    if min(sizes, default=0) < 1 or 0 in input.shape[2:]:
        raise RuntimeError(
            f"[interpolate] sizes must be positive, got {tuple(input.shape[2:])} and {sizes}"
        )
    if mode == "area":
        return adaptive_avg_pool(axes, input, sizes)
    out = input
    for axis, (m, factor) in enumerate(zip(sizes, factors), 2):
        out = _resized(out, axis, m, factor, mode, bool(align_corners))
    title = mode.title().replace("-", "")
    return named(out, f"Upsample{title}{axes}DBackward0")


def _resized(
    x: Tensor, axis: int, m: int, factor: float | None, mode: str, align_corners: bool
) -> Tensor:
    n, kind = x.shape[axis], widened(x.array[:0]).dtype
    lib, new = library(x.array), numpy.arange(m).astype(kind)
    step = kind.type(1 / factor) if factor else kind.type(n) / kind.type(m)
    if align_corners:
        at = new * (kind.type(n - 1) / kind.type(m - 1) if m > 1 else kind.type(0))
    elif mode == "nearest":
        at = new * step
    else:
        at = (new + kind.type(0.5)) * step - (0 if mode == "nearest-exact" else kind.type(0.5))
    parts = []
    for places, weights in TAPS[mode][1](at):
        ids = lib.asarray(places.astype("int64").clip(0, n - 1))
        part = take(x, indices=ids, axis=axis)
        if weights is not None:
            shape = [-1 if a == axis else 1 for a in range(x.ndim)]
            part = part * wrap(lib.asarray(weights.astype(x.array.dtype).reshape(shape)))
        parts.append(part)
    return sum(parts[1:], parts[0])


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """The former name of `interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with the nearest element."""
    return interpolate(input, size, scale_factor)


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with "bilinear" and aligned corners."""
    return interpolate(input, size, scale_factor, "bilinear", True)


def _divided(name: str, shape: Sequence[int], axis: int, by: int) -> int:
    if len(shape) < 3 or by < 1 or shape[axis] % by:
        raise RuntimeError(
            f"[{name}] axis {axis} must be a multiple of {by}, got shape {tuple(shape)}"
        )
    return shape[axis] // by


@one_op
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r r, H, W) as (..., C, H r, W r): channels become pixels (Shi et al., 2016, arXiv
    1609.05158)."""
    r, (*lead, _, H, W) = upscale_factor, input.shape
    C = _divided("pixel_shuffle", input.shape, -3, r * r)
    apart = input.reshape(*lead, C, r, r, H, W)
    return apart.movedim(-4, -2).movedim(-4, -1).reshape(*lead, C, H * r, W * r)


@one_op
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) as (..., C r r, H, W): the mirror of pixel_shuffle."""
    r, (*lead, C, _, _) = downscale_factor, input.shape
    H, W = (_divided("pixel_unshuffle", input.shape, axis, r) for axis in (-2, -1))
    apart = input.reshape(*lead, C, H, r, W, r)
    return apart.movedim(-3, -4).movedim(-1, -3).reshape(*lead, C * r * r, H, W)


@one_op
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (B, C, ...), in `groups` groups, in turns (Zhang et al., 2017, arXiv
    1707.01083)."""
    B, C, *sizes = input.shape
    share = _divided("channel_shuffle", input.shape, 1, groups)
    return input.reshape(B, groups, share, *sizes).transpose(1, 2).reshape(B, C, *sizes)
