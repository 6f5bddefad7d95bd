"""Cutting, stacking, turning and renaming axes beyond the course, in PyTorch's spelling, and the
methods that change a tensor's own shape in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from .. import arrays
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from ..ops.elementwise import clone
from .common import axis_of, numpy_names
from .grad_mode import set_grad_enabled
from .joining import cat, flip, hstack, narrow, split, tensors_of
from .names import one_op
from .shapes import mT, reshape, squeeze, swapaxes, t, transpose, unsqueeze
from .tensor_extras import Size
from .windows import as_strided

# ---------------------------------------------------------------- in pieces


@numpy_names
def tensor_split(
    input: Tensor,
    indices_or_sections: int | Sequence[int] | Tensor | None = None,
    dim: int = 0,
    *,
    indices: Any = None,
    sections: int | None = None,
) -> tuple[Tensor, ...]:
    """So many pieces along dim, the first ones larger by one where it does not divide; or cut in
    front of the positions listed."""
    where = next(x for x in (indices_or_sections, indices, sections, 0) if x is not None)
    where = where.tolist() if isinstance(where, Tensor) else where
    if not input.ndim:
        raise RuntimeError("[tensor_split] needs at least one dim, got a 0-d tensor")
    axis = axis_of(input, dim, "tensor_split")
    size = input.array.shape[axis]
    if isinstance(where, int):
        if where < 1:
            raise RuntimeError(f"[tensor_split] sections must be positive, got {where}")
        where = [i * (size // where) + min(i, size % where) for i in range(1, where)]
    ends = [min(max(i + size if i < 0 else i, 0), size) for i in (*where, size)]
    starts = [0, *ends[:-1]]
    return tuple(narrow(input, axis, a, max(b - a, 0)) for a, b in zip(starts, ends))


def _splitter(name: str, axis: int, least: int) -> Callable:
    def function(
        input: Tensor, indices_or_sections: Any = None, *, indices: Any = None, sections: Any = None
    ) -> tuple[Tensor, ...]:
        if input.ndim < least:
            shape = tuple(input.shape)
            raise RuntimeError(f"[{name}] needs at least {least} dims, got shape {shape}")
        where = next(x for x in (indices_or_sections, indices, sections) if x is not None)
        dim = axis if input.ndim > axis else 0
        if isinstance(where, int) and (where < 1 or input.array.shape[dim] % where):
            raise RuntimeError(
                f"[{name}] the size {input.array.shape[dim]} must be a multiple of the sections, "
                f"got {where}; tensor_split makes unequal ones"
            )
        return tensor_split(input, where, dim)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`tensor_split` along dim {axis} into equal pieces, or at positions."
    return function


hsplit = _splitter("hsplit", 1, 1)
vsplit = _splitter("vsplit", 0, 2)
dsplit = _splitter("dsplit", 2, 3)


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """`split` into the sizes listed."""
    return split(input, list(split_sizes), dim)


def split_of(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """`torch.split`, whose words are other ones than the method's."""
    return split(tensor, split_size_or_sections, dim)


def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`narrow` that copies."""
    return narrow(input, dim, start, length).clone()


# ---------------------------------------------------------------- at least so many axes


def _each(function: Callable, tensors: tuple) -> Any:
    """For one tensor a tensor, for several of them, or a list, a tuple."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        return tuple(map(function, tensors[0]))
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"[atleast] needs Tensors, got {type(x).__name__}")
    return function(tensors[0]) if len(tensors) == 1 else tuple(map(function, tensors))


