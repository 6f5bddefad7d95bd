"""`torch.distributed`: what the processes that mpiexec started do together, over `ranks/group.py`.
Without mpiexec the group is this one process.

Every rank calls the same functions in the same order, with the same shapes and dtypes. Sums are
added in the order of a binary tree over ranks, (0 + 1) + (2 + 3), so that all ranks get the same
bits, in every run. Backends are names: MPI carries all data, between GPUs NCCL where it can.
"""

from ...ranks.group import Group as ProcessGroup
from .groups import (
    GroupMember,
    destroy_process_group,
    get_backend,
    get_node_local_rank,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    init_process_group,
    is_available,
    is_backend_available,
    is_gloo_available,
    is_initialized,
    is_mpi_available,
    is_nccl_available,
    is_torchelastic_launched,
    is_ucc_available,
    is_xccl_available,
    new_group,
)
from .groups import GroupMember as group
from .messages import (
    P2POp,
    all_gather_object,
    barrier,
    batch_isend_irecv,
    broadcast_object_list,
    gather_object,
    get_global_rank,
    irecv,
    isend,
    monitored_barrier,
    recv,
    scatter_object_list,
    send,
)
from .tensors import (
    ReduceOp,
    Work,
    all_gather,
    all_gather_into_tensor,
    all_reduce,
    all_to_all,
    all_to_all_single,
    broadcast,
    gather,
    reduce,
    reduce_scatter,
    reduce_scatter_tensor,
    scatter,
)
