"""Writing text with a KV cache: tokens per second, ours against PyTorch's, and against what reading
the weights once per token would take.

    python benchmarks/generate.py                      # GPT-2 124M, random weights; 1, 8, 64 texts
    python benchmarks/generate.py --work gpt2 --device cuda --dtype bfloat16 --batch 1

A prompt is read at once, then each token costs one position: its logits give a distribution, and
one id is drawn. Who writes is in writers.py: the library's own loop, and PyTorch eager and
compiled, on a GPU by its mode reduce-overhead. The engines stay in processes of their own and take
turns, text by text. On a GPU `host / device` is the share of the time after which all is queued:
near 1 the host is what takes it. `TINYGRAD_LM_COMPILED=0` measures NumPy alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import cpu_vs_gpu
import harness
import writers
from crossover import PEAKS
from device_works import On
from windows import used_bytes, waiter
from works import Size

SIZES = {"gpt-cpu": Size(4, 4, 128, 64, 1), "gpt2": writers.GPT2_124M}
OURS_16 = f"{harness.OURS}, bfloat16 weights"
MODES = {"cpu": "compiled", "cuda": "reduced"}  # of PyTorch, see device_works.py
BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2}


# ---------------------------------------------------------------- inside a measuring process


def timed(write: writers.Writer, wait: Callable, ids: Any, n: int) -> dict[str, float]:
    """Milliseconds until the first token, of each other, and until each other one is queued."""
    wait()
    start = time.perf_counter()
    found = write(ids, n)
    next(found)
    wait()
    first = time.perf_counter()
    for _ in found:
        pass
    queued = time.perf_counter()
    wait()
    rest = (time.perf_counter() - first, queued - first)
    each, host = (1e3 * seconds / (n - 1) for seconds in rest)
    return {"first": 1e3 * (first - start), "step": each, "host": host}


def serve(args: argparse.Namespace) -> None:
    """Write a text for every line that comes in, and say how long it took; where the GPU is
    emulated, also how often a token waits for it."""
    emulated = None
    if os.environ.get("REHEARSE_WITH") and args.engine == harness.OURS:
        emulated = importlib.import_module(os.environ["REHEARSE_WITH"])
        emulated.install()
    torch, size = importlib.import_module(args.engine), SIZES[args.work]
    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("high" if args.dtype == "tf32" else "highest")
    torch.manual_seed(1337)
    on = On(torch, args.device, args.dtype, "eager" if not args.compile else MODES[args.device])
    size, room = dataclasses.replace(size, batch=args.batch), args.prompt + args.tokens
    if args.engine == harness.OURS:
        write = writers.ours(on, size, room, args.store)
    else:
        write = writers.theirs(on, size, room)
    wait = waiter(torch, args.device)
    ids = torch.randint(0, size.vocabulary, (args.batch, args.prompt)).to(args.device)
    timed(write, wait, ids, args.tokens)  # each length has plans and kernels of its own
    print("ready", flush=True)
    for _ in sys.stdin:
        before = emulated.counts()["waits"] if emulated else 0
        found = {"ms": timed(write, wait, ids, args.tokens)}
        if emulated:  # three are the clock's
            found["waits"] = (emulated.counts()["waits"] - before - 3) / args.tokens
        on_gpu = used_bytes(args.engine, args.device) / 2**20
        print(json.dumps({**found, "peak_mb": on_gpu or harness.memory("VmHWM")}), flush=True)


# ---------------------------------------------------------------- taking turns


def rows(args: argparse.Namespace) -> harness.Runs:
    """Who writes: row -> (arguments for Python, additions to the environment)."""
    given = ["work", "device", "dtype", "prompt", "tokens", "threads"]
    command = [__file__, *[f"--{name}={getattr(args, name)}" for name in given]]
    found = harness.rows(command, compile_too=not args.no_compile)
    found.pop(harness.ALONE, None)
    if args.device == "cuda":
        there = cpu_vs_gpu.has_gpu("torch")
        found = {
            n: run for n, run in found.items() if "malloc" not in n and (there or n == harness.OURS)
        }
    if args.device == "cpu" and args.dtype == "float32":
        found[OURS_16] = ([*found[harness.OURS][0], "--store"], {})
        if "PyTorch" in found:
            found["PyTorch, bfloat16"] = ([*found["PyTorch"][0], "--dtype=bfloat16"], {})
    return found


def measure(args: argparse.Namespace, batch: int) -> dict[str, list[dict[str, Any]]]:
    """Each engine's texts of one batch size, in turns."""
    engines: list[harness.Engine] = []
    for name, (command, extra) in rows(args).items():
        try:
            engine = harness.Engine(name, [*command, f"--batch={batch}"], extra)
            engine.line()
            engines.append(engine)
        except SystemExit as error:  # no PyTorch for this device, say
            print(error)
    found: dict[str, list[dict[str, Any]]] = {engine.name: [] for engine in engines}
    for _ in range(args.repeats):
        for engine in engines:
            found[engine.name].append(engine.turn())
    for engine in engines:
        engine.close()
    return found


