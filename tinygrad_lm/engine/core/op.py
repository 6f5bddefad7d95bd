"""How an op is declared, called and recorded. An op is a plain function of arrays that returns its
value and its pullbacks; the ops themselves are in `ops/`.

`@primitive` makes an op of a function, `@fused` of a composition of other ops, and `@kernel` (in
`arrays/dispatch.py`) adds a faster way for one array type. The tests go through the table OPS."""

from __future__ import annotations

import types
from collections.abc import Callable
from inspect import signature
from typing import Any, ParamSpec, overload

from ..arrays.dispatch import is_ours, keep_wanted, kernels_on
from ..arrays.dtypes import narrow, promote, result_type
from ..arrays.inputs import explained, plain
from ..arrays.libraries import LIBRARIES, as_array
from ..arrays.process import can_enter, quietly
from .graph import Node
from .recording import mode
from .tensor import Tensor, wrap

OPS: dict[str, Op] = {}
P = ParamSpec("P")  # what an op takes, for type checkers


class Op:
    """A callable over Tensors, arrays and numbers: arrays by position, the rest by keyword. `arity`
    counts the arrays; `ours`: it calls no user's function; `cast`, `view`: see `primitive`; `wide`:
    16-bit floats are computed in float32."""

    __slots__ = "name function cast view fused kernels arity ours wide __dict__ __weakref__".split()

    def __init__(self, function: Callable, cast: str | None, view: bool, fused: bool):
        self.name = function.__name__.strip("_")
        self.function, self.cast, self.view, self.fused = function, cast, view, fused
        self.kernels: dict[type, list[Callable]] = {}  # array type -> functions, tried in turn
        self.ours, self.wide = is_ours(function), fused or cast in ("wide", "float")
        parameters = signature(function).parameters.values()
        self.arity = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self.__doc__, self.__name__ = function.__doc__, self.name
        self.__module__, self.__wrapped__ = function.__module__, function

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:  # so that an op can be a method
        return self if instance is None else types.MethodType(self, instance)

    def call(self, *inputs: Any, **settings: Any) -> Tensor:
        """Compute with the arrays of the inputs; where one wants a gradient, record a node."""
        if settings and (not inputs or "other" in settings):  # PyTorch's names of the inputs
            inputs += tuple([settings.pop(n) for n in ("input", "other") if n in settings])
        if mode.autocast is not None:
            inputs = mode.autocast(self.name, inputs)
        ways = self.ways(inputs)
        if not ways:
            return self.compose(*inputs, **settings)
        if self.fused:
            inputs += (None,) * (self.arity - len(inputs))
        arrays, parents = self.read(inputs)
        if parents is not None and mode.create_graph is not None:
            return mode.create_graph(self, inputs, settings, parents)
        found = self.first_answer(ways, arrays, settings)
        if found is NotImplemented:  # these inputs are too unusual for every kernel
            return self.compose(*inputs, **settings)
        return self.result(found, parents, inputs)

    __call__ = call

    def ways(self, inputs: tuple) -> tuple:
        """What can compute this: kernels for the first Tensor's array type, then the op's own
        function, unless that is to be recorded in several steps: `compose`."""
        own = () if self.fused or (self.wide and narrow(inputs)) else (self.function,)
        if self.kernels and kernels_on() and mode.create_graph is None:
            for x in inputs:
                if isinstance(x, Tensor):
                    return (*self.kernels.get(type(x.array), ()), *own)
        return own

    def read(self, inputs: tuple) -> tuple[list, list | None]:
        """What to compute with: arrays, numbers and None. And per input where its gradient goes: to
        a node, a leaf or nowhere (None); or None for all, if no gradient is wanted."""
        arrays, parents, recording, wanted = [], [], mode.recording, False
        for x in inputs:
            parent = None
            if isinstance(x, Tensor):
                if recording and x.requires_grad:
                    parent, wanted = x.node or x, True
                x = x.array
            else:
                x = plain(self.name, x)
            arrays.append(x)
            parents.append(parent)
        if self.cast is not None:
            promote(self.name, arrays, self.cast == "float")  # the walk casts gradients back
        return arrays, parents if wanted else None

    def first_answer(self, ways: tuple, arrays: list, settings: dict) -> Any:
        """(value, pullbacks) of the first way that takes these inputs, or NotImplemented. As in
        PyTorch there are no floating-point warnings. A user's function sees the context variables
        of its caller; ours need none and run in a quiet context, which is faster to enter."""
        run = mode.quiet.run if self.ours and can_enter(mode.quiet) else quietly
        try:
            for way in ways:
                found = run(way, *arrays, **settings)
                if found is not NotImplemented:
                    return found
            return NotImplemented
        except (ValueError, TypeError, IndexError, MemoryError) as error:
            raise explained(self.name, error, arrays, settings) from error

    def result(self, found: Any, parents: list | None, inputs: tuple) -> Tensor:
        """The Tensor of (value, pullbacks), with a node if there are parents."""
        if type(found) is not tuple or len(found) != 2:
            raise TypeError(f"[{self.name}] must return (value, pullbacks), got {found!r:.60}")
        out, pullbacks = as_array(found[0]), found[1]
        result = wrap(out)
        if parents is not None and pullbacks is not None:
            pullbacks = keep_wanted(self.name, pullbacks, parents)
            result.node = Node(self.name, out, tuple(parents), pullbacks)
            result.needs_grad = True
        if self.view and out.base is not None and isinstance(inputs[0], Tensor):
            result.look_into(inputs[0])
        return result

    def compose(self, *inputs: Any, **settings: Any) -> Tensor:
        """On Tensors: a fused op by its composition, and 16-bit floats in float32, so that value
        and gradients are rounded once. The last node is named after the op."""
        given: list[Any] = [x if isinstance(x, Tensor) else plain(self.name, x) for x in inputs]
        given = [wrap(x) if type(x) in LIBRARIES else x for x in given]
        low = self.wide and narrow(given)
        kind = result_type(*[getattr(x, "array", x) for x in given]) if low else None
        if not (self.fused or kind):  # a user's op, which may not leave its work to others
            return self.result(NotImplemented, None, ())
        before, mode.autocast = mode.autocast, None  # it has seen the op itself
        try:
            wide = [x.float() if narrow([x]) else x for x in given] if kind else given
            out = (self.function if self.fused else self.call)(*wide, **settings)
            if kind is not None and kind.itemsize == 2:
                out = out.to(kind)
        finally:
            mode.autocast = before
        if out.node is not None and all(out.node is not getattr(x, "node", None) for x in given):
            out.node.name = self.name
        return out


