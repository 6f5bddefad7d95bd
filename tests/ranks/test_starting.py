"""Where a process stands among ranks, what ends all of them, what a script at the door finds."""

import os
import re
import subprocess
import sys
import threading

import pytest
from launch import ROOT, run

from tinygrad_lm.ranks import environment, faults
from tinygrad_lm.ranks.environment import Place

OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}
SLURM = {"SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5"}
TASKS = {"SLURM_STEP_TASKS_PER_NODE": "3,4(x1),1", "SLURM_NODEID": "1"}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


@pytest.fixture
def given(monkeypatch):
    """Sets an environment that has nothing else about ranks in it."""

    def set_it(names):
        for name in [*os.environ]:
            if re.match("OMPI_|PMIX?_|MPI_|SLURM_|MASTER_|(LOCAL_)?(RANK|WORLD_SIZE)$", name):
                monkeypatch.delenv(name)
        for name in (*TORCHRUN, "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.setenv(name, "")  # what a test sets later is undone
            monkeypatch.delenv(name)
        for name, value in names.items():
            monkeypatch.setenv(name, value)

    return set_it


@pytest.mark.parametrize(
    "names",
    [
        OPEN_MPI,
        MPICH,
        {"PMI_RANK": "5", "PMI_SIZE": "8", **SLURM, **TASKS},
        {"PMIX_RANK": "5", **SLURM, **TASKS},
        {"PMIX_RANK": "5", **SLURM, "SLURM_STEP_TASKS_PER_NODE": "4(x2)", "SLURM_NODEID": "1"},
        {"PMIX_RANK": "5", **SLURM, "SLURM_STEP_TASKS_PER_NODE": "4", "SLURM_NODEID": "0"},
    ],
)
def test_each_says_where_a_process_stands(given, names):
    given(names)
    assert environment.place() == Place(5, 8, 1, 4)


@pytest.mark.parametrize(
    "names", [{}, {**SLURM, **TASKS}, TORCHRUN], ids=["", "sbatch", "torchrun"]
)
def test_outside_of_mpiexec_there_is_no_place(given, names):
    given(names)
    assert environment.place() is None


def test_variables_of_torchrun_are_set_where_they_are_missing(given):
    given({**OPEN_MPI, "MASTER_ADDR": "there"})
    environment.set_torchrun(environment.place())
    environment.set_torchrun(environment.place())
    assert {name: os.environ[name] for name in TORCHRUN} == TORCHRUN
    assert os.environ["MASTER_ADDR"] == "there" and int(os.environ["MASTER_PORT"])


def test_variables_that_disagree_are_refused(given):
    given({**MPICH, **TORCHRUN, "LOCAL_RANK": "2"})
    with pytest.raises(RuntimeError, match="LOCAL_RANK must be what mpiexec says, 1, got 2"):
        environment.set_torchrun(environment.place())
    given({"WORLD_SIZE": "4"})
    with pytest.raises(RuntimeError, match="WORLD_SIZE must be 1 .* mpiexec -n 4 instead"):
        environment.set_torchrun(environment.place())
    given({"WORLD_SIZE": "1", "RANK": "0"})
    environment.set_torchrun(environment.place())


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are not said here")
@pytest.mark.parametrize(
    "mine, starter, local_size, expected",
    [(16, 16, 4, 4), (16, 16, 3, 5), (2, 2, 4, 1), (1, 16, 4, 1), (4, 16, 4, 4)],
)
def test_cores_are_shared_unless_ranks_are_bound_apart(
    monkeypatch, mine, starter, local_size, expected
):
    cores = {0: {*range(mine)}, os.getppid(): {*range(starter)}}
    monkeypatch.setattr(os, "sched_getaffinity", cores.get)
    assert environment.threads(Place(0, 8, 0, local_size)) == expected


@pytest.fixture
def ended():
    """Codes that all ranks would have ended with."""
    codes = []
    before = sys.excepthook, threading.excepthook
    for _ in range(2):  # a second one changes nothing
        faults.install(lambda: "rank 1 of 4, step 17", codes.append)
    yield codes
    faults.remove()
    faults.remove()
    assert (sys.excepthook, threading.excepthook) == before


def test_an_exception_ends_all_ranks_and_is_shown_once(ended, capsys, monkeypatch):
    # PyTorch, where a test has imported it, has a hook that puts a rank before each line.
    monkeypatch.setattr(faults.Installed, "before", (sys.__excepthook__, threading.excepthook))

    class Stopped(KeyboardInterrupt):
        exit_code = 143

    for error in (ValueError("x must be 1\ngot 2"), KeyboardInterrupt(), Stopped("signal 15")):
        sys.excepthook(type(error), error, None)
    err = capsys.readouterr().err.splitlines()
    assert err[:3] == [
        "[ranks] rank 1 of 4, step 17, ended with ValueError: x must be 1",
        "ValueError: x must be 1",
        "got 2",
    ]
    assert err[3] == "[ranks] rank 1 of 4, step 17, ended with KeyboardInterrupt"
    assert ended == [1, 130, 143]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_in_a_thread_does_as_well(ended, capsys):
    for program, codes in (lambda: 1 / 0, [1]), (sys.exit, [1]):
        thread = threading.Thread(target=program)
        thread.start()
        thread.join()
        assert ended == codes
    assert "ended with ZeroDivisionError: division by zero, in a thread" in capsys.readouterr().err


def test_an_exit_code_does_as_well(ended, capsys):
    for code in (0, None, 3, "no such file"):
        faults.leaving(code)
    assert ended == [3, 1]
    assert capsys.readouterr().err.splitlines() == [
        "[ranks] rank 1 of 4, step 17, ended with exit code 3",
        "no such file",
        "[ranks] rank 1 of 4, step 17, ended with exit code 1",
    ]


def test_a_program_alone_is_left_as_it_is(tmp_path):
    """No witness, no hook, no variable; and what torchrun has started is told to use mpiexec."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys; print(os.environ.get('RANK'), sys.excepthook is sys.__excepthook__)"
    )
    names = {name: value for name, value in os.environ.items() if name not in TORCHRUN}
    for more, code, said in ({}, 0, "None True\n"), ({"WORLD_SIZE": "4"}, 2, "mpiexec -n 4"):
        done = subprocess.run(
            [sys.executable, "-m", "tinygrad_lm.as_torch", script],
            env={**names, "PYTHONPATH": str(ROOT), **more},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code and said in (done.stderr if code else done.stdout), done


SCRIPT = """
import os, sys
ddp = int(os.environ.get("RANK", -1)) != -1  # as nanoGPT asks
import torch
from tinygrad_lm.ranks.group import world
from tinygrad_lm.ranks.witness import Shared
group = world()
assert ddp and group.rank == int(os.environ["LOCAL_RANK"]) and Shared.on
assert group.size == int(os.environ["WORLD_SIZE"]) and torch.get_num_threads() >= 1
group.step = 17
assert group.gather(group.rank) == [0, 1]
if group.rank == 1:
    exec(sys.argv[1])
group.gather(None)
"""
FAILS = {
    "pass": (0, ""),
    "raise ValueError('here')": (1, "rank 1 of 2, step 17, ended with ValueError: here"),
    "sys.exit(3)": (3, "rank 1 of 2, step 17, ended with exit code 3"),
    "os.kill(os.getpid(), 9)": (
        (9, 137),  # MPICH, Open MPI
        r"rank 1 of 2 \(process \d+ on \S+\) was killed by signal 9 \(out of memory\?\) at step 17",
    ),
    "os.kill(os.getppid(), 9)": ((9, 137), ""),
}


@pytest.mark.mpi
@pytest.mark.parametrize("program", FAILS)
def test_one_rank_fails_and_all_end(tmp_path, program):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run(2, ["-m", "tinygrad_lm.as_torch", tmp_path / "script.py", program], timeout=20)
    codes, said = FAILS[program]
    assert done.code in (codes if isinstance(codes, tuple) else (codes,)), done
    assert re.search(said, done.err) and done.left == [], done
    assert done.err.count("[ranks]") == bool(said), done


@pytest.mark.mpi
def test_what_is_missing_is_named(tmp_path):
    """mpi4py, its library, and that it is of another MPI than mpiexec."""
    module = tmp_path / "mpi4py"
    module.mkdir()
    (tmp_path / "script.py").write_text("")
    alone = (
        "class C: rank, size = 0, 1\nclass MPI: COMM_WORLD, Get_library_version = C, lambda: 'X'"
    )
    for text, said in (
        ("raise ModuleNotFoundError('mpi4py')", "pip install 'tinygrad_lm[mpi]'"),
        ("raise RuntimeError('cannot load MPI library\\nlibmpi.so: no')", "must find the library"),
        (alone, "got rank 1 of 2 from mpiexec and rank 0 of 1 from X; start with"),
    ):
        (module / "__init__.py").write_text(text)
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        done = run(2, ["-m", "tinygrad_lm.as_torch", tmp_path / "script.py"], PYTHONPATH=path)
        assert done.code == 2 and said in done.err and "Traceback" not in done.err, done
