"""What Python and NumPy ask of a Tensor: numbers, lists, truth, iteration, arrays, copies, pickles
and print. A base class of Tensor; no mathematics and no graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend, printing
from .autograd import grad_fn_name
from .backend import to_numpy

if TYPE_CHECKING:
    from .tensor import Tensor


class Interop:
    """The protocols; `array`, `requires_grad` and the rest come from Tensor."""

    if TYPE_CHECKING:  # bound from the table in methods.py
        array: Any
        needs_grad: bool

        def __getattr__(self, name: str) -> Any: ...

        bound: Any = None
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = bound
        __rtruediv__ = __pow__ = __neg__ = __matmul__ = __getitem__ = __setitem__ = bound
        __invert__ = __lt__ = __le__ = __gt__ = __ge__ = bound

    def item(self) -> Any:
        if self.array.size != 1:
            raise RuntimeError(
                f"[item] needs exactly one element, got shape {tuple(self.shape)}; use tolist()"
            )
        return to_numpy(self.array).item()

    def tolist(self) -> Any:
        return to_numpy(self.array).tolist()

    def numpy(self, force: bool = False) -> np.ndarray:
        if self.requires_grad and not force:
            raise RuntimeError(
                "[numpy] the tensor must not require a gradient; use tensor.detach().numpy()"
            )
        if not force and type(self.array) is not np.ndarray:
            raise TypeError(
                f"[numpy] the tensor must be on the cpu, it is on {self.device}; .cpu()"
            )
        return to_numpy(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("[dlpack] the tensor must not require a gradient; use detach()")
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
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise RuntimeError(
                f"[bool] a truth value needs exactly one element, got shape {tuple(self.shape)}; "
                "use any() or all()"
            )
        return bool(self.item())

    def _only(self, name: str) -> Any:
        if self.array.size != 1:
            raise ValueError(f"[{name}] needs exactly one element, got shape {tuple(self.shape)}")
        return self.item()

    def __float__(self) -> float:
        return float(self._only("float"))

    def __int__(self) -> int:
        return int(self._only("int"))

    def __index__(self) -> int:
        if self.array.size != 1 or self.is_floating_point():
            raise TypeError(
                f"[index] must be an integer tensor of one element, got {self.dtype} of shape "
                f"{tuple(self.shape)}"
            )
        return int(self.item())

    def __contains__(self, value: Any) -> bool:
        if not (isinstance(value, (int, float, np.generic)) or hasattr(value, "array")):
            raise RuntimeError(f"[in] needs a number or a Tensor, got {type(value).__name__}")
        return bool((self == value).any())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.array.ndim == 0 else object.__format__(self, spec)

    __hash__ = object.__hash__  # although == compares elements

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
            raise RuntimeError(
                "[deepcopy] only leaf tensors can be deep-copied; use detach().clone()"
            )
        copy: Any = object.__new__(type(self))
        memo[id(self)] = copy
        copy.array, copy.needs_grad = self.array.copy(), self.needs_grad
        copy._grad = None if self._grad is None else self._grad.__deepcopy__(memo)
        return copy

    def __reduce__(self) -> tuple:
        if not self.is_leaf:
            raise RuntimeError("[pickle] only leaf tensors can be pickled; use detach()")
        return _rebuild, (type(self), to_numpy(self.array), self.needs_grad, str(self.device))


def _rebuild(kind: type, array: np.ndarray, needs_grad: bool, where: str) -> Tensor:
    tensor: Any = object.__new__(kind)
    tensor.array = backend.to_device(array, where)
    tensor.needs_grad = needs_grad
    return tensor
