"""The graph of a computation and the walk back through it: what micrograd's `backward` is, for
arrays. It names no op, and needs no mathematics but adding.

A node keeps no value, only the pullbacks that turn its gradient into those of its parents. Nodes
are numbered at birth, and a parent is older than its children. So taking the newest of the nodes
reached, again and again, visits them in reverse topological order: no recursion, no sorting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from sys import getrefcount
from typing import Any, NoReturn

from ..arrays import LIBRARIES, Array, Gradient, as_array, check_unwritten, clock, fit, writes


class Node:
    """One recorded op: who its parents are, and how a gradient is pulled back to each of them.

    A parent is a Node, or a Tensor where the graph ends in a leaf, or None where no gradient is
    wanted. `pullbacks` is a tuple with one function per parent, or one function for all of them.
    `shape` and `dtype` are the value's, and so the gradient's. `create_graph`: the pullbacks, and
    those of all nodes before this one, are recorded ops themselves."""

    __slots__ = ("birth", "create_graph", "dtype", "hooks", "name", "parents", "pullbacks", "shape")

    def __init__(self, name: str, out: Array, parents: tuple, pullbacks: Any, create_graph=False):
        self.name, self.shape, self.dtype = name, out.shape, out.dtype
        self.parents, self.pullbacks, self.create_graph = parents, pullbacks, create_graph
        self.birth = next(clock)
        self.hooks: list[Callable] | None = None


def walk(roots: Iterable, retain_graph: bool = False, wanted: Any = None) -> dict[Any, Gradient]:
    """Carry gradients from the roots to the leaves, the newest node first.

    roots: pairs (node or leaf, gradient). Returned is the gradient of each leaf that was reached;
    with `wanted`, of those nodes and leaves only. The arrays are the caller's to keep."""
    arrived: dict[Any, Sum] = {}  # node or leaf -> what its children have sent so far
    newest: list[tuple[int, Node]] = []  # a heap of the nodes among them
    found: dict[Any, Gradient] = {}
    for root, g in roots:
        deliver(arrived, newest, root, g)
    while newest:
        node = heappop(newest)[1]  # all its children are newer: they have sent what they have
        g = arrived.pop(node).total()
        if node.hooks:
            g = hooked(node, g)
        if wanted is not None and node in wanted:
            found[node] = g.copy() if type(g) in LIBRARIES else g
        for parent, contribution in zip(node.parents, pull(node, g)):
            deliver(arrived, newest, parent, contribution)
        if not retain_graph:
            node.pullbacks = spent
    g = contribution = None  # a name that still holds an array would make `own` copy it
    for leaf, sum_at_leaf in arrived.items():
        if wanted is None or leaf in wanted:
            found[leaf] = sum_at_leaf.own(leaf)
    return found


def deliver(arrived: dict[Any, Sum], newest: list, target: Any, g: Gradient) -> None:
    """One contribution to a node or a leaf."""
    if target is None or g is None:
        return
    if target not in arrived:
        arrived[target] = Sum(target)
        if type(target) is Node:
            heappush(newest, (-target.birth, target))
    arrived[target].add(g)


def pull(node: Node, g: Gradient) -> Sequence[Gradient]:
    """The gradients of node's parents, one each."""
    if node.birth < writes.last:
        check_unwritten(node.pullbacks, node.birth, node)
    if type(g) not in LIBRARIES and not node.create_graph:
        g = g.array  # a child's pullbacks took Tensors, those of this node take arrays
    pullbacks = node.pullbacks
    if type(pullbacks) is tuple:
        return [None if p is None else p(g) for p in pullbacks]
    found = pullbacks(g)
    found = found if isinstance(found, (tuple, list)) else (found,)
    if len(found) != len(node.parents):
        raise RuntimeError(
            f"[{node.name}] a pullback must return one gradient per input: "
            f"{len(node.parents)} inputs, {len(found)} gradients"
        )
    return found


def hooked(target: Any, g: Gradient) -> Any:
    """g after the hooks of a node or a leaf have seen it, and perhaps replaced it."""
    for hook in target.hooks:
        replaced = hook(g)
        g = g if replaced is None else replaced
    return g


def spent(g: Gradient) -> NoReturn:
    """Takes the place of the pullbacks of a node that was walked, which frees what they kept."""
    raise RuntimeError(
        "[backward] the graph must not have been freed: this part of it was already walked, and "
        "what it kept is gone; pass retain_graph=True to the earlier backward to walk it twice"
    )


class Sparse:
    """A gradient that is zero outside a region; `sparse.py` has the class that is used."""

    shape: tuple
    add_to: Callable[[Array], None]  # adds it, in place, to a whole array
    total_of: Callable[[list], Array]  # the whole array that a list of such adds up to


class Sum:
    """What has arrived at a node or a leaf so far.

    The first contribution is only borrowed: `add` hands one g to both its parents, and a pullback
    may return what it keeps. So nothing is added in place into an array that others hold."""

    __slots__ = ("like", "parts", "value")

    def __init__(self, target: Any):
        self.like = target if type(target) is Node else target.array
        self.value: Gradient = None
        self.parts: list[Sparse] = []  # collected until a dense one comes

    def add(self, g: Gradient) -> None:
        if isinstance(g, Sparse) and g.shape == self.like.shape:
            self.add_sparse(g)
            return
        if type(g) not in LIBRARIES or g.shape != self.like.shape or g.dtype is not self.like.dtype:
            g = fit(g, self.like)
        if self.parts:
            self.total()
        if self.value is None:
            self.value = g
        elif type(g) not in LIBRARIES or type(self.value) not in LIBRARIES:
            self.value = self.value + g  # a Tensor, which may be recorded: never changed in place
        elif self.is_ours():
            self.value += g
        else:
            self.value = as_array(self.value + g)

    def add_sparse(self, g: Sparse) -> None:
        if self.value is None:
            self.parts.append(g)
        elif type(self.value) in LIBRARIES:
            self.make_ours()
            g.add_to(self.value)
        else:
            self.value = self.value + g.total_of([g])

    def is_ours(self) -> bool:
        """Whether nobody else holds the array, as a view of it would (two references are this slot
        and the call itself), and it is no view of another array."""
        return getrefcount(self.value) == 2 and self.value.base is None

    def make_ours(self) -> None:
        if type(self.value) in LIBRARIES and not self.is_ours():
            self.value = self.value.copy()

    def total(self) -> Gradient:
        """The sum as one array; None if nothing has arrived."""
        if self.parts:
            self.value, self.parts = self.parts[0].total_of(self.parts), []
        return self.value

    def own(self, leaf: Any) -> Gradient:
        """The total after the leaf's hooks, in memory that nobody else looks at."""
        self.total()
        if leaf.hooks:
            self.value = hooked(leaf, self.value)
        self.make_ours()
        return self.value
