"""The group of all ranks, and groups of some of them."""

from __future__ import annotations

import datetime
import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import wraps
from types import SimpleNamespace
from typing import Any

from ...ranks.group import Group, World, world

TIMEOUT = datetime.timedelta(minutes=10)


class Open:
    """The backend's name while the default group is open; of other groups, which ranks are in."""

    backend: str | None = None
    ranks: dict[Group, list[int]] = {}


class GroupMember:
    WORLD = None  # the default group
    NON_GROUP_MEMBER = SimpleNamespace(size=-1, rank=-1)


def is_available() -> bool:
    return True


def is_initialized() -> bool:
    return Open.backend is not None


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: datetime.timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Open the group of all ranks. init_method and store, by which PyTorch's find each other, are
    accepted and not used: who is there is known from MPI.
    timeout: how long a rank may keep others waiting (10 minutes). RuntimeError: mpiexec started
    another number of processes than is asked for."""
    asked = os.environ.get("WORLD_SIZE", "1").strip()
    if world_size <= 0 and not asked.isdecimal():
        message = f"[init_process_group] WORLD_SIZE must be a number of processes, got {asked!r}"
        raise ValueError(f"{message}; unset it, or set it to 1")
    if is_initialized():
        raise ValueError("trying to initialize the default process group twice!")
    all_ranks = world()
    count = world_size if world_size > 0 else int(os.environ.get("WORLD_SIZE", "1"))
    if count != all_ranks.size:
        raise RuntimeError(
            f"[init_process_group] world_size must be that of mpiexec, {all_ranks.size}, got "
            f"{count}; start the script with mpiexec -n {count}"
        )
    if rank not in (-1, all_ranks.rank):
        raise RuntimeError(
            f"[init_process_group] rank must be that of mpiexec, {all_ranks.rank}, got {rank}"
        )
    all_ranks.timeout = (timeout or TIMEOUT).total_seconds()
    Open.backend = (backend or "gloo").lower()


def destroy_process_group(group: Any = None) -> None:
    """Close a group, or without one all of them."""
    group_of(group)
    if group is None:
        Open.backend = None
        Open.ranks.clear()
    else:
        Open.ranks.pop(group, None)


def new_group(
    ranks: Sequence[int] | None = None,
    timeout: datetime.timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    **settings: Any,
) -> Any:
    """A group of some ranks; all ranks must call it, also those that are not in it."""
    whole = group_of(None)
    members = sorted(range(whole.size) if ranks is None else ranks)
    if len({*members}) < len(members) or not {*members} <= {*range(whole.size)}:
        raise ValueError(
            f"[new_group] ranks must be different ones of 0..{whole.size - 1}, got {ranks}"
        )
    made = whole.subgroup(members)
    if made is None:
        return GroupMember.NON_GROUP_MEMBER
    if timeout is not None:
        made.timeout = timeout.total_seconds()
    Open.ranks[made] = members
    return made


def group_of(group: Any) -> Group:
    """The group that is meant; ValueError where none is open."""
    if not is_initialized() or World.group is None:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call "
            "init_process_group."
        )
    return World.group if group is None else group


def place(group: Any, rank: int | None, group_rank: int | None, default: int | None = None) -> int:
    """The number within a group of a rank of the world, or of the group."""
    size, ranks = group_of(group).size, Open.ranks.get(group)
    found = group_rank
    if found is None:
        rank = default if rank is None else rank
        found = ranks.index(rank) if ranks and rank in ranks else None if ranks else rank
    if found is None or not 0 <= found < size:
        there = f"0..{size - 1}" if ranks is None else str(ranks)
        raise ValueError(f"[distributed] a rank must be one of {there}, got {rank}")
    return found


def get_rank(group: Any = None) -> int:
    """-1 where this process is not in the group."""
    return group_of(group).rank


def get_world_size(group: Any = None) -> int:
    return group_of(group).size


def get_backend(group: Any = None) -> str:
    group_of(group)
    return str(Open.backend)


def get_process_group_ranks(group: Any = None) -> list[int]:
    return Open.ranks.get(group, [*range(group_of(group).size)])


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """The rank among those of this machine: LOCAL_RANK."""
    found = os.environ.get("LOCAL_RANK", fallback_rank)
    if found is None:
        raise RuntimeError(
            "LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow "
            "`get_node_local_rank` to work without it."
        )
    return int(found)


def for_members(function: Callable) -> Callable:
    """A call that does nothing on ranks that are not in its group."""

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if any(x is GroupMember.NON_GROUP_MEMBER for x in (*args, *kwargs.values())):
            return None
        return function(*args, **kwargs)

    return called


# ---------------------------------------------------------------- what a script may choose by


def is_mpi_available() -> bool:
    """Whether there can be more than one rank: mpi4py is installed."""
    return importlib.util.find_spec("mpi4py") is not None


is_gloo_available = is_mpi_available


def is_nccl_available() -> bool:
    return False


is_ucc_available = is_xccl_available = is_torchelastic_launched = is_nccl_available


def is_backend_available(backend: str) -> bool:
    return backend.lower() in ("gloo", "mpi") and is_mpi_available()
