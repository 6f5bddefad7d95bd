"""How an op is declared, called and recorded. An op is a plain function of arrays that returns its
value and its pullbacks; no particular one is known here.

`@primitive` enters a function in the table OPS that the tests walk; `@fused` enters a composition
of other ops; `@kernel` adds a faster way to an op for one array type.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from inspect import signature
from typing import Any, ParamSpec, overload

from ..arrays import LIBRARIES, as_array, explained, joint, kernels_on, plain, promote, quietly
from .graph import Node
from .recording import mode
from .tensor import Tensor, wrap

OPS: dict[str, Op] = {}
P = ParamSpec("P")  # what an op takes, for type checkers


class Op:
    """A callable over Tensors, arrays and numbers: arrays by position, the rest by keyword."""

    __slots__ = ("__dict__", "arity", "cast", "function", "fused", "kernels", "name", "view")

    def __init__(self, function: Callable, cast: str | None, view: bool, fused: bool):
        self.name = function.__name__.strip("_")
        self.function, self.cast, self.view, self.fused = function, cast, view, fused
        self.kernels: dict[type, list[Callable]] = {}  # array type -> functions, tried in turn
        parameters = signature(function).parameters.values()
        self.arity = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self.__doc__, self.__name__ = function.__doc__, self.name
        self.__module__, self.__wrapped__ = function.__module__, function

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def call(self, *inputs: Any, **settings: Any) -> Tensor:
        """Compute with the arrays of the inputs; where one wants a gradient, record a node."""
        if settings:  # PyTorch's names of the inputs
            inputs += tuple([settings.pop(n) for n in ("input", "other") if n in settings])
        if mode.autocast is not None:
            inputs = mode.autocast(self.name, inputs)
        ways = self.ways(inputs)
        if not ways:
            return self.compose(*inputs, **settings)
        if self.fused:
            inputs += (None,) * (self.arity - len(inputs))
        arrays, parents = self.read(inputs)
        wanted = len(parents) - parents.count(None)
        if wanted and mode.create_graph is not None:
            return mode.create_graph(self, inputs, settings, parents)
        found = quietly(self.first_answer, ways, arrays, settings)
        if found is NotImplemented:  # these inputs are too unusual for every kernel
            return self.compose(*inputs, **settings)
        return self.result(found, parents if wanted else None, inputs)

    __call__ = call

    def ways(self, inputs: tuple) -> tuple:
        """What can compute this: kernels for the first Tensor's array type, then the op's own
        function. Where that is a composition it stands apart, as it records nodes of its own."""
        own = () if self.fused else (self.function,)
        if self.kernels and kernels_on() and mode.create_graph is None:
            for x in inputs:
                if isinstance(x, Tensor):
                    return (*self.kernels.get(type(x.array), ()), *own)
        return own

    def read(self, inputs: tuple) -> tuple[list, list]:
        """What to compute with: arrays, numbers and None. And per input where its gradient goes: to
        a node, a leaf or nowhere (None)."""
        arrays, parents, recording = [], [], mode.recording
        for x in inputs:
            parent = None
            if isinstance(x, Tensor):
                if recording and x.requires_grad:
                    parent = x.node or x
                x = x.array
            elif x is not None:
                x = plain(self.name, x)
            arrays.append(x)
            parents.append(parent)
        if self.cast is not None:
            promote(self.name, arrays, self.cast == "float")  # the walk casts gradients back
        return arrays, parents

    def first_answer(self, ways: tuple, arrays: list, settings: dict) -> Any:
        """(value, pullbacks) of the first way that takes these inputs, or NotImplemented."""
        try:
            for way in ways:
                found = way(*arrays, **settings)
                if found is not NotImplemented:
                    return found
            return NotImplemented
        except (ValueError, TypeError, IndexError) as error:
            raise explained(self.name, error, arrays) from error

    def result(self, found: Any, parents: list | None, inputs: tuple) -> Tensor:
        """The Tensor of (value, pullbacks), with a node if there are parents."""
        if type(found) is not tuple or len(found) != 2:
            raise TypeError(f"[{self.name}] must return (value, pullbacks), got {found!r:.60}")
        out, pullbacks = as_array(found[0]), found[1]
        result = wrap(out)
        if parents is not None and pullbacks is not None:
            pullbacks = self.keep_wanted(pullbacks, parents)
            result.node = Node(self.name, out, tuple(parents), pullbacks)
            result.needs_grad = True
        if self.view and out.base is not None and isinstance(inputs[0], Tensor):
            result.look_into(inputs[0])
        return result

    def keep_wanted(self, pullbacks: Any, parents: list) -> Any:
        """Only the pullbacks of inputs that want a gradient: the others may keep nothing alive."""
        if isinstance(pullbacks, joint):
            function, wanted = pullbacks.function, tuple(p is not None for p in parents)
            return lambda g: function(g, wanted)
        if type(pullbacks) is not tuple:
            return pullbacks
        if len(pullbacks) != len(parents):
            counts = f"{len(pullbacks)} for {len(parents)}"
            raise TypeError(f"[{self.name}] each input must have a pullback or None, got {counts}")
        return tuple([None if p is None else f for p, f in zip(parents, pullbacks)])

    def compose(self, *inputs: Any, **settings: Any) -> Tensor:
        """A fused op by its composition; the last node of it carries the op's name."""
        operands = [as_operand(self.name, x) for x in inputs]
        out = self.function(*operands, **settings)
        if out.node is not None and not any(out.node is getattr(x, "node", None) for x in operands):
            out.node.name = self.name
        return out


def as_operand(name: str, x: Any) -> Any:
    """What a composition works on: a Tensor, a number, or None."""
    if x is None or isinstance(x, Tensor):
        return x
    x = plain(name, x)
    return wrap(x) if type(x) in LIBRARIES else x


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

    `pullbacks` is a tuple with one function g -> dx per array input (None where there is no
    gradient), or one function g -> (dx, dy, ...) for all. dx may have the broadcast shape of g;
    the walk sums it. Metadata comes by keyword. `cast="same"` promotes mixed dtypes as PyTorch
    does, `cast="float"` also lifts integers to the default float, `view=True` says that the value
    may share memory with the first input.

        @primitive
        def cube(x):
            return x**3, (lambda g: g * 3 * x**2,)

        cube(tensor([2.0], requires_grad=True))      # a Tensor; check it with gradcheck(cube, [x])
    """

    def declare(f: Callable) -> Op:
        return enter(Op(f, cast, view, fused=False))

    return declare if function is None else declare(function)


def fused(function: Callable[P, Any]) -> Callable[P, Tensor]:
    """Declare an op as a composition of other ops. The composition is its definition; kernels may
    do the same thing faster."""
    return enter(Op(function, None, False, fused=True))


def enter(op: Op) -> Op:
    """Ops of this engine go into the table; a user's own need not."""
    if (op.__module__ or "").startswith(__name__.rpartition(".core")[0] + ".ops"):
        if op.name in OPS:
            raise RuntimeError(f"[op] an op's name must be new, {op.name!r} is taken")
        OPS[op.name] = op
    return op
