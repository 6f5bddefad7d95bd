"""Reading and writing at positions, in PyTorch's spelling."""

from __future__ import annotations

from typing import Any

import numpy

from .. import backend
from ..backend import LIBRARIES, library, library_on
from ..ops import index as ops
from ..ops.elementwise import clone
from ..ops.reduce import take_along_axis
from ..tensor import Tensor, wrap
from ..writes import set_item
from .common import as_tensor, axis_of, named, raw
from .shapes import broadcast_tensors


def _key(x: Tensor, key: Any) -> tuple:
    """A key of Tensors, lists, numbers and slices as a tuple NumPy reads the same way."""
    parts = key if isinstance(key, tuple) else (key,)
    made = tuple([k if type(k) is int else _part(x, k) for k in parts])
    axis = 0
    shape = x.array.shape
    on_cuda = type(x.array) is not numpy.ndarray
    for i, k in enumerate(made):
        if k is Ellipsis:
            axis = len(shape) - sum(_axes(rest) for rest in made[i + 1 :])
            continue
        if on_cuda and type(k) in LIBRARIES and k.dtype.kind in "iu" and axis < len(shape):
            ops.check_bounds(k, shape[axis], "index")
        axis += _axes(k)
    if axis > len(shape):
        raise IndexError(f"[index] too many indices: {axis} for shape {tuple(shape)}")
    return made


def _axes(k: Any) -> int:
    if k is None or k is Ellipsis or isinstance(k, bool):
        return 0
    return k.ndim if type(k) in LIBRARIES and k.dtype == bool else 1


def _slice(k: slice) -> slice:
    if k.step is not None and int(k.step) < 1:
        raise ValueError(f"[index] a slice's step must be positive, got {k.step}; use flip()")
    if k.start.__class__ is Tensor or k.stop.__class__ is Tensor:
        return slice(*(None if b is None else int(b) for b in (k.start, k.stop, k.step)))
    return k


def _part(x: Tensor, k: Any) -> Any:
    if k is None or k is Ellipsis or isinstance(k, bool):
        return k
    if isinstance(k, slice):
        return _slice(k)
    if isinstance(k, Tensor):
        k = k.array
    elif isinstance(k, (list, range, tuple)):
        k = library(x.array).asarray(numpy.asarray(as_tensor(list(k)).array))
        k = k if k.size else k.astype("int64")
    elif isinstance(k, (int, numpy.integer)):
        return int(k)
    elif type(k) not in LIBRARIES:
        raise (TypeError if isinstance(k, str) else IndexError)(
            f"[index] must be integers, slices, None, ..., lists or tensors, got {k!r:.60}"
        )
    if k.dtype.kind not in "iub":
        raise IndexError(f"[index] index tensors must be integer or boolean, got {k.dtype}")
    if k.ndim == 0 and k.dtype != bool:
        return int(k)
    if type(k) is not type(x.array):
        k = backend.to_device(k, x.device)  # PyTorch allows cpu indices into a cuda tensor
    return k


def _name(key: tuple) -> str:
    if not ops.is_basic(key):
        return "IndexBackward0"
    last = [k for k in key if not (isinstance(k, slice) and k == slice(None))]
    if not last or last[-1] is Ellipsis:
        return "AliasBackward0"
    if last[-1] is None:
        return "UnsqueezeBackward0"
    return "SelectBackward0" if isinstance(last[-1], int) else "SliceBackward0"


def getitem(input: Tensor, key: Any) -> Tensor:
    key = _key(input, key)
    out = ops.getitem(input, key=key)
    if out.node is not None:
        out.node.name = _name(key)
    return out


def setitem(input: Tensor, key: Any, value: Any) -> None:
    key = _key(input, key)
    if not isinstance(value, (Tensor, int, float)):
        value = as_tensor(value, input)
    if isinstance(value, Tensor) and type(value.array) is not type(input.array):
        if value.array.ndim:
            raise RuntimeError(
                f"[setitem] the value must be on {input.device}, it is on {value.device}; use .to()"
            )
        value = value.to(input.device)
    set_item(input, key, value, _write_name(input, key))


def _write_name(input: Tensor, key: tuple) -> str:
    if input.base is not None or not all(_whole(k) for k in key if type(k) not in LIBRARIES):
        return "CopySlices"
    return "CopyBackwards" if ops.is_basic(key) else "IndexPutBackward0"


