"""Writing into tensors in place. A write changes memory that views share, so it gives the written
tensor, and the tensor it looks into, a new history. A write must not make a gradient wrong: the
walk checks that (`arrays/versions.py`), and writes into leaves are refused here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, Literal

from .arrays import (
    LIBRARIES,
    Array,
    dtype_of,
    is_writable,
    kept_arrays,
    library,
    mark_written,
    overlaps,
    owner_of,
    quietly,
)
from .core.graph import Node
from .core.recording import mode
from .core.tensor import Tensor, wrap
from .ops.index import sum_by_id

# Ops that NumPy and CuPy can write straight into their first input.
IN_PLACE_UFUNCS = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "true_divide"}


def in_place(x: Tensor, op: Callable, *others: Any, **settings: Any) -> Tensor:
    """x becomes op(x, ...), in x's own memory, shape and dtype."""
    recorded = _recorded(x, *others)
    name = IN_PLACE_UFUNCS.get(op.__name__)
    if name and not recorded and not settings:
        other = others[0].array if isinstance(others[0], Tensor) else others[0]
        floating = x.array.dtype.kind in "fV" and type(other) in (type(x.array), float, int)
        if floating or _stays_whole(x.array, other, name):
            if not (hasattr(x.array.flags, "writeable") or is_writable(x.array)):
                raise _misfit(op.__name__, x, other)  # CuPy itself would write
            try:
                quietly(getattr(library(x.array), name), x.array, other, x.array)
            except ValueError as error:
                raise _misfit(op.__name__, x, other) from error
            mark_written(x.array)
            return x
    check_leaf(x)
    again = mode.create_graph is not None  # the op may run again, on what x was
    composed = recorded and (again or isinstance(op, FunctionType))  # whose inner nodes may keep x
    out = None if composed else op(x, *others, **settings)
    if out is None or (out.node is not None and _keeps(out.node, x.array)):
        # A pullback needs what is about to be overwritten: let it keep a copy.
        others = tuple(_copy(o) if _shares(o, x) else o for o in others)
        out = op(_copy(x), *others, **settings)
    if out.array.shape != x.array.shape or not is_writable(x.array):
        raise _misfit(op.__name__, x, out.array)
    if dtype_of(out.array).category > x.dtype.category:
        raise RuntimeError(
            f"[{op.__name__}_] the result is {out.dtype} and cannot be kept in {x.dtype}"
        )
    x.array[...] = out.array
    _commit(x, out.node, recorded)
    return x


def _stays_whole(array: Array, other: Any, name: str) -> bool:
    """Whether a ufunc with `other` makes integers that this array of integers can keep."""
    if array.dtype.kind not in "iu" or name == "true_divide":
        return False
    if type(other) is int:
        return 0 <= other < 128  # which every integer type has
    return type(other) is type(array) and other.dtype == array.dtype


def set_item(x: Tensor, key: Any, value: Any, name: str) -> None:
    """x[key] = value, recorded under a name."""
    recorded = _recorded(x, value) and x.is_floating_point()
    check_leaf(x)
    if not (hasattr(x.array.flags, "writeable") or is_writable(x.array)):
        raise _misfit("setitem", x, value)
    source = value.array if isinstance(value, Tensor) else value
    if recorded and isinstance(value, Tensor) and _shares(value, x):
        source = source.copy()
    try:
        x.array[key] = source
    except IndexError as error:
        raise IndexError(f"[setitem] the position must exist: {error}") from error
    except (ValueError, TypeError) as error:
        if not is_writable(x.array):
            raise _misfit("setitem", x, source) from error
        shape = getattr(source, "shape", "a number")
        raise RuntimeError(
            f"[setitem] the value must fit the region {tuple(x.array[key].shape)}, got {shape}: "
            f"{error}"
        ) from error
    node = None
    if recorded:

        def outside(g: Any) -> Any:
            if isinstance(g, Tensor):  # a recorded op, for second derivatives
                kept = library(g.array).ones(g.shape, g.array.dtype)
                kept[key] = 0
                return g * wrap(kept)
            g = g.copy()
            g[key] = 0
            return g

        parents = tuple(_parent(t) for t in (x, value))
        pullbacks: tuple = (outside, lambda g: g[key])
        again = mode.create_graph is not None and all(
            p.create_graph for p in parents if isinstance(p, Node)
        )
        pullbacks = tuple(f if p is not None else None for p, f in zip(parents, pullbacks))
        node = Node(name, x.array, parents, pullbacks, again)
    _commit(x, node, recorded)


def look_into(view: Tensor, other: Tensor) -> None:
    """A view remembers the tensor whose memory it shares, if it does."""
    if owner_of(view.array) is owner_of(other.array):
        view.base = other if other.base is None else other.base
        view.seen = view.base.version


def views(x: Tensor, arrays: Iterable[Array]) -> list[Tensor]:
    """Parts of x's array as Tensors that look into x; for an x without history."""
    base, made = x if x.base is None else x.base, []
    for array in arrays:
        view = wrap(array)
        view.base, view.seen = base, base.version
        made.append(view)
    return made


def _base_of(view: Tensor) -> Tensor | None:
    """The tensor that a view looks into; none any more if the memory of either was replaced."""
    base = view.base
    if base is not None and owner_of(view.array) is not owner_of(base.array):
        base = view.base = None
    return base


