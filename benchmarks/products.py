"""Rates of matrix products: who multiplies the matrices of linear layers fastest on this processor.

    pip install mkl onednn-cpu-gomp blis    # which of these are installed is measured too
    python benchmarks/products.py --works gpt-cpu --threads 2

The three products of each linear layer, y = x W', dx = g W, dW = g' x, into arrays that are there
already, with one thread and with several. Each library has a process of its own; they take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import ctypes.util
import importlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import geometric_mean, median
from typing import Any

import harness
from works import WORKS, Product

TURNS = {"mlp": 16, "gpt-cpu": 16, "gpt2-b1": 5, "baby-gpt": 3}
ENOUGH = 0.01  # seconds of calls of one product in a turn
PAUSE = 0.05  # seconds after which the threads of who was measured before are asleep
NOISE = 0.05  # what is less is no difference
LOOPS, BLAS = "our loops", "NumPy's BLAS"

# ---------------------------------------------------------------- libraries

Prepared = Callable[..., Callable]  # (a, b, out) -> a call that multiplies them


def loops(threads: int) -> Prepared:
    matmul = importlib.import_module(harness.KERNELS).fast.matmul
    return lambda a, b, out: partial(
        matmul, len(a), b.shape[1], len(b), threads, a, b, None, None, out
    )


def numpy_blas(threads: int) -> Prepared:
    import numpy

    return lambda a, b, out: partial(numpy.matmul, a, b, out=out)


def pytorch(threads: int) -> Prepared:
    import torch

    torch.set_num_threads(threads)
    array = torch.from_numpy
    return lambda a, b, out: partial(torch.mm, array(a), array(b), out=array(out))


def blis(threads: int) -> Prepared:
    gemm = importlib.import_module("blis.py").gemm
    return lambda a, b, out: partial(gemm, *dense(a, b), out, *turned(a, b), 1.0, 0.0)


def turned(*matrices: Any) -> list[bool]:
    return [not x.flags.c_contiguous for x in matrices]


def dense(*matrices: Any) -> list[Any]:
    return [x.T if other else x for x, other in zip(matrices, turned(*matrices))]


def of_c(sgemm: Any, letters: Sequence[Any], size: Any, *first: Any) -> Prepared:
    """A C function for products of matrices that lie row by row."""

    def prepared(a: Any, b: Any, out: Any) -> Callable:
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        ways = [letters[other] for other in turned(a, b)]
        rows, columns, depth = map(size, (len(a), b.shape[1], len(b)))
        x, y, z = (m.ctypes.data_as(ctypes.c_void_p) for m in (a, b, out))  # these keep them alive
        x_next, y_next = (size(m.shape[1]) for m in dense(a, b))
        sizes = rows, columns, depth
        return partial(sgemm, *first, *ways, *sizes, one, x, x_next, y, y_next, zero, z, columns)

    return prepared


def onednn(threads: int) -> Prepared:
    sgemm = ctypes.CDLL(shared("dnnl")).dnnl_sgemm
    return of_c(sgemm, [ctypes.c_char(x) for x in b"NT"], ctypes.c_int64)


def mkl(threads: int) -> Prepared:
    sgemm = ctypes.CDLL(shared("mkl_rt"), mode=ctypes.RTLD_GLOBAL).cblas_sgemm
    return of_c(sgemm, (111, 112), ctypes.c_int, 101)


def shared(name: str) -> str | None:
    """Where a shared library is: in its wheel, or where the system finds it."""
    try:
        files = importlib.metadata.files(WHEELS[name]) or []
    except importlib.metadata.PackageNotFoundError:
        return ctypes.util.find_library(name)
    return next((str(f.locate()) for f in files if f.name.startswith(f"lib{name}.so")), None)


WHEELS = {"dnnl": "onednn-cpu-gomp", "mkl_rt": "mkl"}
# library -> how it is called, what must be there for it
LIBRARIES: dict[str, tuple[Callable[[int], Prepared], Callable[[], Any]]] = {
    LOOPS: (loops, lambda: harness.has(harness.COMPILED)),
    BLAS: (numpy_blas, lambda: True),
    "PyTorch": (pytorch, lambda: harness.has("torch")),
    "oneDNN": (onednn, lambda: shared("dnnl")),
    "MKL": (mkl, lambda: shared("mkl_rt")),
    "BLIS, one thread": (blis, lambda: harness.has("blis")),
}


def there(threads: int) -> list[str]:
    """The libraries that can be measured with so many threads; the wheel of BLIS has one."""
    found = [name for name, (_, usable) in LIBRARIES.items() if usable()]
    return [name for name in found if threads == 1 or "one thread" not in name]


# ---------------------------------------------------------------- inside a measuring process


def named(product: Product) -> list[str]:
    rows, inputs, outputs, _ = product
    return [f"{rows} x {inputs} -> {outputs}, {kind}" for kind in ("y", "dx", "dW")]


def measured(library: str, work: str, threads: int) -> Callable[[], dict[str, float]]:
    """Each call is a turn: milliseconds of each product."""
    import numpy as np

    draw = np.random.default_rng(0).standard_normal
    prepare, calls = LIBRARIES[library][0](threads), []
    for product in WORKS[work].products:
        rows, inputs, outputs, _ = product
        x, w, g = (
            draw(shape, dtype=np.float32)
            for shape in ((rows, inputs), (outputs, inputs), (rows, outputs))
        )
        for name, (a, b) in zip(named(product), ((x, w.T), (g, w), (g.T, x))):
            out = np.empty((len(a), b.shape[1]), np.float32)
            call = prepare(a, b, out)
            call()
            if not np.allclose(out[:2], a[:2] @ b, rtol=1e-3, atol=1e-2):
                raise SystemExit(f"[products] {library} must multiply right, got another {name}")
            calls.append((name, call))

    # One thread's own time is not disturbed by others who use the machine.
    clock = time.thread_time if threads == 1 else time.perf_counter

    def turn() -> dict[str, float]:
        time.sleep(PAUSE)
        found = {}
        for name, call in calls:
            start, repeats, seconds = clock(), 0, 0.0
            while seconds < ENOUGH:
                call()
                repeats, seconds = repeats + 1, clock() - start
            found[name] = 1e3 * seconds / repeats
        return found

    return turn


# ---------------------------------------------------------------- all of them


def compared(work: str, threads: int, turns: int) -> dict[str, Any]:
    """library -> GFLOP/s over a step's products in each turn, and by product over all turns."""
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    extra = {**dict.fromkeys(variables, str(threads)), "MKL_THREADING_LAYER": "GNU"}
    command = [__file__, "--works", work, "--threads", str(threads), "--library"]
    runs = {name: ([*command, name], extra) for name in there(threads)}
    each = {n: p for p in WORKS[work].products for n in named(p)}
    size = {n: 2e-6 * p.rows * p.inputs * p.outputs for n, p in each.items()}
    total = sum(size[n] * p.times for n, p in each.items())
    return {
        library: {
            "step": [round(total / sum(t[n] * p.times for n, p in each.items()), 2) for t in found],
            "products": {n: round(size[n] / median(t[n] for t in found), 1) for n in each},
        }
        for library, found in harness.alternate(runs, 1, turns).items()
    }