@overload
def primitive(function: Callable[P, Any]) -> Callable[P, Tensor]: ...


@overload
def primitive(
    *, cast: str | None = None, view: bool = False
) -> Callable[[Callable[P, Any]], Callable[P, Tensor]]: ...


def primitive(
    function: Callable | None = None, *, cast: str | None = None, view: bool = False
) -> Any:
    """Declare an op: a function of arrays that returns (value, pullbacks).

        @primitive
        def cube(x):
            return x**3, (lambda g: g * 3 * x**2,)

    `pullbacks` is a tuple with one function g -> dx per array input (None where there is no
    gradient), or one function g -> (dx, dy, ...) for all, or None if no input has a gradient. dx
    may have the broadcast shape of g; the walk sums it. Metadata comes by keyword. `cast="same"`
    promotes mixed dtypes as PyTorch does, "wide" also computes 16-bit floats in float32, "float"
    also lifts integers to the default float. `view=True`: the value may share memory with the first
    input. `gradcheck(cube, [x])` checks."""
    if function is None:
        return lambda f: enter(Op(f, cast, view, fused=False))
    return enter(Op(function, cast, view, fused=False))


def fused(function: Callable[P, Any]) -> Callable[P, Tensor]:
    """Declare an op as a composition of other ops. The composition is its definition; kernels may
    do the same thing faster."""
    return enter(Op(function, None, False, fused=True))


def enter(op: Op) -> Op:
    """The ops in `ops/` go into the table OPS; a user's own do not."""
    if (op.__module__ or "").startswith(__name__.rpartition(".core")[0] + ".ops"):
        if op.name in OPS:
            raise RuntimeError(f"[op] an op's name must be new, {op.name!r} is taken")
        OPS[op.name] = op
    return op
