"""Tensor: an array, a node in the graph, and a gradient. Entering and leaving the graph are here;
Python's and NumPy's protocols are in `interop.py`, mathematics is bound by `methods.py`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import numpy

from . import backend
from .autograd import Node, mark_written, storage
from .backend import device_of, dtype_of, to_numpy
from .compiled import recorder
from .interop import Interop
from .modes import mode


class Size(tuple):
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


class Fields:
    """What a Tensor remembers."""

    array: Any
    node: Node | None = None
    needs_grad = False
    hooks: list[Callable] | None = None
    _grad: Tensor | None = None
    # A view remembers the tensor it looks into and how many recorded writes that tensor had seen.
    base: Tensor | None = None
    version = 0
    seen = 0


if recorder is not None:
    Fields = recorder.TensorFields  # type: ignore[misc]


class Tensor(Fields, Interop):
    """`Tensor([2.0])` is data in the default dtype, `Tensor(2, 3)` an uninitialised shape.

    `.array` is the engine's own slot: a NumPy or CuPy array. `.data` is a detached alias of it.
    """

    __array_ufunc__ = None  # so that array + Tensor asks the Tensor
    __array_priority__ = 1000

    def __init__(self, *data: Any):
        kind = backend.get_default_dtype().np
        if len(data) == 1 and not isinstance(data[0], int):
            value = data[0].array if isinstance(data[0], Tensor) else data[0]
            if not isinstance(value, (list, tuple, *backend.LIBRARIES)):
                raise TypeError(f"[Tensor] data must be a list or an array, got {value!r:.60}")
            if isinstance(value, Size):
                made: Any = numpy.empty(value, kind)
            else:
                made = numpy.array(to_numpy(value), kind)
        elif min(data, default=0) < 0:
            raise RuntimeError(f"[Tensor] sizes must not be negative, got {data}")
        else:
            made = numpy.empty(data or 0, kind)
        self.array = backend.to_device(made, None)

    # ------------------------------------------------------------ what it is

    @property
    def shape(self) -> Size:
        return Size(self.array.shape)

    @property
    def dtype(self) -> backend.dtype:
        return dtype_of(self.array)

    @property
    def device(self) -> backend.device:
        return device_of(self.array)

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.array.shape[dim]

    def dim(self) -> int:
        return self.array.ndim

    def numel(self) -> int:
        return self.array.size

    nelement = numel

    def element_size(self) -> int:
        return self.array.itemsize

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def stride(self, dim: int | None = None) -> Any:
        """Steps in elements, one per axis; where a size is 1, what PyTorch would say."""
        found: list[int] = []
        for n, step in zip(self.array.shape[::-1], self.array.strides[::-1], strict=True):
            inner = found[-1] * max(self.array.shape[len(found) * -1], 1) if found else 1
            unused = not self.array.size or (n == 1 and step == 0)
            found.append(inner if unused else step // self.array.itemsize)
        steps = tuple(found[::-1])
        return steps if dim is None else steps[dim]

    def storage_offset(self) -> int:
        """Elements between the start of the memory and the first element of this view."""
        return (self.data_ptr() - _address(storage(self.array))) // self.array.itemsize

    def data_ptr(self) -> int:
        return _address(self.array)

    def is_contiguous(self) -> bool:
        return self.array.flags.c_contiguous

    # ------------------------------------------------------------ the graph

    @property
    def requires_grad(self) -> bool:
        if self.base is not None and self.seen != self.base.version:
            self.refresh()
        return self.needs_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if self.node is not None and not requires_grad:
            raise RuntimeError(
                "[requires_grad] can only be switched off on leaf tensors; use detach()"
            )
        if requires_grad and not self.is_floating_point():
            raise RuntimeError(
                f"[requires_grad] only floating-point tensors can require one, got {self.dtype}"
            )
        self.needs_grad = bool(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        return self.grad_fn is None

    @property
    def grad_fn(self) -> Node | None:
        return self.node if self.requires_grad else None

    def _set_grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"[grad] must be a Tensor or None, got {type(value).__name__}")
            if value.array.shape != self.array.shape or value.dtype != self.dtype:
                raise RuntimeError(
                    f"[grad] must be like its tensor, {tuple(self.shape)} of {self.dtype}, "
                    f"got {tuple(value.shape)} of {value.dtype}"
                )
        self._grad = value

    grad = property(attrgetter("_grad"), _set_grad)

    def _set_data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"[data] must be a Tensor, got {type(value).__name__}")
        self.array = value.array

    def detach(self) -> Tensor:
        """The same memory outside the graph."""
        return wrap(self.array)

    data = property(detach, _set_data)

    def detach_(self) -> Tensor:
        self.node, self.needs_grad = None, False
        return self

    def accumulate(self, g: Any, owned: bool) -> None:
        """Add an arriving gradient to `.grad`, which never shares memory with anything else."""
        if isinstance(g, Tensor):
            self._grad = g if self._grad is None else self._grad + g
        elif self._grad is None:
            self._grad = wrap(g if owned else g.copy())
        else:
            self._grad.array += g
            mark_written(self._grad.array)

    def register_hook(self, hook: Callable) -> SimpleNamespace:
        """Call hook(gradient) when this tensor's gradient is known; a returned Tensor replaces it.
        `.remove()` of what comes back takes the hook off again."""
        if not self.requires_grad:
            raise RuntimeError(
                "[register_hook] the tensor must require a gradient, this one does not"
            )

        def on_arrays(g: Any) -> Any:
            replaced = hook(g if isinstance(g, Tensor) else wrap(g))
            return replaced if replaced is None or isinstance(g, Tensor) else replaced.array

        owner: Any = self.node or self
        owner.hooks = [*(owner.hooks or ()), on_arrays]

        def remove() -> None:
            owner.hooks = [h for h in owner.hooks if h is not on_arrays]

        return SimpleNamespace(remove=remove)

    def retain_grad(self) -> None:
        """Keep `.grad` although this is no leaf."""
        if not self.requires_grad:
            raise RuntimeError(
                "[retain_grad] the tensor must require a gradient, this one does not"
            )
        if self.node is None:
            return
        tensor = weakref.ref(self)

        def keep(g: Tensor) -> None:
            alive = tensor()
            if alive is not None:
                alive.accumulate(g if mode.recording and g.needs_grad else g.array, False)

        self.register_hook(keep)


def _address(array: Any) -> int:
    return array.ctypes.data if type(array) is numpy.ndarray else array.data.ptr


_new = object.__new__


def wrap(array: Any) -> Tensor:
    """A Tensor around an array, outside the graph, sharing its memory."""
    tensor = _new(Tensor)
    tensor.array, tensor.node, tensor.needs_grad, tensor.base = array, None, False, None
    return tensor


if recorder is not None:
    recorder.know(Tensor=Tensor)
    Tensor.data = property(recorder.alias, Tensor._set_data)
    wrap = recorder.wrap
