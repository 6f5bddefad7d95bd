"""nanoGPT's CPU configuration on tiny shakespeare, beside PyTorch's own validation losses.

Trains the preset `shakespeare-cpu` (seed 1337; initialisation and data order are PyTorch's stream)
in a scratch folder and writes `benchmarks/results/shakespeare.json` and `.png`: both curves, the
time, and what the trained model writes. About two minutes on two cores.

    python benchmarks/shakespeare.py
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import harness

from tinygrad_lm.look.viz import save_loss_curve
from tinygrad_lm.training import PRESETS, TrainConfig, train

# What torch 2.13.0 prints at steps 0, 250, ..., 2000, on two different machines.
REFERENCE = [4.1649, 2.4447, 2.3141, 2.1905, 2.0528, 2.0089, 1.9225, 1.8921, 1.8857]
ALLOWED = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="shakespeare", help="the text, as `tinygrad-lm train`")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    out = Path(tempfile.mkdtemp())
    settings = {**PRESETS["shakespeare-cpu"], "data": args.data, "threads": args.threads}
    config = TrainConfig(**settings, out=str(out), sample_tokens=500)
    machine = harness.machine()
    start = time.monotonic()
    train(config)
    seconds = time.monotonic() - start
    events = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    evaluations = [event for event in events if "val_loss" in event]
    losses = [event["val_loss"] for event in evaluations]
    steps = [event["step"] for event in evaluations]
    harness.RESULTS.mkdir(exist_ok=True)
    picture = harness.RESULTS / "shakespeare.png"
    save_loss_curve(out / "metrics.jsonl", picture, dict(zip(steps, REFERENCE, strict=True)))
    farthest = max(abs(a - b) for a, b in zip(losses, REFERENCE, strict=True))
    result = {
        "command": "python benchmarks/shakespeare.py",
        "threads": args.threads,
        "machine": machine,
        "steps": steps,
        "validation_losses": [round(x, 4) for x in losses],
        "reference": REFERENCE,
        "farthest": round(farthest, 4),
        "seconds": round(seconds, 1),
        "sample": evaluations[-1]["sample"],
    }
    harness.save("shakespeare", result)
    shutil.rmtree(out)
    print(f"farthest from the reference: {farthest:.4f} (allowed {ALLOWED}); {seconds:.0f} s")
    raise SystemExit(farthest > ALLOWED)


if __name__ == "__main__":
    main()
