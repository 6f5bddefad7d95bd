"""Joining, cutting, repeating and reordering along axes, in PyTorch's spelling. Pieces are views;
whatever joins or repeats copies."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy

from .. import arrays
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from ..inplace import views
from ..ops import shape as ops
from ..ops.elementwise import clone
from ..ops.index import getitem
from .common import Sizes, axes_of, axis_of, numpy_names, sizes
from .indexing import index_select
from .names import named, one_op
from .shapes import flatten

requires_grad = attrgetter("requires_grad")


@numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joined along an existing axis."""
    tensors = _some(tensors, "cat")
    kept = [x for x in tensors if x.array.shape != (0,)] or tensors[:1]  # torch skips empty ones
    if any(x.array.ndim == 0 for x in kept):
        raise RuntimeError("[cat] 0-d tensors cannot be joined along an axis they lack; use stack")
    if len({x.array.ndim for x in kept}) > 1:
        shapes = [tuple(x.array.shape) for x in kept]
        raise RuntimeError(f"[cat] all tensors must have as many axes, got shapes {shapes}")
    axis = axis_of(kept[0], dim, "cat")
    return ops.concatenate(*kept, axis=axis)


@numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joined along a new axis; all shapes must be equal."""
    tensors = _some(tensors, "stack")
    shapes = {x.array.shape for x in tensors}
    if len(shapes) > 1:
        raise RuntimeError(f"[stack] all shapes must be equal, got {sorted(shapes)}")
    axis = axis_of(tensors[0], dim, "stack", extra=1)
    if mode.recording and any(map(requires_grad, tensors)):
        return ops.stack(*tensors, axis=axis)
    return wrap(ops.stacked([x.array for x in tensors], axis))


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined row by row; a vector is one row."""
    return cat([x.reshape(1, -1) if x.ndim < 2 else x for x in tensors_of(tensors, "vstack")])


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined column by column; vectors end to end."""
    tensors = [x if x.ndim else x.reshape(1) for x in tensors_of(tensors, "hstack")]
    return cat(tensors, dim=0 if tensors[0].ndim < 2 else 1)


def _some(tensors: Sequence[Tensor], name: str) -> list[Tensor]:
    """Tensors to join, in the dtype in which they meet."""
    tensors = tensors_of(tensors, name)
    if len({x.array.dtype.num for x in tensors}) > 1:
        kind = arrays.result_type(*[x.array for x in tensors])
        tensors = [x.to(kind) for x in tensors]
    return tensors


def tensors_of(tensors: Sequence[Tensor], name: str) -> list[Tensor]:
    tensors = tensors if isinstance(tensors, Tensor) else list(tensors)
    kinds = {*map(type, tensors)}
    if isinstance(tensors, Tensor) or not all(issubclass(kind, Tensor) for kind in kinds):
        raise TypeError(f"[{name}] needs a list or tuple of Tensors, got {tensors!r:.80}")
    if not tensors:
        kind = ValueError if name == "cat" else RuntimeError  # as PyTorch has it
        raise kind(f"[{name}] needs at least one tensor, got an empty list")
    return tensors


@numpy_names
@one_op
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` positions of dim from `start` on, as a view."""
    axis = axis_of(input, dim, "narrow")
    size = input.array.shape[axis]
    start = start + size if start < 0 else start
    if not 0 <= start <= start + length <= size:
        raise RuntimeError(
            f"[narrow] start and length must stay within {size}, got {start} and {length}"
        )
    return input[(slice(None),) * axis + (slice(start, start + length),)]


@numpy_names
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at one position of dim, without that axis, as a view."""
    axis = axis_of(input, dim, "select")
    return input[(slice(None),) * axis + (int(index),)]


def split(input: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of split_size along dim (the last may be smaller), or of the sizes listed."""
    axis = axis_of(input, dim, "split")
    total = input.array.shape[axis]
    if isinstance(split_size, int):
        if split_size < 1:
            raise RuntimeError(f"[split] split_size must be positive, got {split_size}")
        pieces = [min(split_size, total - i) for i in range(0, total, split_size)] or [0]
        name = "SplitBackward0"
    else:
        pieces, name = [int(n) for n in split_size], "SplitWithSizesBackward0"
        if builtins.sum(pieces) != total:
            raise RuntimeError(f"[split] sizes must add up to {total}, got {pieces}")
    ends = [builtins.sum(pieces[: i + 1]) for i in range(len(pieces))]
    lead = (slice(None),) * axis
    return tuple(
        named(input[(*lead, slice(end - n, end))], name)
        for n, end in zip(pieces, ends, strict=True)
    )


