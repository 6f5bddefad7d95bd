"""`autograd.Function`: a user's own op in PyTorch's form, forward and backward as static methods on
Tensors. `@primitive` is the shorter way; this one is for code that exists already."""

from __future__ import annotations

from typing import Any

import numpy

from ..arrays import library
from ..core.graph import Node
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from .grad_mode import no_grad


class Context:
    """What forward leaves for backward."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple = ()
        self.constant: tuple = ()
        self.materialize_grads = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs of forward get no gradient; backward is given zeros for them."""
        self.constant = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        raise NotImplementedError(
            "[mark_dirty] forward must leave its arguments as they are; write into a clone()"
        )

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward is given zeros, not None, for an output that was not used."""
        self.materialize_grads = value


def _check_shape(name: str, wanted: tuple, found: tuple) -> None:
    """A gradient may have more than its argument's shape, where that was broadcast."""
    pairs = zip(wanted[::-1], found[::-1])
    if len(found) < len(wanted) or any(n not in (1, m) for n, m in pairs):
        raise RuntimeError(
            f"[{name}] a gradient must have the shape of its argument, {wanted}, got {found}"
        )


class Function:
    """Subclass it with static methods `forward(ctx, *args)`, which returns a Tensor or a tuple of
    them, and `backward(ctx, *gradients)`, which takes one gradient per output and returns one (or
    None) per argument; call `apply`. With `setup_context(ctx, inputs, output)` beside it, forward
    takes the arguments only."""

    setup_context: Any = None

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("[Function] forward must be defined as a static method")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("[Function] backward must be defined as a static method")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        tracked = [isinstance(x, Tensor) and x.requires_grad for x in args]
        ctx = Context(tuple(tracked))
        with no_grad():
            if cls.setup_context is None:
                out = cls.forward(ctx, *args)
            else:
                out = cls.forward(*args)
                cls.setup_context(ctx, args, out)
        found = out if isinstance(out, tuple) else (out,)
        if not any(isinstance(x, Tensor) for x in found):
            raise TypeError(
                f"[{cls.__name__}] forward must return a Tensor or a tuple of them, "
                f"got {type(out).__name__}"
            )
        outs = tuple(_fresh(x, args) for x in found)
        if mode.recording and any(tracked):
            wanted = [
                isinstance(x, Tensor)
                and x.is_floating_point()
                and all(x is not c for c in ctx.constant)
                for x in found
            ]
            _record(cls, ctx, args, tracked, found, outs, wanted)
        return outs if isinstance(out, tuple) else outs[0]


def _fresh(x: Any, args: tuple) -> Any:
    """What forward returned, outside the graph; in memory of its own if it is an argument."""
    if not isinstance(x, Tensor):
        return x
    return wrap(x.array.copy() if any(x is given for given in args) else x.array)


def _record(
    cls: type[Function],
    ctx: Context,
    args: tuple,
    tracked: list,
    found: tuple,
    outs: tuple,
    wanted: list,
) -> None:
    """Give the outputs their nodes. Of several each has one, which hands its gradient to the node
    of the function: what flows between them says which outputs were reached."""
    name, saved = f"{cls.__name__}Backward", ctx.saved_tensors
    parents = tuple((x.node or x) if t else None for x, t in zip(args, tracked, strict=True))
    again = mode.create_graph is not None
    again = again and all(p.create_graph for p in parents if type(p) is Node)
    if again:  # what forward saved of its results is part of the graph
        saved = tuple(next((o for o, f in zip(outs, found) if f is x), x) for x in saved)

    def pullback(*gradients: Any) -> tuple:
        ctx.saved_tensors = saved  # by name, for the walk looks at what a closure holds
        given = [g if g is None or isinstance(g, Tensor) else wrap(g) for g in gradients]
        slopes = cls.backward(ctx, *given)
        slopes = slopes if isinstance(slopes, tuple) else (slopes,)
        while len(slopes) > len(args) and slopes[-1] is None:  # PyTorch forgives these
            slopes = slopes[:-1]
        if len(slopes) != len(args):
            raise RuntimeError(
                f"[{cls.__name__}] backward must return one gradient per argument of forward: "
                f"{len(args)} arguments, {len(slopes)} gradients"
            )
        for x, gradient in zip(args, slopes, strict=True):
            if gradient is not None and isinstance(x, Tensor):
                _check_shape(cls.__name__, tuple(x.shape), tuple(gradient.shape))
        if again and any(isinstance(g, Tensor) for g in gradients):
            return slopes
        # a copy, because what the user returns may be kept elsewhere
        return tuple(None if x is None else x.array.copy() for x in slopes)

    if len(outs) == 1:
        nodes = [Node(name, outs[0].array, parents, pullback, again)]
    else:
        likes = [
            (library(x.array), x.array.shape, x.array.dtype) if isinstance(x, Tensor) else None
            for x in outs
        ]
        nodes = _nodes(name, parents, pullback, likes, ctx.materialize_grads)
        for node in (nodes[0].parents[0], *nodes):
            node.create_graph = again
    for x, node, own in zip(outs, nodes, wanted, strict=True):
        if own:
            x.node, x.needs_grad = node, True


def _nodes(name: str, parents: tuple, pullback: Any, likes: list, zeros: bool) -> list[Node]:
    """One node for each output, all of them children of the function's. likes: (library, shape,
    dtype) of each, None for one that is no Tensor."""
    arrived: list = [None] * len(likes)

    def together(reached: Any) -> tuple:
        gradients = []
        for i, like in enumerate(likes):
            g, arrived[i] = arrived[i] if reached[i] else None, None
            if g is None and zeros and like is not None:
                g = like[0].zeros(*like[1:])
            gradients.append(g)
        return pullback(*gradients)

    def arrive(i: int, g: Any) -> Any:
        arrived[i] = g
        return numpy.arange(len(likes)) == i

    whole = numpy.zeros(len(likes), bool)
    joint = Node(name, whole, parents, together)
    made = []
    for i, like in enumerate(likes):
        node = Node(name, whole, (joint,), lambda g, i=i: (arrive(i, g),))
        if like is not None:
            node.shape, node.dtype = like[1:]
        made.append(node)
    return made
