"""What a program of several ranks does before MPI starts: it looks where it stands, gets a witness,
and takes its share of the cores."""

from __future__ import annotations

import os
from typing import Any

from ..engine.arrays import set_num_threads
from . import witness
from .environment import Place, place, set_torchrun, threads


def begin() -> Place | None:
    """None in a process that mpiexec did not start.

    RuntimeError: torchrun's variables are there and say something else."""
    here = place()
    set_torchrun(here)
    if here is not None:
        count = threads(here)
        witness.start(here)
        if not {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"} & {*os.environ}:
            set_num_threads(count)
    return here


def mpi(here: Place) -> Any:
    """mpi4py.MPI, which starts MPI.

    ImportError, RuntimeError: it is not there, or of another MPI than mpiexec."""
    try:
        from mpi4py import MPI
    except ModuleNotFoundError:
        raise ImportError(
            f"[ranks] {here.size} ranks must have mpi4py to talk to each other, and it is not "
            "installed; pip install 'tinygrad_lm[mpi]'?"
        ) from None
    except (ImportError, RuntimeError) as error:
        raise RuntimeError(
            "[ranks] mpi4py must find the library of an MPI, got: "
            f"{str(error).splitlines()[0]}; the README says how to get one, at Several processes"
        ) from None
    found = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
    if found != here[:2]:
        library = MPI.Get_library_version().split("\n")[0].strip("\0 ")
        raise RuntimeError(
            "[ranks] mpiexec and the library of mpi4py must be of one MPI, got rank {} of {} from "
            "mpiexec and rank {} of {} from ".format(*here[:2], *found)
            + f"{library}; start with the mpiexec that belongs to it"
        )
    return MPI
