"""Parameter: a Tensor that a Module owns and an optimiser updates; Buffer: one that a Module owns
and nobody trains. What is computed from them is a plain Tensor."""

from __future__ import annotations

from ..engine.core.tensor import Tensor, wrap


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
