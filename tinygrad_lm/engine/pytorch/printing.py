"""The text of a tensor, character for character as PyTorch prints it.

`format_tensor` takes a NumPy array and a few words about it (dtype, device, gradient).
`set_printoptions` changes the precision, the line width and the summary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass
class PrintOptions:
    """Digits after the point, when to shorten, items kept at each edge, columns, 1e+00 or not."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES: dict[str, dict[str, float]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}

options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors print; what is not named stays, but `sci_mode` goes back to automatic.

    precision: digits after the point. threshold: more elements than this print shortened, with
    `edgeitems` at each end. linewidth: columns. profile: "default", "short" or "full".
    """
    if profile is not None and profile not in PROFILES:
        raise ValueError(
            f"[set_printoptions] profile must be one of {', '.join(PROFILES)}, got {profile!r}"
        )
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    for name, value in {**PROFILES.get(profile or "", {}), **chosen}.items():
        setattr(options, name, value)
    options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options in force, as keywords for `set_printoptions`."""
    return asdict(options)


def format_tensor(
    array: np.ndarray,
    *,
    dtype: str,
    default_dtype: str = "float32",
    device: str = "cpu",
    grad_fn: str | None = None,
    requires_grad: bool = False,
    prefix: str = "tensor(",
) -> str:
    """PyTorch's repr of a tensor that holds `array`: `tensor([1., 2.], grad_fn=<MulBackward0>)`.

    dtype, default_dtype: names such as "float32"; grad_fn: the class name, "MulBackward0".
    """
    notes = [f"device='{device}'"] if device != "cpu" else []
    obvious = {default_dtype, "int64", "bool"} if array.size else {default_dtype}
    if (array.size == 0 and array.ndim != 1) or (array.size and not options.edgeitems):
        notes.append(f"size={array.shape}")
    if dtype not in obvious:
        notes.append(f"dtype=torch.{dtype}")
    if grad_fn is not None:
        notes.append(f"grad_fn=<{grad_fn}>")
    elif requires_grad:
        notes.append("requires_grad=True")

    text = prefix + (_numbers(array, len(prefix)) if array.size else "[]")
    column = len(text) - text.rfind("\n") + 1  # PyTorch's count: generous by two after a new line
    for note in notes:
        if column + len(note) + 2 > options.linewidth:
            text += ",\n" + " " * len(prefix) + note
            column = len(prefix) + len(note)
        else:
            text += ", " + note
            column += len(note) + 2
    return text + ")"


def _numbers(array: np.ndarray, indent: int) -> str:
    """The brackets and what is in them; all cells have one style and one width."""
    if array.dtype.kind not in "iub":
        array = array.astype(np.float64)
    shorten = array.size > options.threshold
    if shorten:
        array, gaps = _edges(array)
    else:
        gaps = (False,) * array.ndim
    style, width = _style(array)
    return _nested(array, gaps, indent, lambda value: style(value).rjust(width), width)


def _edges(array: np.ndarray) -> tuple[np.ndarray, tuple[bool, ...]]:
    """The elements a summary shows, and for each axis whether something is left out of it."""
    edge = options.edgeitems
    gaps = tuple(size > 2 * edge for size in array.shape)
    for axis, gap in enumerate(gaps):
        if gap:
            size = array.shape[axis]
            array = array.take([*range(edge), *range(size - edge, size)], axis)
    return array, gaps


def _style(array: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """How to write a cell, and the width of the widest; the finite nonzero ones decide."""
    if array.dtype.kind in "iub":
        return str, max((len(str(value)) for value in array.ravel().tolist()), default=1)
    finite = array[np.isfinite(array) & (array != 0)].tolist()
    if not finite:
        return _whole, 1
    small, large = min(map(abs, finite)), max(map(abs, finite))
    scientific = options.sci_mode
    if scientific is None:
        scientific = large / small > 1000 or large > 1e8 or small < 1e-4
    style: Callable[[Any], str]
    if scientific:
        style = f"{{:.{options.precision}e}}".format
    elif all(value.is_integer() for value in finite):
        style = _whole
    else:
        style = f"{{:.{options.precision}f}}".format
    return style, max(len(style(value)) for value in finite)


def _whole(value: float) -> str:
    """An integer that is a float: `3.`; infinities and NaN carry no point."""
    return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"


def _nested(
    array: np.ndarray,
    gaps: tuple[bool, ...],
    indent: int,
    cell: Callable[[Any], str],
    width: int,
) -> str:
    """Brackets inside brackets: rows on lines of their own, a blank line more per outer axis."""
    if array.ndim == 0:
        return cell(array.item())
    if array.ndim == 1:
        items, gap = [cell(value) for value in array.tolist()], " ..."
    else:
        items = [_nested(part, gaps[1:], indent + 1, cell, width) for part in array]
        gap = "..."
    if gaps[0]:
        items.insert(options.edgeitems, gap if options.edgeitems else "...")
    newline = "\n" * max(1, array.ndim - 1) + " " * (indent + 1)
    if array.ndim > 1:
        return "[" + ("," + newline).join(items) + "]"
    per_line = max(1, (options.linewidth - indent) // (width + 2))
    lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
    return "[" + ("," + newline).join(lines) + "]"
