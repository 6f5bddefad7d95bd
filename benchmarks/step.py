"""Time of a training step, ours against PyTorch's: the same program, run with either module.

    python benchmarks/step.py --work gpt-cpu --repeats 5
    python benchmarks/step.py --work gpt2-b4 --device cuda --dtype bfloat16

On a GPU cpu_vs_gpu.py times the same work, and gives tokens/s and MFU. The rest is for the CPU:
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
import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import cpu_vs_gpu
import crossover
import harness
from crossover import PEAKS
from threadpoolctl import threadpool_limits
from works import WORKS, Product, Work

GEMM = "matrix products alone"
# What cpu_vs_gpu.py calls these works, and their sizes there.
ON_GPU = {"mlp": ("mlp", 32), "moons": ("moons", 100), "rnn": ("rnn", 32)}
ON_GPU |= {"gpt-cpu": ("gpt-cpu", 12), "baby-gpt-dropout": ("baby", 64), "gpt2": ("gpt2", 1)}
ON_GPU |= {"gpt2-b1": ("gpt2-short", 1), "gpt2-b4": ("gpt2-short", 4)}


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


def measured(work: Work, args: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    """In a process of its own: one engine, one work; each call is a turn. The losses are those of
    the first turn."""
    if args.engine == "numpy":
        threadpool_limits(args.threads)
        return lambda: {"ms": {"step": products_ms(work.products)}}
    torch = importlib.import_module(args.engine)
    torch.set_num_threads(args.threads)
    before = harness.memory("VmRSS")
    compiled = {"compiled": torch.compile} if args.compile else {}
    step = work.build(torch, capture=args.capture, **compiled)
    warm_up, steps = work.turns[:2]
    first: dict[str, Any] = {}

    def turn() -> dict[str, Any]:
        found = harness.timed(step, 1 + warm_up // 5 if first else warm_up, args.steps or steps)
        first.setdefault("losses", found["losses"])
        return {**found, **first, "peak_mb": harness.memory("VmHWM") - before}

    return turn


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
            + [_phase(found, phase) for phase in phases]
            + [harness.spread(harness.ratios(times, mine)), f"{speed:.3g}", f"{speed / gemm:.0%}"]
            + [f"{median(r['peak_mb'] for r in found):.0f}", f"{last:.5f}"]
        )
    return harness.markdown([*head, "peak MB", "last loss"], lines)


def _phase(found: list[dict[str, Any]], name: str) -> str:
    """A captured step has none."""
    times = [r["ms"][name] for r in found if name in r["ms"]]
    return f"{median(times):.2f}" if times else "-"


def gap(record: dict[str, Any]) -> tuple[str, float, float]:
    """The step after which both engines' losses are compared, how far apart they are (nan without
    PyTorch), and how far they may be."""
    at, allowed = WORKS[record["work"]].agree
    losses = record["results"][harness.OURS][-1]["losses"]
    step = max((n for n in losses if int(n) <= at), key=int)  # older records have other steps
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


def on_gpu(name: str, size: int, dtype: str | None) -> None:
    """Ours and PyTorch's on the GPU in all forms, and the table of them."""
    rows = harness.RESULTS / f"step-{name}-{size}-cuda.jsonl"
    rows.unlink(missing_ok=True)
    given = ["--only", name, "--sizes", str(size), "--devices", "cuda", "--out", str(rows)]
    cpu_vs_gpu.main([*given, *(["--dtypes", dtype] if dtype else []), "--append"])
    print(crossover.report(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", "--preset", choices=list(WORKS), default="gpt-cpu")
    parser.add_argument("--repeats", type=int, help="processes of each engine")
    parser.add_argument("--turns", type=int, help="of each process, in alternation")
    parser.add_argument("--steps", type=int, default=0, help="timed steps of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=list(PEAKS), help="on a GPU: this one alone")
    parser.add_argument("--engine", help="measure this module here: a line in, JSON out")
    parser.add_argument("--compile", action="store_true", help="with --engine: torch.compile")
    parser.add_argument("--capture", action="store_true", help="with --engine: a captured step")
    args = parser.parse_args(arguments)
    work = WORKS[args.work]
    if args.device == "cuda":
        if args.work not in ON_GPU:
            parser.error(f"--work on a GPU must be one of {', '.join(ON_GPU)}, got {args.work}")
        cpu_vs_gpu.check_gpu(parser)
        return on_gpu(*ON_GPU[args.work], args.dtype)
    if args.dtype:
        parser.error("--dtype is for --device cuda; on a CPU a step is in float32")
    if args.engine:
        turn = measured(work, args)
        for _ in sys.stdin:
            print(json.dumps(turn()), flush=True)
        return
    command = [__file__, "--work", args.work]
    command += ["--threads", str(args.threads), "--steps", str(args.steps)]
    machine, processes, turns = harness.machine(), *work.turns[2:]
    processes, turns = args.repeats or processes, args.turns or turns
    runs = harness.rows(command, not args.no_compile, work.captured)
    runs[GEMM] = ([*command, "--engine", "numpy"], {})
    runs = {name: (call, {**extra, **work.settings}) for name, (call, extra) in runs.items()}
    results = harness.alternate(runs, processes, turns)
    record = {
        "work": args.work,
        "settings": {
            "threads": args.threads,
            "repeats": processes * turns,
            "processes": processes,
            "steps": args.steps or work.turns[1],
        },
        "machine": machine,
        "gemm": results.pop(GEMM),
        "results": results,
    }
    print(table(record))
    print(agreement(record))
    harness.save("step-" + args.work, record)


if __name__ == "__main__":
    main()
