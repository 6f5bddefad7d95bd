"""The door to second derivatives: ops over Tensors. Inside `higher_order()` a node keeps the inputs
of its op beside its pullbacks. When its gradient is to be differentiated again, the op's own
function runs on these Tensors, so that its pullbacks are recorded ops too; `library(x)` of a Tensor
then answers with NumPy's names over ops.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ..arrays import LIBRARIES, check_unwritten, clock, keep_wanted, kept_arrays
from ..arrays.dispatch import kernels_on
from ..core.graph import Node
from ..core.op import Op
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from . import (
    elementwise,
    exponentials,
    index,
    linear,
    quotients,
    reduce,
    running,
    shape,
    trigonometry,
)


def record(op: Op, inputs: tuple, settings: dict, parents: list) -> Tensor:
    """op(*inputs) with a node whose pullbacks can be differentiated: see `mode.create_graph`."""
    arrays, _ = op.read(inputs)
    faster = op.kernels.get(type(arrays[0]), ()) if kernels_on() else ()
    found = op.first_answer((*faster, op.function), arrays, settings)
    result = op.result(found, parents, inputs)
    node = result.node
    if node is not None:
        node.create_graph = all(p.create_graph for p in parents if type(p) is Node)
        forward = Forward(op, inputs, settings, node)
        node.pullbacks = _to_any_order(node.pullbacks, forward)
    return result


class Forward:
    """A call of an op that can be repeated on Tensors. The check of what a node keeps does not look
    in here: an input may be written where no second derivative is asked for, or where the pullbacks
    keep no array, as those of `reshape`: then its values do not count."""

    __slots__ = ("arrays", "inputs", "op", "parents", "settings", "time")

    def __init__(self, op: Op, inputs: tuple, settings: dict, node: Node):
        self.op, self.inputs, self.settings, self.parents = op, inputs, settings, node.parents
        pullbacks = node.pullbacks if type(node.pullbacks) is tuple else (node.pullbacks,)
        values_count = any(True for p in pullbacks for _ in kept_arrays(p))
        self.arrays = [getattr(x, "array", None) if values_count else None for x in inputs]
        self.time = next(clock)

    def pullbacks(self) -> Any:
        """As the op's function makes them, of recorded ops."""
        name, inputs = self.op.name, self.inputs
        check_unwritten((lambda kept=self.arrays: kept,), self.time, self.op)
        if any(a is not None and x.array is not a for x, a in zip(inputs, self.arrays)):
            raise RuntimeError(
                f"[create_graph] the inputs of {name} must stay what they are until the gradient "
                "is computed, but the .data of one was replaced; replace it afterwards"
            )
        try:
            _, found = self.op.function(*inputs, **self.settings)
        except Exception as error:
            raise NotImplementedError(
                f"[{name}] has no second derivative; compute it from detach(), or leave "
                "create_graph=True"
            ) from error
        return keep_wanted(name, found, self.parents)


def _to_any_order(pullbacks: Any, forward: Forward) -> Any:
    """The pullbacks for a g that is an array; of recorded ops for a g whose walk is recorded."""

    def pull(g: Any, ours: Any = pullbacks) -> Any:  # by default: the check looks at what it keeps
        if isinstance(g, Tensor):
            if mode.recording:
                ours = forward.pullbacks()
            else:
                g = g.array
        return [p and p(g) for p in ours] if type(ours) is tuple else ours(g)

    return pull


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
    fmod=quotients.fmod,
    trunc=lambda x: elementwise.mul(elementwise.sign(x), elementwise.floor(elementwise.abs(x))),
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
