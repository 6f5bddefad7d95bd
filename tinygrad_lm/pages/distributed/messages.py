"""Python objects between ranks, tensors from one rank to another, and waiting for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...engine.core.tensor import Tensor
from ...ranks.group import OWN, Group
from .groups import Open, for_members, group_of, place
from .tensors import Work, exchanged

OWN_TAGS = (1 << 15) - OWN  # how many numbers a script has for its own messages


@for_members
def all_gather_object(object_list: list, obj: Any, group: Any = None) -> None:
    """object_list[r] becomes a copy of the object of rank r, on all ranks. Objects are pickled."""
    object_list[:] = group_of(group).gather(obj)


@for_members
def gather_object(
    obj: Any,
    object_gather_list: list | None = None,
    dst: int | None = None,
    group: Any = None,
    group_dst: int | None = None,
) -> None:
    """object_gather_list[r] becomes a copy of the object of rank r, on rank dst (0)."""
    mine, target = group_of(group), place(group, dst, group_dst, 0)
    found = mine.gather(obj)
    if mine.rank == target:
        if object_gather_list is None:
            raise ValueError("Argument ``object_gather_list`` must be specified on dst rank.")
        object_gather_list[:] = found


@for_members
def broadcast_object_list(
    object_list: list,
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
) -> None:
    """The objects of rank src (0), for all."""
    mine, source = group_of(group), place(group, src, group_src, 0)
    object_list[:] = mine.gather(object_list if mine.rank == source else None)[source]


@for_members
def scatter_object_list(
    scatter_object_output_list: list,
    scatter_object_input_list: list | None = None,
    src: int | None = None,
    group: Any = None,
    group_src: int | None = None,
) -> None:
    """scatter_object_output_list[0] becomes object r of rank src (0), on rank r."""
    mine, source = group_of(group), place(group, src, group_src, 0)
    given = mine.gather(scatter_object_input_list if mine.rank == source else None)[source]
    if not isinstance(given, (list, tuple)) or len(given) != mine.size:
        raise ValueError(
            f"[scatter_object_list] rank {source} must give {mine.size} objects, got {given!r}"
        )
    scatter_object_output_list[0] = given[mine.rank]


@for_members
def barrier(
    group: Any = None, async_op: bool = False, device_ids: Any = None, timeout: Any = None
) -> Work | None:
    """Wait until all ranks are here."""
    mine = group_of(group)
    mine.gather(None)
    return Work(mine, lambda: True) if async_op else None


def monitored_barrier(group: Any = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """`barrier`, whose error names the rank that does not come, as all of ours do."""
    barrier(group)


# ---------------------------------------------------------------- from one rank to another


def _message(group: Any, other: int, out: list, into: list, tag: int) -> Work:
    mine = group_of(group)
    if other == mine.rank:
        raise ValueError(f"[send] another rank must be meant than this one, {other}")
    sends, receives = ([x if r == other else [] for r in range(mine.size)] for x in (out, into))
    steps = exchanged(mine, sends, receives, OWN + tag % OWN_TAGS)
    pending, ended = next(steps), list[Any]()

    def poll() -> bool:
        if not ended and pending():
            ended.append(next(steps, None))
        return bool(ended)

    return Work(mine, poll, get_global_rank(group, other))


def get_global_rank(group: Any, group_rank: int) -> int:
    """The number among all ranks of a rank of a group."""
    return Open.ranks[group][group_rank] if group in Open.ranks else group_rank


@for_members
def isend(
    tensor: Tensor,
    dst: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> Work:
    """Send a tensor to rank dst, which receives it."""
    return _message(group, place(group, dst, group_dst), [tensor], [], tag)


@for_members
def irecv(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_src: int | None = None,
) -> Work:
    """Receive a tensor from rank src; from the first that sends one if that is None."""
    if src is None and group_src is None:
        group_src = _first_sender(group_of(group), OWN + tag % OWN_TAGS)
    return _message(group, place(group, src, group_src), [], [tensor], tag)


def _first_sender(group: Group, tag: int) -> int:
    found: list[int] = []

    def there() -> bool:
        found.extend(group.senders(tag))
        return bool(found)

    group.wait(there)
    return found[0]


def send(
    tensor: Tensor,
    dst: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> None:
    """`isend`, and wait."""
    if work := isend(tensor, dst, group, tag, group_dst):
        work.wait()


def recv(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_src: int | None = None,
) -> int:
    """`irecv`, and wait; the rank that sent it."""
    work = irecv(tensor, src, group, tag, group_src)
    if work is None:
        return -1
    work.wait()
    return work.source_rank()


class P2POp:
    """An `isend` or `irecv` for `batch_isend_irecv`."""

    def __init__(
        self,
        op: Callable,
        tensor: Tensor,
        peer: int | None = None,
        group: Any = None,
        tag: int = 0,
        group_peer: int | None = None,
    ):
        self.op, self.given = op, (tensor, peer, group, tag, group_peer)


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Begin all of them; wait for each that comes back."""
    return [each.op(*each.given) for each in p2p_op_list]
