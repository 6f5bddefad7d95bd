"""A GPU against the CPU, and ours against PyTorch on both: from a sum of 1024 numbers to GPT-2.

    python benchmarks/cpu_vs_gpu.py --budget 150         # everything, by value, until time is up
    python benchmarks/cpu_vs_gpu.py --only gpt2 --full   # GPT-2 124M, B 64, T 1024
    python benchmarks/cpu_vs_gpu.py --report             # the table, from the rows that are there
    python benchmarks/cpu_vs_gpu.py --picture            # the picture, on any machine

Each module has a process of its own on each device, which walks a list ordered by value and writes
a line of JSON per row. Without a GPU the columns of the CPU are measured, and a sentence says what
is missing. The programs are in device_works.py, the timing in windows.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import crossover
import harness
from device_works import SWEEPS, Built, On, generation, gpt
from tqdm import tqdm
from windows import timed, used_bytes, waiter
from works import Size

OURS, THEIRS = "tinygrad_lm", "torch"
# (module, device): share of the budget. Ours on the GPU comes first.
COLUMNS = {
    (OURS, "cuda"): 0.35,
    (THEIRS, "cuda"): 0.35,
    (OURS, "cpu"): 0.2,
    (THEIRS, "cpu"): 0.1,
}
LAST_CALL = 20  # seconds that a row may go on after the budget of its process, before it is ended

Case = tuple[str, int, str, str]  # sweep, size, dtype, mode


def variants(module: str, device: str, kind: str, name: str) -> list[tuple[str, str]]:
    """(dtype, mode) in order of value."""
    if device == "cpu":
        return [("float32", "eager")]
    if kind == "transfer":
        return [("float32", "upload"), ("float32", "download")]
    dtypes = ("bfloat16", "float32", "tf32") if kind == "step" else ("float32", "bfloat16")
    if name == "gpt2":
        dtypes = ("bfloat16", "tf32")
    modes = ["captured", "eager"] if module == OURS and kind == "step" else ["eager"]
    if name == "generation":
        modes = ["eager"]
    found = [(dtype, mode) for dtype in dtypes for mode in modes]
    if module == THEIRS and name in ("gpt2", "baby", "mlp"):
        graphs = [] if name == "gpt2" else [("bfloat16", "reduced"), ("float32", "reduced")]
        found = [("bfloat16", "compiled"), *graphs[:1], *found, *graphs[1:]]
    return found


def cases(module: str, device: str, only: Sequence[str], quick: bool, full: bool) -> list[Case]:
    """Every work at its first size, then at the others, so that little time still means breadth."""
    found = []
    chosen = [n for n in SWEEPS if not only or n in only or SWEEPS[n].kind in only]
    for name in chosen:
        sweep = SWEEPS[name]
        sizes = sweep.full or sweep.sizes if full else sweep.sizes
        if quick:
            sizes = tuple(sorted({max(1, s // 64) for s in sizes}))[:2]
        for place, size in enumerate(sizes):
            if device == "cpu" and size > sweep.cpu:
                continue
            for rank, (dtype, mode) in enumerate(variants(module, device, sweep.kind, name)):
                if mode in ("compiled", "reduced") and (place or quick):
                    continue
                late = dtype == "tf32" or (rank > 3)
                found.append((late, place, name, size, dtype, mode))
    order = {name: i for i, name in enumerate(chosen)}
    found.sort(key=lambda c: (c[0], order[c[2]] > 2, order[c[2]] if order[c[2]] < 3 else c[1]))
    return [(name, size, dtype, mode) for _, _, name, size, dtype, mode in found]


def build(name: str, on: On, size: int, quick: bool) -> Built:
    if quick and name in SMALL:
        return SMALL[name](on, size)
    return SWEEPS[name].build(on, size)


TINY = Size(1, 2, 16, 16, 1, 65, bias=True)
SMALL = {
    **dict.fromkeys(
        ("gpt2", "baby", "gpt-cpu", "gpt2-short"),
        lambda on, batch: gpt(on, dataclasses.replace(TINY, batch=batch)),
    ),
    "generation": lambda on, batch: generation(on, batch, TINY),
}


def measure(module: str, device: str, case: Case, quick: bool) -> dict[str, Any]:
    """One row, in this process."""
    name, size, dtype, mode = case
    torch = importlib.import_module(module)
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
    if (module, device) == (OURS, "cuda"):
        torch.cuda.tunable.enable()
    on, wait = On(torch, device, dtype, mode), waiter(torch, device)
    before = used_bytes(module, device)
    start = time.perf_counter()
    built = build(name, on, size, quick)
    run = torch.capture(built.step) if mode == "captured" else built.step
    turn, batches = [0], built.batches

    def step() -> Any:
        turn[0] += 1
        return run(*batches[turn[0] % len(batches)])

    found = timed(step, wait, **({"windows": 2, "enough": 0.01} if quick else {}))
    peak = (used_bytes(module, device) - before) / 2**20 if device == "cuda" else None
    row = {"flops": built.flops, "tokens": built.tokens, "moved": built.moved, "peak_mb": peak}
    return {**found, **row, "seconds": time.perf_counter() - start}


def clean(torch: Any, device: str) -> None:
    gc.collect()
    if device == "cuda":
        if hasattr(torch, "_dynamo"):
            torch._dynamo.reset()
        gc.collect()
        torch.cuda.empty_cache()


def walk(module: str, device: str, todo: list[Case], until: float, quick: bool) -> Iterator[dict]:
    torch = importlib.import_module(module)
    for case in todo:
        if time.time() > until:
            return
        name, size, dtype, mode = case
        row: dict[str, Any] = {"work": name, "size": size, "module": module, "device": device}
        row |= {"dtype": dtype, "mode": mode}
        try:
            row |= measure(module, device, case, quick)
        except Exception as error:  # a row that cannot be measured says why, and the next follows
            row["error"] = f"{type(error).__name__}: {error}"[:500]
        yield row
        clean(torch, device)


def here(args: argparse.Namespace) -> None:
    """In a process of its own: rows as lines of JSON."""
    module, device = args.process.split(":")
    if "cupy_on_cpu" in os.environ.get("REHEARSE_WITH", "") and module == OURS and device == "cuda":
        importlib.import_module("cupy_on_cpu").install()
    importlib.import_module(module).set_num_threads(args.threads or os.cpu_count() or 1)
    todo = cases(module, device, args.only, args.quick, args.full)
    print(json.dumps({"rows": len(todo)}), flush=True)
    for row in walk(module, device, todo, time.time() + args.budget, args.quick):
        print(json.dumps(row), flush=True)


def has_gpu(module: str) -> bool:
    """Asked in a process of its own, as a look at CUDA belongs to no process that starts others."""
    code = f"import {module} as m; raise SystemExit(not m.cuda.is_available())"
    if module == OURS and "cupy_on_cpu" in os.environ.get("REHEARSE_WITH", ""):
        code = "import cupy_on_cpu; cupy_on_cpu.install(); " + code
    return subprocess.run([sys.executable, "-c", code], env=environment()).returncode == 0


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(harness.ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def columns(devices: Sequence[str]) -> dict[tuple[str, str], float]:
    """The columns that can be measured here; what is missing is said."""
    found, missing = {}, []
    for (module, device), share in COLUMNS.items():
        if device not in devices:
            continue
        if not harness.has(module):
            missing.append(f"PyTorch on {device} (not installed)")
        elif device == "cuda" and not has_gpu(module):
            missing.append(f"{'PyTorch' if module == THEIRS else module} on a GPU (none found)")
        else:
            found[module, device] = share
    if missing:
        print(f"Not measured: {', '.join(missing)}.")
    return {c: share / sum(found.values()) for c, share in found.items()}


def one_process(column: tuple[str, str], seconds: float, args: argparse.Namespace, out: Any) -> int:
    """Start it, pass its rows on, end it when it is far too late. Returns how many rows."""
    command = [sys.executable, str(Path(__file__).resolve()), "--process", ":".join(column)]
    command += ["--budget", str(seconds), "--threads", str(args.threads)]
    command += ["--quick"] * args.quick + ["--full"] * args.full
    command += ["--only", *args.only] if args.only else []
    limited = ["timeout", str(int(seconds + LAST_CALL)), *command]
    child = subprocess.Popen(limited, stdout=subprocess.PIPE, text=True, env=environment())
    count = 0
    with tqdm(disable=not sys.stderr.isatty(), desc=" ".join(column)) as bar:
        for line in child.stdout or ():
            if not line.startswith("{"):
                continue
            row = json.loads(line)
            if "rows" in row:
                bar.total = row["rows"]
                continue
            out.write(line)
            out.flush()
            count += 1
            bar.update()
            print(said(row), flush=True)
    child.wait()
    return count


def said(row: dict[str, Any]) -> str:
    what = "{work} {size} {module} {device} {dtype} {mode}: ".format(**row)
    if "error" in row:
        return what + row["error"]
    ms = sorted(row["ms"])
    speed = f", {row['flops'] / ms[len(ms) // 2] / 1e9:.1f} TFLOP/s" if row["flops"] else ""
    return what + f"{harness.spread(ms, 3)} ms{speed}, loss {row['losses'][-1]:.5f}"


def card() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.sm", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = f"ops step transfer {' '.join(SWEEPS)}"
    parser.add_argument("--only", nargs="+", default=[], metavar="WORK", help=names)
    parser.add_argument("--budget", type=float, default=150, help="seconds, of all processes")
    parser.add_argument("--devices", nargs="+", default=["cuda", "cpu"], choices=["cuda", "cpu"])
    parser.add_argument("--quick", action="store_true", help="sizes / 64, short windows")
    parser.add_argument("--full", action="store_true", help="GPT-2 with batch 64")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: all")
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "cpu_vs_gpu.jsonl")
    parser.add_argument("--append", action="store_true", help="to the rows that are there")
    parser.add_argument("--report", action="store_true", help="the table alone")
    parser.add_argument("--picture", action="store_true", help="the picture alone")
    parser.add_argument("--process", help="measure MODULE:DEVICE here, rows to stdout")
    args = parser.parse_args(arguments)
    args.only = ["op" if n == "ops" else n for n in args.only]
    if args.process:
        return here(args)
    if not args.report and not args.picture:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with args.out.open("a" if args.append else "w") as out:
            out.write(json.dumps({"machine": harness.machine(), "card": card()}) + "\n")
            left = args.budget
            for column, share in columns(args.devices).items():
                begin = time.time()
                share = min(left, share * args.budget)
                one_process(column, share, args, out)
                left -= time.time() - begin
    crossover.show(args.out, args.picture)


if __name__ == "__main__":
    main()
