"""Where this process stands among those that mpiexec started, by what it left in the environment:
known before MPI starts, and without mpi4py."""

from __future__ import annotations

import os
import re
from typing import NamedTuple


class Place(NamedTuple):
    """A rank, 0 <= rank < size, and the same among the ranks of its machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int


# How each says it: rank, size, and both among those of the machine. Slurm's batch script has all of
# Slurm's variables as well, so one of PMI's or PMIx's must be there.
SAID = (
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),  # Open MPI
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),  # MPICH, Intel MPI
    ("PMI_RANK", "PMI_SIZE", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),  # srun --mpi=pmi2
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),  # =pmix
)
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # in the order of Place
# Where torchrun's ranks find each other. Ours do that through MPI; scripts may read it anyway.
MASTER = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def place() -> Place | None:
    """None for a process that no mpiexec or srun started."""
    for names in SAID:
        if all(name in os.environ for name in names):
            return Place(*(_number(os.environ[name]) for name in names))
    return None


def _number(said: str) -> int:
    """3, and of Slurm's 2(x3),1, which says 2, 2, 2, 1 for its machines, this machine's."""
    machines: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", said):
        machines += [int(count)] * int(times or 1)
    return machines[int(os.environ.get("SLURM_NODEID", 0)) if len(machines) > 1 else 0]


def set_torchrun(place: Place | None) -> None:
    """Set the variables that torchrun sets, where they are missing, for scripts that ask for them.

    RuntimeError: they are there and say something else."""
    if place is None:
        size = os.environ.get("WORLD_SIZE", "1")
        if size != "1":
            raise RuntimeError(
                f"[ranks] without mpiexec WORLD_SIZE must be 1 or not set, got {size}; "
                f"start with mpiexec -n {size} instead of torchrun"
            )
        return
    wanted = dict(zip(TORCHRUN, map(str, place)))
    for name, value in wanted.items():
        if os.environ.get(name, value) != value:
            raise RuntimeError(
                f"[ranks] {name} must be what mpiexec says, {value}, got {os.environ[name]}; "
                "start with mpiexec alone, without torchrun, and unset it"
            )
    for name, value in {**wanted, **MASTER}.items():
        os.environ.setdefault(name, value)


def threads(place: Place) -> int:
    """How many threads a rank may use: the cores it is bound to, or its share of those that all
    ranks of the machine may use. To be asked before `witness.start`."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, (os.cpu_count() or 1) // place.local_size)
    mine, starter = os.sched_getaffinity(0), os.sched_getaffinity(os.getppid())
    ranks = place.local_size if mine >= starter else 1  # Open MPI binds, and MPICH does not
    return max(1, len(mine) // ranks)
