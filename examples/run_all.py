"""The whole ladder at full length, one command; it writes the map in README.md with its figures.

Every run is a process of its own. What is finished is kept in out/ladder and skipped next time, so
that this can be stopped at any moment; it knows the steps' command lines and nothing of models.

    python examples/run_all.py                # what is not done yet, then the map
    python examples/run_all.py --fresh        # everything again
    python examples/run_all.py --only 03 04   # these steps
    python examples/run_all.py --table        # the map alone, from what is finished
"""

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from common import shortly
from tqdm import tqdm

import tinygrad_lm as torch

HERE = Path(__file__).resolve().parent
FIGURES = ("ours", "reference", "floor")
START, END = "<!-- ladder -->", "<!-- /ladder -->"
HEAD = "file | lecture, minutes | what it teaches | command | figure | " + " | ".join(FIGURES)
HEAD += " | time | pictures"


class Step(NamedTuple):
    file: str
    lecture: str
    minutes: str
    teaches: str
    runs: tuple[str, ...] = ("--full",)  # the options of each run


MAKEMORE, GPT = "makemore", "Let's build GPT"
ROAD = ("bigram", "head", "multihead", "feedforward", "blocks", "residual", "layernorm", "full")
LADDER = [
    Step("01_micrograd.py", "micrograd", "0:08 to 2:21",
         "numbers with gradients, the chain rule, a network of scalars, its decision boundary"),
    Step("02_bigram.py", f"{MAKEMORE} part 1", "0:12 to 1:56",
         "counting, sampling, broadcasting, the loss; the same as a net"),
    Step("03_mlp.py", f"{MAKEMORE} part 2", "0:09 to 1:14",
         "embeddings, views and memory, learning rate, splits, sizes"),
    Step("04_activations.py", f"{MAKEMORE} part 3", "0:04 to 1:51",
         "what a good start is, and how to see that it is one; batch norm"),
    Step("05_backprop_by_hand.py", f"{MAKEMORE} part 4", "0:07 to 1:54",
         "every gradient of an MLP with batch norm, by hand"),
    Step("06_wavenet.py", f"{MAKEMORE} part 5", "0:06 to 0:47",
         "eight characters joined in pairs, views not copies, what a batch norm averages over"),
    Step("07_rnn.py", f"{MAKEMORE} part 5, what comes next", "0:54",
         "RNN, GRU and LSTM on whole words, padding that is not counted, how far back a gradient "
         "reaches"),
    Step("08_attention.py", GPT, "0:42 to 1:19",
         "attention in four equal versions, triangular matrices, scaling, positions"),
    Step("09_gpt_road.py", GPT, "0:22 to 1:42",
         "from bigrams to a GPT, one addition per stage, with the lecture's own random numbers",
         tuple(f"--stage {stage} --full" for stage in ROAD)),
    Step("10_your_text.py", f"{GPT}, nanoGPT", "1:46",
         "a GPT on any text, from the library's parts; where its heads look"),
    Step("11_addition.py", f"{GPT}, an exercise", "1:37",
         "sums, their digits backwards, a loss that leaves out the question",
         ("--digits 3 --full",)),
    Step("12_fine_tuning.py", f"{GPT}, an exercise", "1:48",
         "much of one text, then a little of another"),
]  # fmt: skip


def name_of(file: str, options: str) -> str:
    """A file name for a run: 09_gpt_road.py, --stage head --full -> 09_gpt_road-head."""
    words = [word for word in options.split() if not word.startswith("--")]
    return "-".join([Path(file).stem, *words])


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a finished run; none where it is unfinished, the last row telling how it went."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return rows if rows and "seconds" in rows[-1] else []


def run(file: str, options: str, folder: Path, call: dict[str, Any], bar: tqdm) -> str:
    """One run in a process of its own, the last line it printed beside the bar; returns what went
    wrong, or nothing."""
    name = name_of(file, options)
    log, rows = folder / f"{name}.log", folder / f"{name}.jsonl"
    rows.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / file), *options.split()]
    command += ["--out", str(HERE / "pictures"), "--json", str(rows)]
    start = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            while process.returncode is None:
                printed = log.read_text(errors="replace").split("\n")
                bar.set_postfix_str(f"{name}: {(printed[-2:-1] or [''])[0][:60]}")
                try:
                    process.wait(timeout=0.5)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
    seconds = time.perf_counter() - start
    if process.returncode:
        bar.write(f"{name}: FAILED, the others go on")
        tail = log.read_text(errors="replace")[-2000:]
        return (
            f"\n{tail}\n[run_all] {name} must end with 0, got {process.returncode}; "
            f"see {log}, then run again: what is finished is kept"
        )
    with rows.open("a") as out:
        out.write(json.dumps({"seconds": seconds, **call}) + "\n")
    bar.write(f"{name}: {took(seconds)}")
    return ""


