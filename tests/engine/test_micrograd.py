"""micrograd's Value on this engine: the numbers of its README, every operator against finite
differences, seeded networks against Python's `random`, and the picture. Knows no tensor."""

import math
import random
import re
import xml.etree.ElementTree as ElementTree

import pytest

from tinygrad_lm.micrograd import MLP, Layer, Neuron, Value, draw_dot


def readme_expression():
    a, b = Value(-4.0), Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return a, b, c, g


def test_the_numbers_of_the_readme():
    a, b, _, g = readme_expression()
    assert f"{g.data:.4f}" == "24.7041"
    g.backward()
    assert (f"{a.grad:.4f}", f"{b.grad:.4f}") == ("138.8338", "645.5773")


def test_a_neuron_as_the_lecture_builds_it():
    x1, x2 = Value(2.0, label="x1"), Value(0.0, label="x2")
    w1, w2 = Value(-3.0, label="w1"), Value(1.0, label="w2")
    b = Value(6.8813735870195432, label="b")
    n = x1 * w1 + x2 * w2 + b
    o = n.tanh()
    o.backward()
    assert [round(v.grad, 10) for v in (x1, w1, x2, w2, n)] == [-1.5, 1.0, 0.5, 0.0, 0.5]
    e = (2 * n).exp()
    assert math.isclose(((e - 1) / (e + 1)).data, o.data)


def test_one_step_at_a_time_is_the_whole_walk():
    a, b = Value(2.0), Value(-3.0)
    e = a * b
    d = e + a  # a is reached twice
    L = d * Value(-2.0)
    L.grad = 1.0
    for value in (L, d, e, a):
        value._backward()
    by_hand = [v.grad for v in (a, b, e, d)]
    for value in (a, b, e, d, L):
        value.grad = 0.0
    L.backward()
    assert by_hand == [v.grad for v in (a, b, e, d)] == [4.0, -4.0, -2.0, -2.0]


def test_what_a_value_is():
    v = Value(2)
    assert repr(v) == "Value(data=2.0, grad=0.0)"
    assert type(v.data) is float and type(v.grad) is float and v.label == ""
    out = v * 3
    assert out._op == "*" and v in out._prev and len(out._prev) == 2
    assert (v + v)._prev == {v} and (v**3)._op == "**3" and v.relu()._op == "ReLU"
    v.data += -0.5  # an update, as an optimiser does it
    assert v.data == 1.5 and (v * 2).data == 3.0
    with pytest.raises(TypeError, match="power must be a number"):
        v**v


def test_gradients_add_up_and_intermediate_values_keep_theirs():
    a = Value(3.0)
    b = a + a
    b.backward()
    assert a.grad == 2.0 and b.grad == 1.0
    c = b * b
    c.backward()
    assert b.grad == 1.0 + 12.0 and a.grad == 2.0 + 24.0 and c.grad == 1.0
    c.backward()
    assert c.grad == 1.0 and a.grad == 2.0 + 48.0


def sine(a):
    """An operation of one's own, as the lecture writes them."""
    out = Value(math.sin(a.data), (a,), "sin", label="s")

    def _backward():
        a.grad += math.cos(a.data) * out.grad

    out._backward = _backward
    return out


def product(a, b):
    out = Value(a.data * b.data, (a, b), "*")

    def _backward():
        a.grad += b.data * out.grad
        b.grad += a.data * out.grad

    out._backward = _backward
    return out


def test_an_operation_of_ones_own():
    a, b = Value(0.5), Value(-2.0)
    s = sine(a * b)
    out = s * s + a
    out.backward()
    slope = 2 * math.sin(-1.0) * math.cos(-1.0)
    assert math.isclose(a.grad, slope * -2.0 + 1) and math.isclose(b.grad, slope * 0.5)
    assert math.isclose(s.grad, 2 * math.sin(-1.0))
    first = a.grad
    out.backward()
    assert math.isclose(a.grad, 2 * first)  # adds up, and no more than that
    assert s._prev == {s._children[0]} and s._op == "sin"
    drawn = draw_dot(out, format="dot")
    assert '"sin"' in drawn and "s data -0.8415" in drawn
    assert "sin" in draw_dot(out)


@pytest.mark.parametrize("line", ["p(a, b)", "p(a, a)", "p(p(a, b), a) * 2 + a", "p(a * b, a + b)"])
def test_own_operations_are_the_engines(line):
    found = []
    for p in (product, lambda a, b: a * b):
        a, b = Value(1.5), Value(-2.5)
        out = eval(line, {"p": p, "a": a, "b": b})
        out.backward()
        out.backward()
        found.append((out.data, a.grad, b.grad))
    assert found[0] == found[1]


def test_one_step_of_an_own_operation():
    a, b = Value(1.5), Value(-2.5)
    out = product(a, b)
    out.grad = 2.0
    out._backward()
    assert (a.grad, b.grad, out.grad) == (-5.0, 3.0, 2.0)