def atleast_1d(*tensors: Any) -> Any:
    """Each with at least one dim."""
    return _each(lambda x: x if x.ndim else reshape(x, 1), tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Each with at least two dims: a vector is a row."""
    return _each(lambda x: x if x.ndim > 1 else unsqueeze(atleast_1d(x), 0), tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Each with at least three dims: new ones on both sides of a vector, behind a matrix."""

    def grown(x: Tensor) -> Tensor:
        return x if x.ndim > 2 else unsqueeze(atleast_2d(x), -1)

    return _each(grown, tensors)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the third dim."""
    return cat(list(atleast_3d(tensors_of(tensors, "dstack"))), 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined column by column; a vector is one column."""
    tensors = tensors_of(tensors, "column_stack")
    return hstack([x if x.ndim > 1 else reshape(x, -1, 1) for x in tensors])


@one_op
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of one, zeros elsewhere; a vector is a row."""
    blocks = list(atleast_2d(*tensors, wrap(numpy.zeros((1, 0), "float32")))[:-1])
    if any(x.ndim > 2 for x in blocks):
        shapes = [tuple(x.shape) for x in blocks]
        raise RuntimeError(f"[block_diag] needs at most 2 dims, got shapes {shapes}")
    if not blocks:
        return wrap(numpy.zeros((1, 0), arrays.get_default_dtype().np))
    kind = arrays.result_type(*[x.array for x in blocks])
    rows, columns = (sum(x.array.shape[i] for x in blocks) for i in (0, 1))
    out, row, column = blocks[0].new_zeros(rows, columns, dtype=kind), 0, 0
    for x in blocks:
        n, m = x.array.shape
        out[row : row + n, column : column + m] = x.to(kind)
        row, column = row + n, column + m
    return out


# ---------------------------------------------------------------- turned


@one_op
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k right angles in the plane of two dims, from the first towards the second."""
    if input.ndim < 2 or len(dims) != 2 or dims[0] % input.ndim == dims[1] % input.ndim:
        raise RuntimeError(
            f"[rot90] needs two different dims of at least two, got {tuple(dims)} for shape "
            f"{tuple(input.shape)}"
        )
    first, second = (axis_of(input, d, "rot90") for d in dims)
    if k % 4 == 0:
        return clone(input)
    if k % 4 == 2:
        return flip(input, first, second)
    return transpose(flip(input, second if k % 4 == 1 else first), first, second)


def fliplr(input: Tensor) -> Tensor:
    """Left and right swapped: dim 1 backwards."""
    if input.ndim < 2:
        raise RuntimeError(f"[fliplr] needs at least 2 dims, got shape {tuple(input.shape)}")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """Up and down swapped: dim 0 backwards."""
    if input.ndim < 1:
        raise RuntimeError("[flipud] needs at least 1 dim, got a 0-d tensor")
    return flip(input, 0)


def adjoint(input: Tensor) -> Tensor:
    """The last two dims swapped; of real numbers `mT`."""
    if input.ndim == 1:
        raise RuntimeError("[adjoint] needs at least 2 dims, got a vector; use unsqueeze")
    return mT(input)


def H(input: Tensor) -> Tensor:
    """A matrix transposed."""
    if input.ndim not in (0, 2):
        raise RuntimeError(f"[H] needs a matrix, got shape {tuple(input.shape)}; use mH")
    return mT(input)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes meet in."""
    try:
        return Size(numpy.broadcast_shapes(*shapes))
    except ValueError as error:
        raise RuntimeError(f"[broadcast_shapes] shapes must fit together, got {shapes}") from error


# ---------------------------------------------------------------- the tensor itself


def reshaper(op: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """x.unsqueeze_(0) is x = x.unsqueeze(0): the same tensor and memory in another shape."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if mode.recording and self.requires_grad and self.node is None:
            raise RuntimeError(
                "[in-place] a leaf Variable that requires grad must not change its shape while "
                "recording; use the form without _"
            )
        with set_grad_enabled(mode.recording or self.node is not None):  # or no gradient came back
            out = op(self, *args, **kwargs)
        self.array, self.node = out.array, out.node
        return self

    return method


unsqueeze_, squeeze_ = reshaper(unsqueeze), reshaper(squeeze)
as_strided_ = reshaper(as_strided)
transpose_, swapaxes_, t_ = reshaper(transpose), reshaper(swapaxes), reshaper(t)