def bandwidth(threads: int, size: int = 1 << 29) -> float:
    """Bytes per second that the threads read together from memory: the best of seven."""
    import numpy as np

    parts, best = np.array_split(np.ones(size // 4, np.float32), threads), 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(7):
            start = time.perf_counter()
            list(pool.map(np.add.reduce, parts))
            best = max(best, size / (time.perf_counter() - start))
    return best


def table(record: dict[str, Any]) -> str:
    """One line per batch size and engine."""
    dtype, rate = record["settings"]["dtype"], record["bandwidth"]
    head = ["texts", "engine", "ms per token", "tokens/s", "its time / ours"]
    head += ["of the memory's limit"] if rate else ["MFU", "host / device", "waits per token"]
    lines = []
    for batch, results in record["batches"].items():
        mine = harness.step_times(results[harness.OURS])
        for name in reversed(results):  # ours last
            found = results[name]
            times = harness.step_times(found)
            ms = median(times)
            if rate:
                half = "bfloat16" in name or dtype == "bfloat16"
                least = 1e3 * record["parameters"] * (2 if half else 4) / rate
                how = [f"{least / ms:.0%}"]
            else:
                arithmetic = 2e3 * record["parameters"] * int(batch)
                host = median(r["ms"]["host"] for r in found)
                waits = found[0].get("waits")
                how = [f"{arithmetic / ms / PEAKS[dtype]:.2%}", f"{host / ms:.2f}"]
                how += ["" if waits is None else f"{waits:.2f}"]
            lines.append(
                [batch, name, harness.spread(times, 1 if rate else 2)]
                + [f"{1e3 * int(batch) / ms:,.0f}", harness.spread(harness.ratios(times, mine))]
                + how
                + [f"{median(r['ms']['first'] for r in found):.0f}"]
                + [f"{median(r['peak_mb'] for r in found):.0f}"]
            )
    return harness.markdown([*head, "ms until the first token", "peak MB"], lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", choices=list(SIZES), default="gpt2")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=list(BYTES), default="float32")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64], help="texts at a time")
    parser.add_argument("--prompt", type=int, default=64, help="tokens before the first")
    parser.add_argument("--tokens", type=int, default=64, help="of each text")
    parser.add_argument("--repeats", type=int, default=15, help="texts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--engine", help="write with this module when told to, on standard input")
    parser.add_argument("--compile", action="store_true", help="with --engine: torch.compile")
    parser.add_argument("--store", action="store_true", help="with --engine: 16-bit weights")
    args = parser.parse_args(arguments)
    if args.engine:
        args.batch = args.batch[0]
        return serve(args)
    if args.device == "cuda":
        cpu_vs_gpu.check_gpu(parser)
    size = SIZES[args.work]
    parameters = 12 * size.layers * size.width**2 + size.vocabulary * size.width
    record = {
        "work": args.work,
        "settings": {n: getattr(args, n) for n in ("prompt", "tokens", "threads", "dtype")},
        "machine": harness.machine(),
        "parameters": parameters,  # those that are read for each token
        "bandwidth": bandwidth(args.threads) if args.device == "cpu" else 0,
        "batches": {str(batch): measure(args, batch) for batch in args.batch},
    }
    if args.device == "cpu":
        rate, one = record["bandwidth"], record["parameters"] * 4 / record["bandwidth"]
        print(f"Memory gives {rate / 1e9:.1f} GB/s: float32 weights once in {1e3 * one:.1f} ms.")
        harness.save(f"generate-{args.work}", record)
    print(table(record))


if __name__ == "__main__":
    main()
