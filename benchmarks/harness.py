"""Fair timing of engines: each run in a process of its own, in alternation (A B A B), ratios taken
pair by pair, hardware, versions and settings recorded."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from threadpoolctl import threadpool_info
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
sys.path.insert(0, str(ROOT))  # the package of this checkout, installed or not
OURS, ALONE = "tinygrad_lm", "tinygrad_lm, NumPy alone"
CAPTURED = "tinygrad_lm, captured"
# What `import tinygrad_lm` asks glibc for by itself, as settings for any other process.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "2147483647",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_TOP_PAD_": "67108864",
}
KERNELS = "tinygrad_lm.engine.kernels.c"
COMPILED = KERNELS + "._isa"  # present if it was compiled
CODE = (".py", ".c", ".h", ".cu", ".cuh")
REPORTED_STEPS = (1, 10, 100, 1000)  # their losses are kept, beside the last one

# ---------------------------------------------------------------- inside a measuring process


def memory(field: str) -> float:
    """A field of /proc/self/status in MB: VmRSS (now), VmHWM (the most so far); 0 elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":"))


def timed(step: Callable, warm_up: int, steps: int) -> dict[str, Any]:
    """Call step() -> (loss, seconds by phase): the medians in ms, and losses by step number."""
    rows, losses = [], {}
    for i in range(1, warm_up + steps + 1):
        start = time.perf_counter()
        loss, phases = step()
        seconds = time.perf_counter() - start
        if i > warm_up:
            rows.append({"step": seconds, **phases})
        if i in REPORTED_STEPS or i == warm_up + steps:
            losses[str(i)] = float(loss)
    return {"ms": {n: 1e3 * median(row[n] for row in rows) for n in rows[0]}, "losses": losses}


def seconds_of(call: Callable, enough: float = 0.1, least: int = 3) -> float:
    """The median time of call(), after one call that does not count; `enough` seconds of calls."""
    call()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < least or time.perf_counter() - begin < enough:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


# ---------------------------------------------------------------- processes


def has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it
        return False


Runs = dict[str, tuple[list[str], dict[str, str]]]  # row -> arguments, additions to environment


def rows(command: list[str], compile_too: bool, capture_too: bool = False) -> Runs:
    """Who is measured. A missing PyTorch or compiler is named, and its rows are left out."""
    found: Runs = {OURS: ([*command, "--engine", "tinygrad_lm"], {})}
    if capture_too:
        found[CAPTURED] = ([*found[OURS][0], "--capture"], {})
    if has(COMPILED):
        found[ALONE] = (found[OURS][0], {"TINYGRAD_LM_COMPILED": "0"})
    if not has("torch"):
        print("PyTorch is not installed, its rows are missing; pip install '.[parity]'")
        return found
    theirs = [*command, "--engine", "torch"]
    found["PyTorch"] = (theirs, {})
    found["PyTorch, malloc settings"] = (theirs, MALLOC)
    if compile_too and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        print("There is no C++ compiler, the rows of torch.compile are missing")
    elif compile_too:
        found["PyTorch, torch.compile"] = ([*theirs, "--compile"], {})
        found["PyTorch, torch.compile, malloc settings"] = ([*theirs, "--compile"], MALLOC)
    return found


