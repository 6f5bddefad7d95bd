"""A worker and its witness behave as one process does, but that a worker that is killed is named.
Without MPI, which a witness comes before."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch import ROOT

from tinygrad_lm.engine.kernels.c import fast

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no witness elsewhere")

START = """
import os, signal, sys, time
from tinygrad_lm.ranks import witness
from tinygrad_lm.ranks.environment import Place
parent = os.getpid()
started = witness.start(Place(1, 4, 1, 4))
def ready():
    print("ready", started, os.getpid(), flush=True)
"""
COUNTS = """
got = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: got.append(number))
ready()
while signal.SIGUSR1 not in got:
    time.sleep(0.01)
time.sleep(0.2)  # would one come twice?
print(*sorted(got))
"""


def popen(program, **options):
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", START + program]
    return subprocess.Popen(command, text=True, env=environment, **options)


def plain(program, **environment):
    """Without a line that is waited for; a warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def worker_of(process):
    word, started, pid = process.stdout.readline().split()
    assert (word, started) == ("ready", "True") and int(pid) != process.pid
    return int(pid)


def state(pid):
    """R, S, T (stopped), Z (ended), or nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_worker_is_named_with_its_step():
    for number, guess in (signal.SIGKILL, " (out of memory?)"), (signal.SIGSEGV, ""):
        kills = f"witness.at_step(17); ready(); os.kill(os.getpid(), {int(number)})"
        process = popen(kills, stderr=subprocess.PIPE)
        worker = worker_of(process)
        _, err = process.communicate(timeout=20)
        where = f"[ranks] rank 1 of 4 (process {worker} on {os.uname().nodename})"
        assert err == f"{where} was killed by signal {int(number)}{guess} at step 17\n"
        assert process.returncode == -number


def test_each_dies_with_the_other():
    process = popen("ready(); time.sleep(60)")
    worker = worker_of(process)
    process.kill()
    until(lambda: state(worker) in ("", "Z"))
    process.communicate()


@pytest.mark.parametrize("program, code", [("sys.exit(3)", 3), ("1 / 0", 1), ("os._exit(4)", 4)])
def test_exit_codes_and_streams_are_the_workers(program, code):
    process = popen(
        f"print(sys.stdin.read(), flush=True); {program}",
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate("from stdin", timeout=20)
    assert out == "from stdin\n" and process.returncode == code
    assert err.splitlines()[-1:] == ["ZeroDivisionError: division by zero"] * (program == "1 / 0")


def test_what_was_printed_before_comes_once_and_python_warns_of_nothing():
    early = "import sys; sys.stdout.write('early '); sys.stderr.write('early ')\n"
    done = plain(early + START + "print(started)", PYTHONUNBUFFERED="")
    assert (done.stdout, done.stderr) == ("early True\n", "early ")


@pytest.mark.parametrize("to_group", [False, True])
def test_a_signal_comes_once(to_group):
    """To the process that mpiexec knows, or to its group, as both MPIs send them."""
    process = popen(COUNTS, start_new_session=True)
    worker_of(process)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        (os.killpg if to_group else os.kill)(process.pid, number)
    out, _ = process.communicate(timeout=20)
    assert out == "1 2 10 15\n" and process.returncode == 0


def test_a_signal_that_is_not_caught_ends_both_without_a_word():
    """Who sent it knows."""
    process = popen("ready(); time.sleep(60)", stderr=subprocess.PIPE)
    worker_of(process)
    process.terminate()
    assert process.communicate(timeout=20)[1] == "" and process.returncode == -signal.SIGTERM


def test_what_is_ignored_stays_ignored_and_stopping_stops():
    process = popen("ready(); time.sleep(0.5)", preexec_fn=ignore_hangup)
    worker = worker_of(process)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTSTP)
    until(lambda: state(worker) == "T")
    process.send_signal(signal.SIGCONT)
    until(lambda: state(worker) != "T")
    assert process.wait(20) == 0
    process.stdout.close()


def ignore_hangup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.parametrize("reads", [False, True], ids=["writes to a terminal", "reads from one"])
def test_ctrl_c_comes_once(reads):
    """What may read from a terminal has no witness: only one group of processes can."""
    count = COUNTS.replace("SIGUSR1 not in", "SIGINT not in")
    program = "import fcntl, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0)\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    keyboard, screen = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program + START + count],
        stdin=screen if reads else subprocess.DEVNULL,
        stdout=screen,
        stderr=screen,
        env=environment,
        start_new_session=True,
    )
    os.close(screen)
    printed = b""
    while b"\n" not in printed:
        printed += os.read(keyboard, 1000)
    assert printed.split()[:2] == [b"ready", b"False" if reads else b"True"]
    os.write(keyboard, b"\x03")
    assert process.wait(20) == 0
    assert os.read(keyboard, 1000).split() == [b"^C2"]  # as the terminal shows a Ctrl-C
    os.close(keyboard)


TRAINS = """
import hashlib
import tinygrad_lm as tl
from tinygrad_lm.nn import functional as F
def train(steps):
    tl.manual_seed(1)
    x, y = tl.randn(512, 256), tl.randint(0, 512, (512,))
    w = [tl.randn(256, 512, requires_grad=True), tl.randn(512, 512, requires_grad=True)]
    for _ in range(steps):
        loss = F.cross_entropy(F.gelu(x @ w[0]) @ w[1], y)
        for each in w:
            each.grad = None
        loss.backward()
        for each in w:
            each.data -= 0.01 * each.grad
    return hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in w)).hexdigest()
tl.set_num_threads(2)
"""


def test_threads_work_in_a_worker_after_they_worked_before_the_fork():
    before, _, after = START.partition("parent = ")
    program = f"{before}\n{TRAINS}\nprint(train(3))\nparent = {after}"
    program += "tasks = lambda: len(os.listdir('/proc/self/task'))\n"
    program += "few = tasks(); print(train(3), started, few, tasks() > 1)"
    done = plain(program, OPENBLAS_NUM_THREADS="2", OMP_NUM_THREADS="2")
    first, again, *rest = done.stdout.split()
    # Without C the threads are Python's, and then there is no witness.
    assert first == again and rest[0] == str(fast is not None), done
    assert fast is None or rest[1:] == ["1", "True"], done


@pytest.mark.parametrize(
    "before",
    [
        "import threading; threading.Thread(target=time.sleep, args=(0.5,)).start()",
        "sys.modules['mpi4py.MPI'] = sys",
        "sys.modules['cupy'] = sys",
        "import subprocess; subprocess.Popen(['sleep', '0.2'])",
    ],
)
def test_without_a_witness_where_a_fork_may_lose_something(before):
    program = START.replace("parent =", f"{before}\nparent =") + "print(started)"
    assert plain(program).stdout == "False\n"
