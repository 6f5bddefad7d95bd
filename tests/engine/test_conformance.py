"""The table of PyTorch's names is the one that the package writes, and what its columns say of a
name is true."""

from pathlib import Path

import tinygrad_lm as tl
from tinygrad_lm.as_torch import conformance
from tinygrad_lm.as_torch.conformance import mentions, rows, takes

ROOT = Path(__file__).parents[2]
WRITE = "python -m tinygrad_lm.as_torch --conformance > benchmarks/results/conformance.md"


def test_the_table_is_of_today():
    kept = (ROOT / "benchmarks" / "results" / "conformance.md").read_text(encoding="utf-8")
    assert kept == conformance.table(), f"names or tests have changed; {WRITE}"


def test_states():
    shown = {"torch.nn.Linear": "parity x.py"}
    found = {row.name: row for row in rows("torch.nn", shown)}
    assert (found["Linear"].state, found["Linear"].shown) == ("present", "parity x.py")
    assert found["CrossMapLRN2d"].state == "missing"
    found = {row.name: row for row in rows("torch", {})}
    assert found["exp"].state == "present" and found["exp"].note == ""
    assert found["mm"].note == "not taken: `out_dtype`" and found["mm"].state == "in part"
    assert found["complex"].state == "refused" and "numbers are real" in found["complex"].note
    assert found["lu"].state == "refused" and "qr" in found["lu"].note
    assert {row.state for row in rows("torch.jit", {})} == {"refused"}


def test_keywords_are_read_off_the_signature():
    assert takes(tl.nn.Linear, "bias") and not takes(tl.nn.Linear, "basis")
    assert takes(tl.save, "pickle_protocol") and takes(tl.pi, "anything")


def test_which_names_a_test_mentions():
    source = '''
"""torch.cos is only talked about."""
import numpy as np, torch
from tinygrad_lm import nn
from tinygrad_lm.nn import functional as G
LINES = "torch.add(x, y).relu() | x.sum()"  # torch.tan
NAMES = ["StepLR", "sum", "normal_ ones_"]
np.sin, nn.Linear, G.softmax, torch.nn.init, y.parameters(), torch.no_such
'''
    found = mentions(source)
    assert found >= {
        "torch.add", "torch.Tensor.relu", "torch.Tensor.sum", "torch.nn.Linear",
        "torch.nn.functional.softmax", "torch.optim.lr_scheduler.StepLR", "torch.nn.init.normal_",
        "torch.nn.init.ones_", "torch.nn.Module.parameters",
    }  # fmt: skip
    assert not {"torch.sin", "torch.Tensor.sin", "torch.cos", "torch.tan", "torch.sum"} & found
