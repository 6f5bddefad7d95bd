"""The graph of a computation and the walk back through it. It knows no op and no mathematics
beyond adding: undoing broadcasting, adding up contributions and freeing happen here, once.

A node keeps no value, only the pullbacks that turn its gradient into those of its parents. Nodes
are numbered at birth, so taking the reached node with the highest number next is the reverse
topological order, with no recursion and no separate pass.

`recorder.c` does the same as `_descend` where it was compiled; to follow or change the one here,
run with TINYGRAD_LM_COMPILED=0 in the environment.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from sys import getrefcount
from typing import Any

from .backend import LIBRARIES, as_array
from .compiled import recorder
from .parts import Part, whole

# ---------------------------------------------------------------- writes

# One clock ticks for births of nodes and for writes. A kept array that was written after its node
# was born would falsify a gradient, and that is all there is to check.
clock = itertools.count(1)
_last_write = [0]
_writes: dict[int, list] = {}  # id of a storage -> (weak reference, time of last write)


def storage(array: Any) -> Any:
    """The array that owns the memory this array looks at."""
    base = array.base
    while base is not None:
        if type(base) in LIBRARIES:
            array = base
        base = getattr(base, "base", None)  # NumPy's as_strided puts a dummy in between
    return array


def mark_written(array: Any) -> None:
    owner = array if array.base is None else storage(array)
    key = id(owner)
    if key not in _writes:
        _writes[key] = [weakref.ref(owner, lambda _: _writes.pop(key, None)), 0]
    _writes[key][1] = _last_write[0] = next(clock)


def kept_arrays(pullback: Any) -> Iterator[Any]:
    """The arrays a pullback's closure and defaults hold, through tuples and inner functions."""
    pending = [*(getattr(pullback, "__defaults__", None) or ())]
    for cell in getattr(pullback, "__closure__", None) or ():
        try:
            pending.append(cell.cell_contents)
        except ValueError:  # a name that was never bound
            continue
    while pending:
        kept = pending.pop()
        kept = getattr(kept, "array", kept)  # of a Tensor
        if type(kept) in LIBRARIES:
            yield kept
        elif isinstance(kept, (tuple, list)):
            pending.extend(kept)
        elif callable(kept):
            yield from kept_arrays(kept)


# ---------------------------------------------------------------- the graph


class Node:
    """One recorded op: who its parents are, and how a gradient is pulled back to each of them.

    A parent is a Node, or a Tensor where the graph ends in a leaf, or None where no gradient is
    wanted. `pullbacks` is a tuple with one function per parent, or one function for all of them.
    """

    __slots__ = ("birth", "dtype", "hooks", "name", "parents", "pullbacks", "shape", "tensors")

    def __init__(self, name: str, out: Any, parents: tuple, pullbacks: Any, tensors: bool = False):
        self.name, self.shape, self.dtype = name, out.shape, out.dtype
        self.parents, self.pullbacks, self.tensors = parents, pullbacks, tensors
        self.birth = next(clock)
        self.hooks: list[Callable] | None = None

    def __repr__(self) -> str:
        return f"<{grad_fn_name(self.name)}>"

    @property
    def next_functions(self) -> tuple:
        return tuple((p if isinstance(p, Node) else None, 0) for p in self.parents)


def grad_fn_name(op: str) -> str:
    """PyTorch's way of naming: log_softmax -> LogSoftmaxBackward0."""
    return op if op[:1].isupper() else "".join(w.title() for w in op.split("_")) + "Backward0"


FASTER: dict[type, Callable] = {}  # array type -> f(g, columns): the sum of g's rows, or None


def sum_to(g: Any, shape: tuple) -> Any:
    """Undo broadcasting: sum g over every axis that was stretched from `shape`."""
    if tuple(g.shape) == tuple(shape):
        return g
    lead = g.ndim - len(shape)
    if lead and shape and tuple(g.shape[lead:]) == tuple(shape):
        faster = FASTER.get(type(g))
        found = faster and faster(g, shape)
        if found is not None:
            return found
        return g.sum(axis=0 if lead == 1 else tuple(range(lead)))
    stretched = [i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1]
    try:
        return g.sum(axis=(*range(lead), *stretched), keepdims=True).reshape(shape)
    except (ValueError, RuntimeError) as error:
        shapes = f"{tuple(shape)}, got {tuple(g.shape)}"
        raise RuntimeError(f"[backward] a pullback must keep its input's shape {shapes}") from error


def _spent(g: Any) -> Any:
    raise RuntimeError(
        "[backward] the graph must not have been freed: this part of it was already walked, and "
        "what it kept is gone; pass retain_graph=True to the earlier backward to walk it twice"
    )


def _check_unwritten(node: Node) -> None:
    pullbacks = node.pullbacks if isinstance(node.pullbacks, tuple) else (node.pullbacks,)
    for pullback in pullbacks:
        for kept in kept_arrays(pullback):
            entry = _writes.get(id(storage(kept)))
            if entry is not None and entry[1] > node.birth:
                raise RuntimeError(
                    f"[backward] an array that {node!r} needs must keep its value until backward, "
                    f"but the one of shape {tuple(kept.shape)} was written in place after it was "
                    "used (an inplace operation); write to a clone() or use the out-of-place form"
                )


