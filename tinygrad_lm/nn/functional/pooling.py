"""Pooling along one, two or three axes: the largest or the mean element of each window. A window is
given by its size, or by how many of them there shall be (`adaptive`)."""

from __future__ import annotations

import math
from typing import Any

from ...engine.arrays import library
from ...engine.core.tensor import Tensor, wrap
from ...engine.ops import convolution as ops
from ...engine.ops.shape import pad
from ...engine.ops.windows import window_sums
from ...engine.pytorch.names import named
from .convolution import Numbers, along, check_axes, numbers

REGULAR = ("size", "step", "padding", "dilation", "counts")

# Shapes: (B, C, *sizes) or (C, *sizes), as many sizes as the name says.


def _windows(
    name: str, axes: int, input: Tensor, kernel: Any, stride: Any, ceil_mode: bool, **how: Any
) -> dict[str, tuple[int, ...]]:
    """Checked numbers per axis, and how many windows there are."""
    check_axes(name, input, axes)
    size = numbers(name, "kernel_size", kernel, axes)
    step = numbers(name, "stride", kernel if stride is None or stride == [] else stride, axes)
    padding = numbers(name, "padding", how.get("padding", 0), axes, 0)
    dilation = numbers(name, "dilation", how.get("dilation", 1), axes)
    counts = []
    for n, k, s, p, d in zip(input.shape[-axes:], size, step, padding, dilation):
        span = d * (k - 1) + 1
        if p > span // 2:
            raise RuntimeError(f"[{name}] padding must be at most half of {span}, got {p}")
        count = (n + 2 * p - span + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= n + p:  # the last window must begin inside
            count -= 1
        if count < 1:
            raise RuntimeError(
                f"[{name}] a window of {span} must fit into {n} elements and padding {p}"
            )
        counts.append(count)
    found = {"size": size, "step": step, "padding": padding, "counts": tuple(counts)}
    return found | ({"dilation": dilation} if "dilation" in how else {})


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
    how = _windows(
        f"max_pool{axes}d",
        axes,
        input,
        kernel_size,
        stride,
        ceil_mode,
        padding=padding,
        dilation=dilation,
    )
    if not return_indices:
        out = ops.max_pool(input, **how)
        return named(out, _printed(axes, "MaxPool{}DWithIndicesBackward0"))
    regular = zip(input.shape[-axes:], *[how[k] for k in REGULAR])
    return _chosen(input, [ops.positions(library(input.array), *each) for each in regular])


max_pool1d, max_pool2d, max_pool3d = along(max_pool)


def _printed(axes: int, name: str) -> str:
    return "SqueezeBackward1" if axes == 1 else name.format(axes)


def _chosen(input: Tensor, windows: list) -> tuple[Tensor, Tensor]:
    """The largest elements of windows, and where they are."""
    axes = len(windows)
    ids = ops.largest(input.array, windows)
    out = ops.at_positions(input, ids, axes).reshape(ids.shape)
    return named(out, _printed(axes, "MaxPool{}DWithIndicesBackward0")), wrap(ids)


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
    name, lead = f"avg_pool{axes}d", input.ndim - axes
    if not input.is_floating_point():
        raise NotImplementedError(
            f"[{name}] needs a floating-point tensor, got {input.dtype}; use float()"
        )
    if divisor_override == 0:
        raise RuntimeError(f"[{name}] divisor_override must not be 0")
    how = _windows(name, axes, input, kernel_size, stride, ceil_mode, padding=padding)
    out, widths = input, [(0, 0)] * lead
    areas: Any = 1
    for axis, (n, k, s, p, m) in enumerate(
        zip(input.shape[lead:], how["size"], how["step"], how["padding"], how["counts"]), lead
    ):
        starts = library(input.array).arange(m) * s - p
        first, last = (-p, n + p) if count_include_pad else (0, n)
        inside = (starts + k).clip(None, last) - starts.clip(first, None)
        areas = inside if axis == lead else areas[..., None] * inside
        widths.append((p, max((m - 1) * s + k - n - p, 0)))
    if any(map(any, widths)):
        out = pad(out, widths=widths)
        areas = wrap(areas.astype(out.array.dtype))
    else:
        areas = math.prod(how["size"])
    for axis, (k, s, m) in enumerate(zip(how["size"], how["step"], how["counts"]), lead):
        out = window_sums(out, axis=axis, bounds=[(i * s, i * s + k) for i in range(m)])
    return named(out / (divisor_override or areas), _printed(axes, "AvgPool{}DBackward0"))


avg_pool1d, avg_pool2d, avg_pool3d = along(avg_pool)


def _bins(name: str, axes: int, input: Tensor, output_size: Any) -> list[list[tuple[int, int]]]:
    """(start, stop) of each window, per axis; None keeps an axis as it is."""
    check_axes(name, input, axes)
    sizes = input.shape[-axes:]
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    wanted = tuple(n if m is None else m for n, m in zip(sizes, given))
    wanted = numbers(name, "output_size", wanted if len(given) == axes else given, axes)
    if 0 in sizes:
        raise RuntimeError(f"[{name}] needs elements to choose from, got {tuple(input.shape)}")
    return [[(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in zip(sizes, wanted)]


def adaptive_avg_pool(axes: int, input: Tensor, output_size: Any) -> Tensor:
    """The means of output_size windows per axis, as equal as they can be; None keeps an axis."""
    name, out = f"adaptive_avg_pool{axes}d", input
    all_bins = _bins(name, axes, input, output_size)
    if all(len(bins) == 1 for bins in all_bins):
        out = input.mean(tuple(range(-axes, 0)), keepdim=True)
        return named(out, "MeanBackward1" if axes > 1 else "SqueezeBackward1")
    for axis, bins in enumerate(all_bins, input.ndim - axes):
        out = window_sums(out, axis=axis, bounds=bins)
        sizes = [b - a for a, b in bins]
        if len({*sizes}) > 1:
            along = library(out.array).array(sizes, out.array.dtype)
            out = out / wrap(along.reshape(-1, *[1] * (out.ndim - axis - 1)))
        else:
            out = out / sizes[0]
    return named(out, _printed(axes, "AdaptiveAvgPool{}DBackward0"))


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = along(adaptive_avg_pool)


def adaptive_max_pool(
    axes: int, input: Tensor, output_size: Any, return_indices: bool = False
) -> Any:
    """The largest elements of output_size windows per axis, as equal as they can be."""
    lib = library(input.array)
    windows = []
    for bins in _bins(f"adaptive_max_pool{axes}d", axes, input, output_size):
        starts, stops = (lib.asarray(column).reshape(-1, 1) for column in zip(*bins))
        longest = max(b - a for a, b in bins)
        windows.append(lib.minimum(starts + lib.arange(longest), stops - 1))
    out, ids = _chosen(input, windows)
    out = named(out, _printed(axes, "AdaptiveMaxPool{}DBackward0"))
    return (out, ids) if return_indices else out


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = along(adaptive_max_pool)
