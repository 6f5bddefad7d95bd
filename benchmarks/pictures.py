"""The pictures of the report, drawn from results: ratios beside targets, scaling, roofline. It
measures nothing."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import Any

import harness
import ops
import scaling
from works import WORKS

from tinygrad_lm.look.viz import new_figure

FOUND, SETTINGS, OURS = "#4878a8", "#e08a3c", "#2f7d4f"


def save(figure: Any, name: str) -> str:
    """As a PNG beside the results; its path from this folder."""
    harness.RESULTS.mkdir(exist_ok=True)
    figure.savefig(harness.RESULTS / name, format="png", dpi=100)
    return str(Path(harness.RESULTS.name) / name)


def ratios(rows: list[dict[str, Any]]) -> str:
    """Two bars per row, PyTorch's best time over ours, with their spread and their targets."""
    figure = new_figure(8, 1.2 + 0.75 * len(rows))
    axes = figure.add_subplot(
        title="Training steps beside PyTorch's fastest form",
        xlabel="PyTorch's best time / our time (above 1: we are faster)",
    )
    for shift, key, color, label in (
        (-0.2, "found", FOUND, "PyTorch as found"),
        (0.2, "settings", SETTINGS, "PyTorch with malloc settings"),
    ):
        places = [i + shift for i in range(len(rows))]
        middles = [median(row[key]) for row in rows]
        around = [
            [m - min(row[key]) for m, row in zip(middles, rows)],
            [max(row[key]) - m for m, row in zip(middles, rows)],
        ]
        axes.barh(places, middles, 0.36, xerr=around, color=color, label=label, ecolor="0.3")
        targets = [(row["targets"][key], y) for row, y in zip(rows, places) if row["targets"]]
        if targets:
            style = {"marker": "|", "s": 260, "linewidths": 3, "color": "black", "zorder": 3}
            axes.scatter(*zip(*targets), label="target" if key == "found" else None, **style)
    axes.axvline(1, color="0.4", linewidth=1, linestyle="--")
    axes.set_yticks(
        range(len(rows)),
        [f"{r['name']}\n{r['processor']}".replace("`", "") for r in rows],
        fontsize=8,
    )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.9 / (1.2 + 0.75 * len(rows))), ncols=3)
    return save(figure, "ratios.png")


def growth(results: dict[str, list], processor: str) -> str:
    """One panel per axis: our step, PyTorch's, and the matrix products alone."""
    names = [axis for axis in scaling.AXES if axis in results[harness.OURS][0]]
    figure = new_figure(3.1 * len(names), 3.4)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    styles = {
        harness.OURS: {"color": OURS, "marker": "o"},
        "PyTorch": {"color": FOUND, "marker": "s"},
        scaling.GEMM: {"color": "0.5", "marker": ".", "linestyle": "--"},
    }
    for axis, panel in zip(names, panels):
        for name in (n for n in styles if n in results):
            points = scaling.medians(results, name, axis)
            panel.plot(list(points), list(points.values()), label=name, **styles[name])
        values = list(points)
        panel.set(xscale="log", yscale="log", xlabel=axis)
        panel.set_xticks(values, values)
        panel.minorticks_off()
        low, high = panel.get_ylim()
        ticks = [t * 10**e for e in range(-1, 5) for t in (1, 2, 5)]
        ticks = [t for t in ticks if low <= t <= high]
        panel.set_yticks(ticks, [f"{t:g}" for t in ticks])
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("ms per step")
    panels[0].legend(loc="upper left", fontsize=8)
    return save(figure, f"scaling.{harness.short(processor)}.png")


def points(steps: dict[str, dict], ops_found: dict | None) -> list[tuple[str, float, float, str]]:
    """(label, FLOP per byte, GFLOP/s, kind): GPT steps, and fused ops at the size of baby GPT."""
    found = []
    for name, record in steps.items():
        if size := WORKS[name].size:
            ms = median(harness.step_times(record["results"][harness.OURS]))
            found.append((name, size.flops / size.traffic, size.flops / ms / 1e6, "step"))
    size = "baby GPT"
    runs = ops_found["results"][harness.OURS] if ops_found else []
    for name, case in ops.cases(size).items() if runs else ():
        entries = [r["fused"][size][name] for r in runs if name in r["fused"][size]]
        if not entries:  # an older record
            continue
        seconds = median(map(ops.total, entries))
        flops = 3 * case.flops
        found.append((name, flops / case.moved(entries[0]["outputs"]), flops / seconds / 1e9, "op"))
    return found


