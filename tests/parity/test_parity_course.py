"""Scripts in the style of each lecture, and of tutorials beside the course, run by PyTorch and by
`python -m tinygrad_lm.as_torch`: they print the same, line by line, numbers to 1e-4. They are in
`tests/course/`."""

import contextlib
import io
import os
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
COURSE = ROOT / "tests" / "course"
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\binf\b|\bnan\b)")
TOLERANCE = 1e-4

SCRIPTS = [
    "autograd_check.py",
    "bigram.py",
    "mlp.py",
    "batchnorm.py",
    "backprop.py",
    "tree.py",
    "attention.py",
    "gpt.py",
    "nano.py",
    "nano.py flash=False ddp=True",
    "many.py",
    "more.py --type gru",
    "more.py --type mlp --seed 2",
    "more.py --type bow",
    "more.py --type bigram",
    "mini.py",
    "old_style.py",
    "cnn.py",
    "gan.py",
    "sequences.py",
    "agents.py",
    "tools.py",
]


def run_with_torch(script, arguments, monkeypatch):
    """In this process, which has PyTorch loaded: that saves its import for every script."""
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.syspath_prepend(str(COURSE))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(str(COURSE / script), run_name="__main__")
    return printed.getvalue()


def run_with_ours(script, arguments):
    command = [sys.executable, "-m", "tinygrad_lm.as_torch", COURSE / script, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def close(a, b):
    if a == b:
        return True
    x, y = float(a), float(b)
    return abs(x - y) <= TOLERANCE * max(1.0, abs(x))


def difference(theirs, ours):
    """The first line that differs: other words, or a number that is not close."""
    theirs, ours = theirs.splitlines(), ours.splitlines()
    for number, (a, b) in enumerate(zip(theirs, ours), 1):
        words = [re.sub(r"\s+", "", NUMBER.sub("#", line)) for line in (a, b)]
        values = [NUMBER.findall(line) for line in (a, b)]
        if words[0] != words[1] or not all(map(close, *values)):
            return f"line {number}\nPyTorch: {a}\nours:    {b}"
    return "" if len(theirs) == len(ours) else f"{len(theirs)} lines and {len(ours)}"


@pytest.mark.parametrize("line", SCRIPTS)
def test_a_script_prints_what_it_prints_with_pytorch(line, monkeypatch):
    script, *arguments = line.split()
    theirs = run_with_torch(script, arguments, monkeypatch)
    assert len(theirs.splitlines()) > 9
    assert difference(theirs, run_with_ours(script, arguments)) == ""


def test_the_comparison_can_fail():
    line = "step 3: loss 2.3456 tensor([ 1., -2.])\nlyn"
    assert difference(line, line.replace("2.3456", "2.34561")) == ""
    assert difference(line, line.replace("1., ", "1.0000, ")) == ""
    assert "line 1" in difference(line, line.replace("2.3456", "2.3459"))
    assert "line 1" in difference(line, line.replace("tensor", "Tensor"))
    assert "line 2" in difference(line, line.replace("lyn", "lin"))
    assert "lines" in difference(line, line + "\nmore")
