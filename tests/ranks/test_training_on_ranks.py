"""A run on several ranks is, bit for bit, the run of one process, also when it is stopped, and when
it goes on with another number of them; all refuse what one refuses. Rank 0 alone writes."""

import json
import os
import signal
import subprocess
import sys

import pytest
from launch import ROOT, run, start

pytestmark = pytest.mark.mpi

# What all programs here begin with: a small run, whose folder argv[1] has the text.
BEGIN = """
import hashlib, json, os, sys
from pathlib import Path
import tinygrad_lm as torch
from tinygrad_lm import cli
from tinygrad_lm.ranks.group import world
from tinygrad_lm.training import Interrupted, NotFinite, TrainConfig, Trainer, run, train

home, group = Path(sys.argv[1]), world()
run.save_loss_curve = lambda *files: "no picture"
TINY = {
    "data": str(home / "text.txt"), "n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 16,
    "batch_size": 3, "dropout": 0.2, "threads": 1, "warmup_iters": 1, "lr_decay_iters": 9,
    "learning_rate": 1e-2, "eval_interval": 2, "eval_iters": 3, "log_interval": 1,
    "sample_tokens": 3, "max_iters": 3,
}

def config(out, **changes):
    return TrainConfig(**{**TINY, "out": str(home / out), **changes})

def bits(trainer):
    \"\"\"Of all parameters, the same on all ranks.\"\"\"
    parameters = (p.detach().numpy().tobytes() for p in trainer.model.parameters())
    found = group.gather(hashlib.sha256(b"".join(parameters)).hexdigest())
    assert len({*found}) == 1, found
    return found[0]

def measured(out):
    \"\"\"All numbers of a run but those of the clock.\"\"\"
    lines = (home / out / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    clock = ("seconds", "tokens_per_second")
    return [{k: v for k, v in event.items() if k not in clock} for event in events]

def say(*what):
    if group.rank == 0:
        print(*what, flush=True)
"""
LAW = """
for out in sys.argv[2:]:  # M and what else there is
    count, _, more = out.partition("-")
    plain = {"dropout": 0.0, "gradient_checkpointing": True, "shuffle": True}
    half = {"dtype": "bfloat16", "gradient_checkpointing": True}
    changes = {"": {}, "plain": plain, "zero": {"zero": True}, "half": half}[more]
    trainer = train(config(out, gradient_accumulation_steps=int(count), **changes), overwrite=True)
    found = bits(trainer)
    say("law", out, found, measured(out) if group.rank == 0 else "")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "text.txt").write_text("the cat sat on the mat; a dog ate that hat. " * 60)
    return folder


def alone(program, *arguments):
    """What one process without MPI prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BEGIN + program, *map(str, arguments)]
    return subprocess.check_output(command, env=environment, text=True)


def on_ranks(n, program, *arguments, **how):
    return run(n, ["-c", BEGIN + program, *arguments], **how)


def lines(text, word):
    return [line for line in text.splitlines() if line.startswith(word)]


RUNS = ("1", "2", "3", "4", "6", "3-plain", "2-zero", "3-half")


@pytest.fixture(scope="module")
def one_process(home):
    found = dict(zip(RUNS, lines(alone(LAW, home, *RUNS), "law"), strict=True))
    assert found["2-zero"].split(" ", 2)[2] == found["2"].split(" ", 2)[2]
    assert len({*found.values()}) == len(RUNS)
    return found


@pytest.mark.parametrize(
    "size, runs",
    [
        (1, ("2", "6")),
        (2, ("1", "2", "3", "4", "2-zero")),
        (3, ("6", "3-plain", "3-half")),
        (4, ("2", "4")),
    ],
)
def test_any_number_of_ranks_has_the_bits_of_one_process(home, one_process, size, runs):
    done = on_ranks(size, LAW, home, *runs)
    assert done.code == 0, done
    assert lines(done.out, "law") == [one_process[name] for name in runs]


def test_a_run_goes_on_bit_for_bit_on_another_number_of_ranks(home):
    program = """
out, steps, resume = sys.argv[2], int(sys.argv[3]), len(sys.argv) > 4
changes = {"gradient_accumulation_steps": 4, "shuffle": True, "zero": group.size == 4}
trainer = train(config(out, max_iters=steps, **changes), resume=resume)
found = bits(trainer)
say("bits", found, measured(out) if group.rank == 0 else "")
"""
    whole = alone(program, home, "whole", 6)
    for n, steps, resume in ((4, 2, []), (1, 4, ["resume"]), (2, 6, ["resume"])):
        done = on_ranks(n, program, home, "parts", steps, *resume)
        assert done.code == 0, done
    assert lines(done.out, "bits") == lines(whole, "bits")


def test_only_rank_0_writes_and_prints(home):
    flags = "--n-layer 1 --n-embd 16 --block-size 16 --max-iters 2 --eval-iters 2 --sample-tokens 0"
    command = ["-m", "tinygrad_lm", "train", "--data", home / "text.txt", *flags.split()]
    done = run(2, [*command, "--out", home / "two"])
    assert done.code == 0 and done.err == "", done
    said = done.out.splitlines()
    assert [line.partition(" ")[0] for line in said[1:3]] == ["step", "step"], done
    assert said[0].endswith("from step 0; 2 ranks") and len(lines(done.out, "saved in")) == 1
    assert len(said) == len({*said}), done
    there = sorted(path.name.partition(".")[0] for path in (home / "two").iterdir())
    assert there == ["best", "best", "last", "last", "loss", "metrics"], there
    metrics = (home / "two" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in metrics] == [0, 0, 2]