def roofline(
    limits: dict[str, float], found: list[tuple[str, float, float, str]], processor: str
) -> str:
    """Speed over intensity, below the machine's two ceilings."""
    figure = new_figure(8, 5.5)
    axes = figure.add_subplot(
        xscale="log", yscale="log", xlabel="arithmetic per byte that must be moved, FLOP / byte"
    )
    axes.set_ylabel("GFLOP/s, forward and backward")
    lowest = min(x for _, x, _, _ in found) / 2
    ridge, most = limits["gflops"] / limits["gbs"], 4 * max(x for _, x, _, _ in found)
    roof = [(lowest, lowest * limits["gbs"]), (ridge, limits["gflops"]), (most, limits["gflops"])]
    axes.plot(*zip(*roof), color="black")
    axes.text(
        ridge * 1.1, limits["gflops"] * 1.12, f"matrix products: {limits['gflops']:.0f} GFLOP/s"
    )
    at = math.sqrt(lowest * ridge) / 2
    axes.text(at, 1.5 * at * limits["gbs"], f"memory: {limits['gbs']:.0f} GB/s", ha="right")
    for kind, color, marker, label in (
        ("op", FOUND, "o", "a fused op at baby GPT's size"),
        ("step", OURS, "D", "a whole training step"),
    ):
        here = [p for p in found if p[3] == kind]
        axes.scatter(
            [p[1] for p in here], [p[2] for p in here], c=color, marker=marker, label=label
        )
        _names(axes, here, 0.2 if kind == "step" else 1.6)
    axes.grid(alpha=0.3)
    axes.set_ylim(top=limits["gflops"] * 2)
    axes.legend(loc="lower right")
    return save(figure, f"roofline.{harness.short(processor)}.png")


def _names(axes: Any, here: list[tuple[str, float, float, str]], beside: float) -> None:
    """A name beside each point, with a thin line; each moves down (the roof is above) until it
    touches neither a point nor a name above it."""
    placed = [(x, y, 1.25) for _, x, y, _ in here]  # x, y and the factor that is taken around it
    for name, x, y, _ in sorted(here, key=lambda p: -p[2]):
        height, at = 0.93 * y, x * beside
        near = [p for p in placed if abs(math.log10(p[0] / at)) < 1.2 and p[:2] != (x, y)]
        for _, py, factor in sorted(near, key=lambda p: -p[1]):
            if py / factor < height < py * factor:
                height = py / factor
        placed.append((at, height, 1.32))
        axes.annotate(
            name,
            (x, y),
            (at, height),
            ha="left" if beside > 1 else "right",
            va="center",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.6},
        )


def curves(gpu: dict[str, Any], cpu: dict[str, Any] | None) -> str:
    """Validation losses over seconds: the baby GPT on a GPU, and the smaller one on the CPU."""
    figure = new_figure(7, 4)
    axes = figure.add_subplot(xlabel="seconds, evaluations included", ylabel="validation loss")
    name = gpu["card"].split(",")[0]
    lines = [(f"baby GPT, {name}, {gpu['dtype']}", gpu["curve"], OURS)]
    if cpu:
        each = cpu["seconds"] / cpu["steps"][-1]  # its steps are of one length
        pairs = zip(cpu["steps"], cpu["validation_losses"])
        found = [{"seconds": step * each, "val": loss} for step, loss in pairs]
        lines.append((f"nanoGPT's CPU configuration, {cpu['machine']['processor']}", found, FOUND))
    for label, points_of, color in lines:
        seconds = [point["seconds"] for point in points_of]
        axes.plot(seconds, [point["val"] for point in points_of], "o-", color=color, label=label)
    axes.axhline(gpu["reference"], color="0.4", linewidth=1, linestyle="--", label="nanoGPT's best")
    axes.legend()
    return save(figure, "baby-gpt-curve.png")
