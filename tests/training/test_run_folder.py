"""A run and what happens to it: another process in its folder, a closed terminal, a reader that
leaves, a folder that goes away, files of others, memory that is too small. Nothing is lost."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli import (
    ENVIRONMENT,
    LONG,
    TINY,
    here,  # noqa: F401
    only_error,
    start_train,
    train,
    wait_for,
)

from tinygrad_lm.cli import main
from tinygrad_lm.saving import checkpoint
from tinygrad_lm.training import TrainConfig, folder, memory

pytestmark = pytest.mark.usefixtures("here")


def ended(process, timeout=60):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def metrics():
    return Path("run/metrics.jsonl").read_text().splitlines()


def saved_step():
    return checkpoint.load_checkpoint("run")[1]["step"]


# ---------------------------------------------------------------- two runs in one folder


@pytest.mark.parametrize("flags", [["--overwrite"], ["--resume"]])
def test_a_second_run_in_the_folder_is_refused_and_the_first_goes_on(flags):
    first = start_train("run", *LONG)
    wait_for(first, "step 3/")
    code, _, err = ended(start_train("run", *LONG, *flags))
    assert code == 2 and err.count("\n") == 1
    assert f"in use by another run, got process {first.pid} on {socket.gethostname()}" in err
    code, _, err = ended(first)
    assert (code, err) == (0, "")
    steps = [json.loads(line)["step"] for line in metrics()]
    assert steps == sorted(steps) and not Path("run/.tinygrad_lm.lock").exists()


def test_of_two_that_start_at_once_one_trains():
    both = [start_train("run", *LONG) for _ in range(2)]
    codes = sorted(ended(process)[0] for process in both)
    assert codes == [0, 2] and saved_step() == 400


def test_a_lock_whose_process_is_gone_is_taken_over():
    process = start_train("run", *LONG)
    wait_for(process, "step 120/")
    process.kill()
    ended(process)
    assert Path("run/.tinygrad_lm.lock").read_text().split()[0] == str(process.pid)
    assert main(["train", "--out", "run", "--resume"]) == 0
    assert not Path("run/.tinygrad_lm.lock").exists() and saved_step() == 400


def test_a_run_in_use_may_be_sampled(capsys):
    process = start_train("run", *LONG)
    wait_for(process, "step 3/")
    assert main(["sample", "--checkpoint", "run", "--max-new-tokens", "3"]) == 0
    process.kill()
    ended(process)


def test_a_lock_is_let_go_whatever_happens(monkeypatch):
    def breaks(*args):
        raise RuntimeError("[here] broken")

    monkeypatch.setattr("tinygrad_lm.training.run.Run.loop", breaks)
    assert train() == 2 and not Path("run/.tinygrad_lm.lock").exists()
    monkeypatch.setattr("tinygrad_lm.training.run.Run._begin", breaks)
    assert train() == 2 and not Path("run/.tinygrad_lm.lock").exists()


# ---------------------------------------------------------------- files of others


@pytest.mark.parametrize("name", ["metrics.jsonl", "loss.png"])
def test_a_file_that_no_run_wrote_is_left_alone(capsys, name):
    Path("run").mkdir()
    Path("run", name).write_text("mine")
    assert train() == 2
    assert f"files of others under a run's names, got ['{name}']" in only_error(capsys)
    assert Path("run", name).read_text() == "mine" and os.listdir("run") == [name]
    assert train("--overwrite") == 0


def test_what_a_killed_process_left_half_written_goes_at_the_next_start():
    assert train() == 0
    left = Path("run", ".loss.png.0123456789abcdef.tmp")
    left.write_bytes(b"half")
    assert main(["train", "--out", "run", "--resume"]) == 0 and not left.exists()


@pytest.mark.parametrize("how", ["delete", "move", "make anew"])
def test_a_folder_that_goes_away_ends_the_run_with_an_error(how):
    process = start_train("run", *LONG)
    wait_for(process, "step 30/")
    os.rename("run", "elsewhere")
    if how == "make anew":
        os.mkdir("run")
    code, _, err = ended(process)
    assert code == 2 and "'run' must stay in its place until the run ends" in err
    assert not os.path.exists("run") or os.listdir("run") == []
    assert checkpoint.load_checkpoint("elsewhere")[1]["step"] == 0


# ---------------------------------------------------------------- who listens


def test_a_closed_terminal_saves():
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)}  # nohup or not
    process = start_train("run", *LONG, **heard)
    wait_for(process, "step 37/")
    for _ in range(2):  # kernel and shell send one each
        process.send_signal(signal.SIGHUP)
        time.sleep(0.001)
    code, out, err = ended(process)
    assert (code, err) == (129, "")
    assert saved_step() == int(re.search(r"saved step (\d+) in run", out)[1]) >= 37


def test_nohup_is_respected():
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = start_train("run", *LONG, **ignored)
    wait_for(process, "step 37/")
    process.send_signal(signal.SIGHUP)
    assert ended(process)[0] == 0 and saved_step() == 400


def test_a_terminal_that_is_gone_saves():
    """Its other end closed, with no signal: what is written to it fails."""
    ours, theirs = os.openpty()
    process = start_train("run", *LONG, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    seen = b""
    while b"step 0: train" not in seen:
        seen += os.read(ours, 65536)
    os.close(ours)
    assert process.wait(timeout=60) in (129, 141) and saved_step() < 400
    assert main(["train", "--out", "run", "--resume"]) == 0 and saved_step() == 400


def test_a_reader_that_leaves_costs_nothing():
    """As in `tinygrad-lm train | head`."""
    process = start_train("run", *LONG)
    wait_for(process, "step 37/")
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()
    step = saved_step()
    assert 37 <= step < 400
    assert main(["train", "--out", "run", "--resume"]) == 0


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_closed_streams_do_not_stop_a_run(closed):
    """As cron and daemons start programs."""
    redirects = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[number] for number in closed)
    flags = " ".join([*TINY, "--max-iters", "4"])
    command = f"{sys.executable} -m tinygrad_lm train --data text.txt --out run {flags} {redirects}"
    assert subprocess.run(command, shell=True, env=ENVIRONMENT, timeout=60).returncode == 0
    assert saved_step() == 4
    assert all(map(json.loads, metrics()))  # and nothing else came into a file


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(
    ("flags", "lower"),
    [
        (["--n-embd", "200000"], "lower n_embd or n_layer?"),
        (["--batch-size", "1000000000"], "lower batch_size or block_size?"),
    ],
)
def test_what_cannot_fit_is_refused_before_it_starts(capsys, flags, lower):
    assert train(*flags) == 2
    error = only_error(capsys)
    assert re.search(r"[\d.]+ GiB of memory must be enough, got a model of at least", error)
    assert lower in error and not Path("run").exists()


def test_what_is_counted_is_less_than_what_a_run_takes():
    """Else a run that fits would be refused."""
    config = TrainConfig(n_layer=3, n_embd=256, batch_size=16, block_size=128)
    code = """
