"""Writes benchmarks/README.md's tables and pictures, and the measured part of the project's README,
from the results of the other scripts; it measures nothing. What has no result stays out.

    python benchmarks/report.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cluster
import generate
import harness
import losses
import many
import ops
import pictures
import products
import scaling
import step
import verdict
from report_gpu import comparison_section, gpu_section
from works import WORKS

HERE, HOME = Path(__file__).parent / "README.md", harness.ROOT / "README.md"
AVX2 = "gpt-cpu-avx2"  # on a processor without AVX-512 this is gpt-cpu
# PyTorch's best time / our time that is aimed at: as found, with malloc settings.
TARGETS = {
    ("moons", harness.CAPTURED): (4.0, 4.0),
    ("mlp", harness.OURS): (2.5, 2.5),
    ("mlp", harness.CAPTURED): (5.0, 5.0),
    ("rnn", harness.CAPTURED): (1.5, 1.5),
    ("gpt-cpu", harness.OURS): (1.2, 1.15),
    ("gpt-cpu", harness.ALONE): (0.85, 0.8),
    (AVX2, harness.OURS): (1.1, 1.05),
    ("baby-gpt", harness.OURS): (1.3, 1.1),
    ("gpt2-b1", harness.OURS): (1.3, 1.1),
    ("gpt2-b4", harness.OURS): (1.15, 1.1),
}
# Why a target is missed, where it is.
REASONS: dict[tuple[str, str], str] = {
    (
        "mlp",
        harness.OURS,
    ): "half of the step is forward, where PyTorch needs no second thread; what "
    "is left to win is in a hundred and forty calls of Python.",
    (
        "gpt-cpu",
        harness.ALONE,
    ): "about half of the step are products, by BLAS; the rest are NumPy's "
    "elementwise functions, each a pass through memory, which PyTorch and our C take together.",
}
FORMS = (harness.OURS, harness.CAPTURED, harness.ALONE)
Records = dict[str, dict[str, dict]]  # processor -> training step -> its record


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


def rows(records: Records) -> list[dict[str, Any]]:
    """Each form of our steps that has a target or is measured beside it, on each processor."""
    found = []
    for work in WORKS:
        for form in FORMS:
            if form == harness.ALONE and (work, form) not in TARGETS:
                continue
            for processor, known in records.items():
                plain = work == AVX2 and "AVX-512" not in processor
                record = known.get("gpt-cpu" if plain else work)
                if record and form in record["results"] and verdict.both(record):
                    found.append(summary(work, form, record))
    return found


def summary(work: str, form: str, record: dict[str, Any]) -> dict[str, Any]:
    """A form of ours beside PyTorch's best: ratios pair by pair against both, memory, targets."""
    results = record["results"]
    best = {"found": harness.best(results, False), "settings": harness.best(results, True)}
    mine = harness.step_times(results[form])

    def peak(row: str) -> float:
        return median(r["peak_mb"] for r in results[row])

    return {
        "work": work,
        "form": form,
        "name": verdict.named_step(work, form),
        "processor": record["machine"]["processor"],
        "runs": record["settings"]["repeats"],
        "ms": mine,
        "best": best,
        **{k: harness.ratios(harness.step_times(results[row]), mine) for k, row in best.items()},
        "targets": dict(zip(best, TARGETS.get((work, form), ()))),
        "peak": (peak(form), min(peak("PyTorch"), peak("PyTorch, malloc settings"))),
    }


def missed(row: dict[str, Any]) -> bool:
    return any(median(row[key]) < goal for key, goal in row["targets"].items())


def against_targets(rows: list[dict[str, Any]]) -> str:
    """A line per row and processor. Met is said of the median."""
    lines = []
    for row in rows:
        ratio = [_beside(row[k], row["targets"].get(k)) for k in ("found", "settings")]
        ours, theirs = row["peak"]
        memory = f"{ours:.0f} / {theirs:.0f}{' **missed**' * (round(ours) > round(theirs))}"
        fastest = " / ".join(_form(row["best"][k]) for k in ("found", "settings"))
        times = [row["name"], row["processor"], _milliseconds(median(row["ms"]))]
        lines.append([*times, *ratio, memory, fastest, row["runs"]])
    head = ["training step", "processor", "ours, ms", "PyTorch as found / ours"]
    head += ["with malloc settings / ours", "peak MB, ours / PyTorch", "PyTorch's fastest form"]
    return harness.markdown([*head, "runs"], lines)


