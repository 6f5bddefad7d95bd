"""The whole ladder at full length, one command; its figures go into the table of README.md.

Every run is a process of its own. What is finished is kept in out/ladder and skipped next time, so
that this can be stopped at any moment; it knows the steps' command lines and nothing of models.

    python examples/run_all.py                # what is not done yet, then the table
    python examples/run_all.py --only 03 04   # these steps
    python examples/run_all.py --fresh        # everything again
    python examples/run_all.py --table        # the table alone
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import shortly
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
FIGURES = ("ours", "reference", "floor")
START, END = "<!-- ladder -->", "<!-- /ladder -->"

# The command lines of the ladder: a file, and the options of each run of it.
LADDER = [
    ("01_micrograd.py", "--full"),
    ("02_bigram.py", "--full"),
    ("03_mlp.py", "--full"),
    ("04_activations.py", "--full"),
    ("05_backprop_by_hand.py", "--full"),
    ("06_wavenet.py", "--full"),
    ("07_rnn.py", "--full"),
    ("08_attention.py", "--full"),
    ("09_gpt_road.py", "--stage bigram --full"),
    ("09_gpt_road.py", "--stage head --full"),
    ("09_gpt_road.py", "--stage multihead --full"),
    ("09_gpt_road.py", "--stage feedforward --full"),
    ("09_gpt_road.py", "--stage blocks --full"),
    ("09_gpt_road.py", "--stage residual --full"),
    ("09_gpt_road.py", "--stage layernorm --full"),
    ("09_gpt_road.py", "--stage full --full"),
    ("10_your_text.py", "--full"),
    ("11_addition.py", "--digits 3 --full"),
    ("12_fine_tuning.py", "--full"),
]


def name_of(file: str, options: str) -> str:
    """A file name for a run: 09_gpt_road.py, --stage head --full -> 09_gpt_road-head."""
    words = [word for word in options.split() if not word.startswith("--")]
    return "-".join([Path(file).stem, *words])


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a finished run; none where it is unfinished, the last row being its time."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return rows if rows and "seconds" in rows[-1] else []


def run(file: str, options: str, folder: Path, bar: tqdm) -> None:
    """One step in a process of its own, the last line it printed beside the bar."""
    name = name_of(file, options)
    log, rows = folder / f"{name}.log", folder / f"{name}.jsonl"
    rows.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / file), *options.split()]
    command += ["--out", str(HERE / "pictures"), "--json", str(rows)]
    start = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                printed = log.read_text(errors="replace").split("\n")
                bar.set_postfix_str(f"{name}: {(printed[-2:-1] or [''])[0][:60]}")
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise SystemExit(
            f"\n{log.read_text(errors='replace')[-2000:]}\n[run_all] {name} must end with 0, got "
            f"{process.returncode}; see {log}, then run again: what is finished is kept"
        )
    seconds = time.perf_counter() - start
    with rows.open("a") as out:
        out.write(json.dumps({"seconds": seconds}) + "\n")
    bar.write(f"{name}: {took(seconds)}")


def table(folder: Path) -> str:
    """The figures of all finished runs as Markdown."""
    lines = ["| step | figure | ours | reference | floor | time | pictures |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for file, options in LADDER:
        rows = read_rows(folder / f"{name_of(file, options)}.jsonl")
        if not rows:
            continue
        names = [row["picture"] for row in rows if "picture" in row]
        pictures = " ".join(f"[{i}](pictures/{name})" for i, name in enumerate(names, 1))
        first = [f"[`{file} {options}`]({file})", took(rows[-1]["seconds"]), pictures]
        for row in rows:
            if "what" in row:
                cells = ["" if row[k] is None else shortly(row[k]) for k in FIGURES]
                line = [first[0], row["what"], *cells, *first[1:]]
                lines.append("| " + " | ".join(line) + " |")
                first = [""] * 3
    return "\n".join(lines)


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
    parser.add_argument("--fresh", action="store_true", help="also what is finished")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--folder", type=Path, default=Path("out/ladder"), help="finished rows")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the step's process ends too
    args.folder.mkdir(parents=True, exist_ok=True)
    wanted = [r for r in LADDER if not args.table and r[0].startswith(tuple(args.only))]
    with tqdm(wanted, desc="ladder", unit="run", disable=None) as bar:
        for file, options in wanted:
            if args.fresh or not read_rows(args.folder / f"{name_of(file, options)}.jsonl"):
                run(file, options, args.folder, bar)
            bar.update()
    write_table(args.folder, args.readme)
    print(f"table: {args.readme}")


if __name__ == "__main__":
    main()
