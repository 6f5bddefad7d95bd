"""Writes benchmarks/README.md's tables and pictures, and the measured part of the project's README,
from the results of the other scripts; it measures nothing. What has no result stays out.

    python benchmarks/report.py
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import crossover
import generate
import harness
import losses
import ops
import pictures
import scaling
import step
import verdict
from works import WORKS

HERE, HOME = Path(__file__).parent / "README.md", harness.ROOT / "README.md"
# PyTorch's best time / our time that is aimed at, and what straightforward hand-written NumPy
# reached on such a machine: (hand-written, PyTorch as found, PyTorch with malloc settings).
TARGETS = {
    "mlp": (2.2, 2.5, 2.5),
    "gpt-cpu": (0.89, 1.15, 1.15),
    "baby-gpt": (0.85, 1.15, 1.00),
    "gpt2-b1": (None, 1.45, 1.02),
    "gpt2-b4": (None, 1.20, 1.02),
}
MEMORY_TARGETS = ("baby-gpt", "gpt2-b1", "gpt2-b4")  # no more than PyTorch's


def where(record: dict[str, Any], commit: bool = True) -> str:
    """The machine, versions and settings of a result, in a line."""
    m, threads = record["machine"], record.get("settings", record)["threads"]
    facts = [f"{m['processor']}, {threads} of {m['cores']} cores"]
    facts.append(", ".join(f"{name} {number}" for name, number in m["versions"].items()))
    if "compiled_kernels" in m:
        facts.append(f"{'with' if m['compiled_kernels'] else 'without'} compiled kernels")
        facts += [] if m["malloc_settings"] else ["our malloc settings off"]
    if commit and m.get("commit"):
        facts.append(f"commit {m['commit']}{' with changes' * m.get('changed_since', False)}")
    return "; ".join(facts)


# ---------------------------------------------------------------- training steps


def summary(name: str, record: dict[str, Any]) -> dict[str, Any] | None:
    """Our step beside PyTorch's best: ratios pair by pair against both, memory, targets."""
    results = record["results"]
    best = {"found": harness.best(results, False), "settings": harness.best(results, True)}
    if not all(best.values()):
        return None
    mine = harness.step_times(results[harness.OURS])
    goals = TARGETS.get(name)

    def peak(row: str) -> float:
        return median(r["peak_mb"] for r in results[row])

    return {
        "work": name,
        "ms": mine,
        "best": best,
        **{k: harness.ratios(harness.step_times(results[row]), mine) for k, row in best.items()},
        "targets": {"found": goals[1], "settings": goals[2]} if goals else None,
        "by hand": goals[0] if goals else None,
        "peak": (peak(harness.OURS), min(peak("PyTorch"), peak("PyTorch, malloc settings"))),
    }


def against_targets(rows: list[dict[str, Any]]) -> str:
    """A line per work. Met is said of the median."""
    lines = []
    for row in rows:
        goals = row["targets"] or {"found": None, "settings": None}
        ratio = {k: _beside(row[k], goals[k]) for k in ("found", "settings")}
        memory = f"{row['peak'][0]:.0f} / {row['peak'][1]:.0f}"
        if row["work"] in MEMORY_TARGETS:
            memory += " (met)" if row["peak"][0] <= row["peak"][1] else " (missed)"
        by_hand = "-" if row["by hand"] is None else f"{row['by hand']:.2f}"
        fastest = " / ".join(_form(row["best"][k]) for k in ("found", "settings"))
        times = [f"`{row['work']}`", _milliseconds(median(row["ms"])), by_hand]
        lines.append([*times, ratio["found"], ratio["settings"], memory, fastest])
    head = ["training step", "ours, ms", "hand-written NumPy", "PyTorch as found / ours"]
    head += ["with malloc settings / ours", "peak MB, ours / PyTorch", "PyTorch's fastest form"]
    return harness.markdown(head, lines)


def _milliseconds(ms: float) -> str:
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def _beside(ratios: list[float], goal: float | None) -> str:
    if goal is None:
        return harness.spread(ratios)
    met = "met" if median(ratios) >= goal else "missed"
    return f"{harness.spread(ratios)}, target {goal:.2f} **{met}**"


def _form(row: str) -> str:
    return "torch.compile" if "torch.compile" in row else "eager"


def summaries(records: dict[str, dict]) -> list[dict[str, Any]]:
    return [row for name, record in records.items() if (row := summary(name, record))]


