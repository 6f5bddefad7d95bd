"""How the cost of a GPT's training step grows with width, depth, context, batch and threads, and
what this machine can do at all: its matrix products and its memory, for the roofline.

    python benchmarks/scaling.py --repeats 2

One setting of the CPU configuration is changed at a time. Its arithmetic and its matrix products
alone are shown beside the step, to tell growth beyond the arithmetic from slower products.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import mean, median
from typing import Any

import harness
from step import products_ms
from works import Size, eager, gpt

BASE = Size(4, 4, 128, 64, 12)
AXES = {
    "width": (64, 128, 256, 512),
    "layers": (1, 2, 4, 8, 16),
    "context": (32, 64, 128, 256, 512),
    "batch": (3, 12, 48, 192),
    "threads": (1, 2),
}
SMALLEST = {"layers": (1, 2)}  # for a look at whether all of it runs
GEMM = "matrix products alone"
FASTER = 0.05  # what two runs differ by is no growth
WHY = {
    "width": "Arithmetic grows with the square of the width, what is done once per number (norms, "
    "GELU, sums) only with the width, so the share of the products rises and the step comes nearer "
    "to its arithmetic.",
    "layers": "Every layer costs the same. What does not grow is the head, the loss and the batch; "
    "where the activations that wait for backward leave the cache, each layer costs more.",
    "context": "The T x T weights of attention grow with the square of the context and are worked "
    "through row by row (exponential, sum, gradient), which takes longer per operation than a "
    "matrix product; the arithmetic counts the whole square.",
    "batch": "A larger batch means longer matrices: the price of the calls disappears first, then "
    "the activations leave the cache and come from memory at its rate.",
    "threads": "Products divide well; what stays on one thread is Python, small arrays, and what "
    "waits for memory, which both cores share.",
}


def at(axis: str, value: int) -> Size:
    if axis == "threads":
        return BASE
    changes = {axis: value, **({"heads": value // 32} if axis == "width" else {})}
    return replace(BASE, **changes)


def limits(threads: int, side: int = 3000) -> dict[str, float]:
    """The machine's two ceilings: GFLOP/s of a large matrix product, and GB/s of a + b -> c over
    arrays that no cache holds, each thread with its own part."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    a, b = (np.random.default_rng(i).standard_normal((side, side), np.float32) for i in (0, 1))
    c = np.empty_like(a)
    with threadpool_limits(threads):
        flops = 2 * side**3 / harness.seconds_of(lambda: np.matmul(a, b, out=c), side / 3000)
    arrays = [np.ones(10_000 * side, np.float32) for _ in range(3)]
    parts = list(zip(*(np.array_split(x, threads) for x in arrays)))
    with ThreadPoolExecutor(threads) as pool:
        seconds = harness.seconds_of(
            lambda: list(pool.map(lambda p: np.add(*p[:2], out=p[2]), parts)), side / 3000
        )
    return {"gflops": flops / 1e9, "gbs": 3 * arrays[0].nbytes / seconds / 1e9}


def step_ms(torch: Any, size: Size) -> dict[str, float]:
    """Medians by phase, over a second of steps or at least two."""
    step = eager(gpt(torch, lambda f: f, size))
    start = time.perf_counter()
    step()
    once = time.perf_counter() - start
    step()
    return harness.timed(step, 0, min(50, max(2, int(0.7 / once))))["ms"]


def measure(engine: str, axes: dict[str, tuple[int, ...]], threads: int) -> dict[str, Any]:
    """In a process of its own: every point of every axis, by one engine or as products alone."""
    from threadpoolctl import threadpool_limits

    found: dict[str, Any] = {axis: {} for axis in axes}
    torch = None if engine == "numpy" else importlib.import_module(engine)
    for axis, values in axes.items():
        for value in values:
            count = value if axis == "threads" else threads
            if torch is None:
                with threadpool_limits(count):
                    found[axis][str(value)] = {"step": products_ms(at(axis, value).products)}
            else:
                torch.set_num_threads(count)
                found[axis][str(value)] = step_ms(torch, at(axis, value))
    if torch is None:
        found["limits"] = limits(threads, 100 if axes is SMALLEST else 3000)
    return found


def exponent(values: Sequence[float], costs: Sequence[float]) -> float:
    """p where cost = constant * value^p fits best: the slope of the logarithms."""
    x, y = ([math.log(v) for v in column] for column in (values, costs))
    above = sum((a - mean(x)) * (b - mean(y)) for a, b in zip(x, y))
    return above / sum((a - mean(x)) ** 2 for a in x)


