"""Pooling along one, two or three axes: the largest or the mean element of each window. A window is
given by its size, or by how many of them there shall be (`adaptive`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

from ...engine.core.tensor import Tensor, wrap
from ...engine.ops import pooling as ops
from ...engine.pytorch.names import named
from .convolution import Numbers, along, check_axes, numbers

Ranges: TypeAlias = "tuple[range, ...]"  # of the positions that each window sees along an axis

# Shapes: (B, C, *sizes) or (C, *sizes), as many sizes as the name says.


@lru_cache(1024)
def _windows(
    name: str, n: int, size: int, step: int, padding: int, dilation: int, ceil_mode: bool
) -> tuple[Ranges, tuple[int, ...]]:
    """Windows along an axis of n elements; and how many each would see if padding counted."""
    span = dilation * (size - 1) + 1
    if padding > span // 2:
        raise RuntimeError(f"[{name}] padding must be at most half of {span}, got {padding}")
    count = (n + 2 * padding - span + (step - 1 if ceil_mode else 0)) // step + 1
    if ceil_mode and (count - 1) * step >= n + padding:  # the last window must begin inside
        count -= 1
    starts = range(-padding, count * step - padding, step)
    seen = tuple([range(max(a, a % dilation), min(a + span, n), dilation) for a in starts])
    if not seen or not all(seen):
        raise RuntimeError(
            f"[{name}] a window of {span} must fit into {n} elements and padding {padding}"
        )
    return seen, tuple([min(a + span, n + padding) - a for a in starts])


def _per_axis(
    name: str,
    axes: int,
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    dilation: Numbers,
    ceil_mode: bool,
) -> list[tuple[Ranges, tuple[int, ...]]]:
    check_axes(name, input, axes)
    size = numbers(name, "kernel_size", kernel_size, axes)
    step = size if stride is None or stride == [] else numbers(name, "stride", stride, axes)
    around = numbers(name, "padding", padding, axes, 0)
    apart = numbers(name, "dilation", dilation, axes)
    regular = zip(input.shape[-axes:], size, step, around, apart)
    return [_windows(name, *each, ceil_mode) for each in regular]


def _printed(axes: int, name: str) -> str:
    return "SqueezeBackward1" if axes == 1 else name.format(axes)


def _nothing(input: Tensor, windows: tuple) -> Tensor:
    """What there is along these windows, where an axis has none of them."""
    return input[..., :0].reshape(*input.shape[: -len(windows)], *map(len, windows))


def _largest(axes: int, input: Tensor, windows: tuple, where: bool, name: str) -> Any:
    """The largest elements of windows, and where they are if that is asked for."""
    if not all(windows):
        out = named(_nothing(input, windows), _printed(axes, name))
        return (out, out.detach().long()) if where else out
    if not where:
        return named(ops.max_pool(input, windows=windows), _printed(axes, name))
    ids = ops.largest(input.array, windows)
    return named(ops.at_positions(input, ids, axes), _printed(axes, name)), wrap(ids)


def max_pool(
    axes: int,
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window, of which there is one every `stride` (by default they
    touch); with return_indices also where it is, counted row by row in the last axes. The gradient
    goes to the first of several that tie. ceil_mode: a last window may be cut off by the end."""
    how = (kernel_size, stride, padding, dilation, ceil_mode)
    windows, _ = zip(*_per_axis(f"max_pool{axes}d", axes, input, *how))
    return _largest(axes, input, windows, return_indices, "MaxPool{}DWithIndicesBackward0")


max_pool1d, max_pool2d, max_pool3d = along(max_pool)


def avg_pool(
    axes: int,
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window. Padding counts as zeros, or not at all without count_include_pad;
    divisor_override: the sum over that number."""
    name = f"avg_pool{axes}d"
    if not input.is_floating_point():
        raise NotImplementedError(
            f"[{name}] needs a floating-point tensor, got {input.dtype}; use float()"
        )
    if divisor_override == 0:
        raise RuntimeError(f"[{name}] divisor_override must not be 0")
    how = (kernel_size, stride, padding, 1, ceil_mode)
    windows, divisors = zip(*_per_axis(name, axes, input, *how))
    if divisor_override:
        divisors = tuple([(1,) * len(ranges) for ranges in windows])
        divisors = ((divisor_override,) * len(windows[0]), *divisors[1:])
    elif not count_include_pad:
        divisors = tuple([tuple(map(len, ranges)) for ranges in windows])
    out = ops.avg_pool(input, windows=windows, divisors=divisors)
    return named(out, _printed(axes, "AvgPool{}DBackward0"))


avg_pool1d, avg_pool2d, avg_pool3d = along(avg_pool)


@lru_cache(1024)
def _bins(n: int, m: int) -> Ranges:
    return tuple([range(i * n // m, -(-(i + 1) * n // m)) for i in range(m)])


def _all_bins(name: str, axes: int, input: Tensor, output_size: Any) -> tuple[Ranges, ...]:
    """As many windows per axis as output_size says; None keeps an axis as it is."""
    check_axes(name, input, axes)
    sizes = input.shape[-axes:]
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    wanted = tuple(n if m is None else m for n, m in zip(sizes, given))
    wanted = numbers(name, "output_size", wanted if len(given) == axes else given, axes, 0)
    if 0 in sizes:
        raise RuntimeError(f"[{name}] needs elements to choose from, got {tuple(input.shape)}")
    return tuple(map(_bins, sizes, wanted))


def adaptive_avg_pool(axes: int, input: Tensor, output_size: Any) -> Tensor:
    """The means of output_size windows per axis, as equal as they can be; None keeps an axis."""
    windows = _all_bins(f"adaptive_avg_pool{axes}d", axes, input, output_size)
    divisors = tuple([tuple(map(len, ranges)) for ranges in windows])
    if all(windows):
        out = ops.avg_pool(input, windows=windows, divisors=divisors)
    else:
        out = _nothing(input, windows)
    one = axes > 1 and all(len(ranges) == 1 for ranges in windows)
    return named(out, "MeanBackward1" if one else _printed(axes, "AdaptiveAvgPool{}DBackward0"))


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = along(adaptive_avg_pool)


def adaptive_max_pool(
    axes: int, input: Tensor, output_size: Any, return_indices: bool = False
) -> Any:
    """The largest elements of output_size windows per axis, as equal as they can be."""
    windows = _all_bins(f"adaptive_max_pool{axes}d", axes, input, output_size)
    return _largest(axes, input, windows, return_indices, "AdaptiveMaxPool{}DBackward0")


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = along(adaptive_max_pool)
