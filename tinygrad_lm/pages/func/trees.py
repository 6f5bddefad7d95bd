"""Trees: lists, tuples and dicts, one in another, with Tensors as leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Tree = Any


def mapped(f: Callable, tree: Tree) -> Tree:
    """The same tree with f(leaf) for each leaf."""
    if isinstance(tree, Mapping):
        return type(tree)((key, mapped(f, x)) for key, x in tree.items())  # type: ignore[call-arg]
    if isinstance(tree, (list, tuple)):
        several = [mapped(f, x) for x in tree]
        return type(tree)(*several) if hasattr(tree, "_fields") else type(tree)(several)
    return f(tree)


def leaves(tree: Tree) -> list:
    found: list = []
    mapped(found.append, tree)
    return found


def filled(tree: Tree, values: Any) -> Tree:
    """The same tree with these leaves."""
    rest = iter(values)
    return mapped(lambda _: next(rest), tree)
