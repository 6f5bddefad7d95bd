"""What report.py says of training steps beside PyTorch's: the verdict, the targets, all rows, and
the table of the project's README."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from statistics import median
from typing import Any

import harness
import pictures
import step
import verdict
from works import WORKS

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
HEADLINE = {work for work, _ in TARGETS}  # the rows of the project's README


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
        fastest = " / ".join(torch_form(row["best"][k]) for k in ("found", "settings"))
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


def torch_form(row: str) -> str:
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