def regain_history(view: Tensor) -> None:
    """Record a view anew from its base, after the base was written through another tensor."""
    base = _base_of(view)
    if base is None:
        return
    view.seen = base.version
    view.needs_grad = base.needs_grad
    before, view.node = view.node, None
    if base.needs_grad:
        shape, strides, offset = view.array.shape, view.array.strides, _offset(view, base)
        whole_shape, order = base.array.shape, _order(base)
        item, again = view.array.itemsize, overlaps(view.array)  # again: an element, seen twice

        def back(g: Array) -> Array:
            if again:
                places = library(g).arange(math.prod(whole_shape))
                steps = tuple(step // item * places.itemsize for step in strides)
                ids = _region(places, shape, steps, offset).reshape(-1)
                return sum_by_id(g.reshape(-1), ids, places.size).reshape(whole_shape, order=order)
            whole = library(g).zeros(whole_shape, g.dtype, order=order)
            _region(whole, shape, strides, offset)[...] += g
            return whole

        view.node = Node("AsStridedBackward0", view.array, (_parent(base),), (back,))
        _keep_retaining(view, before)


def _keep_retaining(x: Tensor, before: Node | None) -> None:
    """What `retain_grad` asked of x goes from its former node to the one it has now."""
    if before is not None and before.hooks and x.node is not None:
        kept = [h for h in before.hooks if getattr(h, "retains", None) == id(x)]
        before.hooks = [h for h in before.hooks if h not in kept]
        x.node.hooks = [*(x.node.hooks or ()), *kept] or None


def _commit(x: Tensor, node: Node | None, recorded: bool) -> None:
    mark_written(x.array)
    if mode.recording:
        give_history(x, node, recorded)


def give_history(x: Tensor, node: Node | None, recorded: bool) -> None:
    """x, which was written, and what it looks into come from this node now."""
    base, before = _base_of(x), x.node
    if base is None:
        if recorded:
            x.node, x.needs_grad = node, node is not None
            x.version += 1
            _keep_retaining(x, before)
        return
    if not (recorded or base.needs_grad):
        return
    # The pullbacks keep the base's layout, not its memory, so later writes to it do not matter.
    shape, strides, offset, order = x.array.shape, x.array.strides, _offset(x, base), _order(base)

    def outside(g: Array) -> Array:
        whole = g.copy(order=order)
        _region(whole, shape, strides, offset)[...] = 0
        return whole

    def inside(g: Array) -> Array:
        return _region(g.copy(order=order), shape, strides, offset)

    pullbacks = (outside if base.needs_grad else None, inside if node is not None else None)
    former = base.node
    base.node = Node("CopySlices", base.array, (_parent(base), node), pullbacks)
    base.needs_grad = True
    base.version += 1
    _keep_retaining(base, former)
    x.node, x.needs_grad, x.seen = node, node is not None, base.version
    _keep_retaining(x, before)


def _region(whole: Array, shape: tuple, strides: tuple, offset: int) -> Array:
    """The part of a buffer laid out like the base that a view of these strides looks at."""
    lib = library(whole)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides)) // whole.itemsize
    if whole.size and 0 not in shape and not 0 <= offset <= last < whole.size:
        raise RuntimeError(
            f"[in-place] a view must lie within its base, got one of {shape} in {whole.shape}; "
            "was the .data of one of them replaced?"
        )
    flat = lib.lib.stride_tricks.as_strided(whole, (whole.size,), (whole.itemsize,))
    return lib.lib.stride_tricks.as_strided(flat[offset:], shape, strides)


def _offset(view: Tensor, base: Tensor) -> int:
    flags = base.array.flags
    if not (flags.c_contiguous or flags.f_contiguous):
        raise RuntimeError(
            "[in-place] a recorded write through a view needs a base whose memory has no gaps; "
            "write into the base itself, or clone() it first"
        )
    return (view.data_ptr() - base.data_ptr()) // view.array.itemsize


def _order(base: Tensor) -> Literal["C", "F"]:
    return "C" if base.array.flags.c_contiguous else "F"


def _parent(x: object) -> Node | Tensor | None:
    return (x.node or x) if isinstance(x, Tensor) and x.requires_grad else None


def _recorded(*tensors: object) -> bool:
    if mode.recording:
        for t in tensors:
            if isinstance(t, Tensor) and (t.needs_grad if t.base is None else t.requires_grad):
                return True
    return False


def _keeps(node: Node, array: Array) -> bool:
    pullbacks = node.pullbacks if isinstance(node.pullbacks, tuple) else (node.pullbacks,)
    owner = owner_of(array)
    return any(owner_of(kept) is owner for p in pullbacks for kept in kept_arrays(p))


def _shares(other: object, x: Tensor) -> bool:
    return isinstance(other, Tensor) and owner_of(other.array) is owner_of(x.array)


def _copy(x: Tensor) -> Tensor:
    copy = wrap(x.array.copy())
    copy.node, copy.needs_grad = x.node, x.needs_grad
    return copy


def check_leaf(x: Tensor) -> None:
    """An error if x must not be written, because it is a leaf or looks into one."""
    if mode.recording and (x.needs_grad or x.base is not None):
        for tensor, what in ((x, "a leaf"), (_base_of(x), "a view of a leaf")):
            if tensor is not None and tensor.requires_grad and tensor.node is None:
                raise RuntimeError(
                    f"[in-place] {what} Variable that requires grad must not be written in place "
                    "while recording; do it under no_grad(), or through .data"
                )


def _misfit(name: str, x: Tensor, other: Any) -> Exception:
    if not is_writable(x.array):
        return RuntimeError(
            f"[{name}] each element must have memory of its own, got an expanded tensor (or a "
            f"read-only array) of shape {tuple(x.shape)}; clone() it first"
        )
    shape = tuple(other.shape) if type(other) in LIBRARIES else type(other).__name__
    return RuntimeError(
        f"[{name}_] the result must have the tensor's own shape {tuple(x.shape)}, got {shape}"
    )
