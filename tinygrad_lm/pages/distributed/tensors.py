"""What ranks do with tensors together, in place. Each waits until it is done; with async_op=True it
returns a Work that does."""

from __future__ import annotations

import enum
import operator
import os
from collections.abc import Callable, Generator, Sequence
from typing import Any

from ...engine.arrays import library
from ...engine.core.tensor import Tensor, wrap
from ...engine.pytorch.grad_mode import no_grad
from ...ranks import group as ranks
from ...ranks.gradients import reduced
from ...ranks.group import Group, Pending
from ...ranks.tree import Subtree
from .groups import for_members, group_of, place

Steps = Generator[Pending, None, None]

ReduceOp = enum.Enum("ReduceOp", "SUM AVG PRODUCT MIN MAX BAND BOR BXOR", start=0)
INTO: dict[str, Callable] = {  # of two arrays, into the first
    "SUM": operator.iadd,
    "AVG": operator.iadd,
    "PRODUCT": operator.imul,
    "MIN": lambda a, b: library(a).minimum(a, b, out=a),
    "MAX": lambda a, b: library(a).maximum(a, b, out=a),
    "BAND": operator.iand,
    "BOR": operator.ior,
    "BXOR": operator.ixor,
}


class Work:
    """Something under way; it moves on in wait(), is_completed() and whatever else ranks do."""

    def __init__(self, group: Group, poll: Callable[[], bool], source: int = -1):
        self._group, self._poll, self._source = group, poll, source

    def is_completed(self) -> bool:
        return self._poll()

    def is_success(self) -> bool:
        return self._poll()

    def wait(self, timeout: Any = None) -> bool:
        """Until it is done. RuntimeError: a rank does not come, or sends something else."""
        self._group.wait(self._poll)
        return True

    def source_rank(self) -> int:
        return self._source


def do(group: Group, steps: Steps, async_op: bool) -> Work | None:
    work = ranks.Work(group, steps)
    if async_op:
        return Work(group, work.poll)
    work.wait()
    return None


def check_alike(group: Group, name: str, tensor: Tensor) -> None:
    """Where TORCH_DISTRIBUTED_DEBUG=DETAIL is in the environment: RuntimeError if ranks call
    different things. Otherwise only bytes that do not fit are noticed, later."""
    if os.environ.get("TORCH_DISTRIBUTED_DEBUG", "").upper() != "DETAIL":
        return
    first, *others = group.gather((name, tuple(tensor.shape), str(tensor.dtype)))
    for rank, theirs in enumerate(others, 1):
        if theirs != first:
            raise RuntimeError(
                f"[{name}] all ranks must call the same, got {first} on rank 0 and {theirs} on "
                f"rank {rank}"
            )


def _copy(tensor: Tensor) -> Any:
    """Its numbers as a new array, (n,)."""
    return tensor.array.reshape(-1).copy()


def _put(tensor: Tensor, flat: Any) -> None:
    with no_grad():
        tensor.copy_(wrap(flat.reshape(tensor.array.shape)))


# ---------------------------------------------------------------- sums


@for_members
def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """The tensors of all ranks added, or combined by op, on each."""
    mine = group_of(group)
    check_alike(mine, "all_reduce", tensor)
    return do(mine, _all_reduce(mine, tensor, tensor, op), async_op)


@for_members
def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """`all_reduce` for rank dst; on the others the tensor stays."""
    mine = group_of(group)
    out = tensor if place(group, dst, group_dst) == mine.rank else None
    check_alike(mine, "reduce", tensor)
    return do(mine, _all_reduce(mine, tensor, out, op), async_op)


def _all_reduce(group: Group, tensor: Tensor, out: Tensor | None, op: Any) -> Steps:
    flat, mean = _copy(tensor), op is ReduceOp.AVG
    if mean and flat.dtype.kind in "iub":
        raise RuntimeError(f"[all_reduce] for AVG numbers must be floats, got {flat.dtype}; SUM?")
    places = [[Subtree(0, rank)] for rank in range(group.size)]
    scale = 1 / group.size if mean else 1
    yield from reduced(group, [flat], flat, places, group.tag(), scale, INTO[op.name])
    if out is not None:
        _put(out, flat)


