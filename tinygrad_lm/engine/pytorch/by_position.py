"""Writing at positions beyond the course, in PyTorch's spelling: several values that meet at one
place, whole slices, masks, diagonals. Each gives a new tensor; the methods that end in an
underscore write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .. import arrays
from ..arrays import check_bounds, library
from ..core.tensor import Tensor, wrap
from ..ops import index as ops
from ..ops import shape as shape_ops
from ..ops.elementwise import clone
from . import keys
from .common import Device, Dtype, Operand, axis_of, numpy_names, to_tensor
from .creation import finish, full_like, ones_like
from .indexing import check_within, getitem, indices_of, spread_along
from .names import named, one_op
from .reductions import amax, amin, prod
from .shapes import broadcast_to, reshape

# ---------------------------------------------------------------- several values at one place

REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


SUMS = {"add": "sum", "multiply": "prod"}


@numpy_names
def scatter(
    input: Tensor,
    dim: int,
    index: Operand,
    src: Operand | None = None,
    *,
    value: Operand | None = None,
    reduce: str | None = None,
) -> Tensor:
    """input with src (or one value) written at index along dim; or, with reduce="add" or
    "multiply", combined with what is there."""
    axis, index = axis_of(input, dim, "scatter"), indices_of(index, "scatter", input)
    if index.ndim != input.ndim or not input.ndim:
        raise RuntimeError(
            f"[scatter] index must have as many dims as input, and one at least, got {index.ndim} "
            f"and {input.ndim}; unsqueeze?"
        )
    source = value if src is None else src
    each = isinstance(source, Tensor) and source.ndim > 0
    check_within("scatter", index, axis, input, source if each else None)  # type: ignore[arg-type]
    if reduce is None and each:
        return ops.scatter(input, source, indices=index, axis=axis)
    check_bounds(index, input.array.shape[axis], "scatter")
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise RuntimeError(f"[scatter] reduce must be 'add' or 'multiply', got {reduce!r}")
        if not isinstance(source, Tensor):
            source = full_like(input, source)[  # type: ignore[arg-type]
                tuple(slice(0, n) for n in index.shape)
            ]
        return scatter_reduce(input, dim, wrap(index), source, SUMS[reduce])
    out = clone(input)
    out[ops.grids_along(index, axis)] = source
    return named(out, "ScatterBackward0" if isinstance(source, Tensor) else "ScatterBackward1")


@one_op
def scatter_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """input with all elements of src that have the same index along dim reduced to one: by "sum",
    "prod", "mean", "amax" or "amin", together with what is there or (include_self=False) not."""
    if reduce not in REDUCTIONS:
        raise RuntimeError(f"[scatter_reduce] reduce must be one of {REDUCTIONS}, got {reduce!r}")
    if input.dtype != src.dtype:
        raise RuntimeError(
            f"[scatter_reduce] both dtypes must be equal, got {input.dtype} and {src.dtype}; cast?"
        )
    axis, places = axis_of(input, dim, "scatter_reduce"), indices_of(index, "scatter_reduce", input)
    check_within("scatter_reduce", places, axis, input, src)
    check_bounds(places, input.array.shape[axis], "scatter_reduce")
    src = src[tuple(slice(0, n) for n in places.shape)]
    if reduce in ("prod", "amax", "amin"):
        return _reduced_together(input, axis, places, src, reduce, include_self)
    start = input if include_self else scatter(input, dim, index, value=0)
    total = start.scatter_add(dim, index, src)
    if reduce == "sum":
        return total
    one = ones_like(input) if include_self else scatter(ones_like(input), dim, index, value=0)
    count = one.scatter_add(dim, index, ones_like(src))
    return total // count if not input.is_floating_point() else total / count


def _reduced_together(
    input: Tensor, axis: int, places: Any, src: Tensor, reduce: str, include_self: bool
) -> Tensor:
    """What meets at one place is a row of a table, filled up with what changes nothing."""
    lib, whole = library(places), tuple(input.array.shape)
    key = ops.grids_along(places, axis)
    flat = lib.broadcast_to(ops.flat_ids(whole, key, list(key)), (places.size,))
    order = lib.argsort(flat, kind="stable")
    ids = flat[order]
    column = lib.arange(ids.size) + 1 - lib.searchsorted(ids, ids, "left")
    kind = input.array.dtype
    if reduce == "prod":
        neutral: Any = 1
    else:
        lowest, highest = _limits(kind)
        neutral = lowest if reduce == "amax" else highest
    first = input.reshape(-1)
    if not include_self:
        touched = lib.zeros(first.shape, bool)
        touched[flat] = True
        first = first.masked_fill(wrap(touched), neutral)
    width = int(column.max()) + 1 if ids.size else 1
    table = wrap(lib.full((input.numel(), width), neutral, kind))
    table[:, 0] = first
    table[wrap(ids), wrap(column)] = src.reshape(-1)[wrap(order)]
    by = {"prod": prod, "amax": amax, "amin": amin}[reduce]
    return reshape(by(table, -1), whole).to(input.dtype)


def _limits(kind: Any) -> tuple[Any, Any]:
    """The smallest and the largest value of a dtype."""
    if kind.kind == "b":
        return False, True
    if kind.kind in "iu":
        return numpy.iinfo(kind).min, numpy.iinfo(kind).max
    return -numpy.inf, numpy.inf


def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """`scatter_reduce` of whole slices: by "prod", "mean", "amax" or "amin"."""
    if reduce not in REDUCTIONS[1:]:
        raise RuntimeError(f"[index_reduce] reduce must be one of {REDUCTIONS[1:]}, got {reduce!r}")
    axis = axis_of(input, dim, "index_reduce")
    places = indices_of(index, "index_reduce", input).reshape(-1)
    spread = wrap(spread_along("index_reduce", places, source, axis, input))
    out = scatter_reduce(input, dim, spread, source, reduce, include_self=include_self)
    return named(out, "IndexReduceBackward0")


def index_put(
    input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False
) -> Tensor:
    """input[indices] = values, or += values, where positions that repeat add up."""
    if not isinstance(values, Tensor):
        raise TypeError(f"[index_put] values must be a Tensor, got {type(values).__name__}")
    if not accumulate:
        out = clone(input)
        out[tuple(indices)] = values
        return named(out, "IndexPutBackward0")
    key = keys.parse(input, tuple(indices))
    values = broadcast_to(values, input.array[key].shape)
    placed = ops.place(values, shape=tuple(input.array.shape), key=key)
    return named(input + placed, "IndexPutBackward0")


# ---------------------------------------------------------------- slices and masks


def _slices(name: str, input: Tensor, dim: int, index: Tensor) -> tuple:
    """The key of whole slices along dim."""
    axis = axis_of(input, dim, name)
    places = indices_of(index, name, input).reshape(-1)
    if not input.ndim:
        raise RuntimeError(f"[{name}] needs at least one dim, got a 0-d tensor; unsqueeze(0)?")
    check_bounds(places, input.array.shape[axis], name, first=-input.array.shape[axis])
    return (*(slice(None),) * axis, wrap(places))


@one_op
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """input with the slices of source written at index along dim."""
    out, key = clone(input), _slices("index_copy", input, dim, index)
    if tuple(source.shape) != tuple(out[key].shape):
        raise RuntimeError(
            f"[index_copy] source must have shape {tuple(out[key].shape)}, got "
            f"{tuple(source.shape)}"
        )
    out[key] = source
    return out


def index_fill(input: Tensor, dim: int, index: Tensor, value: Operand) -> Tensor:
    """input with one value in the slices at index along dim."""
    if getattr(value, "ndim", 0):
        raise RuntimeError(
            f"[index_fill] value must be a number or a 0-d tensor, got {value!r:.60}"
        )
    out = clone(input)
    out[_slices("index_fill", input, dim, index)] = value
    return named(out, f"IndexFillBackward{int(isinstance(value, Tensor))}")


@one_op
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the elements of source, in order, where the mask holds."""
    mask = broadcast_to(mask, input.shape)
    count = int(mask.sum())
    if source.numel() < count:
        raise RuntimeError(
            f"[masked_scatter] source must have {count} elements, one for each place of the mask, "
            f"got {source.numel()}"
        )
    out = clone(input)
    out[mask] = source.reshape(-1)[:count]
    return out


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at positions of the flattened tensor, in the shape of index."""
    return named(
        getitem(input.reshape(-1), wrap(indices_of(index, "take", input))), "TakeBackward0"
    )


@one_op
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """input with source written (or added) at positions of the flattened tensor."""
    flat = index_put(input.reshape(-1), (index.reshape(-1),), source.reshape(-1), accumulate)
    return reshape(flat, input.shape)


# ---------------------------------------------------------------- diagonals and pieces


def fill_diagonal_(self: Tensor, fill_value: Operand, wrap: bool = False) -> Tensor:
    """Write one value on the diagonal; with wrap, that of a tall matrix begins anew below it."""
    shape = self.array.shape
    if self.ndim < 2 or (self.ndim > 2 and len(set(shape)) > 1):
        raise RuntimeError(
            f"[fill_diagonal_] needs a matrix, or more dims of one size, got {tuple(shape)}"
        )
    places = to_tensor(library(self.array).arange(min(shape)))
    key = (places,) * self.ndim
    if wrap and self.ndim == 2:
        flat = library(self.array).arange(0, self.numel(), shape[1] + 1)
        key = (to_tensor(flat // shape[1]), to_tensor(flat % shape[1]))
    self[key] = fill_value
    return self


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dim on a diagonal of two new dims, zeros elsewhere: (..., n) -> (..., n, n)."""
    first, second = (axis_of(input, d, "diag_embed", extra=1) for d in (dim1, dim2))
    if first == second:
        raise RuntimeError(f"[diag_embed] dim1 and dim2 must differ, got {dim1} and {dim2}")
    *shape, n = input.array.shape
    for axis in sorted((first, second)):
        shape.insert(axis, n + abs(offset))
    order = (offset, first, second)
    return named(
        shape_ops.on_diagonal(input, shape=tuple(shape), where=order), "DiagEmbedBackward0"
    )


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """All elements on the diagonal of a matrix."""
    return diag_embed(input.reshape(-1), offset)


