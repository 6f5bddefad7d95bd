"""The door to second derivatives: ops over Tensors. Inside `higher_order()` an op's own function
runs on Tensors, so that its pullbacks are recorded ops too; `library(x)` of a Tensor then answers
with NumPy's names over ops.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ..arrays import LIBRARIES, keep_wanted
from ..core.graph import Node
from ..core.op import Op
from ..core.tensor import Tensor, wrap
from . import elementwise, exponentials, index, linear, reduce, running, shape, trigonometry


class _Inside(threading.local):
    """The op whose function runs now, in the calling thread."""

    op: Op | None = None


_inside = _Inside()


def record(op: Op, inputs: tuple, settings: dict, parents: list) -> Tensor:
    """op(*inputs) with a node whose pullbacks can be differentiated: see `mode.create_graph`.

    The op's function runs on Tensors, and what it calls is recorded in the same way, to any order;
    but for the op itself, which computes there with arrays: that is the value the node is for."""
    if op is _inside.op:
        arrays, _ = op.read(inputs)
        return op.result(op.first_answer((op.function,), arrays, settings), None, inputs)
    before, _inside.op = _inside.op, op
    try:
        result, pullbacks = op.function(*inputs, **settings)
    except Exception as error:
        result, pullbacks = _without_gradient(op, inputs, settings, error), None
    finally:
        _inside.op = before
    if pullbacks is None:
        return result.detach()
    if result.node is not None or any(result is x for x in inputs):
        result = wrap(result.array)
    pullbacks = keep_wanted(op.name, pullbacks, parents)
    if type(pullbacks) is tuple:
        pullbacks = tuple([p and _of_tensors(p) for p in pullbacks])
    else:
        pullbacks = _of_tensors(pullbacks)
    all_can = all(p.create_graph for p in parents if type(p) is Node)
    result.node = Node(op.name, result.array, tuple(parents), pullbacks, all_can)
    result.needs_grad = True
    return result


def _without_gradient(op: Op, inputs: tuple, settings: dict, error: Exception) -> Tensor:
    """The op on arrays, after it failed on Tensors: what is counted or ordered needs no recording,
    and wrong input fails here too, in its own words."""
    arrays, _ = op.read(inputs)
    found = op.first_answer((op.function,), arrays, settings)
    if found[1] is not None:
        raise NotImplementedError(
            f"[{op.name}] has no second derivative; leave `higher_order` for this part"
        ) from error
    return op.result(found, None, inputs)


def _of_tensors(pullback: Callable) -> Callable:
    """In an ordinary walk g is an array."""
    return lambda g: pullback(g if isinstance(g, Tensor) else wrap(g))


# ---------------------------------------------------------------- NumPy's names over ops


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


def _moveaxis(x: Tensor, source: int, target: int) -> Tensor:
    order = [a for a in range(x.ndim) if a != source % x.ndim]
    order.insert(target % x.ndim, source % x.ndim)
    return shape.transpose(x, axes=tuple(order))


def _reducer(op: Any) -> Any:
    return lambda x, axis=None, keepdims=False: op(x, axis=axis, keepdims=keepdims)


_SAME = """exp expm1 log log2 log10 log1p sqrt sin cos tanh erf abs sign floor ceil isfinite isnan
isinf logical_not logical_and logical_or logical_xor"""
_ARC = "sin cos tan sinh cosh tanh".split()  # NumPy's arcsin is asin
Tensor.library = SimpleNamespace(
    **{name: getattr(elementwise, name) for name in _SAME.split()},
    **{name: getattr(trigonometry, name) for name in "tan sinh cosh hypot".split()},
    **{f"arc{name}": getattr(trigonometry, f"a{name}") for name in _ARC},
    arctan2=trigonometry.atan2,
    logaddexp=exponentials.logaddexp,
    erfc=exponentials.erfc,
    rint=elementwise.round,
    clip=lambda x, low, high: elementwise.clamp(x, min=low, max=high),
    asarray=lambda number, dtype: number,
    copy=lambda x, order="K": elementwise.clone(x),
    amax=_reducer(reduce.amax),
    amin=_reducer(reduce.amin),
    cumsum=lambda x, axis: reduce.cumsum(x, axis=axis),
    cumprod=lambda x, axis: running.cumprod(x, axis=axis),
    take=lambda x, ids, axis: index.take(x, indices=ids, axis=axis),
    take_along_axis=lambda x, ids, axis: reduce.take_along_axis(x, indices=ids, axis=axis),
    transpose=lambda x, axes: shape.transpose(x, axes=tuple(axes)),
    moveaxis=_moveaxis,
    tile=lambda x, counts: shape.tile(x, counts=counts),
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
