"""Shape functions in PyTorch's spelling. Views share memory with their input wherever PyTorch's do."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from .. import backend
from ..ops import shape as ops
from ..tensor import Tensor
from .common import as_tensor, axes_of, axis_of, named, sizes


def _inferred(x: Tensor, shape: tuple, name: str) -> tuple:
    """The shape with one -1 worked out."""
    total, known = x.array.size, 1
    for n in shape:
        known *= n if n != -1 else 1
    if shape.count(-1) == 1 and min(shape) == -1 and known and total % known == 0:
        return tuple(total // known if n == -1 else n for n in shape)
    if -1 in shape or known != total or min(shape, default=0) < 0:
        raise RuntimeError(
            f"[{name}] the new shape must hold {total} elements, got {list(shape)} for a tensor of "
            f"shape {tuple(x.array.shape)}"
        )
    return shape


def view(input: Tensor, *shape: Any) -> Tensor:
    """The same memory in another shape; an error where that needs a copy. -1 is worked out."""
    if len(shape) == 1 and isinstance(shape[0], backend.dtype):
        raise RuntimeError("[view] reinterpreting memory as another dtype is not supported; use to()")
    shape = _inferred(input, sizes(shape), "view")
    return ops.view(input, shape=shape)


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """`view` where that is possible, else a copy."""
    shape = _inferred(input, sizes(shape), "reshape")
    return named(ops.reshape(input, shape=shape), "ViewBackward0")


def view_as(input: Tensor, other: Tensor) -> Tensor:
    return view(input, other.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes start_dim to end_dim as one."""
    first, last = axis_of(input, start_dim, "flatten"), axis_of(input, end_dim, "flatten")
    if first > last:
        raise RuntimeError(f"[flatten] start_dim must not be after end_dim, got {first} and {last}")
    shape = input.array.shape
    joined = 1
    for n in shape[first : last + 1]:
        joined *= n
    return reshape(input, shape[:first] + (joined,) + shape[last + 1 :])


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes swapped."""
    first, second = axis_of(input, dim0, "transpose"), axis_of(input, dim1, "transpose")
    return named(ops.swapaxes(input, first=first, second=second), "TransposeBackward0")


def permute(input: Tensor, *dims: Any) -> Tensor:
    """All axes in a new order."""
    axes = axes_of(input, sizes(dims), "permute") or ()
    if len(axes) != input.ndim:
        raise RuntimeError(f"[permute] needs each of {input.ndim} dims once, got {sizes(dims)}")
    return named(ops.transpose(input, axes=axes), "PermuteBackward0")


def t(input: Tensor) -> Tensor:
    if input.ndim > 2:
        raise RuntimeError(f"[t] needs at most 2 dims, got {input.ndim}; use transpose or permute")
    return named(ops.transpose(input, axes=tuple(range(input.ndim))[::-1]), "TBackward0")


def T(input: Tensor) -> Tensor:
    return named(ops.transpose(input, axes=tuple(range(input.ndim))[::-1]), "PermuteBackward0")


def mT(input: Tensor) -> Tensor:
    return transpose(input, -2, -1)


def movedim(input: Tensor, source: int, destination: int) -> Tensor:
    axes = builtins.list(range(input.ndim))
    moved = axes.pop(axis_of(input, source, "movedim"))
    axes.insert(axis_of(input, destination, "movedim"), moved)
    return permute(input, axes)


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without the axes of size 1 (all, or those of dim)."""
    shape = input.array.shape
    axes = range(len(shape)) if dim is None else axes_of(input, dim, "squeeze")
    axes = (axes,) if isinstance(axes, int) else axes or ()
    kept = tuple(n for i, n in enumerate(shape) if n != 1 or i not in axes)
    return named(ops.reshape(input, shape=kept), f"SqueezeBackward{0 if dim is None else 1}")


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new axis of size 1 at dim."""
    axis = axis_of(input, dim, "unsqueeze", extra=1)
    shape = input.array.shape
    return named(ops.reshape(input, shape=(*shape[:axis], 1, *shape[axis:])), "UnsqueezeBackward0")


def expand(input: Tensor, *shape: Any) -> Tensor:
    """Axes of size 1 stretched without copying; -1 keeps an axis."""
    wanted = sizes(shape)
    lead = len(wanted) - input.ndim
    if lead < 0 or -1 in wanted[:lead]:
        raise RuntimeError(
            f"[expand] the new shape must cover all {input.ndim} dims, got {list(wanted)}"
        )
    wanted = wanted[:lead] + tuple(
        n if m == -1 else m for n, m in zip(input.array.shape, wanted[lead:], strict=True)
    )
    return named(ops.broadcast_to(input, shape=wanted), "ExpandBackward0")


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    return expand(input, other.shape)


def broadcast_to(input: Tensor, *shape: Any) -> Tensor:
    return expand(input, *shape)


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """The whole tensor repeated along each axis."""
    counts = sizes(repeats)
    if len(counts) < input.ndim:
        raise RuntimeError(f"[repeat] needs a count for each of {input.ndim} dims, got {counts}")
    return named(ops.tile(input, counts=counts), "RepeatBackward0")


def repeat_interleave(input: Tensor, repeats: int, dim: int | None = None) -> Tensor:
    """Each element repeated `repeats` times along dim (the flattened tensor by default)."""
    if dim is None:
        input, dim = flatten(input), 0
    return ops.repeat(input, count=int(repeats), axis=axis_of(input, dim, "repeat_interleave"))


def contiguous(input: Tensor) -> Tensor:
    """The tensor itself where it is row-major, else a row-major copy."""
    return input if input.array.flags.c_contiguous else named(ops.contiguous(input), "CloneBackward0")


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joined along an existing axis."""
    tensors = _some(tensors, "cat")
    kept = [x for x in tensors if x.array.shape != (0,)] or tensors[:1]  # torch skips empty ones
    kind = backend.result_type(*[x.array for x in kept]).np
    kept = [x if x.array.dtype == kind else x.to(backend.DTYPES[kind]) for x in kept]
    axis = axis_of(kept[0], dim, "cat")
    return named(ops.concatenate(*kept, axis=axis), "CatBackward0")


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joined along a new axis; all shapes must be equal."""
    tensors = _some(tensors, "stack")
    shapes = {tuple(x.array.shape) for x in tensors}
    if len(shapes) > 1:
        raise RuntimeError(f"[stack] all shapes must be equal, got {sorted(shapes)}")
    return ops.stack(*tensors, axis=axis_of(tensors[0], dim, "stack", extra=1))


def _some(tensors: Sequence[Tensor], name: str) -> list[Tensor]:
    if isinstance(tensors, Tensor) or not len(tensors):
        raise RuntimeError(f"[{name}] needs a non-empty list or tuple of tensors, got {tensors!r:.80}")
    return [as_tensor(x) for x in tensors]


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` positions of dim from `start` on, as a view."""
    axis = axis_of(input, dim, "narrow")
    size = input.array.shape[axis]
    start = start + size if start < 0 else start
    if not 0 <= start <= start + length <= size:
        raise RuntimeError(
            f"[narrow] start and length must stay within {size}, got {start} and {length}"
        )
    return named(input[(slice(None),) * axis + (slice(start, start + length),)], "SliceBackward0")


