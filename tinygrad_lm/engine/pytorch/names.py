"""What PyTorch prints as a tensor's `grad_fn`. Read when printing, never while computing."""

from __future__ import annotations

from ..core.graph import Node


def grad_fn_name(op: str) -> str:
    """PyTorch's way of naming: log_softmax -> LogSoftmaxBackward0."""
    return op if op[:1].isupper() else "".join(w.title() for w in op.split("_")) + "Backward0"


def _text(node: Node) -> str:
    return f"<{grad_fn_name(node.name)}>"


def _next_functions(node: Node) -> tuple:
    return tuple((p if isinstance(p, Node) else None, 0) for p in node.parents)


Node.__repr__ = _text  # type: ignore[method-assign, assignment]
Node.next_functions = property(_next_functions)  # type: ignore[attr-defined]
