"""Time of a training step, ours against PyTorch's: the same program, run with either module.

    python benchmarks/step.py --work gpt-cpu --repeats 5

With `--device cuda` cpu_vs_gpu.py times the same work on a GPU and gives tokens/s and MFU.

PyTorch runs in its best form (fused AdamW, scaled_dot_product_attention, eager and torch.compile,
the same threads), as found and with the malloc settings that we ask for ourselves. A run of the
step's matrix products alone says what the arithmetic costs. The programs are in works.py.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import cpu_vs_gpu
import harness
from works import WORKS, Product, Work

GEMM = "matrix products alone"
# What cpu_vs_gpu.py calls these works.
ON_GPU = {"mlp": "mlp", "moons": "moons", "rnn": "rnn", "gpt-cpu": "gpt-cpu"}
ON_GPU |= {"baby-gpt-dropout": "baby", "gpt2-b1": "gpt2-short", "gpt2-b4": "gpt2-short"}


def products_ms(products: list[Product]) -> float:
    """Milliseconds of the three products of each linear layer, y = x W', dx = g W, dW = g' x, by
    NumPy into arrays that are there already. The products inside attention are not among them."""
    import numpy as np

    draw = np.random.default_rng(0).standard_normal
    total = 0.0
    for rows, inputs, outputs, times in products:
        shapes = ((rows, inputs), (outputs, inputs), (rows, outputs))
        x, w, g = (draw(shape, dtype=np.float32) for shape in shapes)
        y, dx, dw = np.empty_like(g), np.empty_like(x), np.empty_like(w)
        for a, b, out in ((x, w.T, y), (g, w, dx), (g.T, x, dw)):
            product = functools.partial(np.matmul, a, b, out=out)
            total += times * harness.seconds_of(product, enough=0.05)
    return 1e3 * total


def measure(work: Work, engine: str, threads: int, steps: int, compiled: bool) -> dict[str, Any]:
    """In a process of its own: one engine, one work."""
    if engine == "numpy":
        from threadpoolctl import threadpool_limits

        with threadpool_limits(threads):
            return {"ms": {"step": products_ms(work.products)}}
    torch = importlib.import_module(engine)
    torch.set_num_threads(threads)
    before = harness.memory("VmRSS")
    step = work.build(torch, torch.compile) if compiled else work.build(torch)
    warm_up, usual, _ = work.turns
    found = harness.timed(step, warm_up, steps or usual)
    return {**found, "peak_mb": harness.memory("VmHWM") - before}


def rate(flops: float, ms: float) -> float:
    return flops / ms / 1e6  # GFLOP/s


def table(record: dict[str, Any]) -> str:
    """One line per row: time and ratio against ours, arithmetic, memory, loss."""
    results, work = record["results"], WORKS[record["work"]]
    mine = harness.step_times(results[harness.OURS])
    products = sum(6 * p.rows * p.inputs * p.outputs * p.times for p in work.products)
    gemm = rate(products, median(harness.step_times(record["gemm"])))
    phases = [name for name in results[harness.OURS][0]["ms"] if name != "step"]
    head = ["engine", "ms per step", *phases, "its time / ours", "GFLOP/s", "of the products' rate"]
    lines = []
    for name, found in results.items():
        times = harness.step_times(found)
        speed = rate(work.flops, median(times))
        last = list(found[-1]["losses"].values())[-1]
        lines.append(
            [name, harness.spread(times)]
            + [f"{median(r['ms'][phase] for r in found):.2f}" for phase in phases]
            + [harness.spread(harness.ratios(times, mine)), f"{speed:.3g}", f"{speed / gemm:.0%}"]
            + [f"{median(r['peak_mb'] for r in found):.0f}", f"{last:.5f}"]
        )
    return harness.markdown([*head, "peak MB", "last loss"], lines)


def gap(record: dict[str, Any]) -> tuple[str, float, float]:
    """The step after which both engines' losses are compared, how far apart they are (nan without
    PyTorch), and how far they may be."""
    at, allowed = WORKS[record["work"]].agree
    losses = record["results"][harness.OURS][-1]["losses"]
    step = str(at) if str(at) in losses else min(losses, key=int)
    both = "PyTorch" in record["results"]
    return step, harness.loss_gap(record["results"], step) if both else math.nan, allowed


def agreement(record: dict[str, Any]) -> str:
    """A sentence on the two engines' losses, and whether they are as near as they must be."""
    at, apart, allowed = gap(record)
    if math.isnan(apart):
        loss = record["results"][harness.OURS][-1]["losses"][at]
        return f"The loss after step {at} is {loss:.6f}; there is no PyTorch to compare with."
    verdict = "agree" if apart <= allowed else "DISAGREE"
    return f"Losses after step {at} {verdict}: {apart:.1e} apart, {allowed:.0e} allowed."


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", "--preset", choices=list(WORKS), default="gpt-cpu")
    parser.add_argument("--repeats", type=int, help="runs of each engine")
    parser.add_argument("--steps", type=int, default=0, help="timed steps of a run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--engine", help="measure this module here and print JSON")
    parser.add_argument("--compile", action="store_true", help="with --engine: torch.compile")
    args = parser.parse_args(arguments)
    work = WORKS[args.work]
    if args.device == "cuda":
        if args.work not in ON_GPU:
            parser.error(f"--work on a GPU must be one of {', '.join(ON_GPU)}, got {args.work}")
        out = ["--out", str(harness.RESULTS / f"step-{args.work}-cuda.jsonl")]
        return cpu_vs_gpu.main(["--only", ON_GPU[args.work], "--devices", "cuda", *out])
    if args.engine:
        print(json.dumps(measure(work, args.engine, args.threads, args.steps, args.compile)))
        return
    command = [__file__, "--work", args.work]
    command += ["--threads", str(args.threads), "--steps", str(args.steps)]
    machine, repeats = harness.machine(), args.repeats or work.turns[2]
    runs = harness.rows(command, compile_too=not args.no_compile)
    runs[GEMM] = ([*command, "--engine", "numpy"], {})
    runs = {name: (call, {**extra, **work.settings}) for name, (call, extra) in runs.items()}
    results = harness.alternate(runs, repeats)
    record = {
        "work": args.work,
        "settings": {"threads": args.threads, "repeats": repeats, "steps": args.steps},
        "machine": machine,
        "gemm": results.pop(GEMM),
        "results": results,
    }
    print(table(record))
    print(agreement(record))
    harness.save("step-" + args.work, record)


if __name__ == "__main__":
    main()
