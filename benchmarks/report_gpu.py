"""What report.py says of a GPU, on both pages: from the rows of cpu_vs_gpu.py, the curve of
shakespeare.py and what on_gpu.sh said of itself."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

import crossover
import harness
import pictures
from report_steps import Records

ROWS, CURVE = "cpu_vs_gpu.jsonl", "baby-gpt-curve.json"
CARD = "on_gpu.txt"  # what `on_gpu.sh` said of itself
SHOWN = (("gpt2", 64), ("baby", 64), ("mlp", 32))  # works and sizes of the project's README


HOW = """In bfloat16 our weights and activations have 16 bits and the optimiser keeps float32
masters; PyTorch runs nanoGPT's autocast, which keeps weights and the residual stream in float32.
*Of n measured*: of PyTorch's forms (eager, `torch.compile`, its mode `reduce-overhead`, in each
precision) those that there was time for.
"""


def gpu_section(records: Records) -> str:
    """Ours beside PyTorch's best on a GPU, from which size on it pays, and a training."""
    path = harness.RESULTS / ROWS
    if not path.exists():
        return ""
    heads, rows = crossover.load(path)
    lines = []
    for work, size in SHOWN:
        here = [r for r in rows if (r["work"], r["size"]) == (work, size)]
        ours, theirs = (crossover.best(here, module) for module in crossover.NAMES)
        if ours:
            mine = crossover.cost(ours)
            title = f"{crossover.SWEEPS[work].title}, batch {size}"
            cells = [title, f"{ours['dtype']} {ours['mode']}", f"{mine:.3g}"]
            cells.append(f"{1e3 * ours['tokens'] / mine:,.0f}")
            other = theirs and crossover.cost(theirs)
            count = crossover.forms(here, "torch")
            form = theirs and f"{theirs['dtype']} {theirs['mode']}, of {count} measured"
            form = theirs and f"{other:.3g} ({form})"
            ratio = f"**{other / mine:.2f}**" if other else ""
            lines.append([*cells, form or "not measured", ratio])
    head = [
        "training step",
        "ours",
        "ms",
        "tokens (rows of the MLP) / s",
        "PyTorch's best, ms",
        "PyTorch / ours",
    ]
    versions = ", ".join(f"{k} {v}" for k, v in heads[0]["machine"]["versions"].items())
    text = f"{harness.markdown(head, lines)}\n\n{HOW}"
    path = harness.RESULTS / CURVE
    if path.exists():
        found = json.loads(path.read_text("utf-8"))
        best = min(found["curve"], key=lambda point: point["val"])
        after = f"{best['step']} steps and {best['training_seconds']:.0f} s of training"
        all_in_all = f"{best['seconds']:.0f} s with the evaluations"
        text += "\n" + textwrap.fill(
            f"Baby GPT on tiny Shakespeare, in {found['dtype']} and captured steps: "
            f"validation loss {best['val']:.4f} after {after} ({all_in_all}); nanoGPT's own is "
            f"{found['reference']}.",
            110,
        )
        text += f"\n\n{_curves(found)}\n"
    text += _on_the_card()
    return (
        text
        + f"""
From which size on a GPU is faster than the CPU beside it, work by work, and all columns:
[benchmarks](benchmarks/README.md#a-gpu-against-the-cpu).

({_card(heads)}; {versions}; `bash benchmarks/on_gpu.sh`)
"""
    )


def _on_the_card() -> str:
    """From the script's own account: its tests, what the sanitizer found, text token by token."""
    path = harness.RESULTS / CARD
    if not path.exists():
        return ""
    account, said = path.read_text("utf-8"), []
    tests = re.search(r"(\d+) passed, (\d+) skipped", account)
    if tests:
        passed, skipped = map(int, tests.groups())
        said.append(f"Tests of CUDA on that card: {passed:,} passed, {skipped} skipped, which look")
        said.append("into an emulated GPU or need two.")
    for tool, pattern in {"memcheck": r"(\d+ errors)", "racecheck": r"(\d+ hazards)"}.items():
        if found := re.search(r"=========.*SUMMARY: " + pattern, account):
            said.append(f"compute-sanitizer's {tool}: {found[1]}.")
    line = r"^\| (?:1 \| )?(tinygrad_lm|torch|PyTorch[^|]*) \| ([\d.]+) "
    rows = dict(re.findall(line, account, re.M))
    if len(rows) > 1 and (ours := rows.pop(harness.OURS, None)):
        theirs = min(rows.values(), key=float)
        said.append(f"GPT-2 124M writes a token in {ours} ms, PyTorch's in {theirs} ms.")
        if re.search(r"^\| engine \| ms per token", account, re.M):  # the table's head of then
            said.append("That was before keys and values were kept and the call for a token")
            said.append("recorded, which no GPU has run yet.")
    return "\n" + textwrap.fill(" ".join(said), 110, break_on_hyphens=False) + "\n"


def _card(heads: list[dict[str, Any]]) -> str:
    return next((h["card"].split(",")[0] for h in heads if h["card"]), "no GPU")


def _curves(found: dict[str, Any]) -> str:
    try:
        picture = pictures.curves(found, next(iter(harness.every("shakespeare").values()), None))
    except ImportError as error:
        return str(error)
    says = "validation loss over time: the baby GPT on a GPU, the smaller one on a CPU"
    return f"![{says}](benchmarks/{picture})"


def comparison_section(records: Records) -> str:
    """All rows, the sizes from which a GPU pays, and the picture of them."""
    path = harness.RESULTS / ROWS
    if not path.exists():
        return ""
    try:
        crossover.picture(path, path.with_suffix(".png"))
        drawn = f"![time against size](results/{path.stem}.png)\n\n"
    except ImportError as error:
        drawn = f"{error}\n\n"
    account = harness.RESULTS / CARD
    said = f"\n```text\n{account.read_text('utf-8')}```\n" if account.exists() else ""
    return drawn + crossover.report(path) + said
