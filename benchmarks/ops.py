"""What an op costs: Python's part on tiny inputs, in microseconds, what a lecture's loops do one
number at a time, and every fused op at the sizes of the GPTs beside its own composition and beside
PyTorch's.

    python benchmarks/ops.py --repeats 2

Forward is the call while recording; backward is `backward()` through that one op, the gradients of
its inputs included. It measures no training step.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import harness
from works import WORKS, Size

COMPOSITION = "composition"
SIZES = {
    "CPU configuration": WORKS["gpt-cpu"].size,
    "baby GPT": WORKS["baby-gpt"].size,
    "GPT-2, B=1": WORKS["gpt2-b1"].size,
}
SMALLEST = {"smallest": Size(1, 2, 4, 3, 2, 5)}  # for a look at whether all of it runs


class Case(NamedTuple):
    """An op at a size: the call, the shapes of its inputs, and the arithmetic of its forward."""

    call: Callable
    shapes: list[tuple[int, ...]]
    flops: float
    numbers: int = 0  # moved, both directions, where not all of the input is read

    def moved(self, outputs: int) -> float:
        """Bytes of both directions: inputs and output once forward, then the inputs, the output's
        gradient and the inputs' gradients once."""
        return 4.0 * (self.numbers or 3 * sum(map(math.prod, self.shapes)) + 2 * outputs)


