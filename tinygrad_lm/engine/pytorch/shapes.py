"""Shape functions in PyTorch's spelling; they share memory with their input wherever PyTorch's
do. Sizes are checked here, memory is moved in `ops/shape.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy import broadcast_shapes

from .. import arrays
from ..arrays import library
from ..core.tensor import Tensor, wrap
from ..ops import shape as ops
from ..ops.index import take
from .common import Dims, Sizes, axes_of, axis_of, numpy_names, sizes
from .names import named, one_op


def _inferred(x: Tensor, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
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


def _reshaped(op: Any, input: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The array library works out a -1; what it refuses is explained here."""
    if not input.array.size or min(shape, default=0) < -1:
        shape = _inferred(input, shape, op.name)
    try:
        return op(input, shape=shape)
    except RuntimeError:
        pass
    _inferred(input, shape, op.name)  # after the op's error, so that one alone is shown
    return op(input, shape=shape)


def view(input: Tensor, *shape: Any, size: Sizes = None) -> Tensor:
    """The same memory in another shape; an error where that needs a copy. -1 is worked out. With a
    dtype in place of a shape the bytes are read as that."""
    if len(shape) == 1 and isinstance(shape[0], arrays.dtype):
        return _reinterpreted(input, shape[0])
    return _reshaped(ops.view, input, sizes(shape, size))


def _reinterpreted(input: Tensor, kind: arrays.dtype) -> Tensor:
    """The same bytes read as another dtype; outside the graph."""
    x, size, wanted = input.array, input.dtype.itemsize, kind.itemsize
    fits = x.ndim and (x.shape[-1] * size) % wanted == 0 and x.strides[-1] == size
    if size != wanted and not fits:
        raise RuntimeError(
            f"[view] the last dim must be {size}-byte elements without gaps, that fill some of "
            f"{wanted} bytes, got shape {tuple(x.shape)}; contiguous()?"
        )
    return wrap(x.view(kind.np))


def reshape(input: Tensor, *given: Any, shape: Sizes = None) -> Tensor:
    """`view` where that is possible, else a copy."""
    out = _reshaped(ops.reshape, input, sizes(given, shape))
    return out if out.base is not None else named(out, "UnsafeViewBackward0")


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several; -1 is worked out."""
    axis, shape = axis_of(input, dim, "unflatten"), input.array.shape
    sizes = _inferred(input, (*shape[:axis], *sizes, *shape[axis + 1 :]), "unflatten")
    return view(input, sizes)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes start_dim to end_dim as one."""
    first, last = axis_of(input, start_dim, "flatten"), axis_of(input, end_dim, "flatten")
    if first > last:
        raise RuntimeError(f"[flatten] start_dim must not be after end_dim, got {first} and {last}")
    if first == last and input.ndim:
        return input
    shape = input.array.shape
    joined = 1
    for n in shape[first : last + 1]:
        joined *= n
    return reshape(input, shape[:first] + (joined,) + shape[last + 1 :])


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes swapped."""
    first, second = axis_of(input, dim0, "transpose"), axis_of(input, dim1, "transpose")
    if not input.ndim:
        return view(input, ())
    return ops.swapaxes(input, first=first, second=second)


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`transpose`, with NumPy's words."""
    return transpose(input, axis0, axis1)


def permute(input: Tensor, *given: Any, dims: Sizes = None) -> Tensor:
    """All axes in a new order."""
    order = sizes(given, dims)
    axes = axes_of(input, order, "permute") or ()
    if len(axes) != input.ndim:
        raise RuntimeError(f"[permute] needs each of {input.ndim} dims once, got {order}")
    return ops.transpose(input, axes=axes)


@one_op
def t(input: Tensor) -> Tensor:
    if input.ndim > 2:
        raise RuntimeError(f"[t] needs at most 2 dims, got {input.ndim}; use transpose or permute")
    return ops.transpose(input, axes=tuple(range(input.ndim))[::-1])


def T(input: Tensor) -> Tensor:
    return ops.transpose(input, axes=tuple(range(input.ndim))[::-1])


def mT(input: Tensor) -> Tensor:
    return transpose(input, -2, -1)


def movedim(input: Tensor, source: Sizes, destination: Sizes) -> Tensor:
    """Dims at `source` go to `destination`; the others keep their order."""
    sources, places = (
        [axis_of(input, d, "movedim") for d in sizes((given,))] for given in (source, destination)
    )
    if not len(sources) == len(places) == len({*sources}) == len({*places}):
        raise RuntimeError(
            f"[movedim] each dim must have one place, got {source} and {destination}"
        )
    axes = [a for a in range(input.ndim) if a not in sources]
    for place, moved in sorted(zip(places, sources)):
        axes.insert(place, moved)
    return permute(input, axes)


@numpy_names
def squeeze(input: Tensor, dim: Dims = None) -> Tensor:
    """Without the axes of size 1 (all, or those of dim)."""
    shape = input.array.shape
    axes = range(len(shape)) if dim is None else axes_of(input, dim, "squeeze")
    axes = (axes,) if isinstance(axes, int) else axes or ()
    kept = tuple(n for i, n in enumerate(shape) if n != 1 or i not in axes)
    form = 0 if dim is None else 1 if isinstance(dim, int) else 2
    return named(ops.reshape(input, shape=kept), f"SqueezeBackward{form}")


