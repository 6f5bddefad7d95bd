"""Is anything lost when ranks end badly? One training run, ended again and again, each time in
another way, on another rank and step, and continued on another number of ranks; at its end it must
have the very bits of a run in one process that nobody disturbed.

    python benchmarks/kills.py --count 200

Each end is timed, from the fault until mpiexec has returned, and what was said must name the rank
and the step. Of files, `last` must always be a whole checkpoint, never older than before.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import ROOT, machine, save

TIMEOUT = 5.0  # seconds until a rank counts as hanging, here
SHAPE = "--n-layer 1 --n-head 2 --n-embd 16 --block-size 16 --batch-size 4 --dropout 0.1"
STEPS = "--gradient-accumulation-steps 4 --eval-interval 4 --eval-iters 2 --log-interval 1"
RUN = f"{SHAPE} {STEPS} --sample-tokens 4 --warmup-iters 5 --timeout {TIMEOUT:g}".split()
# What can happen to a rank, and how long until all have ended, in seconds.
ENDS = {"kill": 1, "raise": 1, "exit": 1, "hang": TIMEOUT + 1, "stop": TIMEOUT + 1, "term": 3}
ENDS |= {"disk": 1, "anywhere": 1}
UNNAMED = ("term", "disk", "anywhere")  # ends without the rank's fault, or at no step


# ---------------------------------------------------------------- a rank


def be_a_rank(what: str, rank: int, step: int, note: str, arguments: list[str]) -> int:
    """Train, and let it happen to this rank at that step. note: the file for when it did."""
    from tinygrad_lm import cli
    from tinygrad_lm.training import Trainer

    update = Trainer.update

    def disturbed(self: Trainer) -> dict:
        if self.step == step and self.group.rank == rank:
            self.group.step = step
            Path(note).write_text(str(time.time()))
            happen(what)
        return update(self)

    Trainer.update = disturbed
    return cli.main(["train", *arguments])


def happen(what: str) -> None:
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "raise":
        raise ZeroDivisionError("on purpose")
    elif what == "exit":
        sys.exit(3)
    elif what == "hang":
        time.sleep(1000)
    elif what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    elif what == "disk":  # a file may grow no further: each write fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


# ---------------------------------------------------------------- the campaign


def start(ranks: int, arguments: list[str]) -> subprocess.Popen:
    """mpiexec, which is beside this Python or on the PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        raise SystemExit("[kills] mpiexec must be there, got none; pip install mpich")
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return subprocess.Popen(
        [mpiexec, "-n", str(ranks), sys.executable, __file__, "--rank", *arguments],
        env={**os.environ, **root, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def processes_of(parent: int) -> list[int]:
    """All that descend from a process and run Python."""
    children = collections.defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, ppid = int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
            children[ppid].append((pid, "python" in (stat.parent / "cmdline").read_text()))
        except OSError:
            continue
    found, pending = [], [parent]
    while pending:
        for pid, is_python in children[pending.pop()]:
            pending.append(pid)
            found += [pid] * is_python
    return found


def step_saved(out: Path) -> int:
    from tinygrad_lm.saving.checkpoint import load_checkpoint

    return load_checkpoint(out, "last")[1]["step"] if (out / "last.json").exists() else 0


def result_of(out: Path) -> str:
    """One number for the parameters and all metrics but the times."""
    from tinygrad_lm.saving.checkpoint import load_checkpoint

    arrays = load_checkpoint(out, "last")[0]
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    for line in (out / "metrics.jsonl").read_text().splitlines():
        event = json.loads(line)
        event = {k: v for k, v in event.items() if k not in ("seconds", "tokens_per_second")}
        digest.update(json.dumps(event, sort_keys=True).encode())
    return digest.hexdigest()


def disturb(out: Path, what: str, chosen: random.Random, arguments: list[str]) -> dict:
    """Continue the run, and let it happen once; what came of it."""
    before, ranks = step_saved(out), chosen.choice([2, 3, 4])
    rank = 0 if what == "disk" else chosen.randrange(ranks)
    step = before + chosen.randrange(9)
    note = out.with_name("happened")
    note.unlink(missing_ok=True)
    given = [what, str(rank), str(step), str(note), *arguments]
    given += ["--resume"] if (out / "last.json").exists() else ["--overwrite"]
    process = start(ranks, given)
    if what == "anywhere":  # at any time, in any process: while it starts, or saves, too
        time.sleep(chosen.uniform(0.2, 3))
        pids = processes_of(process.pid)
        note.write_text(str(time.time()))
        if pids:
            os.kill(chosen.choice(pids), signal.SIGKILL)
    said = process.communicate(timeout=120)[0]
    ended = time.time()
    happened = note.exists()
    row = {"what": what, "ranks": ranks, "rank": rank, "step": step, "happened": happened}
    row |= {"code": process.returncode, "from": before, "to": step_saved(out)}
    if happened:
        row["seconds"] = ended - float(note.read_text())
    faults = []
    if row["to"] < before:
        faults.append("the checkpoint is older than before")
    if happened and what != "anywhere" and process.returncode == 0:
        faults.append("mpiexec says that all was well")
    if happened and process.returncode and row["seconds"] > ENDS[what]:
        faults.append(f"it took {row['seconds']:.2f} s")
    if happened and what not in UNNAMED and not names(said, rank, step):
        faults.append("neither rank nor step is named")
    if faults:
        row["faults"], row["said"] = faults, said[-3000:]
    return row


def names(said: str, rank: int, step: int) -> bool:
    return any(f"rank {rank}" in line and f"step {step}" in line for line in said.splitlines())


def run(out: Path, ranks: int, arguments: list[str]) -> str:
    process = start(ranks, ["nothing", "0", "-1", "-", *arguments, "--timeout", "600"])
    said = process.communicate(timeout=600)[0]
    if process.returncode:
        raise SystemExit(f"[kills] a run without a fault must end well, got:\n{said[-3000:]}")
    return result_of(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="how many ends (200)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice (1)")
    parser.add_argument("--record", action="store_true", help="keep the result in results/")
    parser.add_argument("--rank", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rank:
        what, rank, step, note, *arguments = asked.rank
        sys.exit(be_a_rank(what, int(rank), int(step), note, arguments))
    chosen, rows = random.Random(asked.seed), []
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        out, alone = Path(folder, "out"), Path(folder, "alone")
        steps = 4 * (1 + asked.count)
        common = [*RUN, "--max-iters", str(steps)]
        whole = run(alone, 1, [*common, "--out", str(alone)])
        while len(rows) < asked.count:
            what = list(ENDS)[len(rows) % len(ENDS)]
            row = disturb(out, what, chosen, [*common, "--out", str(out)])
            if not row["happened"] or row["to"] >= steps:  # it was over before
                shutil.rmtree(out)
                continue
            rows.append(row)
            print(json.dumps(row), flush=True)
        resume = ["--resume"] if (out / "last.json").exists() else ["--overwrite"]
        last = run(out, 2, [*common, "--out", str(out), *resume])
    report(rows, last == whole, asked)


def report(rows: list[dict], same: bool, asked: argparse.Namespace) -> None:
    for what in ENDS:
        seconds = [r["seconds"] for r in rows if r["what"] == what and r["code"]]
        if seconds:
            usual, most = statistics.median(seconds), max(seconds)
            print(f"{what:9} {len(seconds)} times, {usual:.2f} s, at most {most:.2f}")
    faults = [fault for row in rows for fault in row.get("faults", [])]
    print(f"{len(rows)} ends, {len(faults)} faults; the bits of an undisturbed run: {same}")
    if asked.record:
        save("kills", {"machine": machine(), "rows": rows, "same": same})
    if faults or not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