def fused(torch: Any, s: Size) -> dict[str, Case]:
    """Every fused op on the array that a GPT of that size gives it; those of images on as many of
    them. The operations per number of the ones without products are those of the composition."""
    F, rows, C, V = torch.nn.functional, s.tokens, s.width, s.vocabulary
    ids, targets = torch.randint(0, V, (rows,)), torch.randint(0, V, (rows,))
    x, wide, scores = (rows, C), (rows, 4 * C), (rows, V)
    n, n4, nv = rows * C, rows * 4 * C, rows * V
    heads = (s.batch, s.heads, s.context, C // s.heads)
    image, kernels = (s.batch, 64, 16, 16), (64, 64, 3, 3)
    pixels = math.prod(image)

    def batch_norm(a: Any, w: Any, b: Any) -> Any:
        return F.batch_norm(a, None, None, w, b, training=True)

    def attention(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    return {
        "linear": Case(F.linear, [x, (4 * C, C), (4 * C,)], 8.0 * n * C),
        "scaled_dot_product_attention": Case(attention, [heads] * 3, 4.0 * n * s.context),
        "cross_entropy": Case(lambda a: F.cross_entropy(a, targets), [scores], 5.0 * nv),
        "nll_loss": Case(lambda a: F.nll_loss(a, targets), [scores], float(rows), rows + nv),
        "softmax": Case(lambda a: F.softmax(a, -1), [scores], 5.0 * nv),
        "log_softmax": Case(lambda a: F.log_softmax(a, -1), [scores], 5.0 * nv),
        "layer_norm": Case(lambda a, w, b: F.layer_norm(a, (C,), w, b), [x, (C,), (C,)], 7.0 * n),
        "rms_norm": Case(lambda a, w: F.rms_norm(a, (C,), w), [x, (C,)], 5.0 * n),
        "batch_norm": Case(batch_norm, [x, (C,), (C,)], 7.0 * n),
        "convolution": Case(
            lambda a, w, b: F.conv2d(a, w, b, padding=1), [image, kernels, (64,)], 1152.0 * pixels
        ),
        "conv_transpose": Case(
            lambda a, w, b: F.conv_transpose2d(a, w, b, padding=1),
            [image, kernels, (64,)],
            1152.0 * pixels,
        ),
        "max_pool": Case(lambda a: F.max_pool2d(a, 2), [image], 1.0 * pixels),
        "gelu": Case(F.gelu, [wide], 5.0 * n4),
        "silu": Case(F.silu, [wide], 5.0 * n4),
        "dropout": Case(lambda a: F.dropout(a, 0.2), [x], float(n)),
        "embedding": Case(lambda w: F.embedding(ids, w), [(V, C)], float(n), 3 * n + V * C),
        "mse_loss": Case(F.mse_loss, [x, x], 3.0 * n),
        "binary_cross_entropy_with_logits": Case(
            lambda a: F.binary_cross_entropy_with_logits(a, torch.ones(x)), [x], 6.0 * n
        ),
    }


def by_position(torch: Any, s: Size) -> dict[str, Case]:
    """What chooses, orders or reads by position, and pooling and norms of images, on arrays of the
    same sizes. An operation per number read is all that is counted."""
    F, rows, C, V = torch.nn.functional, s.tokens, s.width, s.vocabulary
    n, x, scores = rows * C, (rows, C), (rows, V)
    image = (s.batch, 64, 16, 16)
    pixels = math.prod(image)
    i, j = torch.randint(0, rows, (rows,)), torch.randint(0, C, (rows,))
    columns, mask = torch.randint(0, C, x), torch.rand(x) < 0.5
    zeros = torch.zeros(x)
    one: dict[str, Callable] = {
        "max(1)": lambda a: a.max(1)[0],
        "min(0)": lambda a: a.min(0)[0],
        "amax(1)": lambda a: a.amax(1),
        "max()": lambda a: a.max(),
        "cumsum(1)": lambda a: a.cumsum(1),
        "cumsum(0)": lambda a: a.cumsum(0),
        "sort": lambda a: a.sort(1)[0],
        "a[ids]": lambda a: a[i],
        "a[i, j]": lambda a: a[i, j],
        "a[:, ids]": lambda a: a[:, j[:C]],
        "a[mask]": lambda a: a[mask],
        "masked_fill": lambda a: a.masked_fill(mask, 0.0),
        "index_select(1)": lambda a: a.index_select(1, j[:C]),
        "index_add": lambda a: zeros.index_add(0, i, a),
        "gather(1)": lambda a: a.gather(1, columns),
        "scatter(1)": lambda a: zeros.scatter(1, columns, a),
        "scatter_add(1)": lambda a: zeros.scatter_add(1, columns, a),
    }
    of_images: dict[str, Callable] = {
        "avg_pool": lambda a: F.avg_pool2d(a, 2),
        "adaptive_avg_pool(1)": lambda a: F.adaptive_avg_pool2d(a, 1),
        "adaptive_avg_pool(5)": lambda a: F.adaptive_avg_pool2d(a, 5),
        "adaptive_max_pool(5)": lambda a: F.adaptive_max_pool2d(a, 5),
    }
    k = min(40, V)
    return {
        **{name: Case(call, [x], float(n)) for name, call in one.items()},
        "argmax(1) as a number": Case(lambda a: a + a.argmax(1, True), [x], float(n)),
        "topk of the scores": Case(lambda a: a.topk(k)[0], [scores], float(rows * V)),
        **{name: Case(call, [image], float(pixels)) for name, call in of_images.items()},
        "group_norm": Case(
            lambda a, w, b: F.group_norm(a, 8, w, b), [image, (64,), (64,)], 7.0 * pixels
        ),
    }


def sized(torch: Any, s: Size) -> dict[str, Case]:
    return fused(torch, s) | by_position(torch, s)


def cases(size: str) -> dict[str, Case]:
    """The same by the size's name, for their shapes and arithmetic."""
    return sized(importlib.import_module("tinygrad_lm"), {**SIZES, **SMALLEST}[size])


def tiny(torch: Any) -> dict[str, Case]:
    """A representative list on (2, 3): what remains is Python."""
    F = torch.nn.functional
    x, target, pair = (2, 3), torch.tensor([0, 2]), torch.tensor([0, 1])
    columns, mask, zeros = torch.tensor([[0, 2, 1]] * 2), torch.rand(x) < 2, torch.zeros(x)
    calls: dict[str, tuple[Callable, list[tuple[int, ...]]]] = {
        "a + b": (lambda a, b: a + b, [x, x]),
        "a * b, b broadcast": (lambda a, b: a * b, [x, (3,)]),
        "a @ b": (lambda a, b: a @ b, [x, (3, 2)]),
        "tanh": (lambda a: a.tanh(), [x]),
        "exp": (lambda a: a.exp(), [x]),
        "relu": (lambda a: a.relu(), [x]),
        "sum": (lambda a: a.sum(), [x]),
        "mean(1, keepdim=True)": (lambda a: a.mean(1, keepdim=True), [x]),
        "max(1)": (lambda a: a.max(1)[0], [x]),
        "amax(1)": (lambda a: a.amax(1), [x]),
        "cumsum(1)": (lambda a: a.cumsum(1), [x]),
        "sort": (lambda a: a.sort(1)[0], [x]),
        "topk": (lambda a: a.topk(2)[0], [x]),
        "view": (lambda a: a.view(3, 2), [x]),
        "transpose": (lambda a: a.transpose(0, 1), [x]),
        "a[0]": (lambda a: a[0], [x]),
        "a[ids]": (lambda a: a[target - 1], [x]),
        "a[i, j]": (lambda a: a[pair, pair], [x]),
        "a[mask]": (lambda a: a[mask], [x]),
        "gather": (lambda a: a.gather(1, columns), [x]),
        "scatter_add": (lambda a: zeros.scatter_add(1, columns, a), [x]),
        "cat": (lambda a, b: torch.cat([a, b], 1), [x, x]),
        "softmax": (lambda a: F.softmax(a, -1), [x]),
        "linear": (F.linear, [x, (4, 3), (4,)]),
        "layer_norm": (lambda a, w, b: F.layer_norm(a, (3,), w, b), [x, (3,), (3,)]),
        "gelu": (F.gelu, [x]),
        "cross_entropy": (lambda a: F.cross_entropy(a, target), [x]),
    }
    return {name: Case(call, shapes, 0.0) for name, (call, shapes) in calls.items()}


def loops(torch: Any) -> dict[str, Callable]:
    """What scripts do in a loop of Python, without gradients but for one."""
    counts, letters = torch.zeros((27, 27), dtype=torch.int32), torch.arange(27)
    chances, g = torch.ones(27) / 27, torch.Generator().manual_seed(1)
    losses = [torch.tensor(float(i)) for i in range(540)]
    weights = [*torch.rand(540).requires_grad_()]
    rows = [[float(i % 7), float(i), 2.5] for i in range(20_000)]

    def count() -> None:
        counts[3, 4] += 1

    return {
        "N[i, j] += 1": count,
        "[e for e in x], 27": lambda: [*letters],
        "stack of 540 numbers": lambda: torch.stack(losses),
        "the same, with gradients": lambda: torch.stack(weights),
        "multinomial(p, 1).item()": lambda: torch.multinomial(chances, 1, generator=g).item(),
        "tensor of a list of 20000 x 3": lambda: torch.tensor(rows),
    }


def both_ways(torch: Any, case: Case, enough: float, most: int) -> dict[str, float]:
    """Seconds of one call and of one backward(), medians; and how many numbers come out. One call
    in a loop goes forward and back, so that memory is reused as in training."""
    inputs = [(torch.rand(shape) - 0.5).requires_grad_() for shape in case.shapes]
    out = case.call(*inputs)
    upstream = torch.ones_like(out)
    times, clock = [], time.perf_counter
    begin = clock()
    while len(times) < 4 or (clock() - begin < enough and len(times) < most):
        for a in inputs:
            a.grad = None
        start = clock()
        out = case.call(*inputs)
        middle = clock()
        out.backward(upstream)
        times.append((middle - start, clock() - middle))
    forward, backward = (median(column) for column in zip(*times[1:]))
    return {"forward": forward, "backward": backward, "outputs": math.prod(out.shape)}


def measure(engine: str, threads: int, smallest: bool, composition: bool) -> dict[str, Any]:
    """In a process of its own: one engine, every op."""
    torch = importlib.import_module(engine)
    torch.manual_seed(1337)
    plain = torch.reference_only() if composition else contextlib.nullcontext()
    sizes, enough = (SMALLEST, 0.0) if smallest else (SIZES, 0.1)
    with plain:
        torch.set_num_threads(1)  # waking a second thread would cost more than the op
        small = {n: both_ways(torch, c, enough, 5000) for n, c in tiny(torch).items()}
        looped = {n: harness.seconds_of(call, enough) for n, call in loops(torch).items()}
        torch.set_num_threads(threads)
        large: dict[str, dict] = {}
        for size, s in sizes.items():
            large[size] = {n: both_ways(torch, c, enough, 200) for n, c in sized(torch, s).items()}
    return {"tiny": small, "loops": looped, "fused": large}


def total(entry: dict[str, float]) -> float:
    return entry["forward"] + entry["backward"]


def tiny_table(results: dict[str, list]) -> str:
    """Microseconds, medians of the runs; ratios pair by pair."""
    names = [name for name in results if name in (harness.OURS, harness.ALONE, "PyTorch")]
    head = ["op", *(f"{name}, {way}" for name in names for way in ("forward", "backward"))]
    lines = []
    for op in results[harness.OURS][0]["tiny"]:
        found = {name: [r["tiny"][op] for r in results[name]] for name in names}
        cells = [
            f"{1e6 * median(r[way] for r in found[name]):.1f}"
            for name in names
            for way in ("forward", "backward")
        ]
        lines.append([f"`{op}`", *cells])
        if "PyTorch" in names:
            theirs, ours = (list(map(total, found[n])) for n in ("PyTorch", harness.OURS))
            lines[-1].append(harness.spread(harness.ratios(theirs, ours)))
    return harness.markdown([*head, *["PyTorch / ours"] * ("PyTorch" in names)], lines)


def loops_table(results: dict[str, list]) -> str:
    """Microseconds, medians of the runs; ratios pair by pair."""
    names = [name for name in results if name in (harness.OURS, harness.ALONE, "PyTorch")]
    lines = []
    for what in results[harness.OURS][0]["loops"]:
        times = {name: [r["loops"][what] for r in results[name]] for name in names}
        lines.append([f"`{what}`", *(f"{1e6 * median(times[name]):.4g}" for name in names)])
        if "PyTorch" in names:
            both = harness.ratios(times["PyTorch"], times[harness.OURS])
            lines[-1].append(harness.spread(both))
    return harness.markdown(["loop", *names, *["PyTorch / ours"] * ("PyTorch" in names)], lines)


def fused_table(results: dict[str, list], size: str) -> str:
    """Forward and backward together. GB/s and GFLOP/s are what must be moved and computed over our
    time, so that an op that goes through memory twice shows half."""
    others = [name for name in results if name != harness.OURS]
    head = ["op", "ours: forward ms", "backward ms", "GB/s", "GFLOP/s"]
    lines, known = [], cases(size)
    for op, first in results[harness.OURS][0]["fused"][size].items():
        times = {n: [total(r["fused"][size][op]) for r in found] for n, found in results.items()}
        mine = [r["fused"][size][op] for r in results[harness.OURS]]
        seconds = median(times[harness.OURS])
        cells = [f"{1e3 * median(r[way] for r in mine):.3g}" for way in ("forward", "backward")]
        cells.append(f"{known[op].moved(first['outputs']) / seconds / 1e9:.3g}")
        cells.append(f"{3 * known[op].flops / seconds / 1e9:.3g}")
        cells += [harness.spread(harness.ratios(times[n], times[harness.OURS])) for n in others]
        lines.append([f"`{op}`", *cells])
    return harness.markdown([*head, *(f"{name} / ours" for name in others)], lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=2, help="runs of each engine")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--smallest", action="store_true", help="a size to see whether it runs")
    parser.add_argument("--engine", help="measure this module here and print JSON")
    parser.add_argument("--composition", action="store_true", help="with --engine: no kernels")
    args = parser.parse_args(arguments)
    if args.engine:
        found = measure(args.engine, args.threads, args.smallest, args.composition)
        print(json.dumps(found))
        return
    command = [__file__, "--threads", str(args.threads), *["--smallest"] * args.smallest]
    machine, runs = harness.machine(), harness.rows(command, compile_too=False)
    runs[COMPOSITION] = ([*command, "--engine", "tinygrad_lm", "--composition"], {})
    results = harness.alternate(runs, args.repeats)
    print(tiny_table(results))
    print(loops_table(results))
    settings = {"threads": args.threads, "repeats": args.repeats}
    record = {"settings": settings, "machine": machine, "results": results}
    harness.save("ops-smallest" if args.smallest else "ops", record)


if __name__ == "__main__":
    main()
