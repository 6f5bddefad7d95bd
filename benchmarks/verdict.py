"""The first page of benchmarks/README.md: where we are faster than PyTorch, where we are slower, by
how much, and every loss by name. It is computed from the same results as the tables below it, and
measures nothing."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

import harness
import ops
import scaling
import step

EAGER = ("PyTorch", "PyTorch, malloc settings")
NEVER = "never grows faster than its arithmetic"
# PyTorch's time over ours: as found and with malloc settings, or as found alone.
Ratios = tuple[float, ...]


def page(
    rows: list[dict[str, Any]],
    records: dict[str, dict],
    single: dict[str, Any] | None,
    scaled: dict[str, Any] | None,
    machines: Iterable[str],
) -> str:
    """Of one processor. rows: what `report_steps.summary` says of the training steps in `records`;
    single, scaled: the records of ops.py and scaling.py."""
    lines, behind = [], {}
    if rows:
        lines += [steps(rows), *alone(rows, records), memory(records)]
    if single and set(EAGER) <= single["results"].keys():
        fused = fused_ratios(single["results"])
        behind = {op: sizes for op, sizes in fused.items() if any(map(loses, sizes.values()))}
        lines += [calls(single["results"]), fused_ops(fused, behind)]
    if scaled and "PyTorch" in scaled["results"]:
        lines.append(growth(scaled["results"]))
    if rows:
        lines.append(losses({name: record for name, record in records.items() if both(record)}))
    known = [record for record in (*records.values(), single, scaled) if record]
    runs = sorted({record["settings"]["repeats"] for record in known})
    often = " to ".join(map(str, dict.fromkeys((runs[0], runs[-1]))))
    commits = sorted({record["machine"].get("commit") or "unknown" for record in known})
    head = f"**{'; and '.join(machines)}**; commit {', '.join(commits)}. Medians of {often} runs."
    table = f"\n\n{losing_table(behind)}" if behind else ""
    return f"{head}\n\n" + "\n".join(f"- {line}" for line in lines) + table


def both(record: dict[str, Any]) -> bool:
    return "PyTorch" in record["results"]


# ---------------------------------------------------------------- what counts as a loss


def loses(ratios: Ratios) -> bool:
    """Whether one of them is below 1, by the two digits that are shown."""
    return any(round(x, 2) < 1 for x in ratios)


def wins(ratios: Ratios) -> bool:
    return all(round(x, 2) > 1 for x in ratios)


def digits(ratios: Iterable[float | None]) -> str:
    """As they are shown: bold where PyTorch wins."""
    shown = ["-" if x is None else f"{x:.2f}" for x in ratios]
    return " / ".join(f"**{x}**" if x != "-" and float(x) < 1 else x for x in shown)


def named_step(work: str, form: str) -> str:
    return f"`{work}`{form.removeprefix(harness.OURS)}"


def named(of: dict[str, Ratios], between: str = ", ") -> str:
    return between.join(f"`{n}` {' / '.join(f'{x:.2f}' for x in r)}" for n, r in of.items())


def counted(of: dict[str, Ratios]) -> str:
    """How many win, between which ratios, and every other one by name."""
    won = sorted((n for n, r in of.items() if wins(r)), key=lambda n: min(of[n]))
    lost = {n: r for n, r in of.items() if loses(r)}
    level = {n: r for n, r in of.items() if n not in lost and n not in won}
    said = f"faster in {len(won)} of {len(of)}"
    if won:
        said += f" ({named({n: of[n] for n in (won[0], won[-1])}, ' to ')})"
    said += f", level in {named(level)}" if level else ""
    return f"{said}, slower in {named(lost) or 'none'}"


# ---------------------------------------------------------------- the lines


def steps(rows: list[dict[str, Any]]) -> str:
    """Training steps, and where a single run disagrees with the median."""
    of = {row["work"]: (median(row["found"]), median(row["settings"])) for row in rows}
    said = f"**Training steps**, beside PyTorch's fastest form: {counted(of)}."
    least = {row["work"]: min(row["found"] + row["settings"]) for row in rows}
    odd = {n: (x,) for n, x in least.items() if loses((x,)) and not loses(of[n])}
    return said + f" Single runs went down to {named(odd)}." * bool(odd)


def alone(rows: list[dict[str, Any]], records: dict[str, dict]) -> list[str]:
    """The same without C, where that was measured."""
    of = {}
    for row in rows:
        results = records[row["work"]]["results"]
        if harness.ALONE in results:
            of[row["work"]] = ratios(results, harness.ALONE, row["best"].values())
    said = f"**Without our C modules** (NumPy alone), the same steps: {counted(of)}."
    return [said] if of else []


def ratios(results: dict[str, list], ours: str, theirs: Iterable[str]) -> Ratios:
    mine = harness.step_times(results[ours])
    return tuple(median(harness.ratios(harness.step_times(results[row]), mine)) for row in theirs)


def memory(records: dict[str, dict]) -> str:
    """Peak memory beside the row of PyTorch that takes least."""
    measured = {name: record["results"] for name, record in records.items() if both(record)}
    more = []
    for name, results in measured.items():
        peaks = {row: round(median(r["peak_mb"] for r in found)) for row, found in results.items()}
        row = min((row for row in peaks if row.startswith("PyTorch")), key=peaks.get)
        if peaks[harness.OURS] > peaks[row]:
            more.append(f"`{name}`, {peaks[harness.OURS]} MB against {peaks[row]} MB ({row})")
    count = len(measured)
    return (
        "**Peak memory of a step**, beside the form of PyTorch that takes least: no more in "
        f"{count - len(more)} of {count}, more in {'; '.join(more) or 'none'}."
    )


def op_ratios(results: dict[str, list], kind: str, op: str, theirs: Iterable[str]) -> Ratios:
    """Forward and backward together; kind: "tiny", or the name of a size."""

    def times(row: str) -> list[float]:
        found = [r["tiny"] if kind == "tiny" else r["fused"][kind] for r in results[row]]
        return [ops.total(r[op]) for r in found]

    return tuple(median(harness.ratios(times(row), times(harness.OURS))) for row in theirs)


def calls(results: dict[str, list]) -> str:
    """On tiny inputs what is left is the price of a call."""
    of = {op: op_ratios(results, "tiny", op, EAGER[:1]) for op in results[harness.OURS][0]["tiny"]}
    return (
        f"**Calls of single ops** on tiny inputs, one thread, beside eager PyTorch: {counted(of)}."
    )


def fused_ratios(results: dict[str, list]) -> dict[str, dict[str, Ratios]]:
    """op -> size -> ratios."""
    sizes = results[harness.OURS][0]["fused"]
    names = dict.fromkeys(op for found in sizes.values() for op in found)
    return {
        op: {size: op_ratios(results, size, op, EAGER) for size in sizes if op in sizes[size]}
        for op in names
    }


def fused_ops(fused: dict[str, dict], behind: dict[str, dict]) -> str:
    ahead = [op for op, sizes in fused.items() if all(map(wins, sizes.values()))]
    said = f"faster at every size in {len(ahead)} of {len(fused)}, slower at some size in "
    said += f"{len(behind)}, which are in the table below" if behind else "none"
    return f"**Ops** at the sizes of the GPTs, beside eager PyTorch: {said}."


def losing_table(behind: dict[str, dict[str, Ratios]]) -> str:
    """Every op that loses at some size, the worst first, its losses in bold."""
    sizes = list(next(iter(behind.values())))
    lines = []
    for op in sorted(behind, key=lambda op: min(map(min, behind[op].values()))):
        line = [f"`{op}`"]
        for size in sizes:
            line.append(digits(behind[op][size]))
        lines.append(line)
    return harness.markdown(["slower at some size", *sizes], lines)


def growth(results: dict[str, list]) -> str:
    """The points of the scaling, and where the step grows faster than its arithmetic."""
    of, steep = {}, []
    for axis in (a for a in scaling.AXES if a in results[harness.OURS][0]):
        found = scaling.columns(results, axis)
        for value, ours in found["ours"].items():
            of[f"{axis} {value}"] = (found["PyTorch"][value] / ours,)
        steep += [f"{axis} {a} to {b}" for a, b, _ in scaling.steep(results, axis)]
    grows = f"grows faster than its arithmetic from {', '.join(steep)}, and nowhere else"
    return (
        "**The step of the CPU configuration at other sizes and numbers of threads**, beside eager "
        f"PyTorch: {counted(of)}. Our step {grows if steep else NEVER}."
    )


def losses(records: dict[str, dict]) -> str:
    """Whether the losses of both engines are as near as they must be."""
    found = {name: step.gap(record) for name, record in records.items()}
    apart = [f"`{name}`" for name, (_, gap, allowed) in found.items() if gap > allowed]
    farthest = max(gap for _, gap, _ in found.values())
    return (
        f"**Losses** agree with PyTorch's in {len(found) - len(apart)} of {len(found)} steps"
        + f", not in {', '.join(apart)}" * bool(apart)
        + f"; they are {farthest:.1e} apart at most."
    )