def pull(node: Node, g: Any) -> Any:
    """The gradients of node's parents, one each."""
    if node.birth < _last_write[0]:
        _check_unwritten(node)
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


def _fit(g: Any, like: Any, tensors: bool) -> Any:
    """One contribution in its target's shape and dtype, whatever was broadcast or cast before."""
    if type(g) is Part:
        return g
    g = g if tensors or type(g) in LIBRARIES else as_array(g)
    if g.shape != like.shape:
        g = sum_to(g, like.shape)
    if tensors:
        return g if g.array.dtype == like.dtype else g.to(like.dtype)
    return g if g.dtype == like.dtype else g.astype(like.dtype)


def _is_ours(sums: dict, target: Any) -> bool:
    """Whether the array sums[target] may be written: nobody else holds it (one reference is the
    table's, one the question's) or looks into it (a view holds what it is a view of)."""
    return getrefcount(sums[target]) == 2 and sums[target].base is None


def _add(sums: dict, target: Any, g: Any) -> None:
    """sums[target] += g; in place only if the array is ours, for `add` hands one g to both parents
    and a pullback may return what it was given or what it keeps."""
    if type(g) is Part:
        if type(sums[target]) is list:
            sums[target].append(g)
            return
        if not _is_ours(sums, target):
            sums[target] = sums[target].copy()
        g.add_to(sums[target])
        return
    if type(sums[target]) is list:
        sums[target] = whole(sums[target])
    if type(g) not in LIBRARIES or type(sums[target]) not in LIBRARIES:
        sums[target] = sums[target] + g  # a Tensor, which a graph may look at
    elif _is_ours(sums, target):
        sums[target] += g
    else:
        sums[target] = as_array(sums[target] + g)


def _descend(sums: dict, roots: list, retain: Any, tensor_of: Any, note: Any) -> None:
    """From the roots to the leaves, newest node first; in sums remains what the leaves got."""
    newest: list[tuple[int, Node]] = []  # a heap of the nodes in sums
    arriving: Any = roots
    node = g = None
    while True:
        for target, g in arriving:
            if target is None or g is None:
                continue
            like = target if type(target) is Node else target.array
            if type(g) not in LIBRARIES or g.shape != like.shape or g.dtype is not like.dtype:
                g = _fit(g, like, node is None or node.tensors)
            if target in sums:
                _add(sums, target, g)
            else:
                sums[target] = [g] if type(g) is Part else g
                if like is target:
                    heappush(newest, (-target.birth, target))
        if not newest:
            return
        node = heappop(newest)[1]
        g = sums.pop(node)
        if type(g) is list:
            g = whole(g)
        if node.tensors and tensor_of is not None:
            g = tensor_of(g)
        elif not node.tensors:
            g = getattr(g, "array", g)  # of a Tensor, from a node with Tensors
        if node.hooks:
            g = _hooked(node, g)
        if note is not None:
            note(node, g)
        arriving = zip(node.parents, pull(node, g))
        if not retain:
            node.pullbacks = _spent


def walk(
    roots: list[tuple[Any, Any]],
    retain_graph: bool = False,
    wanted: dict[int, Any] | None = None,
    tensor_of: Callable | None = None,
) -> dict[int, Any]:
    """Carry gradients from the roots to the leaves.

    roots are pairs (node or leaf Tensor, gradient). Without `wanted` every leaf's `.grad` grows;
    with it, the gradients of exactly those nodes and leaves (by id) are returned. `tensor_of` makes
    a Tensor of an array, for graphs whose pullbacks are recorded ops themselves.
    """
    sums: dict[Any, Any] = {}  # node or leaf -> what has arrived there
    found: dict[int, Any] = {}

    def note(node: Any, g: Any) -> None:
        if wanted is not None and id(node) in wanted:
            found[id(node)] = g

    descend(sums, roots, retain_graph, tensor_of, None if wanted is None else note)
    for leaf in sums:
        if sums[leaf] is None:  # `recorder.c` has given it to the leaf
            continue
        if type(sums[leaf]) is list:
            sums[leaf] = whole(sums[leaf])
        if leaf.hooks:
            sums[leaf] = _hooked(leaf, sums[leaf])
        if wanted is None:
            ours = _is_ours(sums, leaf)
            leaf.accumulate(sums[leaf], ours)
        else:
            note(leaf, sums[leaf])
    return found


def _hooked(target: Any, g: Any) -> Any:
    for hook in target.hooks:
        replaced = hook(g)
        g = g if replaced is None else replaced
    return g


descend = _descend
if recorder is not None:
    recorder.know(Node=Node, Part=Part, clock=clock, last_write=_last_write)
    recorder.know(fit=_fit, add=_add, whole=whole, hooked=_hooked, pull=pull, spent=_spent)
    recorder.know(mark_written=mark_written, writes=_writes, libraries=LIBRARIES)
    descend = recorder.descend
