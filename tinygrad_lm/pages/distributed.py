"""PyTorch's path to training in several processes, for one process: a group of one can be opened,
asked and closed, and collective calls leave tensors as they are. More processes are refused."""

from __future__ import annotations

import enum
import os
from typing import Any

ReduceOp = enum.Enum("ReduceOp", "SUM AVG PRODUCT MIN MAX BAND BOR BXOR", start=0)

_group: list[str] = []  # the backend's name while the group is open


def is_available() -> bool:
    return True


def is_initialized() -> bool:
    return bool(_group)


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: Any = None,
    world_size: int = -1,
    rank: int = -1,
    **settings: Any,
) -> None:
    """Open the group of this one process. RuntimeError where more processes are asked for."""
    asked = os.environ.get("WORLD_SIZE", "1")
    if world_size <= 0 and not asked.strip().isdecimal():
        message = f"[init_process_group] WORLD_SIZE must be a number of processes, got {asked!r}"
        raise ValueError(f"{message}; unset it, or set it to 1")
    count = world_size if world_size > 0 else int(asked)
    if count != 1:
        raise RuntimeError(
            f"[init_process_group] one process is what this project trains in, got {count}; "
            "start the script without torchrun"
        )
    if _group:
        raise ValueError("trying to initialize the default process group twice!")
    _group.append(backend or "gloo")


def _check() -> None:
    if not _group:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call "
            "init_process_group."
        )


def destroy_process_group(group: Any = None) -> None:
    _check()
    _group.clear()


def get_rank(group: Any = None) -> int:
    _check()
    return 0


def get_world_size(group: Any = None) -> int:
    _check()
    return 1


def get_backend(group: Any = None) -> str:
    _check()
    return _group[0]


def barrier(
    group: Any = None, async_op: bool = False, device_ids: Any = None, timeout: Any = None
) -> None:
    """Wait for every process: there is only this one."""
    _check()


def all_reduce(tensor: Any, op: Any = None, group: Any = None, async_op: bool = False) -> None:
    """Reduce over one process: the tensor stays."""
    _check()


def broadcast(
    tensor: Any,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> None:
    """Copy from process 0, which is this one: the tensor stays."""
    _check()


def reduce(
    tensor: Any,
    dst: int | None = None,
    op: Any = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> None:
    """Reduce over one process: the tensor stays."""
    _check()


def all_gather(tensor_list: list, tensor: Any, group: Any = None, async_op: bool = False) -> None:
    """Copies the tensor into the one place for it."""
    _check()
    (place,) = tensor_list
    place.copy_(tensor)


def all_gather_object(object_list: list, obj: Any, group: Any = None) -> None:
    _check()
    object_list[:] = [obj]


def broadcast_object_list(
    object_list: list,
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
) -> None:
    """Copy from process 0, which is this one: the list stays."""
    _check()


def all_gather_into_tensor(
    output_tensor: Any, input_tensor: Any, group: Any = None, async_op: bool = False
) -> None:
    """Copies the tensor into the place for it."""
    _check()
    output_tensor.copy_(input_tensor.reshape(output_tensor.shape))


def reduce_scatter_tensor(
    output: Any, input: Any, op: Any = None, group: Any = None, async_op: bool = False
) -> None:
    """Reduce over one process, whose share is the whole."""
    all_gather_into_tensor(output, input)


def gather(
    tensor: Any,
    gather_list: list | None = None,
    dst: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> None:
    """Copies the tensor into the one place for it."""
    all_gather(gather_list or [], tensor)


def scatter(
    tensor: Any,
    scatter_list: list | None = None,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> None:
    """Copies the one tensor of the list into the tensor."""
    all_gather([tensor], *(scatter_list or []))


def reduce_scatter(
    output: Any, input_list: list, op: Any = None, group: Any = None, async_op: bool = False
) -> None:
    """Reduce over one process, whose share is the one tensor of the list."""
    all_gather([output], *input_list)


def is_nccl_available() -> bool:
    return False


is_gloo_available = is_mpi_available = is_ucc_available = is_xccl_available = is_nccl_available
is_torchelastic_launched = is_nccl_available


def is_backend_available(backend: str) -> bool:
    return False
