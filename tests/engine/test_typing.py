"""A type checker knows a Tensor's methods: what they are called, take and return."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """\
import tinygrad_lm as tl
from tinygrad_lm.nn import functional as F

x = tl.randn(2, 3, requires_grad=True)
known: tl.Tensor = (1 - x).softmax(dim=-1).T @ x.exp().add_(1) + F.softmax(x, dim=0)[0].sum()
x.sofmax(dim=-1)
x.softmax(dmi=-1)
x.exp(2)
F.softmax(x, dim="rows")
x.shape.numel() + x.mean()
text: str = x.softmax(dim=-1)
tl.zeros(2, dtyp=tl.float64)
"""
COMPLAINTS = """\
6: error: "Tensor" has no attribute "sofmax"
7: error: Unexpected keyword argument "dmi"
8: error: Too many arguments
9: error: Argument "dim" to "softmax" has incompatible type "str"
11: error: Incompatible types in assignment
12: error: Unexpected keyword argument "dtyp"
""".splitlines()


def test_mypy_tells_a_misspelt_method_from_a_known_one(tmp_path):
    pytest.importorskip("mypy")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--hide-error-context", "--no-pretty", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = [line.partition("program.py:")[2] for line in done.stdout.splitlines()]
    found = [line for line in found if ": error: " in line]
    assert len(found) == len(COMPLAINTS), done.stdout + done.stderr
    for complaint, line in zip(COMPLAINTS, found):
        assert line.startswith(complaint), done.stdout
