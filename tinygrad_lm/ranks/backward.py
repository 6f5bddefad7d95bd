"""The walk back that tells when the gradient of a leaf is complete, while it goes on: what ranks
send each other then travels while the rest is computed. (`core/graph.py` has the walk that knows
it at the end only.)"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop
from typing import Any

from ..engine.arrays import Gradient
from ..engine.core import graph
from ..engine.core.graph import Node, Sum, deliver, hooked, pull, spent
from ..engine.core.recording import mode
from ..engine.pytorch.anomaly import Anomaly, checked_walk
from ..engine.pytorch.checkpointing import NAME as CHECKPOINT
from ..engine.several_gpus import staying


class Listener:
    """Somebody who wants to know of gradients: `arrived(leaf)` once a gradient was added to
    leaf.grad, `turn()` after each node, `finished()` at the end of a walk that reached a leaf.
    early: as soon as that can be known; else at the end, which takes less time."""

    leaves: set[Any]
    early = True

    def arrived(self, leaf: Any) -> None:
        raise NotImplementedError

    def turn(self) -> None:
        raise NotImplementedError

    def finished(self) -> None:
        raise NotImplementedError


listeners: list[Listener] = []
_walk: Callable = graph.walk


def listen(listener: Listener) -> None:
    """To the next walk that reaches one of its leaves."""
    global _walk
    # Anomaly mode calls the walk that was there before it, and puts that back at its end.
    place: Any = Anomaly if graph.walk is checked_walk else graph
    if place.walk is not telling_walk:  # the first time, or somebody else has replaced it since
        _walk, place.walk = place.walk, telling_walk
    if listener not in listeners:
        listeners.append(listener)


@staying
def telling_walk(
    roots: Iterable, retain_graph: bool = False, wanted: Any = None
) -> dict[Any, Gradient]:
    """`graph.walk`; gradients of leaves that are listened to are in their `.grad` when it ends."""
    if not listeners or wanted is not None or mode.recording:
        return _walk(roots, retain_graph, wanted)
    if any(listener.early for listener in listeners):
        return early_walk([*roots], retain_graph)
    found = _walk(roots, retain_graph)
    for listener in [x for x in listeners if not x.leaves.isdisjoint(found)]:
        listeners.remove(listener)
        for leaf in [leaf for leaf in found if leaf in listener.leaves]:
            leaf.accumulate(found.pop(leaf))
            listener.arrived(leaf)
        listener.finished()
    return found


def early_walk(roots: list, retain_graph: bool) -> dict[Any, Gradient]:
    last = last_users([root for root, _ in roots])
    told = [x for x in listeners if not x.leaves.isdisjoint(last)]
    of = {leaf: x for x in told for leaf in x.leaves}
    complete: dict[Any, list] = {}  # node -> leaves that nobody uses after it
    for leaf, node in last.items():
        # A checkpoint's gradients come after its node, from its second run: told at the end.
        if leaf in of and (node is None or node.name != CHECKPOINT):
            complete.setdefault(node, []).append(leaf)

    def tell(leaf: Any) -> None:
        leaf.accumulate(arrived.pop(leaf).own(leaf))
        of[leaf].arrived(leaf)

    arrived: dict[Any, Sum] = {}
    newest: list[tuple[int, Node]] = []
    for root, g in roots:
        deliver(arrived, newest, root, g)
    while newest:
        node = heappop(newest)[1]
        g = arrived.pop(node).total()
        if node.hooks:
            g = hooked(node, g)
        for parent, contribution in zip(node.parents, pull(node, g)):
            deliver(arrived, newest, parent, contribution)
        if not retain_graph:
            node.pullbacks = spent
        g = contribution = None  # as in `graph.walk`
        for leaf in complete.get(node, ()):
            if leaf in arrived:  # no pullback said that it has no gradient
                tell(leaf)
        for listener in told:
            listener.turn()
    for leaf in [leaf for leaf in arrived if leaf in of]:
        tell(leaf)
    for listener in told:
        listeners.remove(listener)
        listener.finished()
    return {leaf: total.own(leaf) for leaf, total in arrived.items()}


def last_users(roots: list) -> dict[Any, Node | None]:
    """The leaves that roots are computed from, each with the node that the walk meets last among
    those that use it: the oldest. None for a leaf that is a root."""
    found: dict[Any, Any] = {root: None for root in roots if type(root) is not Node}
    seen = {root for root in roots if type(root) is Node}
    pending = list(seen)
    while pending:
        node = pending.pop()
        for parent in node.parents:
            if type(parent) is Node:
                if parent not in seen:
                    seen.add(parent)
                    pending.append(parent)
            elif parent is not None:
                before = found.get(parent)
                if before is None or node.birth < before.birth:
                    found[parent] = node
    return found
