"""nanoGPT's CPU configuration on tiny shakespeare, beside PyTorch's own validation losses.

Trains the preset `shakespeare-cpu` (seed 1337; initialisation and data order are PyTorch's stream)
in a scratch folder and writes `benchmarks/results/shakespeare.json` and `.png`: both curves, the
time, and what the trained model writes. About two minutes on two cores.

    python benchmarks/shakespeare.py

On a GPU it trains nanoGPT's baby GPT instead, in captured steps, until the time is up, and writes
the validation losses over time:

    python benchmarks/shakespeare.py --device cuda --dtype bfloat16 --seconds 85
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from cpu_vs_gpu import card

import tinygrad_lm as tl
from tinygrad_lm.data import load_text
from tinygrad_lm.look.viz import save_loss_curve
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.tokenizers import CharTokenizer
from tinygrad_lm.training import PRESETS, TrainConfig, train
from tinygrad_lm.training.config import MODEL_FIELDS
from tinygrad_lm.training.trainer import Trainer, batch_at, draw_offsets, split_tokens

# What torch 2.13.0 prints at steps 0, 250, ..., 2000, on two different machines.
REFERENCE = [4.1649, 2.4447, 2.3141, 2.1905, 2.0528, 2.0089, 1.9225, 1.8921, 1.8857]
ALLOWED = 0.005
BABY_BEST = 1.4697  # nanoGPT's own best validation loss of the baby GPT, on one A100
SMALL = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16, "batch_size": 4}
SMALL |= {"eval_iters": 2, "eval_interval": 5, "max_iters": 10}


def prepared(args: argparse.Namespace) -> Trainer:
    """The baby GPT on its device, and the text in its ids."""
    settings = {**PRESETS["baby-gpt"], "data": args.data, **(SMALL if args.quick else {})}
    config = TrainConfig(**settings)
    tl.manual_seed(config.seed)
    text = load_text(args.data)
    tokenizer = CharTokenizer.from_text(text)
    shape = {name: getattr(config, name) for name in MODEL_FIELDS}
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **shape)).to(args.device)
    model = model.to(getattr(tl, args.dtype))
    return Trainer(model, split_tokens(tokenizer.encode_array(text), config), config)


def step_of(trainer: Trainer) -> Callable:
    """A step that reads nothing, so that it can be captured."""
    model, optimizer, config = trainer.model, trainer.optimizer, trainer.config
    parameters = list(model.parameters())

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = model(x, y)[1]
        loss.backward()
        tl.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        optimizer.step()
        return loss.detach()

    return step


def validation_loss(trainer: Trainer, device: str) -> float:
    """Mean over fresh batches."""
    config, tokens, losses = trainer.config, trainer.tokens["val"], []
    trainer.model.eval()
    with tl.no_grad():
        for _ in range(config.eval_iters):
            offsets = draw_offsets(tokens, config.block_size, config.batch_size)
            x, y = batch_at(tokens, offsets, config.block_size, device)
            losses.append(trainer.model(x, y)[1])
    trainer.model.train()
    return float(tl.stack(losses).mean().item())


def on_gpu(args: argparse.Namespace) -> None:
    """The curve of the baby GPT over time, until the time or the steps are used up."""
    trainer = prepared(args)
    config, tokens = trainer.config, trainer.tokens
    step = step_of(trainer)
    fast = step if args.eager else tl.capture(step)
    began, curve, training = time.monotonic(), [], 0.0
    record = {"machine": harness.machine(), "card": card(), "dtype": args.dtype}
    record |= {"reference": BABY_BEST, "captured": fast is not step, "curve": curve}
    for i in itertools.count():
        seconds = time.monotonic() - began
        if i % config.eval_interval == 0 or seconds > args.seconds or i == config.max_iters:
            loss, end = validation_loss(trainer, args.device), time.monotonic()
            curve.append(
                {"step": i, "training_seconds": training, "seconds": end - began, "val": loss}
            )
            args.curve.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
            print(f"step {i}: val {loss:.4f}, {training:.1f} s of training", flush=True)
            if seconds > args.seconds or i == config.max_iters:
                break
            mark = time.monotonic()
        for group in trainer.optimizer.param_groups:
            group["lr"] = config.rate(i)
        offsets = draw_offsets(tokens["train"], config.block_size, config.batch_size)
        # After the first call a captured step takes its batch from the CPU by itself.
        source = "cpu" if i and not args.eager else args.device
        found = fast(*batch_at(tokens["train"], offsets, config.block_size, source))
        if (i + 1) % config.eval_interval == 0:
            if not math.isfinite(found.item()):  # also the wait, so that the clock counts the work
                raise SystemExit(f"[shakespeare] the loss must be finite, got NaN at step {i}")
            training += time.monotonic() - mark
    best = min(point["val"] for point in curve)
    print(f"best validation loss {best:.4f} (nanoGPT: {BABY_BEST}); {end - began:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="shakespeare", help="the text, as `tinygrad-lm train`")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", help="cuda: the baby GPT there")
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--seconds", type=float, default=85, help="on a GPU: when to stop")
    parser.add_argument("--eager", action="store_true", help="on a GPU: steps as they are")
    parser.add_argument("--quick", action="store_true", help="on a GPU: a tiny model, ten steps")
    parser.add_argument("--curve", type=Path, default=harness.RESULTS / "baby-gpt-curve.json")
    args = parser.parse_args()
    if args.device:
        if os.environ.get("REHEARSE_WITH"):
            importlib.import_module(os.environ["REHEARSE_WITH"]).install()
        return on_gpu(args)
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