def lines_of(record: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, list[float]]]]:
    for work, by_threads in record["results"].items():
        for threads, found in by_threads.items():
            yield work, threads, {library: rows["step"] for library, rows in found.items()}


def table(record: dict[str, Any]) -> str:
    """A line per work and number of threads, a column per library; the fastest are in bold."""
    lines = []
    for work, threads, found in lines_of(record):
        rates = {library: median(rates) for library, rates in found.items()}
        cells = [f"{rates[n]:.0f}" if n in rates else "-" for n in LIBRARIES]
        best = f"{max(rates.values()):.0f}"
        lines.append([f"`{work}`", threads, *(f"**{c}**" if c == best else c for c in cells)])
    return harness.markdown(["GFLOP/s", "threads", *LIBRARIES], lines)


def verdict(record: dict[str, Any]) -> str:
    """Which library would be worth being taken in place of our loops."""
    ratios: dict[str, dict[str, float]] = {}  # library -> line -> its rate over ours
    for work, threads, found in lines_of(record):
        for library in found.keys() - {LOOPS}:
            ratio = median(harness.ratios(found[library], found[LOOPS]))
            ratios.setdefault(library, {})[f"`{work}` with {threads}"] = ratio
    lines = list(dict.fromkeys(line for found in ratios.values() for line in found))
    beaten = []
    for line in lines:
        ratio, best = max((found[line], n) for n, found in ratios.items() if line in found)
        beaten += [f"{line} ({best}, {ratio:.2f})"] * (ratio > 1 + NOISE)
    overall = {n: geometric_mean(found.values()) for n, found in ratios.items()}
    best = max((n for n in ratios if len(ratios[n]) == len(lines)), key=overall.__getitem__)
    worth = best if overall[best] > 1 + NOISE else "none"
    said = (
        f"Another library is more than {NOISE:.0%} faster than our loops in {len(beaten)} of "
        f"{len(lines)} lines{': ' * bool(beaten)}{', '.join(beaten)}. Over all lines {best} comes "
        f"next, with {overall[best]:.2f} of our rate: {worth} would be worth taking in their place."
    )
    machine = record["machine"]
    busy = (machine["load_at_start"] or 0) - machine["cores"]
    if busy > 0:
        said += f" Others used the machine, too (a load of {machine['load_at_start']:.0f} on "
        said += f"{machine['cores']} cores at the start), which costs most where threads spin."
    return said


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--works", nargs="+", choices=list(WORKS), default=list(TURNS))
    parser.add_argument("--turns", type=int, help="of each library, in alternation")
    parser.add_argument("--threads", type=int, default=2, help="is measured beside one")
    parser.add_argument("--library", choices=list(LIBRARIES), help="measure it here")
    args = parser.parse_args(arguments)
    if args.library:
        turn = measured(args.library, args.works[0], args.threads)
        for _ in sys.stdin:
            print(json.dumps(turn()), flush=True)
        return
    if LOOPS not in there(1):
        raise SystemExit("[products] our loops must be compiled; see pip install's output")
    machine = harness.machine()
    for wheel in ("mkl", "onednn-cpu-gomp", "blis"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            machine["versions"][wheel] = importlib.metadata.version(wheel)
    results = {
        work: {
            str(threads): compared(work, threads, args.turns or TURNS.get(work, 3))
            for threads in sorted({1, args.threads})
        }
        for work in args.works
    }
    known = harness.load("products", machine["processor"])
    if known and known["machine"]["sources"] == machine["sources"]:  # other works by the same code
        for work, found in known["results"].items():
            results[work] = {**found, **results.get(work, {})}
    results = {work: results[work] for work in WORKS if work in results}
    settings = {"threads": args.threads}
    record = {"settings": settings, "machine": machine, "results": results}
    print(table(record), verdict(record), sep="\n\n")
    harness.save("products", record)


if __name__ == "__main__":
    main()
