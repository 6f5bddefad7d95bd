"""All ops, and the library that `library(x)` answers with when x is a Tensor: NumPy's names over
recorded ops, so that an op's own function runs on Tensors and its pullbacks can be recorded."""

from __future__ import annotations

from typing import Any

from ..backend import LIBRARIES, TENSOR_LIBRARY
from ..tensor import Tensor, wrap
from . import elementwise, fused, index, linear, moving, reduce, shape


def _like(make: str) -> Any:
    def function(x: Any, *rest: Any) -> Tensor:
        array = x.array
        return wrap(getattr(LIBRARIES[type(array)], make)(array, *rest))

    return function


def _where(condition: Any, x: Any, y: Any) -> Tensor:
    mask = condition.array if isinstance(condition, Tensor) else condition
    lib = LIBRARIES[type(mask)]
    x, y = (v if isinstance(v, Tensor) else wrap(lib.asarray(v, "float64")) for v in (x, y))
    return elementwise.where(x, y, condition=mask)


_UNARY = "exp expm1 log log2 log10 log1p sqrt sin cos tanh abs sign floor isfinite"
TENSOR_LIBRARY.__dict__.update(
    **{name: getattr(elementwise, name) for name in _UNARY.split()},
    where=_where,
    maximum=lambda x, y: elementwise.maximum(x, y if isinstance(y, Tensor) else x * 0 + y),
    minimum=lambda x, y: elementwise.minimum(x, y if isinstance(y, Tensor) else x * 0 + y),
    zeros_like=_like("zeros_like"),
    ones_like=_like("ones_like"),
    broadcast_to=lambda x, size: shape.broadcast_to(x, shape=tuple(size)),
    flip=lambda x, axis: shape.flip(x, axis=axis),
    roll=lambda x, shift, axis: shape.roll(x, shift=shift, axis=axis),
    tril=lambda x, diagonal: shape.tril(x, diagonal=diagonal),
    triu=lambda x, diagonal: shape.triu(x, diagonal=diagonal),
    repeat=lambda x, count, axis: shape.repeat(x, count=count, axis=axis),
    concatenate=lambda xs, axis: shape.concatenate(*xs, axis=axis),
    stack=lambda xs, axis: shape.stack(*xs, axis=axis),
    einsum=lambda equation, *xs: linear.einsum(*xs, equation=equation),
)

__all__ = ["elementwise", "fused", "index", "linear", "moving", "reduce", "shape"]