def reasons(rows: list[dict[str, Any]]) -> str:
    """Why targets are missed, a line for each."""
    where: dict[str, list[str]] = {}
    for row in filter(missed, rows):
        why = REASONS.get((row["work"], row["form"]), "**no reason is written down yet**")
        where.setdefault(f"{row['name']}: {why}", []).append(row["processor"])
    lines = [f"- Missed on {' and '.join(on)} by {said}\n" for said, on in where.items()]
    return "\n" * bool(lines) + "".join(lines)


def _milliseconds(ms: float) -> str:
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def _beside(ratios: list[float], goal: float | None) -> str:
    if goal is None:
        return harness.spread(ratios)
    met = "met" if median(ratios) >= goal else "missed"
    return f"{harness.spread(ratios)}, target {goal:.2f} **{met}**"


def _form(row: str) -> str:
    return "torch.compile" if "torch.compile" in row else "eager"


def verdict_section(records: Records) -> str:
    shown, parts = rows(records), []
    singles, scaled = harness.every("ops"), harness.every("scaling")
    if shown:
        parts.append(first_table(shown + older()))
    for processor in dict.fromkeys((*records, *singles, *scaled)):
        steps, others = records.get(processor, {}), [singles.get(processor), scaled.get(processor)]
        known = [record for record in (*steps.values(), *others) if record]
        machines = dict.fromkeys(where(record, commit=False) for record in known)
        mine = [r for r in shown if (r["processor"], r["form"]) == (processor, harness.OURS)]
        mine = [r for r in mine if r["work"] in steps]
        parts.append(verdict.page(mine, steps, *others, machines))
    return "\n\n".join(parts) + "\n" if parts else "No result beside PyTorch yet.\n"


def older() -> list[dict[str, Any]]:
    """Rows with medians alone, of processors that were measured by other scripts."""
    found = []
    for processor, record in harness.every("older").items():
        for row in record["steps"]:
            row = {"form": harness.OURS, "settings": [], **row, "processor": processor}
            found.append({**row, "name": verdict.named_step(row["work"], row["form"])})
    return found


def first_table(shown: list[dict[str, Any]], title: Callable = lambda row: row["name"]) -> str:
    """A line per step, a column per processor."""
    cells = {}
    for row in shown:
        ratios = verdict.digits(median(row[k]) if row[k] else None for k in ("found", "settings"))
        ours = f"{_milliseconds(median(row['ms']))} ms: " if "ms" in row else ""
        cells[title(row), row["processor"]] = ours + ratios
    columns = dict.fromkeys(row["processor"] for row in shown)
    titles = dict.fromkeys(title(row) for row in sorted(shown, key=_order))
    lines = [[name, *(cells.get((name, c), "-") for c in columns)] for name in titles]
    head = ["our time: PyTorch's over it, as found / with malloc settings", *columns]
    notes = [f"{on}: {r['source']}" for on, r in harness.every("older").items() if on in columns]
    return "\n\n".join([harness.markdown(head, lines), *notes])


def _order(row: dict[str, Any]) -> tuple[int, int]:
    return list(WORKS).index(row["work"]), FORMS.index(row["form"])


def targets_section(records: Records) -> str:
    found = rows(records)
    if not found:
        return "No result beside PyTorch yet.\n"
    try:
        picture = f"\n![ratios beside their targets]({pictures.ratios(found)})\n"
    except ImportError as error:
        picture = f"\n{error}\n"
    return f"{against_targets(found)}\n{reasons(found)}{picture}"


def steps_section(records: Records) -> str:
    parts = []
    for work in WORKS:
        known = [steps[work] for steps in records.values() if work in steps]
        if known:
            title = WORKS[work].title
            parts.append(f"### {title}\n\n`python benchmarks/step.py --work {work}`\n")
        for record in known:
            parts.append(
                f"({where(record)}; runs of each row: {record['settings']['repeats']})\n\n"
                f"{step.table(record)}\n\n{step.agreement(record)}\n"
            )
    return "\n".join(parts)


# ---------------------------------------------------------------- the other sections


def losses_section(records: Records) -> str:
    found = harness.every("losses").values()
    return "\n".join(f"({where(r)})\n\n{losses.table(r['results'])}\n" for r in found)


