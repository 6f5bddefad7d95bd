"""Every benchmark, then the report: one command, each script in a process of its own.

    python benchmarks/measure.py                    # what is not measured yet, then the report
    python benchmarks/measure.py --only step-mlp    # these results (beginnings of their names)
    python benchmarks/measure.py --quick            # what has a target, and single ops
    python benchmarks/measure.py --fresh            # everything again

A result of the very same package code on this processor is kept, so that this can be stopped and
started again. A script that fails does not stop the others.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import harness
import many
import report
from works import WORKS

HERE = Path(__file__).resolve().parent
SCRIPTS = {  # result -> command line
    **{f"step-{work}": ["step.py", "--work", work] for work in WORKS},
    "generate-gpt2": ["generate.py"],
    "losses": ["losses.py"],
    **{f"many-{work}": ["many.py", "--work", work] for work in [*many.JOBS, many.EXCHANGE]},
    "ops": ["ops.py"],
    "products": ["products.py"],
    "scaling": ["scaling.py"],
    "shakespeare": ["shakespeare.py"],
}
# Of these alone: as many runs as half an hour allows.
QUICK = {f"step-{work}": [] for work in ("mlp", "moons", "rnn", "gpt-cpu", "gpt-cpu-avx2")}
QUICK |= {f"step-{work}": ["--repeats", "2"] for work in ("gpt2-b1", "gpt2-b4", "baby-gpt")}
QUICK |= {"products": ["--works", "mlp", "gpt-cpu", "gpt2-b1"], "ops": ["--repeats", "2"]}


def is_done(name: str) -> bool:
    """Whether this processor has a result of this very code."""
    found = harness.load(name, harness.processor())
    return bool(found) and found["machine"].get("sources") == harness.sources()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help=" ".join(SCRIPTS))
    parser.add_argument("--quick", action="store_true", help=" ".join(QUICK))
    parser.add_argument("--fresh", action="store_true", help="also what is measured")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(arguments)
    wide = "AVX-512" in harness.processor()  # else there is nothing to hold to AVX2
    wanted = [n for n in (QUICK if args.quick else SCRIPTS) if n.startswith(tuple(args.only))]
    wanted = [name for name in wanted if wide or "-avx2" not in name]
    if not wanted:
        raise SystemExit(
            f"[measure] --only must begin one of {', '.join(SCRIPTS)}, got {args.only}"
        )
    failed = []
    for number, name in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}] {name}", flush=True)
        if is_done(name) and not args.fresh:
            print("is measured; --fresh measures again")
            continue
        start = time.perf_counter()
        script, *options = SCRIPTS[name] + (QUICK[name] if args.quick else [])
        command = [sys.executable, str(HERE / script), *options, "--threads", str(args.threads)]
        if subprocess.run(command).returncode:
            failed.append(name)
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
    report.main()
    if failed:
        raise SystemExit(f"[measure] every script must end with 0, got failures in {failed}")


if __name__ == "__main__":
    main()
