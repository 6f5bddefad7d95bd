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
from report_gpu import comparison_section, gpu_section
from report_steps import (
    Records,
    measured_section,
    steps_section,
    targets_section,
    torch_form,
    verdict_section,
    where,
)
from works import WORKS

HERE, HOME = Path(__file__).parent / "README.md", harness.ROOT / "README.md"

# ---------------------------------------------------------------- the page of benchmarks


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
                said.append(f"{how}{both[0]} (PyTorch {torch_form(theirs)} {both[1]})")
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
