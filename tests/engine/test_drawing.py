"""The picture of a graph: every op and leaf is in it once, arrows follow the computation, and the
text is well-formed for those who read it (Graphviz, a browser)."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

import tinygrad_lm as tl


def small_net():
    x, w = tl.ones(4, 3), tl.ones(3, 5, requires_grad=True)
    hidden = (x @ w).tanh()
    return (hidden * hidden).sum(), w


def test_dot_text_has_each_op_once_and_an_arrow_per_input():
    loss, w = small_net()
    text = tl.draw_graph(loss, {"w": w}, format="dot")
    labels = re.findall(r'label="([^"]*)"', text)
    assert labels == [
        "w\\n3x5 float32",
        "mm\\n4x5 float32",
        "tanh\\n4x5 float32",
        "mul\\n4x5 float32",
        "sum\\nscalar float32",
    ]
    # w -> mm -> tanh, tanh twice into the product, product -> sum
    assert re.findall(r"n(\d) -> n(\d);", text) == [
        ("0", "1"),
        ("1", "2"),
        ("2", "3"),
        ("2", "3"),
        ("3", "4"),
    ]


def test_svg_is_well_formed_and_boxes_do_not_overlap(tmp_path):
    loss, w = small_net()
    path = tmp_path / "graph.svg"
    text = tl.draw_graph(loss + (w * w).sum(), {"w <&>": w}, path=path)
    assert path.read_text(encoding="utf-8") == text
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    boxes = [
        tuple(float(r.attrib[k]) for k in ("x", "y", "width", "height"))
        for r in root.iter(f"{space}rect")
        if "x" in r.attrib
    ]
    assert len(boxes) == 8  # 7 ops and one leaf, which is used twice
    for i, (x, y, w1, h) in enumerate(boxes):
        for x2, y2, w2, h2 in boxes[i + 1 :]:
            assert x + w1 <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    assert "w <&>" in [t.text for t in root.iter(f"{space}text")]


def test_a_notebook_shows_the_svg_and_not_the_dot_text():
    loss, _ = small_net()
    svg = tl.draw_graph(loss)
    assert svg._repr_svg_() == svg and svg.startswith("<svg")
    assert repr(svg).startswith("<a picture: ") and len(repr(svg)) < 80  # where none is shown
    assert not hasattr(tl.draw_graph(loss, format="dot"), "_repr_svg_")


def test_no_box_hides_an_arrow_that_goes_past_it():
    """x + f(g(x)) is drawn in one column; the arrow from x to the sum passes beside f and g."""
    x = tl.ones(2, requires_grad=True)
    y = x.exp()
    text = tl.draw_graph(y + y.tanh().exp() + x)
    number = r"(-?[\d.]+)"
    boxes = re.findall(rf'<rect x="{number}" y="{number}" width="{number}" height="{number}"', text)
    boxes = [tuple(map(float, box)) for box in boxes]
    paths = re.findall(rf'd="M{" ".join([number] * 2)}C{" ".join([number] * 6)}', text)
    assert len(boxes) == 6 and text.count("marker-end") == 7
    for path in paths:
        p = [float(c) for c in path]
        for t in (i / 50 for i in range(1, 50)):
            weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            at_x, at_y = (sum(w * c for w, c in zip(weights, p[i::2])) for i in (0, 1))
            assert not any(x < at_x < x + w and y < at_y < y + h for x, y, w, h in boxes)


@pytest.mark.parametrize(
    ("output", "settings", "message"),
    [
        (tl.ones(2), {}, "requires a gradient"),
        (tl.ones(2, requires_grad=True), {"format": "png"}, "'svg' or 'dot'"),
    ],
)
def test_wrong_input_is_refused(output, settings, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        tl.draw_graph(output, **settings)


def test_a_graph_too_large_to_read_is_refused():
    x = tl.ones(1, requires_grad=True)
    for _ in range(500):
        x = x + 1
    with pytest.raises(RuntimeError, match="at most 400 boxes"):
        tl.draw_graph(x)
