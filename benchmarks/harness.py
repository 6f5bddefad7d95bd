"""Fair timing of engines: each run in a process of its own, in alternation (A B A B), ratios taken
pair by pair, hardware and versions recorded. It knows no engine and no work."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

RESULTS = Path(__file__).parent / "results"
# What `import tinygrad_lm` asks glibc for by itself, as settings for any other process.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "2147483647",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_TOP_PAD_": "67108864",
}


def memory(field: str) -> float:
    """A field of /proc/self/status in MB: VmRSS (now), VmHWM (the most so far); 0 elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":"))


def timed(step: Any, warm_up: int, steps: int) -> dict[str, Any]:
    """Call step() -> (loss, seconds by phase); the medians in ms, and the last loss."""
    rows = []
    for i in range(warm_up + steps):
        start = time.perf_counter()
        loss, phases = step()
        if i >= warm_up:
            rows.append({"step": time.perf_counter() - start, **phases})
    found = {name: 1e3 * median(row[name] for row in rows) for name in rows[0]}
    return {"ms": found, "loss": float(loss)}


def alternate(runs: dict[str, tuple[list[str], dict[str, str]]], repeats: int) -> dict[str, list]:
    """Each run's results, one per repeat. A run is (arguments for Python, additions to the
    environment), and prints its result as JSON on its last line."""
    results: dict[str, list] = {name: [] for name in runs}
    with tqdm(total=repeats * len(runs), disable=not sys.stderr.isatty()) as bar:
        for _ in range(repeats):
            for name, (arguments, extra) in runs.items():
                bar.set_description(name)
                done = subprocess.run(
                    [sys.executable, *arguments],
                    env={**os.environ, **extra},
                    capture_output=True,
                    text=True,
                )
                if done.returncode:
                    raise RuntimeError(f"[benchmark] {name} must run, got:\n{done.stderr[-2000:]}")
                results[name].append(json.loads(done.stdout.splitlines()[-1]))
                bar.update()
    return results


def spread(values: list[float], digits: int = 2) -> str:
    """median (least - most)"""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def table(results: dict[str, list], ours: str) -> str:
    """Markdown: one line per engine, ratios pair by pair against ours."""
    mine = [r["ms"]["step"] for r in results[ours]]
    phases = [name for name in results[ours][0]["ms"] if name != "step"]
    head = ["engine", "ms per step", *phases, "its time / ours", "peak MB", "loss"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for name, found in results.items():
        times = [r["ms"]["step"] for r in found]
        cells = [name, spread(times)]
        cells += [f"{median(r['ms'][phase] for r in found):.2f}" for phase in phases]
        cells.append(spread([a / b for a, b in zip(times, mine)]))
        cells += [f"{median(r['peak_mb'] for r in found):.0f}", f"{found[-1]['loss']:.5f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    versions = {"python": platform.python_version()}
    for name in ("numpy", "torch", "tinygrad_lm"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "versions": versions,
        "load_at_start": load,
    }


def save(name: str, record: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path
