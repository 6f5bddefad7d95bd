"""From the rows of cpu_vs_gpu.py: its tables, the size from which a GPU is faster than the CPU, and
the picture of it. Needs no GPU."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

import harness
from sweeps import OURS, SWEEPS, THEIRS

# Operations a second of an H100 or H200 (SXM), dense, as NVIDIA states them.
PEAKS = {"bfloat16": 989e12, "tf32": 494e12, "float32": 67e12}
# How far a result may be from the CPU's, as a share of it; where dropout draws otherwise, the last.
ALLOWED = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 2e-2}
NAMES = {OURS: "ours", THEIRS: "PyTorch"}

Row = dict[str, Any]


def load(path: Path) -> tuple[list[Row], list[Row]]:
    """(what is said of the machine, rows). Of a row that was measured twice, that of the call which
    measured both modules, so that what is compared ran beside each other; else the later one."""
    heads: list[Row] = []
    every: list[Row] = []
    for line in filter(None, path.read_text("utf-8").splitlines()):
        row = json.loads(line)
        if "work" in row:
            cores = heads[-1]["machine"].get("cores") if heads else None
            every.append({"threads": cores, "programs": 1, **row, "call": len(heads)})
        else:
            heads.append(row)
    modules: dict[tuple, set] = {}
    for r in every:
        if "error" not in r and r["device"] == "cuda":
            modules.setdefault((r["work"], r["size"], r["call"]), set()).add(r["module"])

    def worth(r: Row) -> tuple:
        both = len(modules.get((r["work"], r["size"], r["call"]), ()))
        return "error" not in r, both, r["call"]

    rows = {key(r): r for r in sorted(every, key=worth)}
    return heads, [rows[k] for k in dict.fromkeys(map(key, every))]


def key(row: Row) -> tuple:
    threads = row["threads"] if row["device"] == "cpu" else None
    return (*(row[k] for k in ("work", "size", "module", "device", "dtype", "mode")), threads)


def column(row: Row) -> str:
    if row["device"] == "cuda":
        return f"{NAMES[row['module']]} GPU {row['dtype']} {row['mode']}"
    mode = "" if row["mode"] == "eager" else f" {row['mode']}"
    return f"{NAMES[row['module']]} CPU{mode}, {row['threads']} threads"


def cost(row: Row) -> float:
    return float(median(row["ms"]))


def reference(row: Row, rows: list[Row]) -> Row | None:
    """What a result is held against: the CPU's, else PyTorch's or the first on the GPU."""
    what = ("work", "size", "programs")
    same = [r for r in rows if r is not row and r.get("losses")]
    same = [r for r in same if all(r[k] == row[k] for k in what)]
    rank = {"cpu": 0, "cuda": 1}
    order = {"float32": 0, "tf32": 1, "bfloat16": 2}
    same.sort(key=lambda r: (rank[r["device"]], order[r["dtype"]], r["module"] != "torch"))
    return same[0] if same else None


def agrees(row: Row, rows: list[Row]) -> bool | None:
    """Whether the first results are the reference's; None where there is nothing to compare."""
    other = reference(row, rows)
    if other is None:
        return None
    allowed = max(ALLOWED[row["dtype"]], ALLOWED[other["dtype"]])
    if SWEEPS[row["work"]].random:
        allowed = ALLOWED["bfloat16"]
    least = 0.01 * abs(other["losses"][0])  # of what a loss that falls to nothing is a share
    pairs = zip(row["losses"], other["losses"])
    return all(abs(a - b) <= allowed * max(abs(b), least) for a, b in pairs)


def crossing(sizes: list[float], ratios: list[float]) -> tuple[str, float | None]:
    """ratios: the CPU's time over the GPU's. (a sentence, the size where they meet), interpolated
    between the logarithms of the neighbours."""
    if not sizes:
        return "not measured", None
    pairs = sorted(zip(sizes, ratios))
    if all(r >= 1 for _, r in pairs):
        return f"always (from {pairs[0][0]:,.0f})", None
    if pairs[-1][1] < 1:
        return f"never up to {pairs[-1][0]:,.0f}", None
    last = max(i for i, (_, r) in enumerate(pairs) if r < 1)
    (a, low), (b, high) = pairs[last], pairs[last + 1]
    share = -math.log(low) / (math.log(high) - math.log(low))
    at = math.exp(math.log(a) + share * (math.log(b) - math.log(a)))
    return f"from {float(f'{at:.2g}'):,.0f} on", at


def lines_of(rows: list[Row], work: str, module: str) -> dict[str, dict[int, float]]:
    """{"CPU", "GPU"}: milliseconds by size, of the best form in float32 or TF32."""
    found: dict[str, dict[int, float]] = {"CPU": {}, "GPU": {}}
    for r in rows:
        if r["work"] != work or r["module"] != module or "ms" not in r or r["dtype"] == "bfloat16":
            continue
        if agrees(r, rows) is False:
            continue
        place = found["CPU" if r["device"] == "cpu" else "GPU"]
        place[r["size"]] = min(cost(r), place.get(r["size"], math.inf))
    return found


