"""What makes methods of functions: Python's operators, the methods that end in an underscore, and
attributes. `methods.py` uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..core.tensor import Tensor
from ..inplace import IN_PLACE_UFUNCS, in_place
from ..ops.elementwise import add, sub
from .common import Operand

P = ParamSpec("P")
Value = TypeVar("Value")
Operator = Callable[[Tensor, Operand], Tensor]
Comparison = Callable[[Tensor, Any], Tensor]

USUAL = (Tensor, float, int)


def _fits(other: Any) -> bool:
    return not isinstance(other, (str, list, tuple, dict, type(None), type))


def forward(op: Callable[..., Tensor]) -> Operator:
    """x + other. The attribute `operator` tells the form in C what it does, here and below."""

    def method(self: Tensor, other: Any) -> Any:
        return op(self, other) if isinstance(other, USUAL) or _fits(other) else NotImplemented

    method.operator = (op, False)  # type: ignore[attr-defined]
    return method


def reflected(op: Callable[..., Tensor]) -> Operator:
    """other + x, where other cannot add x itself."""

    def method(self: Tensor, other: Any) -> Any:
        return op(other, self) if isinstance(other, USUAL) or _fits(other) else NotImplemented

    method.operator = (op, True)  # type: ignore[attr-defined]
    return method


def comparison(op: Callable[..., Tensor]) -> Comparison:
    """x < other."""
    return forward(op)


def written(op: Callable[..., Tensor]) -> Operator:
    """x += other."""

    def method(self: Tensor, other: Any) -> Tensor:
        return in_place(self, op, other)

    if op.__name__ in IN_PLACE_UFUNCS:
        method.operator = (IN_PLACE_UFUNCS[op.__name__], False)  # type: ignore[attr-defined]
    return method


def writer(
    op: Callable[Concatenate[Tensor, P], Tensor],
) -> Callable[Concatenate[Tensor, P], Tensor]:
    """x.exp_() is x = exp(x) in x's own memory, and likewise for the rest."""

    def method(self: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        return in_place(self, op, *args, **kwargs)

    return method


def add_(self: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    return in_place(self, add, other if alpha == 1 else other * alpha)


def sub_(self: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    return in_place(self, sub, other if alpha == 1 else other * alpha)


def attribute(
    read: Callable[[Tensor], Value], write: Callable[[Tensor, Value], None] | None = None
) -> Value:
    """A property, which type checkers see as a plain attribute of the value's type."""
    return property(read, write)  # type: ignore[return-value]