def ops_section(records: Records) -> str:
    return "\n".join(part for found in harness.every("ops").values() for part in _ops(found))


def _ops(found: dict) -> list[str]:
    results = found["results"]
    parts = [f"({where(found)})\n\n### Python's part\n\n{ops.tiny_table(results)}\n"]
    if "loops" in results[harness.OURS][0]:  # records that are older have none
        parts.append(f"### What loops of Python do\n\n{ops.loops_table(results)}\n")
    for size in results[harness.OURS][0]["fused"]:
        parts.append(f"### Ops: {size}\n\n{ops.fused_table(results, size)}\n")
    return parts


def products_section(records: Records) -> str:
    return "\n".join(
        f"({where(found)})\n\n{products.table(found)}\n\n{products.verdict(found)}\n"
        for found in harness.every("products").values()
    )


def scaling_section(records: Records) -> str:
    found = harness.every("scaling").items()
    return "\n".join(part for on, r in found for part in _scaling(on, r, records.get(on, {})))


def _scaling(processor: str, found: dict, steps: dict[str, dict]) -> list[str]:
    results = found["results"]
    parts = [f"({where(found)})\n"]
    limits = {k: median(r["limits"][k] for r in results[scaling.GEMM]) for k in ("gflops", "gbs")}
    try:
        points = pictures.points(steps, harness.load("ops", processor))
        drawn = (
            pictures.growth(results, processor),
            pictures.roofline(limits, points, processor),
        )
        parts.append(f"![step against each setting]({drawn[0]})\n\n![roofline]({drawn[1]})\n")
    except ImportError as error:
        parts.append(f"{error}\n")
    for axis in (a for a in scaling.AXES if a in results[harness.OURS][0]):
        parts.append(f"### {axis}\n\n{scaling.axis_table(results, axis)}\n")
        parts.append(scaling.verdict(results, axis) + "\n")
    return parts


def many_section(records: Records) -> str:
    """Steps on several ranks, and what ranks send each other."""
    parts = []
    for processor in harness.every(f"many-{many.EXCHANGE}"):
        steps = [r for work in many.JOBS if (r := harness.load(f"many-{work}", processor))]
        if steps:
            mpis = {record["machine"]["mpi"] for record in steps}
            parts += [
                f"({where(steps[0])}; {', '.join(sorted(mpis))})",
                many.against_targets(steps),
            ]
        for record in steps:
            title = many.JOBS[record["work"]].title
            parts += [f"### {title}", many.shown(record)]
        if steps:
            parts += ["### What a rank holds", many.held_table(steps)]
        for link in ("", *cluster.LINKS):
            name = "-".join(filter(None, ["many", many.EXCHANGE, link]))
            if found := harness.load(name, processor):
                place = f"over a cable of {link}" if link else "in one machine's memory"
                parts += [f"### Two ranks {place}", many.shown(found)]
    return "\n\n".join([*parts, ""])


def cluster_section(records: Records) -> str:
    """Where the model's page is, and its picture."""
    path = cluster.write()
    if path is None:
        return ""
    drawn = path.with_suffix(".png")
    shown = f"![efficiency over ranks]({drawn.parent.name}/{drawn.name})\n\n" * drawn.exists()
    return f"{shown}[All of it]({path.parent.name}/{path.name}).\n"


# ---------------------------------------------------------------- the project's README

HEADLINE = {work for work, _ in TARGETS}  # the rows of the project's README
TRAINED = "nanoGPT's CPU configuration on tiny Shakespeare, seed 1337"


def shakespeare_section(records: Records) -> str:
    """The nine losses beside PyTorch's, and the curve."""
    parts = []
    for found in harness.every("shakespeare").values():
        losses = [[name, *(f"{x:.4f}" for x in found[key])] for name, key in TRAINED_ROWS.items()]
        parts.append(f"""{TRAINED}: validation losses here and those that PyTorch 2.13.0 prints.
`{found["command"]}` took {found["seconds"]:.0f} s, with its evaluations and samples.
({where(found)})

{harness.markdown(["step", *found["steps"]], losses)}
""")
    return "\n".join([*parts, *["![loss curve](results/shakespeare.png)\n"] * bool(parts)])


TRAINED_ROWS = {"here": "validation_losses", "PyTorch": "reference"}


