"""The picture of a computation: its graph as Graphviz DOT text or as a self-contained SVG, which
is laid out here, without Graphviz."""

from __future__ import annotations

from html import escape
from pathlib import Path
from re import sub

from .arrays import DTYPES
from .core.graph import Node
from .core.tensor import Tensor
from .pytorch.names import grad_fn_name

# Sizes in SVG units: a box's line of text, its padding, and the gaps between boxes.
LETTER, LINE, GAP_X, GAP_Y = 7.2, 15, 24, 36
LIMIT = 400


class Picture(str):
    """SVG text that a notebook shows as a picture; without one its repr() is short."""

    def __repr__(self) -> str:
        return f"<a picture: {len(self)} characters of SVG; a notebook of Jupyter shows it>"

    def _repr_svg_(self) -> str:
        return str(self)


def draw_graph(
    output: Tensor,
    names: dict[str, Tensor] | None = None,
    format: str = "svg",
    path: str | Path | None = None,
) -> str:
    """The graph that computed `output`, as text: SVG, which a notebook shows, or DOT for Graphviz.

    names: labels for leaves, such as `dict(model.named_parameters())`. Every box shows an op (or a
    leaf's name), its shape and its dtype; arrows go from inputs to results. With `path` the text is
    written there too. At most 400 boxes: a picture of more can't be read.
    """
    if format not in ("svg", "dot"):
        raise ValueError(f"[draw_graph] format must be 'svg' or 'dot', got {format!r}")
    if not isinstance(output, Tensor) or not output.requires_grad:
        raise RuntimeError("[draw_graph] needs a tensor that requires a gradient; it has a graph")
    nodes = _collect(output.node or output)
    if len(nodes) > LIMIT:
        raise RuntimeError(
            f"[draw_graph] at most {LIMIT} boxes can be drawn, got {len(nodes)}; draw a part of it"
        )
    labels = {id(t): name for name, t in (names or {}).items()}
    texts = [_text(n, labels) for n in nodes]
    place = {id(n): i for i, n in enumerate(nodes)}
    arrows = [(place[id(p)], i) for i, n in enumerate(nodes) for p in _parents(n)]
    drawn = (dot_text if format == "dot" else svg_text)(nodes, texts, arrows)
    if path is not None:
        Path(path).write_text(drawn, encoding="utf-8")
    return drawn


def _parents(node: Node | Tensor) -> list[Node | Tensor]:
    return [p for p in node.parents if p is not None] if isinstance(node, Node) else []


def _collect(root: Node | Tensor) -> list[Node | Tensor]:
    """Every node and leaf reached from the root, inputs before what is made of them."""
    reached, pending = {}, [root]
    while pending:
        node = pending.pop()
        if id(node) not in reached:
            reached[id(node)] = node
            pending.extend(_parents(node))
    return sorted(reached.values(), key=lambda n: n.birth if isinstance(n, Node) else 0)


def _text(node: Node | Tensor, labels: dict[int, str]) -> list[str]:
    if isinstance(node, Node):
        words = grad_fn_name(node.name).partition("Backward")[0]
        name = sub(r"(?<=[a-z])(?=[A-Z])", "_", words).lower()
        dtype = DTYPES[node.dtype].name
    else:
        name, dtype = labels.get(id(node), "leaf"), node.dtype.name
    return [name, f"{'x'.join(map(str, node.shape)) or 'scalar'} {dtype}"]


def dot_text(nodes: list, texts: list[list[str]], arrows: list[tuple[int, int]]) -> str:
    rows = ["digraph {", "  rankdir=TB; node [shape=box, fontname=monospace];"]
    for i, (node, text) in enumerate(zip(nodes, texts, strict=True)):
        label = "\\n".join(text).replace('"', '\\"')
        style = "" if isinstance(node, Node) else ", style=filled, fillcolor=lightblue"
        rows.append(f'  n{i} [label="{label}"{style}];')
    rows += [f"  n{a} -> n{b};" for a, b in arrows]
    return "\n".join([*rows, "}", ""])


def _layers(count: int, arrows: list[tuple[int, int]]) -> tuple[list[list[int]], list]:
    """Boxes by their distance from the result, each layer ordered by the places of its users; and
    the arrows, long ones in pieces: by a point (from `count` on) in each layer between, so that no
    box hides them."""
    depth, pieces = [0] * count, []
    for a, b in sorted(arrows, reverse=True):  # users come later, so they are known already
        depth[a] = max(depth[a], depth[b] + 1)
    for a, b in arrows:
        for d in range(depth[a] - 1, depth[b], -1):
            depth.append(d)
            pieces.append((a, len(depth) - 1))
            a = len(depth) - 1
        pieces.append((a, b))
    users: list[list[int]] = [[] for _ in depth]
    for a, b in pieces:
        users[a].append(b)
    layers: list[list[int]] = [[] for _ in range(max(depth) + 1)]
    position = [0.0] * len(depth)
    for d in range(len(layers)):
        members = [i for i, at in enumerate(depth) if at == d]
        centre = {i: sum(position[b] for b in users[i]) / max(len(users[i]), 1) for i in members}
        layers[d] = sorted(members, key=lambda i: (centre[i], i))
        for x, i in enumerate(layers[d]):
            position[i] = x - len(members) / 2
    return layers[::-1], pieces


def svg_text(nodes: list, texts: list[list[str]], arrows: list[tuple[int, int]]) -> Picture:
    layers, pieces = _layers(len(nodes), arrows)
    widths = [max(map(len, t)) * LETTER + 16 for t in texts] + [0] * len(pieces)
    height = 2 * LINE + 10
    total = max(sum(widths[i] + GAP_X for i in layer) for layer in layers) + GAP_X
    corner: dict[int, tuple[float, float]] = {}
    for row, layer in enumerate(layers):
        x = (total - sum(widths[i] + GAP_X for i in layer)) / 2 + GAP_X / 2
        for i in layer:
            corner[i] = (x, GAP_Y / 2 + row * (height + GAP_Y))
            x += widths[i] + GAP_X
    full = GAP_Y + len(layers) * (height + GAP_Y) - GAP_Y
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total:.0f} {full:.0f}" '
        f'width="{total:.0f}" height="{full:.0f}" font-family="monospace" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
        f'<rect width="{total:.0f}" height="{full:.0f}" fill="white"/>',
    ]
    for a, b in pieces:
        (xa, ya), (xb, yb) = corner[a], corner[b]
        start, end = (xa + widths[a] / 2, ya + height), (xb + widths[b] / 2, yb)
        bend = (start[1] + end[1]) / 2
        tip = '" marker-end="url(#tip)' if b < len(nodes) else f"V{yb + height:.1f}"
        rows.append(
            f'<path d="M{start[0]:.1f} {start[1]:.1f}C{start[0]:.1f} {bend:.1f} '
            f'{end[0]:.1f} {bend:.1f} {end[0]:.1f} {end[1]:.1f}{tip}" fill="none" stroke="#555"/>'
        )
    for i, (node, text) in enumerate(zip(nodes, texts, strict=True)):
        (x, y), fill = corner[i], "#fff" if isinstance(node, Node) else "#cfe8ff"
        rows.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{widths[i]:.1f}" height="{height}" rx="4" '
            f'fill="{fill}" stroke="#333"/>'
        )
        for j, line in enumerate(text, start=1):
            middle = y + LINE * (j + (2 - len(text)) / 2)
            rows.append(
                f'<text x="{x + widths[i] / 2:.1f}" y="{middle:.1f}" '
                f'text-anchor="middle">{escape(line)}</text>'
            )
    return Picture("\n".join([*rows, "</svg>", ""]))