def _with_piece(name: str, input: Tensor, src: Tensor, piece: Any) -> Tensor:
    out = clone(input)
    region = piece(out)
    if tuple(region.shape) != tuple(src.shape):
        raise RuntimeError(
            f"[{name}] src must have the shape of the piece, {tuple(region.shape)}, got "
            f"{tuple(src.shape)}"
        )
    region.copy_(src)
    return named(out, f"{name.title().replace('_', '')}Backward0")


def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """input with src as its diagonal."""
    return _with_piece("diagonal_scatter", input, src, lambda x: x.diagonal(offset, dim1, dim2))


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """input with src as the slice at one position of dim."""
    return _with_piece("select_scatter", input, src, lambda x: x.select(dim, index))


def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """input with src as its part start:end:step along dim."""
    key = (*(slice(None),) * axis_of(input, dim, "slice_scatter"), slice(start, end, step))
    return _with_piece("slice_scatter", input, src, lambda x: x[key])


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Dtype = None, device: Device = None
) -> Tensor:
    """Positions of the lower triangle of a matrix (row, col): (2, N)."""
    return _triangle("tril_indices", numpy.tril, row, col, offset, dtype, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Dtype = None, device: Device = None
) -> Tensor:
    """Positions of the upper triangle of a matrix (row, col): (2, N)."""
    return _triangle("triu_indices", numpy.triu, row, col, offset, dtype, device)


def _triangle(
    name: str, cut: Any, row: int, col: int, offset: int, dtype: Dtype, device: Device
) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(f"[{name}] sizes must not be negative, got {row} and {col}")
    kind = arrays.int64 if dtype is None else arrays.as_dtype(dtype)
    found = numpy.stack(cut(numpy.ones((row, col), bool), offset).nonzero())
    return finish(found.astype(kind.np), device)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Positions of a flattened tensor as one tensor of positions per dim."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    found: list[Tensor] = []
    for n in reversed(sizes):
        found.append(indices % n)
        indices = indices // n
    return tuple(found[::-1])
