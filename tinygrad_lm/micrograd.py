"""Andrej Karpathy's micrograd on this engine: `Value`, one number that remembers how it was made,
and a small network of them. Every Value holds a 0-d float64 Tensor.

    from tinygrad_lm.micrograd import Value, MLP
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from .engine.arrays import float64
from .engine.core.graph import Node, pull
from .engine.core.tensor import Tensor, gradients
from .engine.drawing import LIMIT, dot_text, svg_text
from .engine.pytorch.creation import tensor


class Value:
    """A number with a gradient. `data` and `grad` are Python floats and may be assigned to; `_prev`
    are the Values it was made from, `_op` how, `label` is for pictures.

    `backward()` adds to the `grad` of every Value it reaches, intermediate ones too, as often as it
    is called; `_backward()` is one step of it, from this Value to those of `_prev`. An operation of
    one's own is made as in the lecture: `out = Value(number, (a, b), "op")`, and a function that
    adds to a.grad and b.grad what follows from out.grad, assigned to `out._backward`.
    """

    __slots__ = ("_children", "_op", "_own", "grad", "label", "tensor")

    def __init__(self, data: float | Tensor, _children: tuple = (), _op: str = "", label: str = ""):
        made = isinstance(data, Tensor)
        if not isinstance(data, Tensor):
            data = tensor(float(data), dtype=float64, requires_grad=True)
        self.tensor, self.grad = data, 0.0
        self._children, self._op, self.label = tuple(_children), _op, label
        self._own: Callable[[], None] | None = None
        if self._children and not made:
            data.node = Node(_op, data.array, self._targets(), self._pull_own)

    @property
    def _prev(self) -> set[Value]:
        return set(self._children)

    @property
    def data(self) -> float:
        return float(self.tensor.array)

    @data.setter
    def data(self, value: float) -> None:
        self.tensor.data = tensor(float(value), dtype=float64)

    def __add__(self, other: Value | float) -> Value:
        other = _value(other)
        return Value(self.tensor + other.tensor, (self, other), "+")

    def __mul__(self, other: Value | float) -> Value:
        other = _value(other)
        return Value(self.tensor * other.tensor, (self, other), "*")

    def __pow__(self, other: float) -> Value:
        if not isinstance(other, (int, float)):
            raise TypeError(f"[Value] a power must be a number, got {type(other).__name__}")
        return Value(self.tensor ** float(other), (self,), f"**{other}")

    def relu(self) -> Value:
        return Value(self.tensor.relu(), (self,), "ReLU")

    def tanh(self) -> Value:
        return Value(self.tensor.tanh(), (self,), "tanh")

    def exp(self) -> Value:
        return Value(self.tensor.exp(), (self,), "exp")

    def log(self) -> Value:
        return Value(self.tensor.log(), (self,), "log")

    # The rest is made of these, so that a picture shows what the lecture's does.

    def __neg__(self) -> Value:
        return self * -1

    def __sub__(self, other: Value | float) -> Value:
        return self + (-other)

    def __truediv__(self, other: Value | float) -> Value:
        return self * _value(other) ** -1

    def __radd__(self, other: float) -> Value:
        return self + other

    def __rsub__(self, other: float) -> Value:
        return _value(other) + (-self)

    def __rmul__(self, other: float) -> Value:
        return self * other

    def __rtruediv__(self, other: float) -> Value:
        return _value(other) * self**-1

    def backward(self) -> None:
        """d self / d v is added to the grad of every v this was made from; self.grad becomes 1."""
        values = _reached(self)
        wanted = {v.tensor.node or v.tensor: v for v in values}
        found = gradients([self.tensor], [None], True, False, wanted)
        self.grad = 0.0
        for target, value in wanted.items():
            value.grad += float(found.get(target, 0.0))

    @property
    def _backward(self) -> Callable[[], None]:
        return self._own or self._step

    @_backward.setter
    def _backward(self, step: Callable[[], None]) -> None:
        self._own, node = step, self.tensor.node
        if node is not None:
            node.parents, node.pullbacks = self._targets(), self._pull_own

    def _targets(self) -> tuple:
        """Where the walk finds the Values that this one was made from."""
        return tuple(v.tensor.node or v.tensor for v in self._children)

    def _pull_own(self, g: Any) -> tuple:
        """One's own `_backward` as a pullback: what it adds to the grads of the children."""
        values = [self, *self._prev]
        before = [v.grad for v in values]
        for v in values:
            v.grad = 0.0
        self.grad = float(g)
        if self._own is not None:
            self._own()
        added = {v: v.grad for v in self._prev}
        for v, grad in zip(values, before):
            v.grad = grad
        return tuple(tensor(added.pop(v, 0.0), dtype=float64).array for v in self._children)

    def _step(self) -> None:
        node = self.tensor.node
        if node is None:
            return
        values = {v.tensor.node or v.tensor: v for v in self._prev}
        for parent, g in zip(node.parents, pull(node, tensor(self.grad, dtype=float64).array)):
            if parent is not None:
                values[parent].grad += float(g)

    def __repr__(self) -> str:
        return f"Value(data={self.data}, grad={self.grad})"

    def _repr_svg_(self) -> str | None:
        """What a notebook shows: `draw_dot`, or the text alone of what is too large to draw."""
        return draw_dot(self) if len(_reached(self)) <= LIMIT else None