from pathlib import Path
from tinygrad_lm import randint
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.training.memory import needed
def most():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
before = most()
model = GPT(GPTConfig(vocab_size=500, block_size=128, n_layer=3, n_head=4, n_embd=256, dropout=0.0))
optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.95))
x = randint(500, (16, 128))
model(x, x)[1].backward()
optimizer.step()
print(most() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True
    )
    taken = int(done.stdout)
    counted = sum(memory.needed(config, 500))
    assert taken / 4 < counted < taken


def test_a_limit_of_the_process_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 20, 1 << 20))
    assert memory.available() <= 1 << 20
    with pytest.raises(MemoryError, match="GiB of memory must be enough"):
        memory.check_fits(TrainConfig(), 65)


def test_memory_that_runs_out_is_one_line(capsys, monkeypatch):
    def breaks(*args):
        raise MemoryError("Unable to allocate 14.9 GiB for an array with shape (2, 1000000000)")

    monkeypatch.setattr("tinygrad_lm.training.run.split_tokens", breaks)
    assert train() == 2
    assert "[train] what it makes must fit into memory, got: Unable to" in only_error(capsys)


# ---------------------------------------------------------------- what a run is made with


def test_a_run_that_goes_on_elsewhere_says_what_differs(capsys, monkeypatch):
    assert train() == 0
    now = folder.made_with()
    monkeypatch.setattr(folder, "np", type("numpy", (), {"__version__": "1.0"}))
    capsys.readouterr()
    assert main(["train", "--out", "run", "--resume", "--max-iters", "6"]) == 0
    assert f"made with numpy {now['numpy']}, now 1.0" in capsys.readouterr().out
    assert main(["train", "--out", "run", "--resume", "--max-iters", "8"]) == 0
    assert "made with" not in capsys.readouterr().out
