"""What Python and NumPy ask of a Tensor: numbers, lists, truth, iteration, arrays, copies, pickles
and print. They are functions of a Tensor; `methods.py` lists them under Python's names."""

from __future__ import annotations

import copy as copier
import copyreg
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import is_numpy, to_numpy
from ..core.op import Op
from ..core.tensor import Tensor, wrap
from . import printing
from .common import Operand, to_tensor
from .names import grad_fn_name


def item(self: Tensor) -> Any:
    if self.array.size != 1:
        raise RuntimeError(
            f"[item] needs exactly one element, got shape {tuple(self.shape)}; use tolist()"
        )
    return to_numpy(self.array).item()


def tolist(self: Tensor) -> Any:
    return to_numpy(self.array).tolist()


def numpy_array(self: Tensor, force: bool = False) -> np.ndarray:
    if self.requires_grad and not force:
        raise RuntimeError(
            "[numpy] the tensor must not require a gradient; use tensor.detach().numpy()"
        )
    if not (force or is_numpy(self.array)):
        raise TypeError(f"[numpy] the tensor must be on the cpu, it is on {self.device}; .cpu()")
    return to_numpy(self.array)


def array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    return np.array(self.numpy(), dtype, copy=copy)


def array_wrap(self: Tensor, result: Any, context: Any = None, scalar: bool = False) -> Tensor:
    """What a function of NumPy made of this tensor, which requires no gradient, as a Tensor."""
    return to_tensor(arrays.as_array(result))


def dlpack(self: Tensor, **options: Any) -> Any:
    if self.requires_grad:
        raise BufferError("[dlpack] the tensor must not require a gradient; use detach()")
    return self.detach().array.__dlpack__(**options)


def dlpack_device(self: Tensor) -> tuple:
    return self.array.__dlpack_device__()


def length(self: Tensor) -> int:
    if self.array.ndim == 0:
        raise TypeError("[len] needs at least one axis, got a 0-d tensor")
    return len(self.array)


def rows(self: Tensor) -> Iterator[Tensor]:
    if self.array.ndim == 0:
        raise TypeError("[iter] needs at least one axis, got a 0-d tensor")
    return iter(self.unbind(0))


def truth(self: Tensor) -> bool:
    if self.array.size != 1:
        raise RuntimeError(
            f"[bool] a truth value needs exactly one element, got shape {tuple(self.shape)}; "
            "use any() or all()"
        )
    return bool(self.item())


def _only_element(self: Tensor, name: str) -> Any:
    if self.array.size != 1:
        raise ValueError(f"[{name}] needs exactly one element, got shape {tuple(self.shape)}")
    return self.item()


def as_float(self: Tensor) -> float:
    return float(_only_element(self, "float"))


def as_int(self: Tensor) -> int:
    return int(_only_element(self, "int"))


def as_index(self: Tensor) -> int:
    if self.array.size != 1 or self.is_floating_point():
        raise TypeError(
            f"[index] must be an integer tensor of one element, got {self.dtype} of shape "
            f"{tuple(self.shape)}"
        )
    return int(self.item())


def contains(self: Tensor, value: Operand) -> bool:
    if not (isinstance(value, (int, float, np.generic)) or hasattr(value, "array")):
        raise RuntimeError(f"[in] needs a number or a Tensor, got {type(value).__name__}")
    return bool((self == value).any())


def formatted(self: Tensor, spec: str) -> str:
    return format(self.item(), spec) if self.array.ndim == 0 else object.__format__(self, spec)


def text(self: Tensor) -> str:
    node = self.node if self.requires_grad else None
    return printing.format_tensor(
        to_numpy(self.array),
        dtype=self.dtype.name,
        default_dtype=arrays.get_default_dtype().name,
        device=str(self.device),
        grad_fn=None if node is None else grad_fn_name(node.name),
        requires_grad=self.needs_grad,
    )


def deepcopy(self: Tensor, memo: dict) -> Tensor:
    if not self.is_leaf:
        raise RuntimeError("[deepcopy] only leaf tensors can be deep-copied; use detach().clone()")
    copy = wrap(arrays.copied(self.array), object.__new__(type(self)))
    memo[id(self)] = copy
    copy.needs_grad = self.needs_grad
    copy._grad = None if self._grad is None else deepcopy(self._grad, memo)
    copy.__dict__.update(copier.deepcopy(_attributes(self), memo))
    return copy


def _attributes(self: Tensor) -> dict[str, Any]:
    """What was set on a tensor, but for its hooks: those stay with it, as in PyTorch."""
    return {name: value for name, value in vars(self).items() if name != "accumulate"}


def pickled(self: Tensor) -> tuple:
    if not self.is_leaf:
        raise RuntimeError("[pickle] only leaf tensors can be pickled; use detach()")
    kind = None if type(self) is Tensor else type(self)  # which `as_torch` names torch.Tensor
    parts = kind, to_numpy(self.array), self.needs_grad, str(self.device)
    return _rebuild, parts, _attributes(self) or None


# An op goes by its name, as a function does.
copyreg.pickle(Op, lambda op: op.function.__qualname__)


def _rebuild(kind: type[Tensor] | None, array: np.ndarray, needs_grad: bool, where: str) -> Tensor:
    tensor = wrap(arrays.to_device(array, where), object.__new__(kind or Tensor))
    tensor.needs_grad = needs_grad
    return tensor
