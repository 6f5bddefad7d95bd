"""`autograd.Function`: a user's own op in PyTorch's form, forward and backward as static methods on
Tensors. `@primitive` is the shorter way; this one is for code that exists already."""

from __future__ import annotations

from typing import Any

from ..core.graph import Node
from ..core.recording import mode
from ..core.tensor import Tensor, wrap
from .grad_mode import no_grad


class Context:
    """What forward leaves for backward."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Accepted for PyTorch's sake: one output is supported, and it is differentiable."""


def _check_shape(name: str, wanted: tuple, found: tuple) -> None:
    """A gradient may have more than its argument's shape, where that was broadcast."""
    pairs = zip(wanted[::-1], found[::-1])
    if len(found) < len(wanted) or any(n not in (1, m) for n, m in pairs):
        raise RuntimeError(
            f"[{name}] a gradient must have the shape of its argument, {wanted}, got {found}"
        )


class Function:
    """Subclass it with static methods `forward(ctx, *args)`, which returns one Tensor, and
    `backward(ctx, gradient)`, which returns one gradient (or None) per argument; call `apply`.
    With `setup_context(ctx, inputs, output)` beside it, forward takes the arguments only."""

    setup_context: Any = None

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        raise NotImplementedError("[Function] forward must be defined as a static method")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("[Function] backward must be defined as a static method")

    @classmethod
    def apply(cls, *args: Any) -> Tensor:
        tracked = [isinstance(x, Tensor) and x.requires_grad for x in args]
        ctx = Context(tuple(tracked))
        with no_grad():
            if cls.setup_context is None:
                out = cls.forward(ctx, *args)
            else:
                out = cls.forward(*args)
                cls.setup_context(ctx, args, out)
        if not isinstance(out, Tensor):
            raise TypeError(
                f"[{cls.__name__}] forward must return one Tensor, got {type(out).__name__}"
            )
        out = wrap(out.array.copy() if any(out is x for x in args) else out.array)
        if not (mode.recording and any(tracked)):
            return out

        saved = ctx.saved_tensors

        def pullback(g: Any) -> tuple:
            ctx.saved_tensors = saved  # by name, for the walk looks at what a closure holds
            found = cls.backward(ctx, g if isinstance(g, Tensor) else wrap(g))
            found = found if isinstance(found, tuple) else (found,)
            if len(found) != len(args):
                raise RuntimeError(
                    f"[{cls.__name__}] backward must return one gradient per argument of forward: "
                    f"{len(args)} arguments, {len(found)} gradients"
                )
            for x, gradient in zip(args, found, strict=True):
                if gradient is not None and isinstance(x, Tensor):
                    _check_shape(cls.__name__, tuple(x.shape), tuple(gradient.shape))
            # a copy, because what the user returns may be kept elsewhere
            return tuple(None if x is None else x.array.copy() for x in found)

        parents = tuple((x.node or x) if t else None for x, t in zip(args, tracked, strict=True))
        out.node = Node(f"{cls.__name__}Backward", out.array, parents, pullback)
        out.needs_grad = True
        return out
