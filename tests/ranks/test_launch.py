"""What tests of ranks start from: two ranks run, their exit code and output arrive, and nothing is
left of a run that hangs."""

import subprocess
import time

import pytest
from launch import run, start

pytestmark = pytest.mark.mpi


def test_two_ranks_start_and_one_of_them_fails():
    program = """
import sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
sys.stdout.write(f"{comm.rank} of {comm.size}\\n")
sys.stdout.flush()
comm.Barrier()
if comm.rank:
    comm.Abort(7)
comm.Barrier()
"""
    done = run(2, program)
    assert sorted(done.out.splitlines()) == ["0 of 2", "1 of 2"]
    assert done.code == 7 and done.left == [], done


def test_nothing_is_left_of_a_run_that_hangs():
    hangs = start(2, "import time; print('here', flush=True); time.sleep(60)")
    hangs.until("here")
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        hangs.finish(timeout=0.5)
    assert hangs.pids() == [] and time.monotonic() - begun < 5
