"""Tensor: an array, a node in the graph, and a gradient. Creation, leaving and entering the graph,
and Python's and NumPy's protocols are here; mathematics is not: the ops bind themselves as methods.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy

from . import backend, printing
from .autograd import Node, grad_fn_name, mark_written, mode, walk
from .backend import LIBRARIES, device_of, dtype_of, quietly, to_numpy


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


class Tensor:
    """`Tensor([2.0])` is data in the default dtype, `Tensor(2, 3)` an uninitialised shape.

    `.array` is the engine's own slot: a NumPy or CuPy array. `.data` is a detached alias of it.
    """

    array: Any
    node: Node | None = None
    needs_grad = False
    hooks: list[Callable] | None = None
    _grad: Tensor | None = None
    # A view remembers the tensor it looks into and how many recorded writes that tensor had seen.
    base: Tensor | None = None
    version = 0
    seen = 0

    __array_ufunc__ = None  # so that array + Tensor asks the Tensor
    __array_priority__ = 1000

    def __init__(self, *data: Any):
        kind = backend.get_default_dtype().np
        if len(data) == 1 and not isinstance(data[0], int):
            value = data[0].array if isinstance(data[0], Tensor) else data[0]
            if isinstance(value, Size):
                made: Any = numpy.empty(value, kind)
            else:
                made = numpy.array(to_numpy(value), kind)
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
            found.append(inner if n == 1 and step == 0 else step // self.array.itemsize)
        steps = tuple(found[::-1])
        return steps if dim is None else steps[dim]

    def storage_offset(self) -> int:
        """Elements between the start of the memory and the first element of this view."""
        from .autograd import storage

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
                f"[requires_grad] only floating-point tensors can require gradients, got {self.dtype}"
            )
        self.needs_grad = bool(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        return self.grad_fn is None

    @property
    def grad_fn(self) -> Node | None:
        return self.node if self.requires_grad else None

    @property
    def grad(self) -> Tensor | None:
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"[grad] must be a Tensor or None, got {type(value).__name__}")
            if value.array.shape != self.array.shape or value.dtype != self.dtype:
                raise RuntimeError(
                    f"[grad] must be like its tensor, {tuple(self.shape)} of {self.dtype}, "
                    f"got {tuple(value.shape)} of {value.dtype}"
                )
        self._grad = value

    @property
    def data(self) -> Tensor:
        return wrap(self.array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"[data] must be a Tensor, got {type(value).__name__}")
        self.array = value.array

    def detach(self) -> Tensor:
        """The same memory outside the graph."""
        return wrap(self.array)

    def detach_(self) -> Tensor:
        self.node, self.needs_grad = None, False
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add d self / d leaf into `.grad` of every leaf that requires it.

        gradient: of self's shape; may be left out for one element (it is 1).
        """
        backward([self], [gradient], retain_graph, create_graph)

    def accumulate(self, g: Any, owned: bool) -> None:
        """Add an arriving gradient to `.grad`, which never shares memory with anything else."""
        if isinstance(g, Tensor):
            self._grad = g if self._grad is None else self._grad + g
        elif self._grad is None:
            self._grad = wrap(g if owned else g.copy())
        else:
            quietly(self._grad.array.__iadd__, g)
            mark_written(self._grad.array)

    def register_hook(self, hook: Callable) -> Callable[[], None]:
        """Call hook(gradient) when this tensor's gradient is known; a returned Tensor replaces it.
        Returns a function that removes the hook."""
        if not self.requires_grad:
            raise RuntimeError("[register_hook] the tensor must require a gradient, this one does not")

        def on_arrays(g: Any) -> Any:
            replaced = hook(g if isinstance(g, Tensor) else wrap(g))
            return replaced if replaced is None or isinstance(g, Tensor) else replaced.array

        owner: Any = self.node or self
        owner.hooks = [*(owner.hooks or ()), on_arrays]

        def remove() -> None:
            owner.hooks = [h for h in owner.hooks if h is not on_arrays]

        return remove

    def retain_grad(self) -> None:
        """Keep `.grad` although this is no leaf."""
        if not self.requires_grad:
            raise RuntimeError("[retain_grad] the tensor must require a gradient, this one does not")
        if self.node is None:
            return
        tensor = weakref.ref(self)

        def keep(g: Tensor) -> None:
            alive = tensor()
            if alive is not None:
                alive.accumulate(g if mode.recording and g.needs_grad else g.array, False)

        self.register_hook(keep)

    def refresh(self) -> None:
        """After a recorded write to its base, a view's history goes through the base as it is now."""
        from .writes import regain_history

        regain_history(self)

    # ------------------------------------------------------------ Python and NumPy

    def item(self) -> Any:
        if self.array.size != 1:
            raise RuntimeError(
                f"[item] needs exactly one element, got shape {tuple(self.shape)}; use tolist()"
            )
        return to_numpy(self.array).item()

    def tolist(self) -> Any:
        return to_numpy(self.array).tolist()

    def numpy(self, force: bool = False) -> numpy.ndarray:
        if self.requires_grad and not force:
            raise RuntimeError(
                "[numpy] the tensor must not require a gradient; use tensor.detach().numpy()"
            )
        if not force and type(self.array) is not numpy.ndarray:
            raise TypeError(f"[numpy] the tensor must be on the cpu, it is on {self.device}; .cpu()")
        return to_numpy(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> numpy.ndarray:
        return numpy.array(self.numpy(), dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.detach().array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple:
        return self.array.__dlpack_device__()

    def __len__(self) -> int:
        if self.array.ndim == 0:
            raise TypeError("[len] needs at least one axis, got a 0-d tensor")
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        if self.array.ndim == 0:
            raise TypeError("[iter] needs at least one axis, got a 0-d tensor")
        return (self[i] for i in range(len(self.array)))

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise RuntimeError(
                f"[bool] a truth value needs exactly one element, got shape {tuple(self.shape)}; "
                "use any() or all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        value = self.item()
        if isinstance(value, float):
            raise TypeError("[index] only integer tensors of one element can be an index")
        return int(value)

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.array.ndim == 0 else object.__format__(self, spec)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        name = self.grad_fn and grad_fn_name(self.grad_fn.name)
        return printing.format_tensor(
            to_numpy(self.array),
            dtype=self.dtype.name,
            default_dtype=backend.get_default_dtype().name,
            device=str(self.device),
            grad_fn=name,
            requires_grad=self.needs_grad,
        )

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("[deepcopy] only leaf tensors can be deep-copied; use detach().clone()")
        copy = object.__new__(type(self))
        memo[id(self)] = copy
        copy.__dict__.update({k: v for k, v in self.__dict__.items() if k in ("needs_grad",)})
        copy.array = self.array.copy()
        copy._grad = None if self._grad is None else self._grad.__deepcopy__(memo)
        return copy

    def __reduce__(self) -> tuple:
        if not self.is_leaf:
            raise RuntimeError("[pickle] only leaf tensors can be pickled; use detach()")
        return _rebuild, (type(self), to_numpy(self.array), self.needs_grad, str(self.device))


def _rebuild(kind: type, array: numpy.ndarray, needs_grad: bool, where: str) -> Tensor:
    tensor = object.__new__(kind)
    tensor.array = backend.to_device(array, where)
    tensor.needs_grad = needs_grad
    return tensor


def _address(array: Any) -> int:
    return array.ctypes.data if type(array) is numpy.ndarray else array.data.ptr


_new = object.__new__


def wrap(array: Any) -> Tensor:
    """A Tensor around an array, outside the graph, sharing its memory."""
    tensor = _new(Tensor)
    tensor.array = array
    return tensor


def _roots(tensors: list, gradients: list) -> list[tuple[Any, Any]]:
    """(node or leaf, starting gradient) for each tensor, with the starting gradient checked."""
    roots = []
    for tensor, gradient in zip(tensors, gradients, strict=True):
        if not tensor.requires_grad:
            raise RuntimeError(
                "[backward] the tensor must require a gradient, this one does not; was it computed "
                "under no_grad, or from tensors without requires_grad=True?"
            )
        if gradient is None:
            if tensor.array.size != 1:
                raise RuntimeError(
                    "[backward] without a gradient the tensor must be a scalar (grad can be "
                    f"implicitly created only for scalar outputs), got shape {tuple(tensor.shape)}; "
                    "pass gradient= or reduce it with sum() or mean()"
                )
            start = backend.library(tensor.array).ones_like(tensor.array)
        else:
            if not isinstance(gradient, Tensor):
                raise TypeError(f"[backward] gradient must be a Tensor, got {type(gradient).__name__}")
            if gradient.array.shape != tensor.array.shape:
                raise RuntimeError(
                    f"[backward] gradient must have the tensor's shape {tuple(tensor.shape)}, "
                    f"got {tuple(gradient.shape)}"
                )
            start = gradient if gradient.needs_grad else gradient.array
        roots.append((tensor.node or tensor, start))
    return roots


def backward(
    tensors: list,
    gradients: list | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    wanted: dict[int, Any] | None = None,
) -> dict[int, Any]:
    """Walk back from several tensors at once; see `Tensor.backward` and `autograd.grad`."""
    roots = _roots(tensors, gradients or [None] * len(tensors))
    retain = create_graph if retain_graph is None else retain_graph
    if create_graph:
        _check_differentiable(roots)
        return walk(
            [(node, g if isinstance(g, Tensor) else wrap(g)) for node, g in roots],
            retain, wanted, _as_tensor,
        )  # fmt: skip
    before, mode.recording = mode.recording, False
    try:
        found = quietly(walk, roots, retain, wanted, _as_tensor)
    finally:
        mode.recording = before
    return {key: g.array if isinstance(g, Tensor) else g for key, g in found.items()}


def _as_tensor(g: Any) -> Tensor:
    return g if isinstance(g, Tensor) else wrap(g)


def _check_differentiable(roots: list[tuple[Any, Any]]) -> None:
    pending, known = [node for node, _ in roots], set()
    while pending:
        node = pending.pop()
        if not isinstance(node, Node) or id(node) in known:
            continue
        known.add(id(node))
        if not node.tensors:
            raise RuntimeError(
                f"[create_graph] the forward pass must be recorded for it, but {node!r} was not; "
                "compute it inside `with autograd.higher_order():`"
            )
        pending.extend(node.parents)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of outputs with respect to inputs, returned instead of added to `.grad`.

    With `create_graph=True` they can be differentiated again, if the forward pass was computed
    inside `autograd.higher_order()`.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if isinstance(grad_outputs, Tensor) or grad_outputs is None:
        grad_outputs = [grad_outputs] * len(outputs)
    for x in inputs:
        if not x.requires_grad:
            raise RuntimeError("[grad] every input must require a gradient, one does not")
    wanted = {id(x.node or x): x for x in inputs}
    found = backward(outputs, list(grad_outputs), retain_graph, create_graph, wanted)
    results: list[Tensor | None] = []
    for x in inputs:
        g = found.get(id(x.node or x))
        if g is None and not allow_unused:
            raise RuntimeError(
                "[grad] every input must have been used to compute the outputs, one was not; "
                "pass allow_unused=True to get None for it"
            )
        if type(g) in LIBRARIES:
            g = wrap(g.copy())
        results.append(g)
    return tuple(results)