def _whole(k: Any) -> bool:
    return k is Ellipsis or (isinstance(k, slice) and k == slice(None))


def _indices(index: Any, name: str) -> Any:
    index = raw(as_tensor(index))
    if index.dtype.kind not in "iu":
        raise RuntimeError(
            f"[{name}] index must be an integer tensor, got {index.dtype}; use long()"
        )
    return index


def gather(input: Tensor, dim: int, index: Any) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and likewise for the others."""
    axis, index = axis_of(input, dim, "gather"), _indices(index, "gather")
    return ops.gather(input, indices=index, axis=axis) if input.ndim else input


def take_along_dim(input: Tensor, indices: Any, dim: int | None = None) -> Tensor:
    """`gather` whose indices broadcast; the flattened tensor without dim."""
    indices = _indices(indices, "take_along_dim")
    if dim is None:
        input, indices, dim = input.reshape(-1), indices.reshape(-1), 0
    axis = axis_of(input, dim, "take_along_dim")
    return named(take_along_axis(input, indices=indices, axis=axis), "GatherBackward0")


def scatter_add(input: Tensor, dim: int, index: Any, src: Tensor) -> Tensor:
    """input plus src added at index along dim; positions that repeat add up, in order."""
    axis, index = axis_of(input, dim, "scatter_add"), _indices(index, "scatter_add")
    return ops.scatter_add(input, src, indices=index, axis=axis)


def scatter(input: Tensor, dim: int, index: Any, src: Any = None, *, value: Any = None) -> Tensor:
    """input with src (or one value) written at index along dim."""
    axis, index = axis_of(input, dim, "scatter"), _indices(index, "scatter")
    ops.check_bounds(index, input.array.shape[axis], "scatter")
    source = value if src is None else src
    if isinstance(source, Tensor) and source.ndim:
        source = source[tuple(slice(0, n) for n in index.shape)]
    out = clone(input)
    out[ops.grids_along(index, axis)] = source
    return named(out, "ScatterBackward0" if isinstance(source, Tensor) else "ScatterBackward1")


def index_add(input: Tensor, dim: int, index: Any, source: Tensor, *, alpha: float = 1) -> Tensor:
    """input plus the slices of source added at index along dim; those that repeat add up."""
    axis, index = axis_of(input, dim, "index_add"), _indices(index, "index_add").reshape(-1)
    ops.check_bounds(index, input.array.shape[axis], "index_add")
    along = [-1 if i == axis else 1 for i in range(input.ndim)]
    spread = library(index).broadcast_to(index.reshape(along), source.array.shape)
    source = source if alpha == 1 else source * alpha
    return named(ops.scatter_add(input, source, indices=spread, axis=axis), "IndexAddBackward0")


def index_select(input: Tensor, dim: int, index: Any) -> Tensor:
    """Whole slices of input along dim."""
    axis, index = axis_of(input, dim, "index_select"), _indices(index, "index_select").reshape(-1)
    return named(ops.take(input, indices=index, axis=axis), "IndexSelectBackward0")


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, in one row."""
    if mask.dtype is not backend.bool_:
        raise RuntimeError(
            f"[masked_select] mask must be boolean, got {mask.dtype}; compare first?"
        )
    input, mask = broadcast_tensors(input, mask)
    return named(getitem(input, mask), "MaskedSelectBackward0")


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """int64 zeros with a one at each id: (...) -> (..., num_classes)."""
    ids = _indices(input, "one_hot")
    lib = library(ids)
    if num_classes == -1:
        if not ids.size:
            raise RuntimeError("[one_hot] num_classes must be given for an empty tensor")
        num_classes = int(ids.max()) + 1
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= num_classes):
        raise RuntimeError(
            f"[one_hot] ids must be in 0 ... {num_classes - 1}, "
            f"got {int(ids.min())} ... {int(ids.max())}"
        )
    return wrap((ids[..., None] == lib.arange(num_classes)).astype("int64"))


def from_dlpack(source: Any) -> Tensor:
    """A Tensor on the memory of any array that speaks DLPack."""
    lib = library_on("cpu" if source.__dlpack_device__()[0] == 1 else "cuda")
    return as_tensor(lib.from_dlpack(source))


def copy(input: Tensor) -> Tensor:
    """The same values in memory of its own; gradients pass through."""
    return clone(input)
