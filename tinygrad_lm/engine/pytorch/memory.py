"""A tensor's own memory: another size or another owner for it, and what it takes. None of this is
recorded, so tensors that require a gradient are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..arrays import address, as_strided, library, mark_written, owner_of, to_numpy
from ..core.tensor import Tensor
from .common import sizes
from .conversions import cast, type_of
from .layouts import strided
from .shapes import expand


def _free(input: Tensor, name: str) -> None:
    if input.requires_grad:
        raise RuntimeError(f"[{name}] the tensor must not require a gradient; use detach()")


def resize_(input: Tensor, *size: Any, memory_format: Any = None) -> Tensor:
    """Another shape on the memory of input, from its first element on; where that is too little, on
    new memory, which begins with the same elements and ends in zeros."""
    _free(input, "resize_")
    shape, old = sizes(size), input.array
    if min(shape, default=0) < 0:
        raise RuntimeError(f"[resize_] sizes must not be negative, got {shape}")
    if shape == old.shape:
        return input
    whole, lib = owner_of(old), library(old)
    there = whole.nbytes - (address(old) - address(whole))
    room, needed = there // old.itemsize, math.prod(shape)
    flat = as_strided(old, (min(room, needed),), (old.itemsize,))
    if needed > room:
        flat = lib.concatenate([flat, lib.zeros(needed - room, old.dtype)])
    input.array = flat.reshape(shape)
    return input


def resize_as_(input: Tensor, the_template: Tensor, memory_format: Any = None) -> Tensor:
    """`resize_` to the shape of another tensor."""
    return resize_(input, *the_template.shape)


def set_(input: Tensor, source: Tensor | None = None) -> Tensor:
    """From now on input is on the memory of source, in its shape; of no element without source."""
    _free(input, "set_")
    source = input.new() if source is None else source
    if source.dtype is not input.dtype:
        raise RuntimeError(f"[set_] source must be of {input.dtype}, got {source.dtype}; use to()")
    input.array, input.base = source.array, source.base
    return input


def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same elements of the same memory, in the same shape."""
    a, b = input.array, tensor.array
    return (type(a), address(a), a.shape, a.strides) == (type(b), address(b), b.shape, b.strides)


def apply_(input: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Every element becomes callable(element), in Python: slow."""
    return map_(input, input, lambda x, _: callable(x), name="apply_")


def map_(
    input: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any], *, name: str = "map_"
) -> Tensor:
    """Every element becomes callable(element, that of the other tensor), in Python: slow."""
    _free(input, name)
    if input.is_cuda:
        raise TypeError(f"[{name}] the tensor must be on the cpu, it is on {input.device}; .cpu()")
    if type_of(tensor) != type_of(input):
        raise TypeError(f"[{name}] both must be {type_of(input)}, got {type_of(tensor)}; use to()")
    array, other = input.array, to_numpy(expand(tensor, *input.shape).array)
    new = [callable(x, y) for x, y in zip(array.ravel().tolist(), other.ravel().tolist())]
    array[...] = library(array).array(new, array.dtype).reshape(array.shape)
    mark_written(array)
    return input


def get_device(input: Tensor) -> int:
    """The number of the GPU, -1 on the CPU."""
    return (input.device.index or 0) if input.is_cuda else -1


def nbytes(input: Tensor) -> int:
    return input.array.nbytes


def itemsize(input: Tensor) -> int:
    return input.array.itemsize


def layout(input: Tensor) -> Any:
    """`torch.strided`, the one there is."""
    return strided


def is_cpu(input: Tensor) -> bool:
    return not input.is_cuda


def is_signed(input: Tensor) -> bool:
    """Whether its dtype has numbers below 0."""
    return input.array.dtype.kind not in "bu"


def is_pinned(input: Tensor, device: Any = None) -> bool:
    """No memory is pinned here."""
    return False


def to_dense(input: Tensor, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself, or its values in a dtype: every tensor is dense."""
    return input if dtype is None else cast(input, dtype)


def never(input: Tensor) -> bool:
    """False, whatever the tensor: there are no sparse, quantized or meta tensors here."""
    return False