def verdict_section(records: dict[str, dict]) -> str:
    single, scaled = harness.load("ops"), harness.load("scaling")
    known = [record for record in (*records.values(), single, scaled) if record]
    machines = dict.fromkeys(where(record, commit=False) for record in known)
    return verdict.page(summaries(records), records, single, scaled, machines)


def targets_section(records: dict[str, dict]) -> str:
    rows = summaries(records)
    if not rows:
        return "No result beside PyTorch yet.\n"
    try:
        picture = f"\n![ratios beside their targets]({pictures.ratios(rows)})\n"
    except ImportError as error:
        picture = f"\n{error}\n"
    return against_targets(rows) + "\n" + picture


def steps_section(records: dict[str, dict]) -> str:
    parts = []
    for name, record in records.items():
        parts.append(
            f"### {WORKS[name].title}\n\n`python benchmarks/step.py --work {name}`, "
            f"runs of each row: {record['settings']['repeats']}\\\n({where(record)})\n\n"
            f"{step.table(record)}\n\n{step.agreement(record)}\n"
        )
    return "\n".join(parts)


# ---------------------------------------------------------------- the other sections


def losses_section(records: dict[str, dict]) -> str:
    found = harness.load("losses")
    return f"({where(found)})\n\n{losses.table(found['results'])}\n" if found else ""


OPS = ("ops", "ops-avx2")  # two processors that go by one name


def ops_section(records: dict[str, dict]) -> str:
    parts = []
    for found in filter(None, map(harness.load, OPS)):
        parts += _ops(found)
    return "\n".join(parts)


def _ops(found: dict) -> list[str]:
    results = found["results"]
    parts = [f"({where(found)})\n\n### Python's part\n\n{ops.tiny_table(results)}\n"]
    if "loops" in results[harness.OURS][0]:  # records that are older have none
        parts.append(f"### What loops of Python do\n\n{ops.loops_table(results)}\n")
    for size in results[harness.OURS][0]["fused"]:
        parts.append(f"### Fused ops: {size}\n\n{ops.fused_table(results, size)}\n")
    return parts


def scaling_section(records: dict[str, dict]) -> str:
    found = harness.load("scaling")
    if not found:
        return ""
    results = found["results"]
    parts = [f"({where(found)})\n"]
    limits = {k: median(r["limits"][k] for r in results[scaling.GEMM]) for k in ("gflops", "gbs")}
    try:
        drawn = (
            pictures.growth(results),
            pictures.roofline(limits, pictures.points(records, harness.load("ops"))),
        )
        parts.append(f"![step against each setting]({drawn[0]})\n\n![roofline]({drawn[1]})\n")
    except ImportError as error:
        parts.append(f"{error}\n")
    for axis in (a for a in scaling.AXES if a in results[harness.OURS][0]):
        parts.append(f"### {axis}\n\n{scaling.axis_table(results, axis)}\n")
        parts.append(scaling.verdict(results, axis) + "\n")
    return "\n".join(parts)


# ---------------------------------------------------------------- the project's README

HEADLINE = ("mlp", "rnn", "gpt-cpu", "baby-gpt", "gpt2-b1")  # the rows of the project's README
TRAINED = "nanoGPT's CPU configuration on tiny Shakespeare, seed 1337"


def shakespeare_section(records: dict[str, dict]) -> str:
    """The nine losses beside PyTorch's, and the curve."""
    found = harness.load("shakespeare")
    if not found:
        return ""
    rows = [[name, *(f"{x:.4f}" for x in found[key])] for name, key in TRAINED_ROWS.items()]
    return f"""{TRAINED}: validation losses here and those that PyTorch 2.13.0 prints.
`{found["command"]}` took {found["seconds"]:.0f} s, with its evaluations and samples.
({where(found)})

{harness.markdown(["step", *found["steps"]], rows)}

![loss curve](results/shakespeare.png)
"""


TRAINED_ROWS = {"here": "validation_losses", "PyTorch": "reference"}


def trained_section(records: dict[str, dict]) -> str:
    """What the trained model writes."""
    found = harness.load("shakespeare")
    if not found:
        return ""
    apart = max(abs(a - b) for a, b in zip(found["validation_losses"], found["reference"]))
    lines = found["sample"].strip().splitlines()
    shown = "\n".join(lines[: lines.index("") if "" in lines[4:] else 8])
    machine = found["machine"]["processor"]
    last, count = found["validation_losses"][-1], len(found["steps"])
    return f"""{TRAINED}: 0.80 M parameters, {found["seconds"]:.0f} s on two cores ({machine}),
validation loss {last:.4f}; its {count} losses are {apart:.4f} apart from PyTorch's
([benchmarks/README.md](benchmarks/README.md#shakespeare)). One character at a time it writes:

```text
{shown}
```
"""