@numpy_names
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size along dim (the last may be smaller)."""
    if chunks < 1:
        raise RuntimeError(f"[chunk] chunks must be positive, got {chunks}")
    size = input.array.shape[axis_of(input, dim, "chunk")]
    if size == 0:
        return (input.narrow(dim, 0, 0),) * chunks
    return split(input, max(-(-size // chunks), 1), dim)


@numpy_names
@one_op
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along dim, without that axis."""
    axis = axis_of(input, dim, "unbind")
    array, lead = input.array, (slice(None),) * axis
    places: list[Any] = [(*lead, i, ...) for i in range(array.shape[axis])]
    if mode.recording and input.requires_grad:
        return tuple([getitem(input, key=place) for place in places])
    return tuple(views(input, [array[place] for place in places]))


def repeat(input: Tensor, *given: Any, repeats: Sizes = None) -> Tensor:
    """The whole tensor repeated along each axis."""
    counts = sizes(given, repeats)
    if len(counts) < input.ndim:
        raise RuntimeError(f"[repeat] needs a count for each of {input.ndim} dims, got {counts}")
    return ops.tile(input, counts=counts)


@numpy_names
def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element repeated along dim (the flattened tensor by default): all `repeats` times, or
    each as often as a tensor `repeats` says. Of such a tensor alone, the positions so repeated."""
    name = "repeat_interleave"
    if repeats is None:
        positions = _positions(input, input.numel())
        _check_output_size(name, output_size, positions.numel())
        return positions.to(input.dtype)
    if dim is None:
        input, dim = flatten(input), 0
    axis = axis_of(input, dim, name)
    if isinstance(repeats, Tensor):
        positions = _positions(repeats, input.array.shape[axis])
        out = index_select(input, axis, positions.to(input.device))
    elif isinstance(repeats, (int, numpy.integer)):
        out = ops.repeat(input, count=int(repeats), axis=axis)
    else:
        kind = type(repeats).__name__
        raise TypeError(f"[{name}] repeats must be an int or a Tensor, got {kind}; tensor(...)?")
    _check_output_size(name, output_size, out.array.shape[axis])
    return out


def _check_output_size(name: str, wanted: int | None, found: int) -> None:
    if wanted not in (None, found):
        raise RuntimeError(
            f"[{name}] output_size must be the sum of the repeats, {found}, got {wanted}"
        )


def _positions(repeats: Tensor, size: int) -> Tensor:
    """0 ... size - 1, each as often as its count."""
    counts = arrays.to_numpy(repeats.array)
    if counts.ndim > 1 or not arrays.are_ids(counts):
        raise RuntimeError(
            "[repeat_interleave] repeats must be a number or int64 with one axis, got "
            f"{repeats.dtype} of shape {tuple(repeats.shape)}"
        )
    if counts.size not in (1, size) or counts.min(initial=0) < 0:
        raise RuntimeError(
            f"[repeat_interleave] repeats must be {size} counts from 0 on, or one, got {counts}"
        )
    return wrap(arrays.to_device(numpy.repeat(numpy.arange(size), counts), repeats.device))


def tile(input: Tensor, *repeats: Any, dims: Sizes = None) -> Tensor:
    """`repeat`, with ones added in front of too few counts."""
    counts = sizes(repeats, dims)
    return repeat(input, *(1,) * (input.ndim - len(counts)), *counts)


def flip(input: Tensor, *given: Any, dims: Sizes = None) -> Tensor:
    axes = axes_of(input, sizes(given, dims), "flip")
    return ops.flip(input, axis=axes) if axes else named(clone(input), "FlipBackward0")


def roll(input: Tensor, shifts: int | Sequence[int], dims: Sizes = None) -> Tensor:
    """Elements shifted along dims, those pushed out coming back in (flattened without dims)."""
    shift = shifts if isinstance(shifts, int) else tuple(shifts)
    if isinstance(shift, tuple) and len(shift) > 1 and len(shift) != len(sizes((dims or (),))):
        raise RuntimeError(f"[roll] each shift must have its dim, got {shift} and {dims}")
    if isinstance(shift, tuple) and len(shift) == 1:
        shift, dims = shift[0], dims if dims is None or isinstance(dims, int) else dims[0]
    return ops.roll(input, shift=shift, axis=axes_of(input, dims, "roll"))
