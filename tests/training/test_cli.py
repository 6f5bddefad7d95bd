"""The command line as its user meets it: flags, errors, pipes and terminals, signals at any moment.

What a run computes is in `test_training.py`. The processes started here see a tiny model.
"""

import dataclasses
import fcntl
import json
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tinygrad_lm.cli import main, parser
from tinygrad_lm.saving import checkpoint
from tinygrad_lm.training import PRESETS, TrainConfig, corpus, run, saved_config

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
TEXT = "the quick brown fox jumps over the lazy dog\n" * 60
TINY = (
    "--n-layer 1 --n-head 1 --n-embd 8 --block-size 8 --batch-size 2 --warmup-iters 2 "
    "--dropout 0.1 --eval-iters 2 --sample-tokens 5"
).split()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with a text, in which commands run, in this process or another."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT)
    monkeypatch.setattr(run, "save_loss_curve", lambda *files: "no picture")
    return tmp_path


def train(*flags, out="run", steps=4):
    """In this process: the exit code."""
    base = ["train", "--data", "text.txt", "--out", out, *TINY, "--max-iters", str(steps)]
    return main([*base, *flags])


def start(*flags, **options):
    """In a process of its own. Its pipes hold one page, here and in Linux's pipe: however slow we
    are, it gets no more than two pages of output (some 150 lines) ahead of what we have read."""
    command = [sys.executable, "-u", "-m", "tinygrad_lm", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "pipesize": 4096}
    return subprocess.Popen(command, **{"env": ENVIRONMENT, **pipes, **options})


def test_a_missing_gpu_is_one_line_and_only_for_who_computes(here):
    gpu = {**ENVIRONMENT, "TINYGRAD_LM_DEVICE": "cuda", "PYTHONPATH": f"{here}:{ROOT}"}
    (here / "cupy.py").write_text("raise ImportError")
    asked = start("sample", "--help", env=gpu)
    assert "--checkpoint" in asked.communicate()[0] and asked.returncode == 0
    refused = start("train", "--data", "text.txt", *TINY, env=gpu)
    assert re.fullmatch(r"tinygrad-lm train: .*needs CuPy.*\n", refused.communicate()[1])
    assert refused.returncode == 2


def start_train(out, *flags, **options):
    # no picture: this is about what happens before
    return start("train", "--data", "text.txt", "--out", out, *TINY, *flags, **options)


def result(folder):
    """All of a run but the clock, as comparable values."""
    arrays, meta = checkpoint.load_checkpoint(folder)
    for name in ("seconds", "metrics", "config", "made_with"):
        del meta[name]
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds", None), line.pop("tokens_per_second", None)
    return {name: array.tobytes() for name, array in arrays.items()}, meta, lines


def only_error(capsys):
    """The one line on stderr, where nothing else was said."""
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "Traceback" not in said.err
    return said.err


# ---------------------------------------------------------------- flags


def test_every_field_is_a_flag_with_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(TrainConfig):
        assert f"--{field.name.replace('_', '-')} " in shown
        assert field.metadata["help"] in shown
    assert all(name in shown for name in PRESETS)


def test_flags_become_fields_of_their_type():
    line = "train --n-layer 3 --dropout 0.25 --bias --threads 2 --data x --lr-decay-iters 7"
    given = vars(parser().parse_args(line.split()))
    assert {k: v for k, v in given.items() if k not in ("command", "run")} == {
        "n_layer": 3, "dropout": 0.25, "bias": True, "threads": 2, "data": "x", "lr_decay_iters": 7,
    }  # fmt: skip
    assert vars(parser().parse_args(["train", "--no-bias"]))["bias"] is False


def test_a_preset_is_a_start_that_flags_change(here):
    flags = ["--preset", "shakespeare-cpu", "--learning-rate", "0.01"]
    assert train(*flags) == 0
    config = saved_config("run")
    assert (config.learning_rate, config.eval_interval, config.n_layer) == (0.01, 250, 1)


