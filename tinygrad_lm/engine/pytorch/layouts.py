"""In which order a tensor's elements lie in memory, in PyTorch's words: `memory_format`, `layout`.
What is chosen changes strides, never a value."""

from __future__ import annotations

from typing import Any

from ..arrays import Array, library
from ..core.tensor import Tensor
from ..ops import elementwise, shape
from .names import named


class Word:
    """A constant that prints as PyTorch's."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class memory_format(Word):
    """An order of axes in memory."""


class layout(Word):
    """How elements are found: by strides. Sparse tensors are not offered."""


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
strided = layout("strided")
sparse_coo = layout("sparse_coo")

AXES = {channels_last: 4, channels_last_3d: 5}  # of a batch of images, of volumes


def _order(input: Tensor, form: Any, name: str) -> list[int]:
    """The axes from the outermost in memory to the innermost."""
    if not isinstance(form, memory_format):
        raise TypeError(f"[{name}] memory_format must be torch.memory_format, got {form!r:.60}")
    axes = list(range(input.ndim))
    if form not in AXES:
        return axes
    if input.ndim != AXES[form]:
        raise RuntimeError(
            f"[{name}] {form} needs {AXES[form]} axes, got shape {tuple(input.array.shape)}"
        )
    return [0, *axes[2:], 1]


def unwritten(input: Tensor, form: Any, name: str) -> Array:
    """Memory like that of input, whose elements will lie in this order."""
    order, like = _order(input, form, name), input.array
    made = library(like).empty([like.shape[axis] for axis in order], like.dtype)
    return made.transpose([order.index(axis) for axis in range(input.ndim)])


def is_contiguous(input: Tensor, memory_format: Any = contiguous_format) -> bool:
    """Whether the elements lie in this order, without gaps."""
    if memory_format is contiguous_format:
        return input.array.flags.c_contiguous
    if memory_format in AXES and input.ndim != AXES[memory_format]:
        return False
    order = _order(input, memory_format, "is_contiguous")
    return input.array.transpose(order).flags.c_contiguous


def contiguous(input: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """The tensor itself where it lies in this order (row by row), else a copy that does."""
    if memory_format is contiguous_format:
        return input if input.array.flags.c_contiguous else shape.contiguous(input)
    if memory_format is preserve_format:
        raise RuntimeError("[contiguous] memory_format must name an order, got preserve_format")
    if is_contiguous(input, memory_format):
        return input
    return clone(input, memory_format=memory_format)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy, in the order of the memory of input, or in the one that memory_format names."""
    if memory_format is None or memory_format is preserve_format:
        return elementwise.clone(input)
    order = _order(input, memory_format, "clone")
    if order == list(range(input.ndim)):
        return shape.contiguous(input)
    copy = shape.contiguous(shape.transpose(input, axes=order))
    back = [order.index(axis) for axis in range(input.ndim)]
    return named(shape.transpose(copy, axes=back), "CloneBackward0")
