"""Reading and writing at positions, in PyTorch's spelling. Keys become NumPy keys here; what
they do to values and gradients is in `ops/index.py`."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy

from .. import arrays
from ..arrays import Array, are_ids, check_bounds, library, library_on, noted
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from ..inplace import set_item, views
from ..ops import index as ops
from ..ops.fused import embedding
from ..ops.reduce import take_along_axis
from ..ops.shape import broadcast_to
from . import keys
from .common import Device, Operand, axis_of, numpy_names, to_tensor
from .names import named, one_op
from .shapes import broadcast_tensors


def getitem(input: Tensor, key: Any) -> Tensor:
    """input[key]: a view for integers, slices, None and ..., a copy where arrays take part."""
    on_cpu = arrays.DEVICE_TYPES.get(type(input.array)) == "cpu"
    if on_cpu and type(key) is Tensor and type(key.array) is type(input.array):
        ids = key.array
        if ids.ndim and are_ids(ids) and input.array.ndim:
            if input.array.ndim == 2 and input.array.dtype.char == "f":  # rows of a table
                return named(embedding(input, ids=ids), "IndexBackward0")
            return named(ops.getitem(input, key=(ids,)), "IndexBackward0")
    if places := _integers(input, key):  # what loops do
        if not (mode.recording and input.requires_grad):
            with contextlib.suppress(IndexError):  # the op says what is wrong
                return views(input, [input.array[(*places, ...)]])[0]
        return named(ops.getitem(input, key=places), "SelectBackward0")
    parts = keys.parse(input, key)
    apart = keys.split(parts)
    if apart is not None:
        return getitem(getitem(input, apart[0]), apart[1])
    out = ops.getitem(input, key=parts)
    if out.node is not None:
        bare = not isinstance(key, tuple)
        out.node.name = keys.name_of_read(input.array.shape, parts, bare)
    return out


def setitem(input: Tensor, key: Any, value: Any) -> None:
    """input[key] = value: a number, or anything that broadcasts to input[key]."""
    places = _integers(input, key)
    if places and (
        value.array.ndim <= input.array.ndim - len(places)
        and type(value.array) is type(input.array)
        if isinstance(value, Tensor)
        else type(value) in (int, float)
    ):
        return set_item(input, places, value, "CopySlices")
    key = keys.parse(input, key)
    apart = keys.split(key)
    if apart is not None:
        return setitem(getitem(input, apart[0]), apart[1], value)
    if not isinstance(value, (Tensor, int, float)):
        value = to_tensor(value, input)
    if isinstance(value, Tensor) and type(value.array) is not type(input.array):
        value = value.to(input.device)  # a write copies across devices, as PyTorch's does
    if isinstance(value, Tensor) and value.array.ndim and value.array.shape[0] == 1:
        try:
            axes = getattr(input.array[key], "ndim", 0)  # PyTorch drops leading axes of size 1
        except IndexError:
            axes = value.array.ndim  # set_item says what is wrong
        while value.array.ndim > axes and value.array.shape[0] == 1:
            value = value.reshape(value.array.shape[1:])
    set_item(input, key, value, keys.name_of_write(input, key))


def _integers(input: Tensor, key: Any) -> tuple | None:
    """A key that is made of integers alone, as a tuple; None for any other, and for too many."""
    if type(key) is int:
        key = (key,)
    few = type(key) is tuple and len(key) <= input.array.ndim
    return key if few and {int} == {*map(type, key)} else None


def indices_of(given: Operand, name: str, input: Tensor | None = None) -> Array:
    made = to_tensor(given, input)
    index = made.array
    if input is not None and type(index) is not type(input.array):
        raise RuntimeError(
            f"[{name}] input and index must be on the same device, got {input.device} and "
            f"{made.device}; move with .to()"
        )
    if not are_ids(index):
        raise RuntimeError(
            f"[{name}] index must be an int32 or int64 tensor, got {index.dtype}; use long()"
        )
    return index


def check_within(
    name: str, index: Array, axis: int, input: Tensor, source: Tensor | None = None
) -> None:
    """An error where positions, one each, reach beyond input on another axis, or beyond source."""
    places = index.shape or (1,)
    for what, x, free in (("tensor", input, axis), ("source", source, None)):
        if x is None:
            continue
        shape = x.array.shape or (1,)
        if len(shape) != len(places):
            raise RuntimeError(
                f"[{name}] index must have as many dims as the {what}, got {tuple(index.shape)} "
                f"and {tuple(x.shape)}; unsqueeze?"
            )
        if any(n > m for d, (n, m) in enumerate(zip(places, shape)) if d != free):
            apart = f" apart from dim {axis}" if x is input else ""
            raise RuntimeError(
                f"[{name}] index must be no larger than the {what}{apart}, got "
                f"{tuple(index.shape)} and {tuple(x.shape)}"
            )


@numpy_names
def gather(input: Tensor, dim: int, index: Operand, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and likewise for the others."""
    if sparse_grad:
        raise NotImplementedError("[gather] sparse_grad must be False: gradients are dense")
    axis, index = axis_of(input, dim, "gather"), indices_of(index, "gather", input)
    if not input.ndim and index.ndim:
        return named(getitem(input.reshape(1), wrap(index)), "GatherBackward0")
    check_within("gather", index, axis, input)
    return ops.gather(input, indices=index, axis=axis) if input.ndim else input