@pytest.mark.parametrize(
    "flags, words",
    [
        ("train --n-layr 3", "there is no --n-layr; did you mean --n-layer?"),
        ("train --n_head=3", "there is no --n_head=3; did you mean --n-head?"),
        ("train --xyzzy", "there is no --xyzzy; see"),
        ("train --tokenizr bpe", "there is no --tokenizr; did you mean --tokenizer?; see"),
        ("train --data text.txt --tokenizer bpe --vocab-size 9", "vocab_size must be >= 257"),
        ("train --data text.txt --tokenizer nowhere", "a file must exist at 'nowhere', got none"),
        ("train --\x1b]0;owned\a", r"there is no --\x1b]0;owned\x07; see"),
        ("sample --checkpoint \x9b31m\x7f", r"[load_checkpoint] '\x9b31m\x7f' must hold"),
        ("train --data text.txt --n-head 1000000000", "try 128 heads"),
        ("train --n-layer three", "argument --n-layer: invalid int value: 'three'"),
        ("train --preset huge", "invalid choice: 'huge'"),
        ("train --resume --overwrite", "not allowed with argument"),
        ("train --dropout 1.5", "[TrainConfig] dropout must be in [0, 1), got 1.5"),
        ("train --data nowhere.txt", "an existing file, got 'nowhere.txt'"),
        ("train --data text.txt --n-head 3", "n_head must divide n_embd, got 3 and 128"),
        ("train --data text.txt --block-size 9999", "must be longer than block_size 9999"),
        ("train --data text.txt --device tpu", "[device]"),
        ("train --data latin.txt", "must be UTF-8, got byte 0xe9 at offset 3"),
        ("train --data windows.txt", "windows.txt' must be UTF-8, got UTF-16; re-encode"),
        ("train --data text.txt --out text.txt", "folder must be writable"),
        ("train --data text.txt --resume", "must hold a checkpoint 'last'"),
        ("train --data text.txt --init-from nowhere", "must hold a checkpoint 'best'"),
        ("sample --checkpoint nowhere", "must hold a checkpoint 'best', got no such folder"),
        ("sample", "required: --checkpoint"),
        ("sample --checkpoint x --top-q 3", "there is no --top-q; did you mean --top-"),
        ("write", "invalid choice: 'write'"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(here, capsys, flags, words):
    Path("latin.txt").write_bytes("café".encode("latin1"))
    Path("windows.txt").write_text("hello\r\n", "utf-16")
    try:
        code = main(flags.split())
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert words in only_error(capsys)
    assert not Path("out").exists()


def test_our_own_bugs_show_where_they_are(here, monkeypatch):
    monkeypatch.setattr(corpus, "load_text", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train()


# ---------------------------------------------------------------- training and sampling


def test_a_text_is_learnt_and_continued(here):
    """The real command in a pipe: plain lines, metrics, a checkpoint that can be sampled from."""
    done = start_train("run", "--max-iters", "21", "--eval-interval", "20")
    out, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (0, "")
    assert "\r" not in out
    assert re.search(r"^step 11/21: loss \d\.\d{4}, [\d,]+ tokens/s, \d+:\d\d left$", out, re.M)
    assert len(re.findall(r"^step (0|20|21): train loss .*, val loss .*$", out, re.M)) == 3
    events = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    steps, evaluations = ([e for e in events if key in e] for key in ("grad_norm", "val_loss"))
    assert [e["step"] for e in steps] == [0, 10, 20]
    assert all(len(e["sample"]) == 6 and e["sample"] in out for e in evaluations)
    sampled = start("sample", "--checkpoint", "run", "--prompt", "the ", "--max-new-tokens", "9")
    out, err = sampled.communicate(timeout=60)
    assert (sampled.returncode, err) == (0, "")
    assert out.startswith("the ") and len(out.split("\n---")[0]) == 13


def sample(capsys, *flags):
    assert main(["sample", "--checkpoint", "run", "--max-new-tokens", "60", *flags]) == 0
    return capsys.readouterr().out


def test_samples_follow_their_flags(here, capsys):
    train()
    capsys.readouterr()
    three = sample(capsys, "--num-samples", "3").split("---------------\n")[:3]
    assert len(three) == 3 and len(set(three)) == 3 and all(len(s) == 62 for s in three)
    assert sample(capsys) == three[0] + "---------------\n"
    assert sample(capsys, "--seed", "1") != sample(capsys, "--seed", "2")
    greedy = sample(capsys, "--greedy")
    for flags in (["--top-k", "1"], ["--top-p", "0.0001"], ["--temperature", "0.0001"]):
        assert sample(capsys, *flags) == greedy
    stop = three[0][40:42]
    short = sample(capsys, "--stop", stop).split("\n---------------")[0]
    assert three[0].startswith(short) and stop not in short[1:] and len(short) <= 40


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--prompt", "the fix ÿ"], "got 'ÿ' (U+00FF) at position 8"),
        (["--prompt", ""], "at least one character, got an empty text"),
        (["--temperature", "0"], "temperature must be in [1e-06, 1000000.0], got 0.0"),
        (["--num-samples", "0"], "num_samples must be >= 1, got 0"),
        (["--which", "worst"], "invalid choice: 'worst'"),
    ],
)
def test_samples_that_are_refused(here, capsys, flags, words):
    train()
    capsys.readouterr()
    try:
        assert main(["sample", "--checkpoint", "run", *flags]) == 2
    except SystemExit as stop:
        assert stop.code == 2
    assert words in only_error(capsys)


@pytest.mark.parametrize("text", ["abc def " * 40, "天地玄黄宇宙洪荒" * 30])
def test_a_text_without_newlines_is_sampled(here, capsys, text):
    Path("text.txt").write_text(text, "utf-8")
    train()
    capsys.readouterr()
    written = sample(capsys).removesuffix("\n---------------\n")
    assert len(written) == 61 and written[0] == min(text) and set(written) <= set(text)


CONTROLS = "\x1b]0;owned\x07\x9b2J\x7f\x00\x85"


def test_control_characters_reach_a_pipe_and_no_terminal(here, capsys, monkeypatch):
    Path("text.txt").write_text(f"\t{CONTROLS}\n" * 60, newline="")
    seen = {}
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        train("--overwrite", "--sample-tokens", "200", "--block-size", "20")
        trained = capsys.readouterr().out
        seen[terminal] = trained, sample(capsys, "--prompt", f"\t{CONTROLS}", "--top-k", "1")
    controls = set(map(chr, (*range(32), *range(127, 160)))) - {"\n", "\t"}
    for piped, shown in zip(seen[False], seen[True]):
        assert controls & set(piped) and not controls & set(shown)
        assert "\t" in shown and r"\x1b" in shown and r"\x9b" in shown and r"\x7f" in shown
    escaped = "".join(repr(c)[1:-1] if c in controls else c for c in seen[False][1])
    assert seen[True][1] == escaped


def test_best_and_last_are_different_models(here, capsys):
    train(steps=20)
    capsys.readouterr()
    arrays, meta = checkpoint.load_checkpoint("run", "last")
    checkpoint.save_checkpoint("run", {k: a * 0 for k, a in arrays.items()}, meta, "last")
    assert sample(capsys, "--which", "last") != sample(capsys) == sample(capsys, "--which", "best")


def test_a_reader_that_leaves_is_no_error(here):
    train()
    process = start(
        "sample", "--checkpoint", "run", "--num-samples", "200", "--max-new-tokens", "99"
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_terminal_gets_a_bar(here):
    """On a terminal: loss, tokens/s and time left in one line that is redrawn."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = start_train("run", "--max-iters", "300", stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(timeout=30) == 0
    shown = seen.decode()
    assert re.search(r"\d\d:\d\d<\d\d:\d\d.*tok/s.*loss \d\.\d{4}", shown)
    assert "step 0: train loss" in shown and "tokens/s" not in shown


# ---------------------------------------------------------------- continuing


def test_resume_needs_no_flags_and_names_those_that_differ(here, capsys):
    assert train("--eval-interval", "3", steps=4) == 0
    assert main(["train", "--out", "run", "--resume"]) == 0
    capsys.readouterr()
    assert main(["train", "--out", "run", "--resume", "--n-embd", "16", "--seed", "3"]) == 2
    assert "another seed (1337, now 3), n_embd (8, now 16);" in only_error(capsys)
    preset = ["--preset", "baby-gpt", "--data", "text.txt"]
    assert main(["train", "--out", "run", "--resume", *preset]) == 2
    assert "n_layer (1, now 6)" in only_error(capsys)
    assert main(["train", "--out", "run", "--resume", "--max-iters", "6"]) == 0
    assert [e["step"] for e in result("run")[2] if "val_loss" in e] == [0, 3, 4, 6]


def test_a_run_in_the_way(here, capsys):
    assert train() == 0
    before = result("run")
    capsys.readouterr()
    assert train() == 2
    assert "--resume continues it, --overwrite replaces it" in only_error(capsys)
    assert result("run") == before
    assert train("--overwrite", "--seed", "2") == 0
    assert result("run") != before


def test_fine_tuning_takes_the_shape_of_what_it_starts_from(here, capsys):
    train()
    base = [
        "train",
        "--init-from",
        "run",
        "--out",
        "more",
        "--data",
        "text.txt",
        "--max-iters",
        "1",
    ]
    assert main([*base, "--eval-iters", "1", "--batch-size", "2"]) == 0
    assert saved_config("more").n_embd == 8
    capsys.readouterr()
    assert main([*base, "--n-embd", "16", "--out", "other"]) == 2
    assert "n_embd must be that of run, 8, got 16" in only_error(capsys)


# ---------------------------------------------------------------- signals

LONG = ["--max-iters", "400", "--eval-interval", "100", "--log-interval", "1"]


def wait_for(process, words):
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(process.stderr.read())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run gives that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "text.txt").write_text(TEXT)
    process = start_train("run", *LONG, cwd=folder)
    assert process.communicate(timeout=60)[1] == "" and process.returncode == 0
    return result(folder / "run")


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_save_and_say_so(here, whole, number, code):
    process = start_train("run", *LONG)
    wait_for(process, "step 37/")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (code, "")
    step = int(re.search(r"saved step (\d+) in run; --resume continues$", out, re.M).group(1))
    assert 37 <= step < 400 and checkpoint.load_checkpoint("run")[1]["step"] == step
    assert main(["train", "--out", "run", "--resume"]) == 0
    assert result("run") == whole


@pytest.mark.parametrize("what", ["--eval-iters", "--sample-tokens"])
def test_ctrl_c_in_an_evaluation_does_not_wait_for_its_end(here, what):
    """Losses or a sample that take an hour: what is saved is the state before them."""
    process = start_train("long", what, "1000000")
    wait_for(process, "from step 0")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    arrays, meta = checkpoint.load_checkpoint("long")
    assert meta["trainer"]["evaluated"] == -1 and meta["step"] == 0
    assert Path("long/metrics.jsonl").read_text() == ""


def test_a_second_ctrl_c_does_not_wait():
    program = (
        "import time\nfrom tinygrad_lm.training.console import Signals\n"
        "with Signals() as signals:\n print('ready', flush=True)\n"
        " while signals.number is None: time.sleep(0.01)\n"
        " print('noted', flush=True)\n time.sleep(60)"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        wait_for(process, "ready")
        process.send_signal(signal.SIGINT)
        wait_for(process, "noted")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


def test_kills_at_random_moments_cost_nothing(here, whole):
    """No handler sees SIGKILL. Whatever was going on, a save included, the rest of the run is that
    of the run which nothing interrupted."""
    chance, kills = random.Random(0), 0
    while kills < 4:
        process = start_train("run", *LONG, *["--resume"] * Path("run/last.json").exists())
        wait_for(process, "from step")
        for _ in range(chance.randrange(40)):
            process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.4))
        process.kill()
        process.communicate()
        if process.returncode == 0:
            break
        kills += 1
        if not Path("run/last.json").exists():  # killed before there was anything to continue
            for file in Path("run").glob("best.json"):
                file.unlink()
    assert kills >= 3  # a life is 40 + 150 steps at most, and a checkpoint comes every 100
    assert main(["train", "--out", "run", "--resume"]) == 0
    assert result("run") == whole


# ---------------------------------------------------------------- the scripts


def test_the_examples_train_and_write(here):
    def script(name, *flags):
        command = [sys.executable, str(ROOT / "examples" / name), *flags]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    out = script("train_gpt.py", "--data", "text.txt", "--steps", "3", "--seed", "1")
    losses = [float(x) for x in re.findall(r"val loss ([\d.]+)", out)]
    assert len(losses) == 2 and losses[1] < losses[0]
    out = script("sample_gpt.py", "--prompt", "the", "--steps", "20")
    assert out.count("the") >= 3 and out.count("--- temperature") == 3