def split(input: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of split_size along dim (the last may be smaller), or of the sizes listed."""
    axis = axis_of(input, dim, "split")
    total = input.array.shape[axis]
    if isinstance(split_size, int):
        if split_size < 1:
            raise RuntimeError(f"[split] split_size must be positive, got {split_size}")
        pieces = [min(split_size, total - i) for i in range(0, total, split_size)] or [0]
    else:
        pieces = [int(n) for n in split_size]
        if builtins.sum(pieces) != total:
            raise RuntimeError(f"[split] sizes must add up to {total}, got {pieces}")
    ends = [builtins.sum(pieces[: i + 1]) for i in range(len(pieces))]
    return tuple(
        named(narrow(input, axis, end - n, n), "SplitBackward0")
        for n, end in zip(pieces, ends, strict=True)
    )


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size along dim (the last may be smaller)."""
    if chunks < 1:
        raise RuntimeError(f"[chunk] chunks must be positive, got {chunks}")
    size = input.array.shape[axis_of(input, dim, "chunk")]
    return split(input, max(-(-size // chunks), 1), dim)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along dim, without that axis."""
    axis = axis_of(input, dim, "unbind")
    lead = (slice(None),) * axis
    return tuple(named(input[(*lead, i)], "UnbindBackward0") for i in range(input.array.shape[axis]))


def flip(input: Tensor, *dims: Any) -> Tensor:
    return ops.flip(input, axis=axes_of(input, sizes(dims), "flip"))


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements shifted along dims, those pushed out coming back in (flattened without dims)."""
    shift = shifts if isinstance(shifts, int) else tuple(shifts)
    if isinstance(shift, tuple) and len(shift) == 1:
        shift, dims = shift[0], dims if dims is None or isinstance(dims, int) else dims[0]
    return ops.roll(input, shift=shift, axis=axes_of(input, dims, "roll"))


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """pad: (before, after) of the last axis, then of the one before it, ...; negative ones cut."""
    if mode != "constant":
        raise NotImplementedError(f"[pad] mode must be 'constant', got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError(f"[pad] needs pairs for at most {input.ndim} dims, got {tuple(pad)}")
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][::-1]
    widths = [(0, 0)] * (input.ndim - len(pairs)) + pairs
    return named(ops.pad(input, widths=widths, value=value or 0.0), "ConstantPadNdBackward0")


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two axes, zeros above it."""
    return ops.tril(_matrix(input, "tril"), diagonal=diagonal)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    return ops.triu(_matrix(input, "triu"), diagonal=diagonal)


def _matrix(input: Tensor, name: str) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(f"[{name}] needs at least 2 dims, got shape {tuple(input.array.shape)}")
    return input


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two axes, as a view with the diagonal last."""
    first, second = axis_of(input, dim1, "diagonal"), axis_of(input, dim2, "diagonal")
    return ops.diagonal(input, offset=offset, axis1=first, axis2=second)
