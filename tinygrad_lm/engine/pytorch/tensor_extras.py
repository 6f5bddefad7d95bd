"""What PyTorch's Tensor has beside the graph: the constructor, sizes and strides, `grad` and
`data`, hooks. They are functions of a Tensor, listed in `methods.py`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, overload

import numpy

from .. import arrays
from ..arrays import device_of, dtype_of, owner_of
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from .common import Device, Operand, raw, sizes, to_array
from .grad_fn import GradFn, shown


class Size(tuple[int, ...]):
    """A shape; prints as PyTorch prints it."""

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def numel(self) -> int:
        return int(numpy.prod(self, dtype=int))

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item


def initialize(self: Tensor, *data: Any, device: Device = None) -> None:
    """Tensor(2, 3): zeros; Tensor([2, 3]): these numbers; Tensor(x): on the memory of x."""
    if len(data) == 1 and isinstance(data[0], Tensor):
        wrap(data[0].array, self)
    else:
        made = legacy_data("Tensor", data, arrays.get_default_dtype())
        wrap(arrays.to_device(made, device), self)


def legacy_data(name: str, data: tuple, dtype: arrays.dtype) -> numpy.ndarray:
    """What the constructors of old took: sizes one by one or as a Size, or a sequence of numbers.
    PyTorch leaves memory of a given size as it is; here it is zeros."""
    if len(data) == 1 and not isinstance(data[0], (int, numpy.integer)):
        given = data[0]
        if not isinstance(given, Size):
            if isinstance(given, (list, tuple, range, *arrays.LIBRARIES)):
                return to_array(list(given) if isinstance(given, range) else given, dtype)
            raise TypeError(f"[{name}] data must be sizes or a sequence, got {given!r:.60}")
        data = given
    if any(isinstance(n, bool) for n in data):
        raise TypeError(f"[{name}] data must be sizes or a sequence, got {data!r:.60}")
    shape = sizes(data) if data else (0,) if not isinstance(data, Size) else ()
    if min(shape, default=0) < 0:
        raise RuntimeError(f"[{name}] sizes must not be negative, got {shape}")
    return numpy.zeros(shape, dtype.np)


def shape(self: Tensor) -> Size:
    return Size(self.array.shape)


def dtype(self: Tensor) -> arrays.dtype:
    return dtype_of(self.array)


def device(self: Tensor) -> arrays.device:
    return device_of(self.array)


def ndim(self: Tensor) -> int:
    return self.array.ndim


def is_cuda(self: Tensor) -> bool:
    return self.device.type == "cuda"


@overload
def size(self: Tensor) -> Size: ...


@overload
def size(self: Tensor, dim: int) -> int: ...


def size(self: Tensor, dim: int | None = None) -> Size | int:
    return self.shape if dim is None else self.array.shape[dim]


def dim(self: Tensor) -> int:
    return self.array.ndim


def numel(self: Tensor) -> int:
    return self.array.size


def element_size(self: Tensor) -> int:
    return self.array.itemsize


def is_floating_point(self: Tensor) -> bool:
    return self.dtype.is_floating_point


@overload
def stride(self: Tensor) -> tuple[int, ...]: ...


@overload
def stride(self: Tensor, dim: int) -> int: ...


def stride(self: Tensor, dim: int | None = None) -> tuple[int, ...] | int:
    """Steps in elements, one per axis; where a size is 1, what PyTorch would say."""
    found: list[int] = []
    for n, step in zip(self.array.shape[::-1], self.array.strides[::-1], strict=True):
        inner = found[-1] * max(self.array.shape[len(found) * -1], 1) if found else 1
        unused = not self.array.size or (n == 1 and step == 0)
        found.append(inner if unused else step // self.array.itemsize)
    steps = tuple(found[::-1])
    return steps if dim is None else steps[dim]


def storage_offset(self: Tensor) -> int:
    """Elements between the start of the memory and the first element of this view."""
    return (data_ptr(self) - _address(owner_of(self.array))) // self.array.itemsize


def data_ptr(self: Tensor) -> int:
    return _address(self.array)


def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    if self.node is not None and not requires_grad:
        raise RuntimeError("[requires_grad] can only be switched off on leaf tensors; use detach()")
    if requires_grad and not is_floating_point(self):
        raise RuntimeError(
            f"[requires_grad] only floating-point tensors can require one, got {self.dtype}"
        )
    self.needs_grad = bool(requires_grad)
    return self


def is_leaf(self: Tensor) -> bool:
    return not self.requires_grad or self.node is None


def grad_fn(self: Tensor) -> GradFn | None:
    """What computed this tensor, None for a leaf."""
    return shown(self.node) if self.requires_grad and self.node is not None else None


def set_grad(self: Tensor, value: Tensor | None) -> None:
    if value is not None:
        if not isinstance(value, Tensor):
            raise TypeError(f"[grad] must be a Tensor or None, got {type(value).__name__}")
        if value.array.shape != self.array.shape or value.dtype != self.dtype:
            raise RuntimeError(
                f"[grad] must be like its tensor, {tuple(self.shape)} of {self.dtype}, "
                f"got {tuple(value.shape)} of {value.dtype}"
            )
        if value.device != self.device:
            raise RuntimeError(
                f"[grad] must be on its tensor's device {self.device}, got one on {value.device}; "
                "move with .to()"
            )
    self._grad = value


def set_data(self: Tensor, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"[data] must be a Tensor, got {type(value).__name__}")
    self.array = value.array


def detach_(self: Tensor) -> Tensor:
    self.node, self.needs_grad = None, False
    return self


def register_hook(self: Tensor, hook: Callable, *, retains: int | None = None) -> SimpleNamespace:
    """Call hook(gradient) when this tensor's gradient is known; a returned Tensor replaces it.
    `.remove()` of what comes back takes the hook off again. Hooks run in the order in which they
    came. retains: `retain_grad`'s own, which runs last and stays with the tensor of this id when
    that is written in place."""
    if not self.requires_grad:
        raise RuntimeError("[register_hook] the tensor must require a gradient, this one does not")

    def on_arrays(g: Any) -> Any:
        replaced = hook(g if isinstance(g, Tensor) else wrap(g))
        if isinstance(replaced, Tensor) and replaced.array.shape != g.shape:
            raise RuntimeError(
                f"[register_hook] what a hook returns must have the gradient's shape "
                f"{tuple(g.shape)}, got {tuple(replaced.shape)}; expand() it?"
            )
        return replaced if replaced is None or isinstance(g, Tensor) else replaced.array

    on_arrays.retains = retains  # type: ignore[attr-defined]
    owner: Any = self.node or self
    hooks = [*(owner.hooks or ()), on_arrays]
    owner.hooks = sorted(hooks, key=lambda h: getattr(h, "retains", None) is not None)

    def remove() -> None:
        owner.hooks = [h for h in owner.hooks if h is not on_arrays]

    return SimpleNamespace(remove=remove)


def retain_grad(self: Tensor) -> None:
    """Keep `.grad` although this is no leaf."""
    if not self.requires_grad:
        raise RuntimeError("[retain_grad] the tensor must require a gradient, this one does not")
    if self.node is None:
        return
    tensor = weakref.ref(self)

    def keep(g: Tensor) -> None:
        alive = tensor()
        if alive is not None:
            alive.accumulate(g if mode.recording and g.needs_grad else g.array.copy())

    register_hook(self, keep, retains=id(self))


def copy_(self: Tensor, other: Operand, non_blocking: bool = False) -> Tensor:
    """Overwrite with the values of other (broadcast, cast)."""
    self[...] = other
    return self


def itself(self: Tensor) -> Tensor:
    """+x is x."""
    return self


def is_tensor(obj: Any) -> bool:
    return isinstance(obj, Tensor)


def result_type(tensor: Operand, other: Operand) -> arrays.dtype:
    """The dtype in which these would meet."""
    return arrays.result_type(raw(tensor), raw(other))


def _address(array: Any) -> int:  # NumPy's or CuPy's
    return array.ctypes.data if type(array) is numpy.ndarray else array.data.ptr