def ratios_of(rows: list[Row], work: str, module: str) -> tuple[list[float], list[float]]:
    """Sizes measured on both devices, and the CPU's time over the GPU's there."""
    both = lines_of(rows, work, module)
    sizes = sorted(both["CPU"].keys() & both["GPU"].keys())
    return [float(s) for s in sizes], [both["CPU"][s] / both["GPU"][s] for s in sizes]


def crossings(rows: list[Row]) -> list[list[Any]]:
    table = []
    for work, sweep in SWEEPS.items():
        line, any_found = [sweep.title, sweep.axis], False
        for module in NAMES:
            sizes, ratios = ratios_of(rows, work, module)
            any_found |= bool(sizes)
            most = f", {max(ratios):.3g} times at most" if sizes else ""
            line.append(crossing(sizes, ratios)[0] + most)
        if any_found:
            table.append(line)
    return table


HEAD = ("column", "ms", "reading each", "batch from the host", "host / device", "first, s")
HEAD += ("per second", "TFLOP/s", "MFU", "of products", "peak MB")


def cells(row: Row, rows: list[Row], products: dict[str, float]) -> list[str]:
    """A line of the table; products: `rates`."""
    if "error" in row:
        return [column(row), row["error"][:80].replace("|", "/"), *[""] * (len(HEAD) - 2)]
    if agrees(row, rows) is False:
        other = reference(row, rows)
        found, wanted = (" ".join(f"{x:.5g}" for x in r["losses"]) for r in (row, other))
        return [column(row), f"void: {found}, not {wanted}", *[""] * (len(HEAD) - 2)]
    ms, flops, moved = cost(row), row["flops"], row["moved"]
    rate = 1e3 * flops / ms
    per_second = f"{moved / ms / 1e6:,.1f} GB" if moved else ""
    peak = PEAKS[row["dtype"]] if row["device"] == "cuda" and row["tokens"] else None
    product = products.get(column(row).replace("captured", "eager"))
    return [
        column(row),
        harness.spread(row["ms"], 3),
        *(f"{row[k]:.3f}" if k in row else "" for k in ("reading_ms", "uploading_ms")),
        f"{median(row['host_ms']) / ms:.2f}" if row["device"] == "cuda" else "",
        f"{row['first_ms'] / 1e3:.1f}",
        f"{1e3 * row['tokens'] / ms:,.0f}" if row["tokens"] else per_second,
        f"{rate / 1e12:.3g}" if flops else "",
        f"{rate / peak:.1%}" if peak else "",
        f"{rate / product:.0%}" if flops and product else "",
        f"{row['peak_mb']:,.0f}" if row.get("peak_mb") else "",
    ]


def rates(rows: list[Row]) -> dict[str, float]:
    """By column: operations a second of its fastest matrix product, of those that are large."""
    found: dict[str, float] = {}
    for r in rows:
        if r["work"] == "matmul" and "ms" in r and r["size"] >= 2048:
            found[column(r)] = max(1e3 * r["flops"] / cost(r), found.get(column(r), 0.0))
    return found


def best(rows: list[Row], module: str, device: str = "cuda") -> Row | None:
    """The fastest row on a device."""
    found = [r for r in rows if r["module"] == module and r["device"] == device and "ms" in r]
    return min((r for r in found if agrees(r, rows) is not False), key=cost, default=None)


def forms(rows: list[Row], module: str) -> int:
    """How many columns of a module were measured on the GPU."""
    return sum(r["module"] == module and r["device"] == "cuda" and "ms" in r for r in rows)


def missing(rows: list[Row]) -> str:
    """Which works have no row of a GPU, in a sentence: time may have been up."""
    there = {r["work"] for r in rows if r["device"] == "cuda" and "ms" in r}
    names = [sweep.title for work, sweep in SWEEPS.items() if work not in there]
    return f"Not measured on a GPU yet: {'; '.join(names)}." if there and names else ""


def against(here: list[Row]) -> str:
    """PyTorch's best on the GPU over ours, of rows of one size, as a sentence; or nothing."""
    mine, other = best(here, OURS), best(here, THEIRS)
    if not mine or not other:
        return ""
    forms_of = f"{column(other)}, of {forms(here, THEIRS)} measured / {column(mine)}"
    return f"PyTorch's best / ours: **{cost(other) / cost(mine):.2f}** ({forms_of})"


def short(ms: float) -> str:
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.3g}"


