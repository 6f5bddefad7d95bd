"""Nested tuples, lists and dicts, as functions take and return them: what is in them, and the same
nest with other things in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
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
        items = {name: changed(x, change) for name, x in tree.items()}
        return OrderedDict(items) if isinstance(tree, OrderedDict) else items
    if isinstance(tree, (tuple, list)):
        found = [changed(x, change) for x in tree]
        return type(tree)(*found) if hasattr(tree, "_fields") else type(tree)(found)
    return change(tree)


def filled(tree: Any, values: Iterable) -> Any:
    """The same nest with these leaves."""
    rest = iter(values)
    return changed(tree, lambda _: next(rest))