@numpy_names
@one_op
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new axis of size 1 at dim."""
    axis = axis_of(input, dim, "unsqueeze", extra=1)
    shape = input.array.shape
    return ops.reshape(input, shape=(*shape[:axis], 1, *shape[axis:]))


def expand(input: Tensor, *shape: Any, size: Sizes = None) -> Tensor:
    """Axes of size 1 stretched without copying; -1 keeps an axis."""
    wanted = sizes(shape, size)
    lead = len(wanted) - input.ndim
    if lead < 0 or -1 in wanted[:lead]:
        raise RuntimeError(
            f"[expand] the new shape must cover all {input.ndim} dims, got {list(wanted)}"
        )
    wanted = wanted[:lead] + tuple(
        n if m == -1 else m for n, m in zip(input.array.shape, wanted[lead:], strict=True)
    )
    return ops.broadcast_to(input, shape=wanted)


broadcast_to = expand


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """pad: (before, after) of the last axis, then of the one before it, ...; negative ones cut.
    What is added is a constant, or goes on with the tensor: mirrored at its edge ("reflect"), its
    last element ("replicate"), from its other end ("circular")."""
    if mode != "constant":
        return _continued(input, pad, mode)
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError(f"[pad] needs pairs for at most {input.ndim} dims, got {tuple(pad)}")
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][::-1]
    widths = [(0, 0)] * (input.ndim - len(pairs)) + pairs
    return ops.pad(input, widths=widths, value=value or 0.0)


# mode -> (where position i of an axis of n is found, at most how many are added, PyTorch's name)
CONTINUED: dict[str, tuple[Callable, Callable, str]] = {
    "reflect": (lambda i, n: n - 1 - abs(n - 1 - abs(i)), lambda n: n - 1, "ReflectionPad{}D"),
    "replicate": (lambda i, n: i.clip(0, n - 1), lambda n: n and 1 << 62, "ReplicationPad{}D"),
    "circular": (lambda i, n: i % n, lambda n: n, "CopySlices"),
}


def _continued(input: Tensor, pad: Sequence[int], mode: str) -> Tensor:
    axes = len(pad) // 2
    if mode not in CONTINUED or len(pad) % 2 or input.ndim not in (axes + 1, axes + 2) or axes > 3:
        raise NotImplementedError(
            f"[pad] mode must be 'constant' or one of {[*CONTINUED]} with pairs for all but the "
            f"first one or two axes, got {mode!r} and {tuple(pad)} for {tuple(input.shape)}"
        )
    found, most, name = CONTINUED[mode]
    for i in range(axes):
        axis, (before, after) = input.ndim - 1 - i, pad[2 * i : 2 * i + 2]
        n = input.shape[axis]
        if max(before, after) > most(n) or n + before + after < 1:
            raise RuntimeError(
                f"[pad] {mode} adds at most {most(n)} to an axis of {n}, got {before} and {after}"
            )
        first = max(-before, 0) if mode == "circular" else 0  # which goes on with what is left
        left = n - first - max(-after, 0) if mode == "circular" else n
        ids = found(library(input.array).arange(-before - first, n + after - first), left) + first
        input = take(input, indices=ids, axis=axis)
    return named(input, name.format(axes) + "Backward0" * ("{" in name))


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two axes, zeros above it."""
    return ops.tril(_matrix(input, "tril"), diagonal=diagonal)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    return ops.triu(_matrix(input, "triu"), diagonal=diagonal)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All in the shape they broadcast to, as views."""
    shapes = [x.array.shape for x in tensors]
    try:
        shape = broadcast_shapes(*shapes)
    except ValueError as error:
        raise RuntimeError(f"[broadcast_tensors] shapes must fit together, got {shapes}") from error
    return tuple(x if x.array.shape == shape else expand(x, shape) for x in tensors)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Vectors as the axes of a grid; the first runs over rows ("ij") or columns ("xy")."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"[meshgrid] indexing must be 'ij' or 'xy', got {indexing!r}")
    if wrong := [tuple(x.shape) for x in tensors if x.ndim > 1]:
        raise RuntimeError(f"[meshgrid] needs vectors or scalars, got {wrong[0]}; use flatten()")
    n = len(tensors)
    order = list(range(n))
    if indexing == "xy" and n > 1:
        order[:2] = 1, 0
    shaped = [
        x.reshape([-1 if i == axis else 1 for i in range(n)]) for x, axis in zip(tensors, order)
    ]
    return broadcast_tensors(*shaped)


def _matrix(input: Tensor, name: str) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(f"[{name}] needs at least 2 dims, got shape {tuple(input.array.shape)}")
    return input


@one_op
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix."""
    if input.ndim != 2:
        raise RuntimeError(f"[trace] needs a matrix, got shape {tuple(input.array.shape)}")
    return diagonal(input).sum()


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix as a vector (a copy), or a vector on the diagonal of zeros."""
    if input.ndim == 2:
        cut = ops.diagonal(input, offset=diagonal, axis1=0, axis2=1)
        return named(cut.clone(), "DiagonalBackward0_copy")
    if input.ndim != 1:
        raise RuntimeError(f"[diag] needs 1 or 2 dims, got shape {tuple(input.array.shape)}")
    n = input.array.shape[0] + abs(diagonal)
    rows, columns = max(-diagonal, 0), max(diagonal, 0)
    places = library(input.array).arange(input.array.shape[0])
    whole = input.new_zeros(n, n)
    whole[places + rows, places + columns] = input
    return named(whole, "DiagEmbedBackward0")


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two axes, as a view with the diagonal last."""
    first, second = axis_of(input, dim1, "diagonal"), axis_of(input, dim2, "diagonal")
    if first == second or not input.ndim:
        raise RuntimeError(f"[diagonal] dims must be two different ones, got {dim1} and {dim2}")
    return ops.diagonal(input, offset=offset, axis1=first, axis2=second)


def view_as(input: Tensor, other: Tensor) -> Tensor:
    return view(input, other.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    return reshape(input, other.shape)


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    return expand(input, other.shape)
