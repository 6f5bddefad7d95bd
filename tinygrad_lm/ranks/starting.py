"""What a program of several ranks does first, before MPI: it looks where it stands, gets a witness,
and takes its share of the cores."""

from __future__ import annotations

import importlib.util
import os

from ..engine.arrays import set_num_threads
from . import witness
from .environment import Place, place, set_torchrun, threads


def begin() -> Place | None:
    """Call it as early as can be, once or more; None in a process that mpiexec did not start.

    ImportError: there is no mpi4py. RuntimeError: torchrun's variables say something else."""
    here = place()
    set_torchrun(here)
    if here is None:
        return None
    if importlib.util.find_spec("mpi4py") is None:
        raise ImportError(
            f"[ranks] {here.size} ranks must have mpi4py to talk to each other, which is not "
            "installed; pip install 'tinygrad_lm[mpi]'?"
        )
    if not Begun.done:
        Begun.done = True
        count = threads(here)
        witness.start(here)
        if not {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"} & {*os.environ}:
            set_num_threads(count)
    return here


class Begun:
    """Whether this process has begun."""

    done = False
