"""Nested tuples, lists and dicts, as functions take and return them: what is in them, and the same
nest with other things in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any) -> Iterator[Any]:
    """What is in nested tuples, lists and dicts."""
    if isinstance(tree, (tuple, list)):
        for x in tree:
            yield from leaves(x)
    elif isinstance(tree, dict):
        for x in tree.values():
            yield from leaves(x)
    else:
        yield tree


def changed(tree: Any, change: Callable) -> Any:
    """The same nest with each leaf changed."""
    if isinstance(tree, dict):
        return {name: changed(x, change) for name, x in tree.items()}
    if isinstance(tree, (tuple, list)):
        found = [changed(x, change) for x in tree]
        return type(tree)(*found) if hasattr(tree, "_fields") else type(tree)(found)
    return change(tree)
