"""What a script sees of the graph: `x.grad_fn`, the chain of its `next_functions`, and a hook for
when a leaf's gradient was added up. The nodes themselves are in `core/graph.py`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from ..arrays import owner_of, writes
from ..core.graph import Node
from ..core.tensor import Tensor
from .names import grad_fn_name


class GradFn:
    """A node under PyTorch's name for it, which is its class's name too."""

    def __init__(self, node: Node | Tensor):
        self.node = node

    def name(self) -> str:
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[GradFn | None, int], ...]:
        """Where the gradient goes on to, one pair per input; the number is always 0, because each
        of several outputs has a node of its own here."""
        parents = self.node.parents if isinstance(self.node, Node) else ()
        return tuple((None if p is None else shown(p), 0) for p in parents)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GradFn) and other.node is self.node

    def __hash__(self) -> int:
        return id(self.node)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


class AccumulateGrad(GradFn):
    """The end of the chain: what adds to the `.grad` of the leaf `variable`."""

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return "<AccumulateGrad>"

    @property
    def variable(self) -> Node | Tensor:
        return self.node


@cache
def _kind(name: str) -> type[GradFn]:
    return type(name, (GradFn,), {})


def shown(node: Node | Tensor) -> GradFn:
    """How PyTorch shows a node, or a leaf."""
    return _kind(grad_fn_name(node.name))(node) if isinstance(node, Node) else AccumulateGrad(node)


# ---------------------------------------------------------------- attributes, methods of Tensor


def retains_grad(self: Tensor) -> bool:
    """Whether `retain_grad` was asked of this tensor, which is no leaf."""
    hooks = self.node.hooks if self.node is not None else None
    return any(getattr(hook, "retains", None) == id(self) for hook in hooks or ())


def output_nr(self: Tensor) -> int:
    return 0


def version(self: Tensor) -> int:
    """0, and more after each write in place into this memory; PyTorch's counts the writes."""
    return writes.of.get(id(owner_of(self.array)), (None, 0))[1]


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable) -> SimpleNamespace:
    """Call hook(leaf) whenever a gradient was added to the `.grad` of this leaf. `.remove()` of
    what comes back takes the hook off again."""
    if not self.requires_grad or self.node is not None:
        raise RuntimeError(
            "[register_post_accumulate_grad_hook] the tensor must be a leaf that requires a "
            f"gradient, got {self.grad_fn or 'one that requires none'}; use register_hook"
        )
    own: Any = vars(self).get("accumulate")
    if own is None:
        leaf = weakref.ref(self)

        def own(g: Any) -> None:
            tensor: Any = leaf()
            type(tensor).accumulate(tensor, g)
            for each in own.hooks:
                each(tensor)

        own.hooks = []
        vars(self)["accumulate"] = own  # before the class's
    own.hooks = [*own.hooks, hook]

    def remove() -> None:
        own.hooks = [each for each in own.hooks if each is not hook]

    return SimpleNamespace(remove=remove)