def this_call(args: argparse.Namespace) -> dict[str, Any]:
    """What a time depends on, kept with every run of this call."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    versions = f"python {platform.python_version()}, numpy {importlib.metadata.version('numpy')}"
    options = ["--fresh"] * args.fresh + (["--only", *args.only] if any(args.only) else [])
    return {
        "command": " ".join(["python examples/run_all.py", *options]),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": f"{processor}, threads: {torch.get_num_threads()}, cores: {os.cpu_count()}; "
        f"{versions}",
    }


def table(folder: Path) -> str:
    """The map as Markdown: a row per figure, what belongs to the whole step or run in its first."""
    lines = [f"| {HEAD} |", "| --- " * (HEAD.count("|") + 1) + "|"]
    ends = []
    for step in LADDER:
        about = [f"[{step.file}]({step.file})", f"{step.lecture}, {step.minutes}", step.teaches]
        for options in step.runs:
            rows = read_rows(folder / f"{name_of(step.file, options)}.jsonl") or [{}]
            ends += [rows[-1]] if "seconds" in rows[-1] else []
            names = [row["picture"] for row in rows if "picture" in row]
            pictures = " ".join(f"[{i}](pictures/{name})" for i, name in enumerate(names, 1))
            last = [took(rows[-1]["seconds"]) if rows != [{}] else "", pictures]
            command = f"`python examples/{step.file} {options}`"
            for row in [row for row in rows if "what" in row] or [{"what": "not run yet"}]:
                cells = ["" if row.get(k) is None else shortly(row[k]) for k in FIGURES]
                lines.append(
                    "| " + " | ".join([*about, command, row["what"], *cells, *last]) + " |"
                )
                about, command, last = [""] * 3, "", [""] * 2
    return "\n".join([*how(ends), *lines])


def how(ends: list[dict[str, Any]]) -> list[str]:
    """Which calls the figures come from, on what, and how long they took together."""
    lines = []
    known = [end for end in ends if "began" in end]
    for began, command in sorted({(end["began"], end["command"]) for end in known}):
        runs = [end for end in known if (end["began"], end["command"]) == (began, command)]
        lines.append(
            f"{len(runs)} of {sum(len(step.runs) for step in LADDER)} runs by `{command}` "
            f"in one call, begun {began}, one after the other: "
            f"{took(sum(end['seconds'] for end in runs))} on {runs[0]['machine']}."
        )
    return ["\\\n".join(lines), ""] if lines else []


def took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def write_table(folder: Path, readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    whole = f"{before}{START}\n{table(folder)}\n{END}{after}"
    readme.write_text(whole, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of file names")
    parser.add_argument("--fresh", action="store_true", help="forget first what is finished")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--folder", type=Path, default=Path("out/ladder"), help="finished rows")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the step's process ends too
    args.folder.mkdir(parents=True, exist_ok=True)
    runs = [(s.file, options) for s in LADDER for options in s.runs if not args.table]
    wanted = [r for r in runs if r[0].startswith(tuple(args.only))]
    if args.fresh:
        for file, options in wanted:
            (args.folder / f"{name_of(file, options)}.jsonl").unlink(missing_ok=True)
    call, failed = this_call(args), ""
    try:
        with tqdm(wanted, desc="ladder", unit="run", disable=None) as bar:
            for file, options in wanted:
                if not read_rows(args.folder / f"{name_of(file, options)}.jsonl"):
                    failed += run(file, options, args.folder, call, bar)
                bar.update()
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; what is finished is kept: go on without --fresh") from None
    write_table(args.folder, args.readme)
    print(f"map: {args.readme}")
    if failed:
        raise SystemExit(failed)


if __name__ == "__main__":
    main()