# A run on each of these, which one rank or all ask for differently, ends alike on all ranks.
REFUSED = """
from tinygrad_lm.training.run import Run
(home / "other.txt").write_text("another text. " * 200)
last, model_of = group.rank == group.size - 1, Run._model
cases = {
    "seed": lambda: config("never", seed=1 if last else 2),
    "text": lambda: config("never", data=str(home / ("other.txt" if last else "text.txt"))),
    "missing": lambda: config("never", data=str(home / ("none.txt" if last else "text.txt"))),
    "all": lambda: config("never", data=str(home / "none.txt")),
    "model": lambda: config("never"),
    "version": lambda: config("never"),
}
def another(self, *given):
    model, tokens = model_of(self, *given)
    model.lm_head.weight.data[0] += last
    return model, tokens
for name, case in cases.items():
    Run._model = another if name == "model" else model_of
    torch.__version__ = "9" if last and name == "version" else "8"
    try:
        train(case())
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    said = group.gather(found)
    assert len({*said}) == 1, said
    say(name, said[0])
assert not (home / "never").exists()
"""


def test_ranks_that_disagree_are_refused_at_the_start(home):
    done = on_ranks(3, REFUSED, home)
    assert done.code == 0, done
    said = dict(line.split(" ", 1) for line in done.out.splitlines())
    both = "must be the same on all ranks, got {} on ranks 0, 1 and {} on rank 2; "
    assert said["seed"].startswith("ValueError: [ranks] seed " + both.format(2, 1)), said
    assert "the sha256 of the text must be the same" in said["text"]
    assert said["missing"].startswith("FileNotFoundError: [load_text]"), said
    assert said["missing"].endswith("(on rank 2 of 3)") and "on rank" not in said["all"]
    assert "[ranks] the sha256 of the parameters must be the same" in said["model"]
    assert "[ranks] the version of tinygrad_lm " + both.format("'8'", "'9'") in said["version"]


def test_wrong_input_is_one_line_and_exit_code_2(home):
    program = """
arguments = ["train", "--data", str(home / ("none.txt" if group.rank else "text.txt"))]
sys.exit(cli.main(arguments + ["--out", str(home / "never")]))
"""
    done = on_ranks(2, program, home)
    assert done.code == 2 and len(done.err.splitlines()) == 1, done
    assert "none.txt" in done.err and done.err.endswith("(on rank 1 of 2)\n"), done


def test_a_wrong_flag_on_one_rank_is_one_line_and_ends_all(home):
    program = """
import sys
from tinygrad_lm import cli
from tinygrad_lm.ranks.environment import place
wrong = ["--sead=3"] if place().rank == 1 else []
sys.exit(cli.main(["train", "--out", sys.argv[1] + "/never", *wrong]))
"""
    done = run(3, ["-c", program, home], timeout=20)
    assert done.code == 2 and len(done.err.splitlines()) == 1, done
    assert "there is no --sead=3; did you mean --seed?" in done.err and not done.out, done


def test_a_loss_that_is_not_finite_names_its_rank_and_batch(home):
    program = """
steps = Trainer.update
def update(trainer):
    if trainer.step == 1 and group.rank == 1:
        trainer.model.transformer.ln_f.register_forward_hook(lambda m, i, out: out * float("nan"))
    return steps(trainer)
Trainer.update = update
try:
    train(config("nan", gradient_accumulation_steps=4), overwrite=True)
except NotFinite as error:
    assert group.gather(str(error)) == [str(error)] * 2
    say("bad", error)
"""
    done = on_ranks(2, program, home)
    assert done.code == 0, done
    (said,) = lines(done.out, "bad")
    assert said.startswith(
        "bad [train] step 1: every loss must be finite, got nan, first in the"
    ), said
    assert ", in batch 2; " in said and said.endswith("(on rank 1 of 2)"), said


def test_a_signal_to_one_rank_stops_all_at_one_step_and_saves(home):
    program = """
say("processes", *group.gather(os.getpid()))
out, steps, resume = sys.argv[2], int(sys.argv[3]), len(sys.argv) > 4
try:
    between = {"eval_interval": 1000, "gradient_accumulation_steps": 2}
    trainer = train(config(out, max_iters=steps, **between), resume=resume)
except Interrupted as stop:
    group.gather(0)
    sys.exit(stop.exit_code)
found = bits(trainer)
say("bits", found)
"""
    with start(2, ["-c", BEGIN + program, home, "stopped", 100_000]) as stopped:
        said = stopped.until("step 5/")
        (processes,) = lines(said, "processes")
        os.kill(int(processes.split()[2]), signal.SIGTERM)
        done = stopped.finish()
    (saved,) = lines(done.out, "saved step")
    step = int(saved.split()[2])
    assert done.code == 143 and step >= 5, done
    found = alone(program, home, "stopped", step + 2, "resume")
    assert lines(found, "bits") == lines(alone(program, home, "unstopped", step + 2), "bits")