class Engine:
    """A process that measures one row: for a line that it is told it prints one of JSON."""

    def __init__(self, name: str, arguments: list[str], extra: dict[str, str]) -> None:
        self.name, self.errors = name, tempfile.TemporaryFile("w+")
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path, **extra},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def line(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            said = self.errors.read()[-2000:]
            self.close()
            raise SystemExit(f"[benchmark] {self.name} must run, got:\n{said}")
        return line

    def turn(self) -> Any:
        with contextlib.suppress(BrokenPipeError):  # it may be through already
            print("go", file=self.process.stdin, flush=True)
        return json.loads(self.line())

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()
        self.process.wait()


def alternate(runs: Runs, repeats: int, turns: int = 1) -> dict[str, list]:
    """Each run's results, A B A B: `turns` from each of `repeats` processes, which wait for one
    another. With one turn none is there while another one runs."""
    results: dict[str, list] = {name: [] for name in runs}
    with tqdm(total=repeats * turns * len(runs), disable=not sys.stderr.isatty()) as bar:
        for _ in range(repeats):
            alive: dict[str, Engine] = {}
            for turn in range(1, turns + 1):
                for name, run in runs.items():
                    bar.set_description(name)
                    engine = alive[name] = alive.get(name) or Engine(name, *run)
                    results[name].append(engine.turn())
                    if turn == turns:
                        engine.close()
                    bar.update()
    return results


# ---------------------------------------------------------------- arithmetic on results


def step_times(found: list[dict[str, Any]]) -> list[float]:
    return [r["ms"]["step"] for r in found]


def ratios(theirs: list[float], ours: list[float]) -> list[float]:
    """Pair by pair: runs next to each other are compared, so that a slow minute cancels."""
    return [a / b for a, b in zip(theirs, ours, strict=True)]


def best(results: dict[str, list], settings: bool) -> str | None:
    """PyTorch's fastest row by median, among those with or those without malloc settings."""
    names = [n for n in results if n.startswith("PyTorch") and ("malloc" in n) == settings]
    return min(names, key=lambda n: median(step_times(results[n])), default=None)


def spread(values: list[float], digits: int = 2) -> str:
    """median (least - most)"""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def markdown(head: list[str], lines: list[list[Any]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in [head, rule, *lines])


def loss_gap(results: dict[str, list], step: str) -> float:
    """How far PyTorch's eager loss after a step is from ours, as a share of ours; so with the loss
    of our captured step."""
    ours, *others = (
        results[name][-1]["losses"][step] for name in (OURS, "PyTorch", CAPTURED) if name in results
    )
    return max(abs(x - ours) for x in others) / abs(ours)


# ---------------------------------------------------------------- records


def sources() -> str:
    """A name for the package's code as it stands: other code has another name."""
    digest = hashlib.sha256()
    for path in sorted(p for p in (ROOT / "tinygrad_lm").rglob("*") if p.suffix in CODE):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def git(*arguments: str) -> str:
    """What git answers here; nothing where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2"}  # a flag of Linux -> its name


def processor() -> str:
    """Its name, and how wide its vectors are: one name covers several processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
    flags = next((x.split() for x in lines if x.startswith("flags")), [])
    return name + "".join([f" ({v})" for flag, v in VECTORS.items() if flag in flags][:1])


# What a processor's name says beside which one it is.
NOISE = re.compile(r"\((R|TM)\)|\b(AMD|Intel|Apple|CPU|Processor|\d+-Core)\b|@.*?GHz", re.I)


def short(name: str) -> str:
    """The processor's name as a part of a file's: AMD EPYC (AVX-512) is avx512-epyc."""
    plain, _, vectors = NOISE.sub(" ", name).partition(" (")
    return "-".join(re.findall(r"\w+", f"{vectors.replace('-', '')} {plain}".lower()))


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    versions = {"python": platform.python_version()}
    for name in ("numpy", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            if has(name):
                versions[name] = importlib.metadata.version(name)
    blas = [p for p in threadpool_info() if p["user_api"] == "blas"]
    if blas:
        versions[blas[0]["internal_api"]] = f"{blas[0]['version']} ({blas[0]['architecture']})"
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "versions": versions,
        "compiled_kernels": has(COMPILED),
        "isa": getattr(importlib.import_module(KERNELS).fast, "ISA", None),
        "malloc_settings": os.environ.get("TINYGRAD_LM_MALLOC") != "0",
        "commit": git("rev-parse", "--short", "HEAD"),
        "changed_since": bool(git("status", "--porcelain", "--", "tinygrad_lm")),
        "sources": sources(),
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def path_of(name: str, processor: str) -> Path:
    return RESULTS / f"{name}.{short(processor)}.json"


def save(name: str, record: dict[str, Any]) -> None:
    """A record belongs to the processor that it was measured on; those of others stay."""
    path = path_of(name, record["machine"]["processor"])
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    print(f"written to {RESULTS.name}/{path.name}")


def load(name: str, processor: str) -> dict[str, Any] | None:
    path = path_of(name, processor)
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def every(name: str) -> dict[str, dict[str, Any]]:
    """processor -> what was measured there."""
    paths = sorted(RESULTS.glob(f"{name}.*.json"))
    found = [json.loads(path.read_text("utf-8")) for path in paths]
    return {record["machine"]["processor"]: record for record in found}
