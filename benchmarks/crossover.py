"""From the rows of cpu_vs_gpu.py: a table, the size from which a GPU is faster than the CPU, and
the picture of it. Needs no GPU."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

import harness
from device_works import SWEEPS

PEAK = 989e12  # bfloat16 operations a second of an H100 or H200 (SXM), dense, as NVIDIA states it
ALLOWED = {
    "float32": 1e-3,
    "tf32": 1e-2,
    "bfloat16": 5e-2,
}  # how far a result may be from the CPU's
NAMES = {"tinygrad_lm": "ours", "torch": "PyTorch"}

Row = dict[str, Any]


def load(path: Path) -> tuple[list[Row], list[Row]]:
    """(what is said of the machine, rows); of a row that was measured twice, the later one."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    rows = {key(r): r for r in lines if "work" in r and ("error" not in r)}
    failed = {key(r): r for r in lines if "error" in r}
    heads = [r for r in lines if "machine" in r]
    return heads, [*rows.values(), *(r for k, r in failed.items() if k not in rows)]


def key(row: Row) -> tuple:
    return tuple(row[k] for k in ("work", "size", "module", "device", "dtype", "mode"))


def column(row: Row) -> str:
    parts = [NAMES[row["module"]], {"cuda": "GPU", "cpu": "CPU"}[row["device"]]]
    if row["device"] == "cuda":
        parts += [row["dtype"], row["mode"]]
    return " ".join(parts)


def cost(row: Row) -> float:
    return float(median(row["ms"]))


def reference(row: Row, rows: list[Row]) -> Row | None:
    """What a result is held against: the CPU's, else PyTorch's or the first on the GPU."""
    same = [
        r
        for r in rows
        if (r["work"], r["size"]) == (row["work"], row["size"]) and r is not row and r.get("losses")
    ]
    rank = {"cpu": 0, "cuda": 1}
    order = {"float32": 0, "tf32": 1, "bfloat16": 2}
    same.sort(key=lambda r: (rank[r["device"]], order[r["dtype"]], r["module"] != "torch"))
    return same[0] if same else None


def agrees(row: Row, rows: list[Row]) -> bool | None:
    """Whether the first results are the reference's; None where there is nothing to compare."""
    other = reference(row, rows)
    if other is None or SWEEPS[row["work"]].random and row["work"] == "generation":
        return None
    allowed = max(ALLOWED[row["dtype"]], ALLOWED[other["dtype"]])
    allowed = 0.05 if SWEEPS[row["work"]].random else allowed  # other draws for dropout
    pairs = list(zip(row["losses"], other["losses"]))
    return all(abs(a - b) <= allowed * max(abs(b), 1e-6) for a, b in pairs)


def crossing(sizes: list[float], ratios: list[float]) -> tuple[str, float | None]:
    """ratios: the CPU's time over the GPU's. (a sentence, the size where they meet), interpolated
    between the logarithms of the neighbours."""
    if not sizes:
        return "not measured", None
    pairs = sorted(zip(sizes, ratios))
    if all(r >= 1 for _, r in pairs):
        return "always", None
    if pairs[-1][1] < 1:
        return f"never up to {pairs[-1][0]:,.0f}", None
    last = max(i for i, (_, r) in enumerate(pairs) if r < 1)
    (a, low), (b, high) = pairs[last], pairs[last + 1]
    share = -math.log(low) / (math.log(high) - math.log(low))
    at = math.exp(math.log(a) + share * (math.log(b) - math.log(a)))
    return f"from {float(f'{at:.2g}'):,.0f} on", at


def lines_of(rows: list[Row], work: str, module: str) -> dict[str, dict[int, float]]:
    """{"CPU", "GPU"}: milliseconds by size; of the GPU the best variant in float32 or TF32."""
    found: dict[str, dict[int, float]] = {"CPU": {}, "GPU": {}}
    for r in rows:
        if r["work"] != work or r["module"] != module or "ms" not in r or r["dtype"] == "bfloat16":
            continue
        place = found["CPU" if r["device"] == "cpu" else "GPU"]
        place[r["size"]] = min(cost(r), place.get(r["size"], math.inf))
    return found


def crossings(rows: list[Row]) -> list[list[Any]]:
    table = []
    for work, sweep in SWEEPS.items():
        line, any_found = [sweep.title, sweep.axis], False
        for module in NAMES:
            both = lines_of(rows, work, module)
            sizes = sorted(both["CPU"].keys() & both["GPU"].keys())
            ratios = [both["CPU"][s] / both["GPU"][s] for s in sizes]
            any_found |= bool(sizes)
            most = f" ({max(ratios):.3g} times at most)" if sizes else ""
            line.append(crossing([float(s) for s in sizes], ratios)[0] + most)
        if any_found:
            table.append(line)
    return table


