"""A GPU against the CPU, and ours against PyTorch on both: from a sum of 1024 numbers to GPT-2.

    python benchmarks/cpu_vs_gpu.py --budget 150            # everything, by value, in 150 seconds
    python benchmarks/cpu_vs_gpu.py --only mlp baby         # these works
    python benchmarks/cpu_vs_gpu.py --only gpt2 --sizes 64  # GPT-2 124M, B 64, T 1024
    python benchmarks/cpu_vs_gpu.py --report --out FILE     # tables and picture of these rows

Each module has a process of its own on each device, which walks a list ordered by value and writes
a line of JSON per row; then come tables in Markdown and a picture, beside the rows. Without a GPU
the columns of the CPU are measured, and a sentence says what is missing. What is measured is in
sweeps.py, the programs in device_works.py, device_ops.py and writers.py, the timing in windows.py,
table and picture in crossover.py.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import crossover
import harness
from device_works import PROGRAMS, On
from sweeps import OURS, SWEEPS, THEIRS, Case, build, cases
from tqdm import tqdm
from windows import number, timed, used_bytes, waiter

KINDS = ("ops", "steps", "transfers")
# (module, device): share of the budget. A column gets its share of what is left, so that seconds
# which an earlier one did not need are not lost.
COLUMNS = {
    (OURS, "cuda"): 0.3,
    (THEIRS, "cuda"): 0.3,
    (OURS, "cpu"): 0.2,
    (THEIRS, "cpu"): 0.2,
}
LAST_CALL = 20  # seconds that a row may go on after the budget of its process, before it is ended
REHEARSED = os.environ.get("REHEARSE_WITH", "")  # a module that emulates a GPU for ours

Column = tuple[str, str, int]  # module, device, threads of the CPU or 0 for all

# ---------------------------------------------------------------- in a process of its own


def compiler_clock() -> list[float]:
    """Seconds that NVRTC takes from now on, one number for each kernel."""
    program = importlib.import_module("cupy.cuda.compiler")._NVRTCProgram
    plain, seconds = program.compile, []

    def compile(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return plain(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - start)

    program.compile = compile
    return seconds


def measure(module: str, device: str, case: Case, quick: bool) -> dict[str, Any]:
    """One row."""
    torch = importlib.import_module(module)
    torch.set_float32_matmul_precision("high" if case.dtype == "tf32" else "highest")
    if (module, device) == (OURS, "cuda"):
        torch.cuda.tunable.enable()
    on, wait = On(torch, device, case.dtype, case.mode), waiter(torch, device)
    before = used_bytes(module, device)
    start = time.perf_counter()
    built = build(case, on, quick)
    run = torch.capture(built.step) if case.mode == "captured" else built.step

    def by_turns(batches: list[tuple], bring: Callable = lambda batch: batch) -> Callable:
        turn = [0]

        def step() -> Any:
            turn[0] += 1
            return run(*bring(batches[turn[0] % len(batches)]))

        return step

    step, others = by_turns(built.batches), {}
    if SWEEPS[case.work].kind == "steps" and device == "cuda":
        others["reading"] = lambda: number(step())
        others["uploading"] = from_host(on, built.batches, by_turns)
    short = {"enough": 0.1} if SWEEPS[case.work].kind != "steps" else {}
    short = {"windows": 2, "enough": 0.01} if quick else short
    found = timed(lambda: run(*built.batches[0]), step, wait, others, **short)
    peak = (used_bytes(module, device) - before) / 2**20 if device == "cuda" else None
    row = {"flops": built.flops, "tokens": built.tokens, "moved": built.moved, "peak_mb": peak}
    return {**found, **row, "programs": PROGRAMS, "seconds": time.perf_counter() - start}


def from_host(on: On, batches: list[tuple], by_turns: Callable) -> Callable:
    """The step whose batch lies in the host's memory, pinned where the module can do that; a
    captured one fetches it by itself."""
    host = [tuple(x.to("cpu").pin_memory() for x in batch) for batch in batches]
    if on.mode == "captured":
        return by_turns(host)
    return by_turns(host, lambda batch: [x.to(on.device, non_blocking=True) for x in batch])


def clean(torch: Any, device: str) -> None:
    gc.collect()
    if device == "cuda":
        if hasattr(torch, "_dynamo"):
            torch._dynamo.reset()
        gc.collect()
        torch.cuda.empty_cache()


def walk(
    module: str, device: str, todo: list[Case], until: float, quick: bool
) -> Iterator[dict[str, Any]]:
    torch = importlib.import_module(module)
    nvrtc = compiler_clock() if (module, device) == (OURS, "cuda") else []
    for case in todo:
        if time.time() > until:
            return
        row: dict[str, Any] = {"module": module, "device": device, **case._asdict()}
        row["threads"] = torch.get_num_threads()
        before = len(nvrtc)
        try:
            row |= measure(module, device, case, quick)
        except Exception as error:  # a row that cannot be measured says why, and the next follows
            row["error"] = f"{type(error).__name__}: {error}"[:500]
        row["nvrtc_s"] = sum(nvrtc[before:])
        yield row
        clean(torch, device)


def here(args: argparse.Namespace) -> None:
    """Rows as lines of JSON."""
    module, device, threads = args.process.split(":")
    if REHEARSED and module == OURS and device == "cuda":
        importlib.import_module(REHEARSED).install()
    importlib.import_module(module).set_num_threads(int(threads) or os.cpu_count() or 1)
    todo = cases(module, device, args.only, args.sizes, args.dtypes, args.quick)
    print(json.dumps({"rows": len(todo)}), flush=True)
    for row in walk(module, device, todo, time.time() + args.budget, args.quick):
        print(json.dumps(row), flush=True)


# ---------------------------------------------------------------- the processes


def has_gpu(module: str) -> bool:
    """Asked in a process of its own, as a look at CUDA belongs to no process that starts others."""
    if REHEARSED:
        return module == OURS
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False  # there is no driver
    code = f"import {module} as m; raise SystemExit(not m.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], env=environment()).returncode == 0


def check_gpu(parser: argparse.ArgumentParser) -> None:
    if not has_gpu(OURS):
        parser.error("--device cuda needs CuPy and a GPU, none was found")


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(harness.ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def columns(devices: Sequence[str], threads: Sequence[int]) -> dict[Column, float]:
    """The columns that can be measured here; what is missing is said in a sentence."""
    found: dict[Column, float] = {}
    missing = []
    cores = os.cpu_count() or 1
    counts = {"cuda": [0], "cpu": list(dict.fromkeys(n if n < cores else 0 for n in threads))}
    for (module, device), share in COLUMNS.items():
        if device not in devices:
            continue
        name = f"{crossover.NAMES[module]} on {'a GPU' if device == 'cuda' else 'the CPU'}"
        if not harness.has(module):
            missing.append(f"{name} (PyTorch is not installed)")
        elif device == "cuda" and not has_gpu(module):
            cupy = module == THEIRS or harness.has("cupy")
            missing.append(f"{name} ({'no GPU was found' if cupy else 'CuPy is not installed'})")
        else:
            found |= {(module, device, n): share / len(counts[device]) for n in counts[device]}
    if missing:
        print(f"Not measured here: {', '.join(missing)}.", flush=True)
    return found


def one_process(column: Column, seconds: float, args: argparse.Namespace, out: Any) -> None:
    """Start it, pass its rows on, end it when it is far too late."""
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--process",
        ":".join(map(str, column)),
    ]
    command += ["--budget", str(seconds), *["--quick"] * args.quick]
    for name in ("only", "sizes", "dtypes"):
        if given := getattr(args, name):
            command += [f"--{name}", *map(str, given)]
    name, device, threads = column
    title = f"{crossover.NAMES[name]} {device}{f', {threads} threads' * bool(threads)}"
    late: list[bool] = []
    bar = tqdm(disable=not sys.stderr.isatty(), desc=title)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    with process as child, bar:
        clock = threading.Timer(seconds + LAST_CALL, lambda: (late.append(True), child.kill()))
        clock.daemon = True  # Ctrl-C need not wait for it
        clock.start()
        for line in child.stdout or ():
            if not line.startswith("{"):
                continue
            row = json.loads(line)
            if "rows" in row:
                bar.total = row["rows"]
                bar.refresh()
                continue
            out.write(line)
            out.flush()
            bar.update()
            bar.write(said(row), file=sys.stdout)
            sys.stdout.flush()
        clock.cancel()
    if child.returncode:
        why = "ended, its time was up" if late else f"failed with {child.returncode}"
        print(f"{title}: {why}; its other rows are missing", flush=True)


def said(row: dict[str, Any]) -> str:
    what = f"{row['work']} {row['size']:,}, {crossover.column(row)}: "
    if "error" in row:
        return what + row["error"]
    ms = crossover.cost(row)
    speed = f", {row['flops'] / ms / 1e6:,.0f} GFLOP/s" if row["flops"] else ""
    speed += f", {row['moved'] / ms / 1e6:,.1f} GB/s" if row["moved"] and not speed else ""
    return what + f"{harness.spread(row['ms'], 3)} ms{speed}"


def card() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.sm", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def head() -> dict[str, Any]:
    """What the rows that follow were measured on."""
    found = harness.machine()
    for name in ("cupy-cuda12x", "cupy-cuda13x", "triton"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found["versions"][name] = importlib.metadata.version(name)
    return {"machine": found, "card": card()}


def run(args: argparse.Namespace) -> None:
    """All columns, one after another."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a" if args.append else "w") as out:
        out.write(json.dumps({**head(), "quick": args.quick}) + "\n")
        left, asked = args.budget, columns(args.devices, args.threads)
        while asked:
            whole = sum(asked.values())
            column, begin = next(iter(asked)), time.time()
            one_process(column, max(0.0, left) * asked.pop(column) / whole, args, out)
            left -= time.time() - begin


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = f"works or kinds of them: {' '.join([*KINDS, *SWEEPS])}"
    known, dtypes = [*KINDS, *SWEEPS], ["float32", "tf32", "bfloat16"]
    parser.add_argument("--only", nargs="+", default=[], metavar="WORK", choices=known, help=names)
    parser.add_argument("--sizes", nargs="+", type=int, default=[], help="in place of a work's own")
    parser.add_argument("--dtypes", nargs="+", default=[], choices=dtypes, help="these alone")
    parser.add_argument("--budget", type=float, default=150, help="seconds, of all processes")
    parser.add_argument("--devices", nargs="+", default=["cuda", "cpu"], choices=["cuda", "cpu"])
    parser.add_argument("--threads", nargs="+", type=int, default=[0, 2], help="CPU; 0: all cores")
    parser.add_argument(
        "--quick", action="store_true", help="sizes / 64, tiny GPTs, short windows: a trial"
    )
    parser.add_argument("--out", type=Path, help="rows; by default named after this machine")
    parser.add_argument("--append", action="store_true", help="rows alone, to those that are there")
    parser.add_argument("--report", action="store_true", help="table and picture alone")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.process:
        return here(args)
    if not args.out:
        name = harness.short(card().split(",")[0] or harness.processor())
        args.out = harness.RESULTS / f"cpu_vs_gpu.{name}{'.quick' * args.quick}.jsonl"
    if not args.report:
        run(args)
    if not args.append:
        crossover.show(args.out)


if __name__ == "__main__":
    main()
