"""`autograd.Function`: a user's own op in PyTorch's form, forward and backward as static methods on
Tensors. `@primitive` is the shorter way; this one is for code that exists already."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import numpy

from ..arrays import library
from ..core.graph import Node
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from ..inplace import check_leaf, give_history
from .grad_mode import no_grad


class FunctionCtx:
    """What forward leaves for backward."""

    def __init__(self, name: str, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple = ()
        self.constant: tuple = ()
        self.dirty: tuple = ()
        self.materialize_grads = True
        self._name = name

    def name(self) -> str:
        return self._name

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        for x in tensors:
            if x is not None and not isinstance(x, Tensor):
                raise TypeError(
                    "[save_for_backward] only Tensors and None can be saved, got "
                    f"{type(x).__name__}; assign it: ctx.name = ..."
                )
        self.saved_tensors = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        raise NotImplementedError(
            "[save_for_forward] gradients go backward alone, there is no `jvp` of a Function; "
            "leave out this line"
        )

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs of forward get no gradient; backward is given zeros for them."""
        self.constant = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Forward has written into these arguments, and returns them."""
        self.dirty = tensors

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


class Function(FunctionCtx):
    """Subclass it with static methods `forward(ctx, *args)`, which returns a Tensor or a tuple of
    them, and `backward(ctx, *gradients)`, which takes one gradient per output and returns one (or
    None) per argument; call `apply`. With `setup_context(ctx, inputs, output)` beside it, forward
    takes the arguments only."""

    setup_context: Any = None

    def __init__(self, *args: Any, **settings: Any) -> None:
        pass  # an object keeps nothing; `apply` is called on it as on the class

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("[Function] forward must be defined as a static method")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("[Function] backward must be defined as a static method")

    @classmethod
    def apply(cls, *args: Any, **settings: Any) -> Any:
        if cls.setup_context is not None:
            bound = inspect.signature(cls.forward).bind(*args, **settings)
            bound.apply_defaults()
            args, settings = bound.args, bound.kwargs
        tracked = [isinstance(x, Tensor) and x.requires_grad for x in args]
        ctx = FunctionCtx(f"{cls.__name__}Backward", tuple(tracked))
        with no_grad():
            if cls.setup_context is None:
                out = cls.forward(ctx, *args, **settings)
            else:
                out = cls.forward(*args, **settings)
                cls.setup_context(ctx, args, out)
        found = out if isinstance(out, tuple) else (out,)
        if not any(isinstance(x, Tensor) for x in found):
            return out
        for x in ctx.dirty:
            if not _among(x, found):
                raise RuntimeError(
                    f"[{cls.__name__}] forward must return what it has marked as dirty, got an "
                    f"argument of shape {tuple(x.shape)} that it does not; return it too"
                )
            check_leaf(x)
        outs = tuple(x if _among(x, ctx.dirty) else _fresh(x, args) for x in found)
        if mode.recording and any(tracked):
            _record(cls, ctx, args, tracked, found, outs)
        return outs if isinstance(out, tuple) else outs[0]


def _among(x: Any, others: tuple) -> bool:
    return any(x is other for other in others)


def _fresh(x: Any, args: tuple) -> Any:
    """What forward returned, outside the graph; in memory of its own if it is an argument."""
    if not isinstance(x, Tensor):
        return x
    return wrap(x.array.copy() if _among(x, args) else x.array)


def _record(
    cls: type[Function], ctx: FunctionCtx, args: tuple, tracked: list, found: tuple, outs: tuple
) -> None:
    """Give the outputs their nodes. Of several each has one, which hands its gradient to the node
    of the function: what flows between them says which outputs were reached."""
    name, saved = ctx.name(), ctx.saved_tensors
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
    for x, given, node in zip(outs, found, nodes, strict=True):
        if isinstance(x, Tensor):
            own = x.is_floating_point() and not _among(given, ctx.constant)
            if _among(x, ctx.dirty):
                give_history(x, node if own else None, True)
            elif own:
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


def once_differentiable(backward: Callable) -> Callable:
    """Declare that a Function's backward is no computation on Tensors that could be recorded: what
    it returns raises an error where it is differentiated again."""

    @functools.wraps(backward)
    def once(ctx: FunctionCtx, *gradients: Any) -> Any:
        with no_grad():
            out = backward(ctx, *gradients)
        if not mode.recording or not any(
            isinstance(g, Tensor) and g.requires_grad for g in gradients
        ):
            return out
        found = [_last(x) for x in (out if isinstance(out, tuple) else (out,))]
        return tuple(found) if isinstance(out, tuple) else found[0]

    return once


def _last(x: Any) -> Any:
    """A Tensor at which a walk ends with an error."""
    if isinstance(x, Tensor):
        x = wrap(x.array)
        x.node, x.needs_grad = Node("Error", x.array, (), _not_again, True), True
    return x


def _not_again(g: Any) -> NoReturn:
    raise RuntimeError(
        "[once_differentiable] the gradient of this Function must not be differentiated again; "
        "take @once_differentiable off its backward if that is made of recorded ops"
    )