@numpy_names
def take_along_dim(input: Tensor, indices: Operand, dim: int | None = None) -> Tensor:
    """`gather` whose indices broadcast; the flattened tensor without dim."""
    indices = indices_of(indices, "take_along_dim", input)
    if dim is None:
        input, indices, dim = input.reshape(-1), indices.reshape(-1), 0
    axis = axis_of(input, dim, "take_along_dim")
    if indices.ndim == input.ndim:  # they broadcast along the other axes, and gradients are summed
        pairs = list(zip(input.array.shape, indices.shape))
        if any(n != m for i, (n, m) in enumerate(pairs) if i != axis):
            try:
                both = numpy.broadcast_shapes(*(s[:axis] + s[axis + 1 :] for s in zip(*pairs)))
            except ValueError as error:
                raise RuntimeError(
                    f"[take_along_dim] shapes must broadcast apart from dim {axis}, got "
                    f"{tuple(input.array.shape)} and {tuple(indices.shape)}"
                ) from error
            size = [(*both[:axis], n, *both[axis:]) for n in pairs[axis]]
            input = broadcast_to(input, shape=size[0])
            indices = library(indices).broadcast_to(indices, size[1])
    return take_along_axis(input, indices=indices, axis=axis)


@numpy_names
def scatter_add(input: Tensor, dim: int, index: Operand, src: Tensor) -> Tensor:
    """input plus src added at index along dim; positions that repeat add up, in order."""
    axis, index = axis_of(input, dim, "scatter_add"), indices_of(index, "scatter_add", input)
    check_within("scatter_add", index, axis, input, src)
    return ops.scatter_add(input, src, indices=index, axis=axis)


@numpy_names
@one_op
def index_add(
    input: Tensor, dim: int, index: Operand, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """input plus the slices of source added at index along dim; those that repeat add up."""
    axis, index = (
        axis_of(input, dim, "index_add"),
        indices_of(index, "index_add", input).reshape(-1),
    )
    check_bounds(index, input.array.shape[axis], "index_add")
    spread = spread_along("index_add", index, source, axis, input)
    if isinstance(alpha, float) and not source.is_floating_point():
        raise RuntimeError(
            f"[index_add] alpha of integers must be an integer, got {alpha}; float()?"
        )
    source = source if alpha == 1 else source * alpha
    return ops.scatter_add(input, source, indices=spread, axis=axis)


def spread_along(name: str, index: Array, source: Tensor, axis: int, input: Tensor) -> Array:
    """The one index of each slice of source along axis, for each of its elements."""
    shape, whole = source.array.shape or (1,), list(input.array.shape or (1,))
    whole[axis] = shape[axis] if axis < len(shape) else 0
    if list(shape) != whole:
        raise RuntimeError(
            f"[{name}] source must have the tensor's shape apart from dim {axis}, got "
            f"{tuple(source.shape)} and {tuple(input.shape)}"
        )
    if len(index) != shape[axis]:
        raise RuntimeError(
            f"[{name}] source must have a slice for each of {len(index)} indices along dim {axis}, "
            f"got shape {shape}"
        )
    along = index.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return library(index).broadcast_to(along, source.array.shape)


@numpy_names
def index_select(input: Tensor, dim: int, index: Operand) -> Tensor:
    """Whole slices of input along dim."""
    axis, index = (
        axis_of(input, dim, "index_select"),
        indices_of(index, "index_select", input).reshape(-1),
    )
    return ops.take(input, indices=index, axis=axis)


@one_op
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, in one row."""
    if mask.dtype is not arrays.bool_:
        raise RuntimeError(
            f"[masked_select] mask must be boolean, got {mask.dtype}; compare first?"
        )
    input, mask = broadcast_tensors(input, mask)
    return getitem(input, mask)


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """int64 zeros with a one at each id: (...) -> (..., num_classes)."""
    ids = indices_of(input, "one_hot")
    lib = library(ids)
    if num_classes == -1:
        if not ids.size:
            raise RuntimeError("[one_hot] num_classes must be given for an empty tensor")
        num_classes = int(ids.max()) + 1
    told_later = noted(ids, "one_hot", "ids", 0, num_classes)
    if not told_later and ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < num_classes:
        raise RuntimeError(
            f"[one_hot] ids must be in 0 ... {num_classes - 1}, "
            f"got {int(ids.min())} ... {int(ids.max())}"
        )
    return wrap((ids[..., None] == lib.arange(num_classes)).astype("int64"))


def from_dlpack(ext_tensor: Any, *, device: Device = None, copy: bool | None = None) -> Tensor:
    """A Tensor on the memory of any array that speaks DLPack; with `copy` on memory of its own."""
    if not hasattr(ext_tensor, "__dlpack_device__"):
        kind = type(ext_tensor).__name__
        raise TypeError(f"[from_dlpack] needs an array with DLPack, got {kind}")
    lib = library_on("cpu" if ext_tensor.__dlpack_device__()[0] == 1 else "cuda")
    return to_tensor(lib.from_dlpack(ext_tensor)).to(device=device, copy=copy)
