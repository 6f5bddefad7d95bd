"""Pictures: the loss curve of a run from its metrics, and those of the lectures. They need
matplotlib, which is an extra.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..engine.core.tensor import Tensor
from ..saving.files import StrPath, replacing
from .study import LayerStats, LearningRates

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_loss_curve(
    metrics: StrPath, picture: StrPath, reference: Mapping[int, float] | None = None
) -> str:
    """Draw the losses (nats per token) over the steps of metrics.jsonl as a PNG; say what was done.

    reference: validation losses of another run, by step. Without matplotlib nothing is drawn, and
    the returned line says how to install it.
    """
    try:
        from matplotlib.figure import Figure  # without pyplot: no window, no global state
    except ImportError:
        return "no loss curve: matplotlib is not installed; pip install 'tinygrad_lm[plot]'"
    events = [json.loads(line) for line in Path(metrics).read_text("utf-8").splitlines()]
    curves = {"loss": "each step", "train_loss": "training text", "val_loss": "validation text"}
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(title="Loss", xlabel="step", ylabel="loss, nats per token")
    for key, label in curves.items():
        points = [(event["step"], event[key]) for event in events if key in event]
        faint = {"alpha": 0.35, "linewidth": 0.8} if key == "loss" else {"marker": "o"}
        axes.plot(*zip(*points), label=label, **faint)
    if reference:
        axes.plot(*zip(*reference.items()), "k+--", label="reference, validation")
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return f"loss curve: {picture}"


# ---------------------------------------------------------------- pictures of the lectures
#
# Each function returns matplotlib's Figure, which a notebook shows, and with `path` writes a PNG.


def new_figure(width: float, height: float) -> Any:
    """A Figure of that size in inches. ImportError with the command where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        message = "[viz] a picture needs matplotlib, which is not installed"
        raise ImportError(f"{message}; pip install 'tinygrad_lm[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def _saved(figure: Any, path: StrPath | None) -> Figure:
    """The figure; with `path` also as a PNG of 256 colours, a third of the usual size."""
    if path is not None:
        from PIL import Image  # matplotlib needs it

        drawn = BytesIO()
        figure.savefig(drawn, format="png", dpi=100)
        small = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
        with replacing(path) as temporary:
            small.save(temporary, format="png", optimize=True)
    return figure


def pca(x: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Rows of x (N, C), C >= 2, along the two directions in which they vary most: (N, 2), and the
    shares of the variance that these two carry. The sign of an axis is chosen so that its largest
    entry is positive; for C = 2 the rows come as they are."""
    x = _array(x)
    if x.ndim != 2 or x.shape[1] < 2:
        raise ValueError(f"[pca] needs rows of two numbers or more, got shape {x.shape}")
    centred = x - x.mean(0)
    _, scale, axes = np.linalg.svd(centred, full_matrices=False)
    scale, axes = np.pad(scale, (0, max(2 - len(scale), 0))), axes[:2]  # a single row has one axis
    share = scale[:2] ** 2 / max((scale**2).sum(), 1e-300)
    if x.shape[1] == 2:
        return x, centred.var(0) / max(centred.var(0).sum(), 1e-300)
    points = np.zeros((len(x), 2))
    points[:, : len(axes)] = centred @ axes.T
    signs = np.sign(points[np.abs(points).argmax(0), [0, 1]])
    return points * np.where(signs == 0, 1, signs), share


def _array(x: ArrayLike) -> np.ndarray:
    """A Tensor on any device, an array or a list, as float64."""
    return np.asarray(x.detach().cpu().numpy() if isinstance(x, Tensor) else x, np.float64)


def plot_embeddings(
    weight: ArrayLike, labels: Sequence[str], path: StrPath | None = None, title: str = ""
) -> Figure:
    """The rows of an embedding (V, C) as labelled points; above two dimensions by PCA."""
    points, share = pca(weight)
    if len(labels) != len(points):
        raise ValueError(
            f"[plot_embeddings] every row needs a label, got {len(points)} and {len(labels)}"
        )
    figure = new_figure(6, 6)
    axes = figure.add_subplot(title=title)
    axes.scatter(*points.T, s=130, color="#9ecae1", edgecolors="#3182bd")
    for (x, y), label in zip(points, labels):
        axes.text(x, y, label, ha="center", va="center_baseline", fontsize=9)
    if np.shape(weight)[1] > 2:
        axes.set_xlabel(f"first principal component, {share[0]:.0%} of the variance")
        axes.set_ylabel(f"second, {share[1]:.0%}")
    axes.grid(alpha=0.3)
    return _saved(figure, path)


def plot_counts(
    counts: ArrayLike, labels: Sequence[str], path: StrPath | None = None, title: str = ""
) -> Figure:
    """A square table of whole numbers, small enough to read: each cell shows its pair of labels
    (row, then column) and its number, the darker the more."""
    counts = _array(counts)
    V = len(labels)
    figure = new_figure(0.4 * V + 0.4, 0.4 * V + 0.4)
    axes = figure.add_subplot(title=title)
    axes.imshow(counts**0.5, cmap="Blues")  # the root, so that rare pairs are not all white
    for i in range(V):
        for j in range(V):
            ink = "white" if counts[i, j] > 0.2 * counts.max() else "#333"
            how = {"ha": "center", "color": ink, "fontsize": 6.5}
            axes.text(j, i, labels[i] + labels[j], va="bottom", **how)
            axes.text(j, i, f"{counts[i, j]:.0f}", va="top", **how)
    axes.axis("off")
    return _saved(figure, path)


def plot_lines(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: StrPath | None = None,
    marks: Mapping[str, float] | None = None,
    **labels: Any,
) -> Figure:
    """One curve (xs, ys) per label. labels: xlabel, ylabel, title, xscale, yscale, ylim, ... of
    matplotlib's axes; marks: a horizontal line at y for each label."""
    figure = new_figure(8, 4.2)
    axes = figure.add_subplot(**labels)
    for label, (xs, ys) in lines.items():
        axes.plot(xs, ys, label=label, linewidth=1)
    for label, y in (marks or {}).items():
        axes.axhline(y, color="black", linestyle="--", linewidth=1, label=label)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return _saved(figure, path)


def plot_bars(bars: Mapping[str, float], path: StrPath | None = None, **labels: Any) -> Figure:
    """A bar per label, the first on top, with its number to two digits. labels: xlabel, title,
    xscale, ... of matplotlib's axes; on a log scale a bar of 1 is none."""
    figure = new_figure(8, 0.9 + 0.36 * len(bars))
    axes = figure.add_subplot(**labels)
    drawn = axes.barh(list(bars), list(bars.values()), color="#9ecae1", edgecolor="#3182bd")
    axes.bar_label(drawn, [f"{float(f'{x:.2g}'):,.12g}" for x in bars.values()], padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.grid(alpha=0.3, axis="x")
    return _saved(figure, path)


def plot_lr_finder(found: LearningRates, path: StrPath | None = None) -> Figure:
    """What `study.lr_finder` tried: the loss of each batch, its average, and the suggestion."""
    centres, smooth = found.smoothed()
    figure = new_figure(7, 4.2)
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss of the batch")
    axes.set_title("The loss, while the learning rate grows")
    axes.plot(found.rates, found.losses, alpha=0.3, linewidth=0.8)
    axes.plot(centres, smooth, color="C0", label=f"average of {found.width} batches")
    mark = f"lowest at {found.suggestion:.2g}"
    axes.axvline(found.suggestion, color="black", linestyle="--", linewidth=1, label=mark)
    axes.set_ylim(top=min(max(found.losses), 2 * float(np.median(found.losses))))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _saved(figure, path)


def plot_stats(
    stats: Sequence[LayerStats],
    path: StrPath | None = None,
    title: str = "",
    gradients: bool = True,
) -> Figure:
    """What `study.activation_stats` found: how the outputs of each layer are distributed, and the
    gradients that arrive there."""
    shown = {"values": "output", "grads": "gradient of the output"}
    shown = shown if gradients else {"values": "output"}
    figure = new_figure(1 + 4.5 * len(shown), 3.6)
    figure.suptitle(title)
    for axes, (key, what) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items()):
        for i, layer in enumerate(stats):
            x = getattr(layer, key)
            bins = int(np.clip(np.cbrt(x.size), 10, 40))  # fewer values, wider bins: no teeth
            density, edges = np.histogram(x, bins=bins, density=True)
            label = f"layer {layer.name}, " * layer.name.isdigit() or f"{layer.name} "
            label = f"{label}{layer.kind}".strip() + f": std {x.std():.2g}"
            label += f", {layer.saturated:.0%} saturated" if key == "values" else ""
            style = "-" if i % 2 == 0 else "--"  # so that equal curves are seen to be two
            axes.plot((edges[1:] + edges[:-1]) / 2, density, style, label=label)
        axes.set(xlabel=what, ylabel="density")
        axes.ticklabel_format(axis="x", style="sci", scilimits=(-2, 2))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return _saved(figure, path)


def plot_attention(
    maps: ArrayLike, tokens: Sequence[str], path: StrPath | None = None, title: str = ""
) -> Figure:
    """Attention weights (H, T, T) as one square per head: row t shows where position t looks."""
    maps = _array(maps)
    H, T = maps.shape[:2]
    if len(tokens) != T:
        raise ValueError(f"[plot_attention] every position needs a token, got {T}, {len(tokens)}")
    side, wide = 0.8 + 0.13 * T, min(H, 4)  # four heads to a row
    high = -(-H // wide)
    figure = new_figure(wide * side, high * (side + 0.3) + 0.3)
    figure.suptitle(title)
    shown = [{" ": "␣", "\n": "↵"}.get(token, token) for token in tokens]
    for h in range(H):
        axes = figure.add_subplot(high, wide, h + 1)
        axes.imshow(maps[h], cmap="Blues", vmin=0)
        axes.set_title(f"head {h}", fontsize=10)
        axes.set_xticks(range(T), shown, fontsize=7)
        axes.set_yticks(range(T), shown, fontsize=7)
        axes.tick_params(length=0)
        axes.set_xlabel("the character looked at", fontsize=8)
        axes.set_ylabel("the one that looks", fontsize=8)
    return _saved(figure, path)


def plot_boundary(
    score: Callable[[np.ndarray], ArrayLike],
    points: ArrayLike,
    classes: ArrayLike,
    path: StrPath | None = None,
    cells: int = 60,
    title: str = "",
) -> Figure:
    """Points (N, 2) of two classes, and where score((M, 2)) -> (M,) says above or below zero, asked
    on a grid of cells x cells."""
    points, classes = _array(points), _array(classes)
    low, high = points.min(0) - 0.5, points.max(0) + 0.5
    xs, ys = (np.linspace(low[i], high[i], cells) for i in (0, 1))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    heights = _array(score(grid)).reshape(cells, cells)
    figure = new_figure(6, 5)
    axes = figure.add_subplot(title=title)
    limit = max(np.abs(heights).max(), 1e-9)
    levels = np.array([-limit, -1, -0.5, 0, 0.5, 1, limit]) if limit > 1 else 9
    axes.contourf(xs, ys, heights, levels=levels, cmap="RdBu", alpha=0.6)
    axes.contour(xs, ys, heights, levels=[0], colors="black", linewidths=1.5)
    colours = np.where(classes > classes.mean(), "#2166ac", "#b2182b")  # seen on their own ground
    axes.scatter(*points.T, c=colours, edgecolors="white", s=40)
    return _saved(figure, path)
