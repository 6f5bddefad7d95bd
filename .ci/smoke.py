"""What must work with the hard dependencies alone: what a test extra brings hides what is missing.
Run where only `pip install .` has been: the commands train, write, evaluate and export, bfloat16 is there, a script
that imports torch runs, tensors and weights are saved and read."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

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


def run(*args: str, cwd: str) -> str:
    done = subprocess.run([sys.executable, "-m", *args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{args} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


present = [name for name in EXTRAS if importlib.util.find_spec(name)]
assert not present, f"an environment with the hard dependencies only, got {present}"
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
    printed = run("tinygrad_lm.as_torch", "script.py", cwd=folder).split()
    assert printed == ["torch.bfloat16", "2.0"], printed
print("smoke test passed")