def medians(results: dict[str, list], name: str, axis: str) -> dict[int, float]:
    """value -> ms, the median of the runs."""
    points = results[name][0][axis]
    return {int(v): median(r[axis][v]["step"] for r in results[name]) for v in points}


def columns(results: dict[str, list], axis: str) -> dict[str, dict[int, float]]:
    """name -> value -> ms (GFLOP for the arithmetic). The rest is the step without its products."""
    ours, products = medians(results, harness.OURS, axis), medians(results, GEMM, axis)
    found = {
        "arithmetic": {v: at(axis, v).flops / 1e9 for v in ours},
        "ours": ours,
        "products": products,
        "rest": {v: max(ours[v] - products[v], 1e-3) for v in ours},
    }
    if "PyTorch" in results:
        found["PyTorch"] = medians(results, "PyTorch", axis)
    return found


def axis_table(results: dict[str, list], axis: str) -> str:
    """Per point: times, and the exponents since the point before; then those of the whole axis."""
    found = columns(results, axis)
    units = {"arithmetic": "arithmetic, GFLOP"}
    head = [
        axis,
        *(units.get(name, f"{name}, ms") for name in found),
        *map("grows: {}".format, found),
    ]
    lines, values = [], list(found["ours"])
    for i, value in enumerate(values):
        shown = [f"{column[value]:.3g}" for column in found.values()]
        grown = [growth(column, values[i - 1 : i + 1]) for column in found.values()] if i else []
        lines.append([value, *shown, *(grown or [""] * len(found))])
    grown = [f"**{growth(column, values)}**" for column in found.values()]
    return harness.markdown(head, [*lines, ["**all**", *[""] * len(found), *grown]])


def steep(results: dict[str, list], axis: str) -> list[tuple[int, int, str]]:
    """Where the step grows faster than its arithmetic by more than FASTER: from, to, and the part
    that grows most with its exponent. More threads are no more arithmetic."""
    found, spans = columns(results, axis), []
    values = list(found["ours"]) if axis != "threads" else []
    for pair in zip(values, values[1:]):
        p = {n: exponent(pair, [c[v] for v in pair]) for n, c in found.items()}
        if p["ours"] > p["arithmetic"] + FASTER:
            part = max(("products", "rest"), key=p.get)
            spans.append((*pair, f"{part}, {p[part]:.2f}"))
    return spans


def verdict(results: dict[str, list], axis: str) -> str:
    """Where the step grows faster than its arithmetic, or how much more threads help; and why."""
    if axis == "threads":
        found = columns(results, axis)
        values = list(found["ours"])
        gain = {n: c[values[0]] / c[values[-1]] for n, c in found.items() if n != "arithmetic"}
        told = ", ".join(f"{name} {times:.2f}" for name, times in gain.items())
        return f"{values[-1]} threads against {values[0]}, times faster: {told}. {WHY[axis]}"
    spans = [f"from {a} to {b} (most of all the {part})" for a, b, part in steep(results, axis)]
    if not spans:
        return f"On this axis the step never grows faster than its arithmetic. {WHY[axis]}"
    return f"The step grows faster than its arithmetic {' and '.join(spans)}. {WHY[axis]}"


def growth(column: dict[int, float], values: list[int]) -> str:
    return f"{exponent(values, [column[v] for v in values]):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=2, help="runs of each engine")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--smallest", action="store_true", help="an axis to see whether it runs")
    parser.add_argument("--engine", help="measure this module here and print JSON")
    args = parser.parse_args(arguments)
    axes = SMALLEST if args.smallest else AXES
    if args.engine:
        print(json.dumps(measure(args.engine, axes, args.threads)))
        return
    command = [__file__, "--threads", str(args.threads), *["--smallest"] * args.smallest]
    machine, runs = harness.machine(), harness.rows(command, compile_too=False)
    runs = {name: runs[name] for name in (harness.OURS, "PyTorch") if name in runs}
    runs[GEMM] = ([*command, "--engine", "numpy"], {})
    results = harness.alternate(runs, args.repeats)
    for axis in axes:
        print(axis_table(results, axis), end="\n\n")
    settings = {"threads": args.threads, "repeats": args.repeats}
    record = {"settings": settings, "machine": machine, "results": results}
    harness.save("scaling-smallest" if args.smallest else "scaling", record)


if __name__ == "__main__":
    main()