def overview(rows: list[Row]) -> str:
    """Milliseconds of each one's fastest form, by work and size."""
    lines, where = [], [(m, d) for d in ("cpu", "cuda") for m in NAMES]
    for work, sweep in SWEEPS.items():
        for size in sorted({r["size"] for r in rows if r["work"] == work}):
            here = [r for r in rows if (r["work"], r["size"]) == (work, size)]
            found = [best(here, *column) for column in where]
            how = [
                f" ({r['dtype']} {r['mode']})" if r and r["device"] == "cuda" else "" for r in found
            ]
            cells = [f"{short(cost(r))}{said}" if r else "" for r, said in zip(found, how)]
            lines.append([sweep.title, f"{sweep.axis} {size:,}", *cells])
    head = [f"{NAMES[m]} {'CPU' if d == 'cpu' else 'GPU'}, ms" for m, d in where]
    kept = [i for i in range(2 + len(head)) if any(line[i] for line in lines)]
    table = [["work", "size", *head], *lines]
    head, *lines = [[line[i] for i in kept] for line in table]
    return harness.markdown(head, lines)


def summary(path: Path) -> str:
    """What it was measured on, from which sizes on a GPU pays, the fastest of each."""
    heads, rows = load(path)
    cards = sorted({h["card"] for h in heads if h["card"]})
    text = [f"({'; '.join(cards) or 'no GPU'}; {heads[0]['machine'].get('processor', '')})"]
    if any(h.get("quick") for h in heads):
        text.append("**A trial**: sizes are divided by 64, and GPTs are tiny ones.")
    text += [said] if (said := missing(rows)) else []
    if found := crossings(rows):
        names = ["work", "axis", "ours: the GPU is faster", "PyTorch: the GPU is faster"]
        text += ["### From which size on", harness.markdown(names, found)]
    text += ["### The fastest form of each", overview(rows)] if rows else []
    return "\n\n".join(text) + "\n"


def report(path: Path) -> str:
    """The summary, and a table for each work."""
    _, rows = load(path)
    text, products = [summary(path).strip()], rates(rows)
    if (seconds := sum(r.get("nvrtc_s", 0.0) for r in rows)) > 0.1:
        text.append(f"Of the first steps NVRTC took {seconds:.1f} s, for kernels without a cache.")
    for work, sweep in SWEEPS.items():
        mine = [r for r in rows if r["work"] == work]
        lines, said = [], []
        for size in sorted({r["size"] for r in mine}):
            here = [r for r in mine if r["size"] == size]
            lines += [[f"{size:,}", *cells(r, here, products)] for r in here]
            said += [f"{sweep.axis} {size:,}. {found}" for found in [against(here)] if found]
        if lines:
            text += [f"### {sweep.title}", *said, harness.markdown([sweep.axis, *HEAD], lines)]
    return "\n\n".join(text) + "\n"


def picture(path: Path, out: Path) -> bool:
    """Time against size, on both devices, where they cross; a panel per work with two sizes or
    more. Whether there was something to draw."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    _, rows = load(path)
    works = [w for w, sweep in SWEEPS.items() if sweep.kind != "transfers"]
    works = [w for w in works if any(len(x) > 1 for x in lines_of(rows, w, OURS).values())]
    if not works:
        return False
    across = min(4, len(works))
    down = math.ceil(len(works) / across)
    figure, axes = plt.subplots(
        down, across, figsize=(4 * across, 3 * down), squeeze=False, layout="constrained"
    )
    for ax, work in zip(axes.flat, works):
        for module, style in ((OURS, "o-"), (THEIRS, ".:")):
            for color, (device, line) in zip(("C0", "C1"), lines_of(rows, work, module).items()):
                if line:
                    sizes, label = sorted(line), f"{NAMES[module]}, {device}"
                    ax.loglog(sizes, [line[s] for s in sizes], style, color=color, label=label)
        if at := crossing(*ratios_of(rows, work, OURS))[1]:
            ax.axvline(at, linestyle="--", color="gray")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter(NullFormatter())
        ax.set(title=SWEEPS[work].title, xlabel=SWEEPS[work].axis, ylabel="ms")
    for ax in list(axes.flat)[len(works) :]:
        ax.axis("off")
    handles = {label: h for ax in axes.flat for h, label in zip(*ax.get_legend_handles_labels())}
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles))
    figure.savefig(out, dpi=110)
    plt.close(figure)
    return True


def show(path: Path) -> None:
    """Write table and picture beside the rows, and say the most important."""
    table, drawn = path.with_suffix(".md"), path.with_suffix(".png")
    table.write_text(report(path), "utf-8")
    print(summary(path))
    print(f"Rows: {path}. Tables: {table}.")
    try:
        said = f"Picture: {drawn}." if picture(path, drawn) else "No work has two sizes to draw."
    except ImportError:
        said = "No picture, as matplotlib is not installed (pip install '.[plot]')."
    print(said)
