"""Windows over memory in PyTorch's spelling: `Tensor.unfold` and `as_strided`. The ops are in
`ops/windows.py`."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.tensor import Tensor
from ..ops import shape
from ..ops import windows as ops
from .common import axis_of
from .names import named
from .tensor_extras import storage_offset as offset_of


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of `size` elements along an axis, one every `step`, what is in them last. A
    view."""
    axis = axis_of(input, dimension, "unfold")
    x = input if input.ndim else shape.view(input, shape=(1,))
    out = ops.unfold(x, axis=axis, size=size, step=step)
    return out if input.ndim else named(shape.view(out, shape=(size,)), "UnfoldBackward0")


def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """out[i, j] = memory[storage_offset + i stride[0] + j stride[1]]: a view. It must
    stay within the elements of the tensor itself, which must have no gaps."""
    if len(size) != len(stride):
        raise RuntimeError(
            f"[as_strided] needs one stride per size, got {tuple(size)} and {tuple(stride)}"
        )
    steps = input.array.strides
    order = sorted(range(input.ndim), key=lambda axis: (-steps[axis], -input.shape[axis]))
    rows = shape.transpose(input, axes=tuple(order))  # row-major, if anything is
    if not rows.array.flags.c_contiguous:
        raise RuntimeError(
            f"[as_strided] the tensor's memory must have no gaps, got shape {tuple(input.shape)} "
            f"with strides {input.stride()}; use contiguous()"
        )
    offset = 0 if storage_offset is None else storage_offset - offset_of(input)
    out = ops.as_strided(rows, shape=tuple(size), strides=tuple(stride), offset=offset)
    return named(out, "AsStridedBackward0")