def trained_section(records: Records) -> str:
    """What the trained model writes."""
    found = next(iter(harness.every("shakespeare").values()), None)
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


def measured_section(records: Records) -> str:
    shown = [row for row in (*rows(records), *older()) if row["work"] in HEADLINE]
    if not shown:
        return ""

    def title(row: dict[str, Any]) -> str:
        form = row["form"].removeprefix(harness.OURS)
        return WORKS[row["work"]].title + form

    more = "All rows, their spread, and how they are measured: [benchmarks](benchmarks/README.md)."
    places = [f"({where(next(iter(known.values())))})" for known in records.values()]
    return f"""{first_table(shown, title)}

Forward, backward and update. A ratio is PyTorch's time, in its faster form of eager and
torch.compile, over ours: a median, above 1 where we are faster, in bold where PyTorch is.
{_where_pytorch_wins()}{more}

{chr(10).join(places)}
"""


def _where_pytorch_wins() -> str:
    said = []
    for processor, single in harness.every("ops").items():
        if set(verdict.EAGER) <= single["results"].keys():
            fused = verdict.fused_ratios(single["results"])
            losing = [f"`{op}`" for op, n in fused.items() if any(map(verdict.loses, n.values()))]
            some = (
                f"Of {len(fused)} ops at the sizes of the GPTs PyTorch is faster in {len(losing)}"
            )
            some += f" on {processor}, at some size: {', '.join(losing)}."
            said.append(textwrap.fill(some, 110) + "\n")
    return "".join(said)


# ---------------------------------------------------------------- GPT-2

WRITING = "generate-gpt2"


def writing_section(records: Records) -> str:
    """All rows of writing, and how near GPT-2's weights are to transformers'."""
    parts = []
    for found in harness.every(WRITING).values():
        rate = found["bandwidth"] / 1e9
        once = 4e3 * found["parameters"] / found["bandwidth"]
        parts.append(
            f"Both threads together read {rate:.1f} GB/s from memory, so the weights in float32 "
            f"once in {once:.1f} ms: the least that one text can take per token."
        )
        parts += [generate.table(found), f"({where(found)})"]
    for parity in harness.every("gpt2-parity").values():
        parts += [harness.markdown(parity["head"], parity["lines"]), "`gpt2_parity.py`"]
    return "\n\n".join([*parts, ""])


def written_section(records: Records) -> str:
    """Ours beside PyTorch's best at writing, a line per number of texts."""
    return "\n".join(map(_written, harness.every(WRITING).values()))


def _written(found: dict[str, Any]) -> str:
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


def tuned_section(records: Records) -> str:
    """Time and memory of a step of fine-tuning, beside PyTorch as found, in its faster form."""
    parts = []
    for steps in records.values():
        said, measured_on = [], ""
        for work, how in TUNED.items():
            if work in steps and (theirs := harness.best(steps[work]["results"], False)):
                ours, other = (steps[work]["results"][name] for name in (harness.OURS, theirs))
                both = [
                    f"{median(harness.step_times(rows)) / 1e3:.1f} s and "
                    f"{median(r['peak_mb'] for r in rows) / 1e3:.1f} GB"
                    for rows in (ours, other)
                ]
                said.append(f"{how}{both[0]} (PyTorch {_form(theirs)} {both[1]})")
                measured_on = where(steps[work])
        if said:
            text = "A step of AdamW on GPT-2 124M at T 1024, one sequence, takes "
            text += "; ".join(said) + "."
            parts.append(f"{textwrap.fill(text, 110)}\n\n({measured_on})\n")
    return "\n".join(parts)


# ---------------------------------------------------------------- both pages


def measured() -> Records:
    """The training steps that have a result."""
    found: Records = {}
    for work in WORKS:
        for processor, record in harness.every(f"step-{work}").items():
            found.setdefault(processor, {})[work] = record
    return found


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
    "products": products_section,
    "scaling": scaling_section,
    "many": many_section,
    "cluster": cluster_section,
    "writing": writing_section,
    "gpu": comparison_section,
}


def main() -> None:
    fill(HERE, SECTIONS)
    home = {"trained": trained_section, "tuned": tuned_section, "writing": written_section}
    fill(HOME, {**home, "measured": measured_section, "gpu": gpu_section})


if __name__ == "__main__":
    main()