def test_a_step_may_be_replaced_and_may_be_left_out():
    a = Value(3.0)
    double = a * 2
    later = double * double
    double._backward = lambda: setattr(a, "grad", a.grad + 100 * double.grad)
    later.backward()
    assert a.grad == 100 * double.grad == 1200.0
    b = Value(3.0)
    stops = Value(5.0, (b,), "stop")  # no _backward: nothing passes, as in the lecture
    (stops * 2).backward()
    assert stops.grad == 2.0 and b.grad == 0.0


EXPRESSIONS = [
    "a + b", "a - b", "a * b", "a / b", "a**3", "a**-1", "a**0.5", "-a", "2 + a", "2 - a", "2 * a",
    "2 / a", "a - 2", "a / 2", "a.exp()", "a.tanh()", "a.relu()", "(a - 9).relu()", "a.log()",
    "(a * b + b**3) * (a - b).tanh() / (1 + (-a).exp())", "a * a + a / a",
]  # fmt: skip


@pytest.mark.parametrize("line", EXPRESSIONS)
def test_each_operator_by_finite_differences(line):
    def at(a, b):
        return eval(line, {"a": a, "b": b})

    a, b = Value(1.7), Value(0.6)
    out = at(a, b)
    out.backward()
    h = 1e-6
    for value, plus, minus in [
        (a, (1.7 + h, 0.6), (1.7 - h, 0.6)),
        (b, (1.7, 0.6 + h), (1.7, 0.6 - h)),
    ]:
        slope = (at(*map(Value, plus)).data - at(*map(Value, minus)).data) / (2 * h)
        assert math.isclose(value.grad, slope, rel_tol=1e-6, abs_tol=1e-8)


def test_a_long_chain():
    x = total = Value(1.0)
    for _ in range(5000):
        total = total + x
    total.backward()
    assert x.grad == 5001.0


def test_networks_draw_from_python_random():
    random.seed(1337)
    model = MLP(2, [16, 16, 1])
    random.seed(1337)
    weights = [[[random.uniform(-1, 1) for _ in range(n)] for _ in range(m)]
               for n, m in [(2, 16), (16, 16), (16, 1)]]  # fmt: skip
    assert [[[w.data for w in neuron.w] for neuron in layer.neurons] for layer in model.layers] == (
        weights
    )
    assert len(model.parameters()) == 337 and {n.b.data for n in model.layers[0].neurons} == {0.0}
    x = [0.5, -1.5]
    for layer in weights:
        x = [sum(w * v for w, v in zip(row, x)) for row in layer]
        x = [max(0.0, v) for v in x] if len(x) > 1 else x
    assert math.isclose(model([0.5, -1.5]).data, x[0])
    model([Value(1.0), 2.0]).backward()
    assert any(p.grad for p in model.parameters())
    model.zero_grad()
    assert not any(p.grad for p in model.parameters())
    assert repr(model.layers[2]) == "Layer of [LinearNeuron(16)]"
    assert repr(MLP(1, [2, 1])) == (
        "MLP of [Layer of [ReLUNeuron(1), ReLUNeuron(1)], Layer of [LinearNeuron(2)]]"
    )
    assert isinstance(Layer(3, 2)([1.0, 2.0, 3.0]), list) and repr(Neuron(4)) == "ReLUNeuron(4)"


def test_it_learns_the_lectures_four_points():
    random.seed(4)
    xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
    ys = [1.0, -1.0, -1.0, 1.0]
    model = MLP(3, [4, 4, 1])
    for _ in range(60):
        loss = sum((model(x) - y) ** 2 for x, y in zip(xs, ys))
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.02 * p.grad
    assert loss.data < 0.1


def test_the_picture_shows_every_value_and_op():
    a, b, c, g = readme_expression()
    a.label = "a"
    c.backward()
    text = draw_dot(c, format="dot")
    assert f"a data -4.0000\\ngrad {a.grad:.4f}" in text and text.startswith("digraph")
    assert len(re.findall(r'label="[+*]"', text)) == 7
    svg = draw_dot(c)
    words = [node.text for node in ElementTree.fromstring(svg).iter() if node.text]
    assert "a data -4.0000" in words and words.count("+") == 6 and svg._repr_svg_() == str(svg)
    assert c._repr_svg_() == svg
    assert sum([a] * 401)._repr_svg_() is None  # a notebook shows the text of it
    with pytest.raises(ValueError, match="'svg' or 'dot'"):
        draw_dot(c, format="png")


def test_words_stand_in_the_middle_of_their_boxes():
    (_, b, _, g), lines = readme_expression(), {}
    for element in ElementTree.fromstring(draw_dot(b * g)).iter():
        if element.tag.endswith("rect"):
            middle = float(element.get("y", 0)) + float(element.get("height")) / 2
        elif element.tag.endswith("text"):
            lines.setdefault(middle, {}).setdefault(element.get("x"), []).append(element)
    for middle, boxes in lines.items():
        for found in boxes.values():
            heights = [float(line.get("y")) for line in found]
            assert 0 <= sum(heights) / len(heights) - middle <= 5  # a baseline is below the middle