def measured_section(records: dict[str, dict]) -> str:
    rows = summaries(records)
    if not rows:
        return ""
    shown = [
        [WORKS[row["work"]].title, _milliseconds(median(row["ms"]))]
        + [harness.spread(row[k]) for k in ("found", "settings")]
        for row in rows
        if row["work"] in HEADLINE
    ]
    head = ["training step", "ours, ms", "PyTorch as found / ours", "with malloc settings / ours"]
    return f"""{harness.markdown(head, shown)}

Forward, backward and update; PyTorch's time in its faster form of eager and torch.compile over
ours, median (least - most), above 1 where we are faster.
{_where_pytorch_wins()}All rows, and how they are measured: [benchmarks](benchmarks/README.md).

({where(next(iter(records.values())))})
"""


def _where_pytorch_wins() -> str:
    single = harness.load("ops")
    if not single:
        return ""
    fused = verdict.fused_ratios(single["results"])
    losing = [f"`{op}`" for op, sizes in fused.items() if any(map(verdict.loses, sizes.values()))]
    some = f"Of {len(fused)} fused ops PyTorch is faster in {len(losing)} at some size"
    return textwrap.fill(f"{some}: {', '.join(losing)}.", 110) + "\n"


# ---------------------------------------------------------------- GPT-2

WRITING = "generate-gpt2"


def writing_section(records: dict[str, dict]) -> str:
    """All rows of writing, and how near GPT-2's weights are to transformers'."""
    parts, found, parity = [], harness.load(WRITING), harness.load("gpt2-parity")
    if found:
        rate = found["bandwidth"] / 1e9
        once = 4e3 * found["parameters"] / found["bandwidth"]
        parts.append(
            f"Both threads together read {rate:.1f} GB/s from memory, so the weights in float32 "
            f"once in {once:.1f} ms: the least that one text can take per token."
        )
        parts += [generate.table(found), f"({where(found)})"]
    if parity:
        parts += [harness.markdown(parity["head"], parity["lines"]), "`gpt2_parity.py`"]
    return "\n\n".join([*parts, ""])


def written_section(records: dict[str, dict]) -> str:
    """Ours beside PyTorch's best at writing, a line per number of texts."""
    found = harness.load(WRITING)
    if not found:
        return ""
    lines = []
    for batch, results in found["batches"].items():
        times = {name: harness.step_times(rows) for name, rows in results.items()}
        theirs = [name for name in times if name.startswith("PyTorch")]
        cells = [batch]
        for half in (False, True):
            mine = times[generate.OURS_16 if half else harness.OURS]
            those = [times[n] for n in theirs if ("bfloat16" in n) == half]
            cells.append(f"{1e3 * int(batch) / median(mine):,.0f}")
            best = min(those, key=median, default=None)
            cells.append(f"{1e3 * int(batch) / median(best):,.0f}" if best else "-")
            cells.append(harness.spread(harness.ratios(best, mine)) if best else "-")
        lines.append(cells)
    least = found["bandwidth"] / 4 / found["parameters"]
    head = ["texts at once", "ours, tokens/s", "PyTorch's best", "its time / ours"]
    head += ["ours, bfloat16 weights", "PyTorch, bfloat16", "its time / ours"]
    s = found["settings"]
    what = (
        f"GPT-2 124M writing {s['tokens']} tokens after {s['prompt']}, with a cache of keys and "
        "values on both sides; PyTorch in its faster form of eager and `torch.compile`, as found "
        "and with malloc settings:"
    )
    limit = (
        f"Reading the float32 weights once per token allows {least:.0f} tokens/s for one text. "
        "All rows: [benchmarks](benchmarks/README.md#writing)."
    )
    parts = [textwrap.fill(what, 110), harness.markdown(head, lines), limit, f"({where(found)})"]
    return "\n\n".join([*parts, ""])


TUNED = {"gpt2": "", "gpt2-recomputed": "with `--gradient-checkpointing` "}


