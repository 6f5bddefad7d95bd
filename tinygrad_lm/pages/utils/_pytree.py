"""`torch.utils._pytree`: trees of lists, tuples and dicts, taken apart and put together. PyTorch
does not mean it for its users, and they use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..func.trees import Tree, filled, leaves, mapped


class TreeSpec:
    """A tree without its leaves."""

    def __init__(self, tree: Tree):
        self.tree, self.num_leaves = mapped(lambda _: None, tree), len(leaves(tree))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeSpec) and self.tree == other.tree

    __hash__ = object.__hash__

    def unflatten(self, leaves: Iterable) -> Tree:
        return tree_unflatten(leaves, self)

    def __repr__(self) -> str:
        return f"TreeSpec({self.tree!r})".replace("None", "*")


def tree_flatten(tree: Tree) -> tuple[list, TreeSpec]:
    """(leaves, the tree without them)."""
    return leaves(tree), TreeSpec(tree)


def tree_unflatten(leaves: Iterable, treespec: TreeSpec) -> Tree:
    """What `tree_flatten` was given, with these leaves."""
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise ValueError(
            f"[tree_unflatten] the tree has {treespec.num_leaves} leaves, got {len(given)}"
        )
    return filled(treespec.tree, given)


def tree_leaves(tree: Tree) -> list:
    return leaves(tree)


def tree_map(func: Callable, tree: Tree, *rests: Tree) -> Tree:
    """The same tree with func(leaf, those of the other trees in its place)."""
    others = [tree_flatten(rest) for rest in rests]
    if any(spec != TreeSpec(tree) for _, spec in others):
        raise ValueError("[tree_map] all trees must have the form of the first")
    return filled(tree, map(func, leaves(tree), *(found for found, _ in others)))


def tree_map_only(kinds: Any, func: Callable, tree: Tree) -> Tree:
    """`tree_map` for leaves of a type, or one of several types; the others stay."""
    return mapped(lambda leaf: func(leaf) if isinstance(leaf, kinds) else leaf, tree)
