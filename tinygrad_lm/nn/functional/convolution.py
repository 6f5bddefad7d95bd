"""Convolution, its way back, and windows as columns, along one, two or three axes. All of them are
two ops of `engine/ops/convolution.py`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Signature, signature
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from ...engine.core.tensor import Tensor
from ...engine.ops import convolution as ops
from ...engine.ops import shape
from ...engine.pytorch.common import check_tensors
from ...engine.pytorch.names import named

Numbers: TypeAlias = "int | Sequence[int]"
P = ParamSpec("P")
Result = TypeVar("Result")

# Shapes: B batch, C channels, O channels of the result; without B a single image.


def numbers(name: str, what: str, value: Any, axes: int, least: int = 1) -> tuple[int, ...]:
    """One number per axis: of a single number as many as there are axes."""
    given = value if isinstance(value, (tuple, list)) else (value,)
    try:
        found = tuple(map(operator.index, given)) * (axes if len(given) == 1 else 1)
    except TypeError as error:
        raise TypeError(f"[{name}] {what} must be integers, got {value!r}") from error
    if len(found) != axes or min(found) < least:
        raise RuntimeError(
            f"[{name}] {what} must be an integer or {axes} of them, from {least} on, got {value!r}"
        )
    return found


def along(function: Callable[Concatenate[int, P], Result]) -> list[Callable[P, Result]]:
    """A function of so many axes and an input, as PyTorch has it: one for one axis, one for two and
    one for three, which are called name1d, name2d and name3d."""

    def of(axes: int) -> Callable[P, Result]:
        @wraps(function)
        def made(*args: P.args, **kwargs: P.kwargs) -> Result:
            return function(axes, *args, **kwargs)

        made.__name__ = made.__qualname__ = f"{function.__name__}{axes}d"
        first, *others = signature(function).parameters.values()
        made.__signature__ = Signature(others)  # type: ignore[attr-defined]
        return made

    return [of(axes) for axes in (1, 2, 3)]


def check_axes(name: str, input: Tensor, axes: int) -> None:
    check_tensors(name, input=input)
    if input.ndim not in (axes + 1, axes + 2):
        raise RuntimeError(
            f"[{name}] needs (C, ...) or (B, C, ...) with {axes} more axes, "
            f"got {tuple(input.shape)}"
        )


def one_image(name: str, input: Tensor, axes: int, function: Callable) -> Tensor:
    """function of a batch; of an input without a batch, the one result."""
    check_axes(name, input, axes)
    if input.ndim == axes + 2:
        return function(input)
    out = function(shape.reshape(input, shape=(1, *input.shape)))
    return named(shape.reshape(out, shape=out.shape[1:]), "SqueezeBackward1")


def conv(
    axes: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """The weight (O, C / groups, *kernel) times every window of the input (B, C, *sizes), plus bias
    (O,): (B, O, *counts) (LeCun et al., 1989). padding: zeros on both sides of each axis, or
    "valid" (none), or "same" (as many windows as elements)."""
    name = f"conv{axes}d"
    how = _checked(name, axes, weight, groups, stride=stride, dilation=dilation)
    check_axes(name, input, axes)
    if padding == "same":
        if max(how["stride"]) > 1:
            raise RuntimeError(f"[{name}] padding 'same' needs stride 1, got {stride!r}")
        around = [d * (k - 1) for d, k in zip(how["dilation"], weight.shape[2:])]
        input = _padded_behind(input, [n % 2 for n in around])
        padding = [n // 2 for n in around]
    elif isinstance(padding, str):
        if padding != "valid":
            raise RuntimeError(f"[{name}] padding must be 'same' or 'valid', got {padding!r}")
        padding = 0
    how["padding"] = numbers(name, "padding", padding, axes, 0)
    sizes = [n + 2 * p for n, p in zip(input.shape[-axes:], how["padding"])]
    spans = [d * (k - 1) + 1 for d, k in zip(how["dilation"], weight.shape[2:])]
    if any(span > n for span, n in zip(spans, sizes)):
        raise RuntimeError(
            f"[{name}] the kernel must fit into the padded input, got {spans} over {sizes}"
        )
    return one_image(name, input, axes, lambda x: ops.convolution(x, weight, bias, **how))


def _padded_behind(input: Tensor, more: list[int]) -> Tensor:
    """More zeros at the end of the last axes, where an even kernel needs one."""
    if not any(more):
        return input
    lead = input.ndim - len(more)
    return shape.pad(input, widths=[(0, 0)] * lead + [(0, n) for n in more])


def _checked(name: str, axes: int, weight: Tensor, groups: int, **how: Any) -> dict[str, Any]:
    if weight.ndim != axes + 2 or not weight.numel():
        raise RuntimeError(
            f"[{name}] the weight must have {axes + 2} axes and elements, got {tuple(weight.shape)}"
        )
    if groups < 1:
        raise RuntimeError(f"[{name}] groups must be positive, got {groups}")
    return {"groups": groups} | {k: numbers(name, k, v, axes) for k, v in how.items()}


conv1d, conv2d, conv3d = along(conv)


def conv_transpose(
    axes: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """The way back of a convolution, which makes `stride` elements of one (Zeiler et al., 2010):
    input (B, C, *sizes), weight (C, O / groups, *kernel): (B, O, ...) of sizes (size - 1) stride
    - 2 padding + dilation (kernel - 1) + output_padding + 1."""
    name = f"conv_transpose{axes}d"
    how = _checked(name, axes, weight, groups, stride=stride, dilation=dilation)
    how["padding"] = numbers(name, "padding", padding, axes, 0)
    more = how["output_padding"] = numbers(name, "output_padding", output_padding, axes, 0)
    if any(n >= max(s, d) for n, s, d in zip(more, how["stride"], how["dilation"])):
        raise RuntimeError(
            f"[{name}] output_padding must be below stride or dilation, got {output_padding!r}, "
            f"{stride!r} and {dilation!r}"
        )
    return one_image(name, input, axes, lambda x: ops.conv_transpose(x, weight, bias, **how))


conv_transpose1d, conv_transpose2d, conv_transpose3d = along(conv_transpose)


def _of_columns(
    name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    how = {
        "dilation": numbers(name, "dilation", dilation, 2),
        "padding": numbers(name, "padding", padding, 2, 0),
        "stride": numbers(name, "stride", stride, 2),
    }
    return numbers(name, "kernel_size", kernel_size, 2), how


def unfold(
    input: Tensor,
    kernel_size: Numbers,
    dilation: Numbers = 1,
    padding: Numbers = 0,
    stride: Numbers = 1,
) -> Tensor:
    """Every window of input (B, C, H, W) as a column: (B, C * K, L) for L windows of K elements. A
    convolution is weight.view(O, C * K) @ unfold(input)."""
    kernel, how = _of_columns("unfold", kernel_size, dilation, padding, stride)

    def columns(x: Tensor) -> Tensor:
        B, C, *_ = x.shape
        out = ops.columns_of(x, kernel, **how)
        return out.reshape(B, C * math.prod(kernel), math.prod(out.shape[4:]))

    return named(one_image("unfold", input, 2, columns), "Im2ColBackward0")


def fold(
    input: Tensor,
    output_size: Numbers,
    kernel_size: Numbers,
    dilation: Numbers = 1,
    padding: Numbers = 0,
    stride: Numbers = 1,
) -> Tensor:
    """The mirror of `unfold`: columns (B, C * K, L) added up into (B, C, *output_size)."""
    kernel, how = _of_columns("fold", kernel_size, dilation, padding, stride)
    sizes, elements = numbers("fold", "output_size", output_size, 2), math.prod(kernel)
    regular = zip(sizes, kernel, *how.values())
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in regular]
    if (
        input.ndim not in (2, 3)
        or input.shape[-2] % elements
        or input.shape[-1] != math.prod(counts)
    ):
        raise RuntimeError(
            f"[fold] needs (B, C * {elements}, {math.prod(counts)}) for windows of {kernel} over "
            f"{sizes}, got {tuple(input.shape)}"
        )

    def image(x: Tensor) -> Tensor:
        columns = x.reshape(len(x), x.shape[1] // elements, *kernel, *counts)
        return ops.image_of(columns, sizes, **how)

    return named(one_image("fold", input, 1, image), "Col2ImBackward0")