def cells(row: Row, rows: list[Row]) -> list[str]:
    if "error" in row:
        return [column(row), row["error"][:80].replace("|", "/"), *[""] * 6]
    right = agrees(row, rows)
    ms = cost(row)
    if right is False:
        other = reference(row, rows)
        return [column(row), f"void: {row['losses']} not {other and other['losses']}", *[""] * 6]
    flops, tokens, moved = row["flops"], row["tokens"], row["moved"]
    gpt = row["device"] == "cuda" and "gpt" in row["work"] or row["work"] in ("baby", "generation")
    return [
        column(row),
        harness.spread(row["ms"], 3),
        f"{median(row['host_ms']) / ms:.2f}",
        f"{row['first_ms'] / 1e3:.1f}",
        f"{tokens / ms * 1e3:,.0f}" if tokens else f"{moved / ms / 1e6:,.1f} GB" if moved else "",
        f"{flops / ms / 1e9:.3g}" if flops else "",
        f"{flops / ms * 1e3 / PEAK:.1%}" if gpt and row["dtype"] == "bfloat16" else "",
        f"{row['peak_mb']:,.0f}" if row.get("peak_mb") else "",
    ]


def best(rows: list[Row], module: str) -> Row | None:
    """The fastest row on the GPU."""
    found = [r for r in rows if r["module"] == module and r["device"] == "cuda" and "ms" in r]
    return min((r for r in found if agrees(r, rows) is not False), key=cost, default=None)


def report(path: Path) -> str:
    heads, rows = load(path)
    cards = sorted({h["card"] for h in heads if h["card"]})
    text = [f"({'; '.join(cards) or 'no GPU'}; MFU against {PEAK / 1e12:.0f} TFLOP/s in bfloat16)"]
    head = ["column", "ms", "host / device", "first, s", "per second", "TFLOP/s", "MFU", "MB held"]
    if found := crossings(rows):
        names = ["work", "axis", "ours: the GPU is faster", "PyTorch: the GPU is faster"]
        text += ["### From which size on", harness.markdown(names, found)]
    for work, sweep in SWEEPS.items():
        for size in sorted({r["size"] for r in rows if r["work"] == work}):
            here = [r for r in rows if r["work"] == work and r["size"] == size]
            text.append(f"### {sweep.title}, {sweep.axis} {size:,}")
            ours, theirs = best(here, "tinygrad_lm"), best(here, "torch")
            if ours and theirs:
                text.append(
                    f"PyTorch's best / ours: **{cost(theirs) / cost(ours):.2f}** "
                    f"({column(theirs)} / {column(ours)})"
                )
            text.append(harness.markdown(head, [cells(r, here) for r in here]))
    return "\n\n".join(text) + "\n"


def picture(path: Path, out: Path) -> None:
    """Time against size, both lines, where they cross; a panel per work with two sizes or more."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    _, rows = load(path)
    works = [w for w in SWEEPS if len(lines_of(rows, w, "tinygrad_lm")["CPU"]) > 1]
    if not works:
        print("There are no works with two sizes or more, and so no picture.")
        return
    across = min(3, len(works))
    down = math.ceil(len(works) / across)
    figure, axes = plt.subplots(down, across, figsize=(4 * across, 3 * down), squeeze=False)
    for ax, work in zip(axes.flat, works):
        both = lines_of(rows, work, "tinygrad_lm")
        for name, line in both.items():
            sizes = sorted(line)
            ax.loglog(sizes, [line[s] for s in sizes], "o-", label=name)
        common = sorted(both["CPU"].keys() & both["GPU"].keys())
        ratios = [both["CPU"][s] / both["GPU"][s] for s in common]
        _, at = crossing([float(s) for s in common], ratios)
        if at:
            ax.axvline(at, linestyle=":", color="gray")
        ax.set(title=SWEEPS[work].title, xlabel=SWEEPS[work].axis, ylabel="ms")
        ax.legend()
    for ax in list(axes.flat)[len(works) :]:
        ax.axis("off")
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    plt.close(figure)


def show(path: Path, draw: bool) -> None:
    text = report(path)
    path.with_suffix(".md").write_text(text, "utf-8")
    print(text)
    if draw:
        picture(path, path.with_suffix(".png"))
