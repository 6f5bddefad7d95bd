"""Parameter: a Tensor that a Module owns and an optimiser updates; Buffer: one that a Module owns
and nobody trains. What is computed from them is a plain Tensor. Both exist without a shape, too,
for the layers of `lazy.py`."""

from __future__ import annotations

from typing import Any

from ..engine.core.tensor import Tensor, wrap
from ..engine.pytorch.common import Device, Dtype
from ..engine.pytorch.creation import empty


class Parameter(Tensor):
    """A leaf on the memory of `data` (a Tensor; empty if left out) that requires a gradient."""

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True):
        data = Tensor() if data is None else data
        if not isinstance(data, Tensor):
            raise TypeError(
                f"[Parameter] data must be a Tensor, got {type(data).__name__}; "
                "make one with tensor(...)"
            )
        wrap(data.array, self)
        self.requires_grad_(requires_grad)

    def __reduce__(self) -> tuple:  # not by the name of the class, which `as_torch` changes
        if type(self) is not Parameter:
            return super().__reduce__()
        return _parameter, (self.detach(), self.requires_grad), self.__dict__ or None

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


def _parameter(data: Tensor, requires_grad: bool) -> Parameter:
    return Parameter(data, requires_grad)


class Buffer(Tensor):
    """A tensor on the memory of `data` that a module registers as a buffer where it is assigned;
    saved if `persistent`."""

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True):
        wrap((Tensor() if data is None else data).array, self)
        self.persistent = persistent


class Uninitialized:
    """A tensor without a shape, and so without elements, until `materialize(shape)`."""

    kind: Any  # what it is from then on

    def materialize(self: Any, shape: Any, device: Device = None, dtype: Dtype = None) -> None:
        """Memory for a shape, without values."""
        self.data = empty(shape, device=device or self.device, dtype=dtype or self.dtype)
        self.__class__ = self.kind

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(Uninitialized, Parameter):
    """An `Uninitialized` Parameter."""

    kind = Parameter

    def __init__(self, requires_grad: bool = True, device: Device = None, dtype: Dtype = None):
        super().__init__(empty(0, device=device, dtype=dtype), requires_grad)


class UninitializedBuffer(Uninitialized, Buffer):
    """An `Uninitialized` Buffer."""

    kind = Tensor

    def __init__(
        self,
        requires_grad: bool = False,
        device: Device = None,
        dtype: Dtype = None,
        persistent: bool = True,
    ):
        super().__init__(empty(0, device=device, dtype=dtype), persistent=persistent)
        self.requires_grad_(requires_grad)


def is_lazy(param: Any) -> bool:
    """Whether a tensor waits for its shape."""
    return isinstance(param, Uninitialized)