def tuned_section(records: dict[str, dict]) -> str:
    """Time and memory of a step of fine-tuning, beside PyTorch as found, in its faster form."""
    said, measured_on = [], ""
    for work, how in TUNED.items():
        if work in records and (theirs := harness.best(records[work]["results"], False)):
            ours, other = (records[work]["results"][name] for name in (harness.OURS, theirs))
            both = [
                f"{median(harness.step_times(rows)) / 1e3:.1f} s and "
                f"{median(r['peak_mb'] for r in rows) / 1e3:.1f} GB"
                for rows in (ours, other)
            ]
            said.append(f"{how}{both[0]} (PyTorch {_form(theirs)} {both[1]})")
            measured_on = where(records[work])
    if not said:
        return ""
    text = "A step of AdamW on GPT-2 124M at T 1024, one sequence, takes " + "; ".join(said)
    return f"{textwrap.fill(text + '.', 110)}\n\n({measured_on})\n"


# ---------------------------------------------------------------- a GPU

ROWS, CURVE = "cpu_vs_gpu.jsonl", "baby-gpt-curve"
CARD = "on_gpu.txt"  # what `on_gpu.sh` said of itself
SHOWN = (("gpt2", 64), ("baby", 64), ("mlp", 32))  # works and sizes of the project's README


HOW = """In bfloat16 our weights and activations have 16 bits and the optimiser keeps float32
masters; PyTorch runs nanoGPT's autocast, which keeps weights and the residual stream in float32.
*Of n measured*: of PyTorch's forms (eager, `torch.compile`, its mode `reduce-overhead`, in each
precision) those that there was time for.
"""


def gpu_section(records: dict[str, dict]) -> str:
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
    found = harness.load(CURVE)
    if found:
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
        said.append(
            f"Tests of CUDA on that card: {passed:,} passed, {skipped} look into an emulated"
        )
        said.append("GPU and skip on a real one.")
    for tool, pattern in {"memcheck": r"(\d+ errors)", "racecheck": r"(\d+ hazards)"}.items():
        if found := re.search(r"=========.*SUMMARY: " + pattern, account):
            said.append(f"compute-sanitizer's {tool}: {found[1]}.")
    found = re.findall(r"^\| (?:1 \| )?(tinygrad_lm|torch|PyTorch) \| ([\d.]+) ", account, re.M)
    if len(rows := dict(found)) == 2:
        ours = rows.pop("tinygrad_lm")
        (theirs,) = rows.values()
        said.append(f"GPT-2 124M writes a token in {ours} ms, PyTorch's in {theirs} ms: there the")
        said.append("host is what takes the time.")
    return "\n" + textwrap.fill(" ".join(said), 110, break_on_hyphens=False) + "\n"


def _card(heads: list[dict[str, Any]]) -> str:
    return next((h["card"].split(",")[0] for h in heads if h["card"]), "no GPU")


def _curves(found: dict[str, Any]) -> str:
    try:
        picture = pictures.curves(found, harness.load("shakespeare"))
    except ImportError as error:
        return str(error)
    says = "validation loss over time: the baby GPT on a GPU, the smaller one on a CPU"
    return f"![{says}](benchmarks/{picture})"


def comparison_section(records: dict[str, dict]) -> str:
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


def measured() -> dict[str, dict]:
    """The training steps that have a result."""
    return {n: found for n in WORKS if (found := harness.load(f"step-{n}"))}


def fill(path: Path, sections: dict[str, Callable]) -> None:
    """Replace what is between <!-- name --> and <!-- /name -->."""
    text, records = path.read_text("utf-8"), measured()
    for name, section in sections.items():
        before, rest = text.split(f"<!-- {name} -->")
        after = rest.split(f"<!-- /{name} -->")[1]
        text = f"{before}<!-- {name} -->\n{section(records)}<!-- /{name} -->{after}"
    path.write_text(text, "utf-8")
    print(f"{path.relative_to(harness.ROOT)}: {', '.join(sections)}")


SECTIONS = {
    "verdict": verdict_section,
    "targets": targets_section,
    "steps": steps_section,
    "losses": losses_section,
    "shakespeare": shakespeare_section,
    "ops": ops_section,
    "scaling": scaling_section,
    "writing": writing_section,
    "gpu": comparison_section,
}


def main() -> None:
    fill(HERE, SECTIONS)
    home = {"trained": trained_section, "tuned": tuned_section, "writing": written_section}
    fill(HOME, {**home, "measured": measured_section, "gpu": gpu_section})


if __name__ == "__main__":
    main()