@for_members
def reduce_scatter(
    output: Tensor,
    input_list: list[Tensor],
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """The output becomes the sum over ranks of what they have for this one."""
    mine = group_of(group)
    _for_each("reduce_scatter", input_list, mine)
    return do(mine, _reduce_scatter(mine, output, input_list, op), async_op)


def _reduce_scatter(group: Group, output: Tensor, inputs: list[Tensor], op: Any) -> Steps:
    whole = wrap(library(output.array).concatenate([_copy(t) for t in inputs]))
    yield from _all_reduce(group, whole, whole, op)
    start = sum(t.numel() for t in inputs[: group.rank])
    _put(output, whole.array[start : start + inputs[group.rank].numel()])


@for_members
def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """`reduce_scatter` of the parts of one tensor."""
    return reduce_scatter(output, _parts(input, group), op, group, async_op)


# ---------------------------------------------------------------- copies


@for_members
def broadcast(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """The tensor of rank src, for all."""
    mine = group_of(group)
    check_alike(mine, "broadcast", tensor)
    return do(mine, _broadcast(mine, tensor, place(group, src, group_src)), async_op)


def _broadcast(group: Group, tensor: Tensor, source: int) -> Steps:
    flat = _copy(tensor)
    yield group.broadcast(flat, source)
    if group.rank != source:
        _put(tensor, flat)


def exchanged(
    group: Group, sends: Sequence[Sequence[Tensor]], receives: Sequence[Sequence[Tensor]], tag: int
) -> Steps:
    """Tensors for and from each rank, this one among them."""
    given = [[_copy(t) for t in tensors] for tensors in sends]
    arrived = [[_copy(t) for t in tensors] for tensors in receives]
    arrived[group.rank] = given[group.rank]
    yield group.exchange(given, arrived, tag)
    for tensors, arrays in zip(receives, arrived):
        for tensor, array in zip(tensors, arrays):
            _put(tensor, array)


def _exchange(group: Group, sends: list, receives: list, async_op: bool) -> Work | None:
    def steps() -> Steps:
        yield from exchanged(group, sends, receives, group.tag())

    return do(group, steps(), async_op)


def _for_each(name: str, tensors: Sequence[Tensor] | None, group: Group) -> list[list[Tensor]]:
    """One tensor for each rank."""
    if tensors is None or len(tensors) != group.size:
        came = "none" if tensors is None else len(tensors)
        message = f"[{name}] there must be a tensor for each of {group.size} ranks"
        raise ValueError(f"{message}, got {came}")
    return [[t] for t in tensors]


def _parts(tensor: Tensor, group: Any) -> list[Tensor]:
    """Equal views of a tensor, one for each rank."""
    count = group_of(group).size
    if tensor.numel() % count or not tensor.is_contiguous():
        raise ValueError(
            f"[distributed] a contiguous tensor must have a part for each of {count} ranks, got "
            f"shape {tuple(tensor.shape)}"
        )
    return [*tensor.detach().view(count, -1)]


@for_members
def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """tensor_list[r] becomes the tensor of rank r, on all ranks."""
    mine = group_of(group)
    receives = _for_each("all_gather", tensor_list, mine)
    return _exchange(mine, [[tensor]] * mine.size, receives, async_op)


@for_members
def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """The tensors of all ranks one after the other: (N n, ...) or (N, n, ...)."""
    return all_gather(_parts(output_tensor, group), input_tensor, group, async_op)


@for_members
def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """gather_list[r] becomes the tensor of rank r, on rank dst (0)."""
    mine, target = group_of(group), place(group, dst, group_dst, 0)
    sends: list = [[tensor] if r == target else [] for r in range(mine.size)]
    here = mine.rank == target
    receives = _for_each("gather", gather_list, mine) if here else [[]] * mine.size
    return _exchange(mine, sends, receives, async_op)


@for_members
def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """The tensor becomes scatter_list[r] of rank src (0), on rank r."""
    mine, source = group_of(group), place(group, src, group_src, 0)
    here = mine.rank == source
    sends = _for_each("scatter", scatter_list, mine) if here else [[]] * mine.size
    receives: list = [[tensor] if r == source else [] for r in range(mine.size)]
    return _exchange(mine, sends, receives, async_op)


@for_members
def all_to_all(
    output_tensor_list: list[Tensor],
    input_tensor_list: list[Tensor],
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """output_tensor_list[r] becomes what rank r has for this one."""
    mine = group_of(group)
    sends, receives = (
        _for_each("all_to_all", tensors, mine)
        for tensors in (input_tensor_list, output_tensor_list)
    )
    return _exchange(mine, sends, receives, async_op)


@for_members
def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: list[int] | None = None,
    input_split_sizes: list[int] | None = None,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """`all_to_all` of the parts of two tensors: equal ones, or of so many rows each."""
    outputs, inputs = (
        [*tensor.detach().split(sizes)] if sizes else _parts(tensor, group)
        for tensor, sizes in ((output, output_split_sizes), (input, input_split_sizes))
    )
    return all_to_all(outputs, inputs, group, async_op)
