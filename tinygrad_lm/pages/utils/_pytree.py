"""`torch.utils._pytree`: trees of lists, tuples and dicts, taken apart and put together. PyTorch
does not mean it for its users, and they use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ...engine.arrays import changed, filled, leaves


class TreeSpec:
    """A tree without its leaves."""

    def __init__(self, tree: Any):
        self.tree, self.num_leaves = changed(tree, lambda _: None), len(list(leaves(tree)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeSpec) and self.tree == other.tree

    __hash__ = object.__hash__

    def unflatten(self, leaves: Iterable) -> Any:
        return tree_unflatten(leaves, self)

    def __repr__(self) -> str:
        return f"TreeSpec({self.tree!r})".replace("None", "*")


def tree_flatten(tree: Any) -> tuple[list, TreeSpec]:
    """(leaves, the tree without them)."""
    return list(leaves(tree)), TreeSpec(tree)


def tree_unflatten(leaves: Iterable, treespec: TreeSpec) -> Any:
    """What `tree_flatten` was given, with these leaves."""
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise ValueError(
            f"[tree_unflatten] the tree has {treespec.num_leaves} leaves, got {len(given)}"
        )
    return filled(treespec.tree, given)


def tree_leaves(tree: Any) -> list:
    return list(leaves(tree))


def tree_map(func: Callable, tree: Any, *rests: Any) -> Any:
    """The same tree with func(leaf, those of the other trees in its place)."""
    others = [tree_flatten(rest) for rest in rests]
    if any(spec != TreeSpec(tree) for _, spec in others):
        raise ValueError("[tree_map] all trees must have the form of the first")
    return filled(tree, map(func, leaves(tree), *(found for found, _ in others)))


def tree_map_only(kinds: Any, func: Callable, tree: Any) -> Any:
    """`tree_map` for leaves of a type, or one of several types; the others stay."""
    return changed(tree, lambda leaf: func(leaf) if isinstance(leaf, kinds) else leaf)
