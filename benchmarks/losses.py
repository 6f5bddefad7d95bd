"""Whether both engines compute the same training: losses step by step, in float32 and float64.

    python benchmarks/losses.py

Where training amplifies rounding, float32 runs part after some hundred steps although nothing is
wrong; float64 then still agrees to many digits. It measures no time.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from typing import Any

import harness
from works import WORKS

STEPS = {"moons": 1000, "mlp": 1200, "rnn": 250, "gpt-cpu": 50}
TYPES = ("float32", "float64")
ENGINES = {harness.OURS: "tinygrad_lm", "PyTorch": "torch"}


def table(results: dict[str, list]) -> str:
    """Both losses after 1, 10, ... steps and the last one, and their distance."""
    lines = []
    for work, steps in STEPS.items():
        for kind in TYPES:
            found = [results.get(f"{work}, {kind}, {name}") for name in ENGINES]
            if not all(found):
                continue
            ours, theirs = (runs[0] for runs in found)
            for step in ours:
                gap = abs(ours[step] - theirs[step]) / abs(ours[step])
                first = [work, kind] if step == "1" else ["", ""]
                lines.append(
                    [*first, step, f"{ours[step]:.9f}", f"{theirs[step]:.9f}", f"{gap:.0e}"]
                )
            lines[-1][2] = f"{steps} (last)"
    return harness.markdown(["work", "numbers", "step", "ours", "PyTorch", "apart"], lines)


def measure(engine: str, work: str, kind: str, threads: int) -> dict[str, float]:
    torch: Any = importlib.import_module(engine)
    torch.set_num_threads(threads)
    torch.set_default_dtype(getattr(torch, kind))
    return harness.timed(WORKS[work].build(torch), 0, STEPS[work])["losses"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--works", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", help="with --kind: run this module here and print JSON")
    parser.add_argument("--kind", choices=TYPES)
    args = parser.parse_args(arguments)
    if args.engine:
        print(json.dumps(measure(args.engine, args.works[0], args.kind, args.threads)))
        return
    here = {name: module for name, module in ENGINES.items() if harness.has(module)}
    if "PyTorch" not in here:
        raise SystemExit(
            "[losses] PyTorch must be installed to compare with; pip install '.[parity]'"
        )
    command = [__file__, "--threads", str(args.threads), "--works"]
    runs = {
        f"{work}, {kind}, {name}": ([*command, work, "--kind", kind, "--engine", module], {})
        for work in args.works
        for kind in TYPES
        for name, module in here.items()
    }
    machine, results = harness.machine(), harness.alternate(runs, 1)
    print(table(results))
    settings = {"threads": args.threads}
    harness.save("losses", {"settings": settings, "machine": machine, "results": results})


if __name__ == "__main__":
    main()
