"""What must work with the hard dependencies alone: what a test extra brings hides what is missing.
Run where nothing but a wheel has been installed: the commands train (also with each form of the C
kernels that this processor runs, and with none), write, evaluate and export, bfloat16 is there, a
script that imports torch runs, tensors and weights are saved and read."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tinygrad_lm.engine.kernels import c

EXTRAS = ("cupy", "hypothesis", "matplotlib", "pytest", "torch")
SCRIPT = """
import torch
from torch import nn
model = nn.Linear(4, 4)
with torch.amp.autocast("cpu", dtype=torch.bfloat16):
    print(model(torch.ones(2, 4)).dtype, torch.ones(2, dtype=torch.bfloat16).sum().item())
torch.save(model.state_dict(), "model.pt")
model.load_state_dict(torch.load("model.pt"))
"""


def run(*args: str, cwd: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *args],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{args} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


present = [name for name in EXTRAS if importlib.util.find_spec(name)]
assert not present, f"an environment with the hard dependencies only, got {present}"
runs = getattr(c.load("_isa"), "FORMS", "").split()
forms = [form for form in runs if c.load(f"_fast_{form}")]
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "text.txt").write_text("hello, world\n" * 100)
    Path(folder, "script.py").write_text(SCRIPT)
    size = "--n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --max-iters 20".split()
    for dtype in ("float32", "bfloat16"):
        out = ["--data", "text.txt", "--out", dtype, "--dtype", dtype]
        run("tinygrad_lm", "train", *out, *size, cwd=folder)
        sample = run("tinygrad_lm", "sample", "--checkpoint", dtype, cwd=folder)
        assert sample.strip(), "a sample"
        assert "perplexity" in run(
            "tinygrad_lm", "eval", "--checkpoint", dtype, "--data", "text.txt", cwd=folder
        )
        run("tinygrad_lm", "export", "--checkpoint", dtype, "--out", f"{dtype}-gpt2", cwd=folder)
    for switch in ({"TINYGRAD_LM_COMPILED": "0"}, *({"TINYGRAD_LM_ISA": form} for form in forms)):
        out = ["--data", "text.txt", "--out", "_".join(switch.values())]
        run("tinygrad_lm", "train", *out, *size, cwd=folder, **switch)
    printed = run("tinygrad_lm.as_torch", "script.py", cwd=folder).split()
    assert printed == ["torch.bfloat16", "2.0"], printed
print("smoke test passed; forms of the C kernels:", *forms or ["none"])