def _value(x: Value | float) -> Value:
    return x if isinstance(x, Value) else Value(x)


def _reached(root: Value) -> list[Value]:
    """The Value and all it was made from; no recursion, so that a long chain is no problem."""
    reached, pending = {root: None}, [root]
    while pending:
        for value in pending.pop()._children:
            if value not in reached:
                reached[value] = None
                pending.append(value)
    return list(reached)


# ---------------------------------------------------------------- a network


class Module:
    """What has parameters, a list of Values."""

    def zero_grad(self) -> None:
        for p in self.parameters():
            p.grad = 0.0

    def parameters(self) -> list[Value]:
        return []


class Neuron(Module):
    """The weighted sum of `nin` inputs plus a bias, through ReLU if `nonlin`. Weights are drawn
    from Python's `random`, uniform on [-1, 1]."""

    def __init__(self, nin: int, nonlin: bool = True):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b, self.nonlin = Value(0.0), nonlin

    def __call__(self, x: Any) -> Value:
        total = sum((w * x for w, x in zip(self.w, x)), self.b)
        return total.relu() if self.nonlin else total

    def parameters(self) -> list[Value]:
        return [*self.w, self.b]

    def __repr__(self) -> str:
        return f"{'ReLU' if self.nonlin else 'Linear'}Neuron({len(self.w)})"


class Layer(Module):
    """`nout` neurons over the same inputs; a single one gives its Value and not a list."""

    def __init__(self, nin: int, nout: int, **settings: Any):
        self.neurons = [Neuron(nin, **settings) for _ in range(nout)]

    def __call__(self, x: Any) -> Any:
        out = [neuron(x) for neuron in self.neurons]
        return out[0] if len(out) == 1 else out

    def parameters(self) -> list[Value]:
        return [p for neuron in self.neurons for p in neuron.parameters()]

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(map(str, self.neurons))}]"


class MLP(Module):
    """Layers of the sizes `nouts` over `nin` inputs; the last one is linear."""

    def __init__(self, nin: int, nouts: list[int]):
        sizes = [nin, *nouts]
        self.layers = [
            Layer(n, m, nonlin=i < len(nouts) - 1) for i, (n, m) in enumerate(zip(sizes, nouts))
        ]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self) -> list[Value]:
        return [p for layer in self.layers for p in layer.parameters()]

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(str, self.layers))}]"


# ---------------------------------------------------------------- a picture


def draw_dot(root: Value, format: str = "svg") -> str:
    """The Values that made `root`, each with label, data and grad, and the ops between them: as
    SVG, which a notebook shows, or as "dot", text for Graphviz."""
    if format not in ("svg", "dot"):
        raise ValueError(f"[draw_dot] format must be 'svg' or 'dot', got {format!r}")
    values = _reached(root)[::-1]
    if len(values) > LIMIT:
        raise ValueError(f"[draw_dot] at most {LIMIT} Values can be drawn, got {len(values)}")
    nodes: list[Any] = []
    texts: list[list[str]] = []
    place: dict[Value, int] = {}
    arrows = []
    for value in sorted(values, key=_birth):
        if value._op:
            nodes.append(value.tensor.node)
            texts.append([value._op])
            arrows += [(place[v], len(nodes) - 1) for v in value._prev]
            arrows.append((len(nodes) - 1, len(nodes)))
        place[value] = len(nodes)
        nodes.append(value)
        texts.append([f"{value.label} data {value.data:.4f}".strip(), f"grad {value.grad:.4f}"])
    return (dot_text if format == "dot" else svg_text)(nodes, texts, arrows)


def _birth(value: Value) -> int:
    """Inputs before what is made of them."""
    return value.tensor.node.birth if value.tensor.node else 0
