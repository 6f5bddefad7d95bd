"""Step 1: numbers that remember how they were made, and a network of them that separates two moons.

Follows "The spelled-out intro to neural networks and backpropagation: building micrograd": the
derivative as a measured slope (8:08), the graph of an expression drawn (19:09), backpropagation
through it (1:09:02), a neuron and a network (1:43:55), gradient descent (2:01:12), and the demo of
micrograd's repository (2:16:46), a max-margin loss on two half moons.

    python examples/01_micrograd.py            # seconds: small batches
    python examples/01_micrograd.py --full     # 100 steps over all 100 points, as in the demo
"""

import math
import random

import common

import tinygrad_lm as torch
from tinygrad_lm.look import viz
from tinygrad_lm.micrograd import MLP, Value, draw_dot


def expression(a, b):
    """Sums, products, powers, ReLU; a and b are used again and again, so gradients must add up."""
    c = 2 * (a + b) + 1
    c = 2 * c + 1 - a
    d = 3 * (a * b + b**3) + (a + b).relu()
    d = 4 * d + (b - a).relu()
    f = (c - d) ** 2
    return f / 2 + 10 / f


def gradients_of_an_expression(args):
    a, b = Value(-4.0, label="a"), Value(2.0, label="b")
    g = expression(a, b)
    g.backward()
    common.result(args, "expression", g.data, 24.7041, trained=False)
    common.result(args, "its gradient in a", a.grad, 138.8338, trained=False)
    common.result(args, "its gradient in b", b.grad, 645.5773, trained=False)

    # What a gradient means: move a little, and see how far the result moves.
    h = 1e-6
    rise = expression(Value(-4.0 + h), Value(2.0)) - expression(Value(-4.0 - h), Value(2.0))
    print(f"measured slope in a: {rise.data / (2 * h):.4f}")


def picture_of_a_neuron(args):
    """tanh(x1 w1 + x2 w2 + b): the picture shows data and gradient of every number."""
    x1, x2 = Value(2.0, label="x1"), Value(0.0, label="x2")
    w1, w2 = Value(-3.0, label="w1"), Value(1.0, label="w2")
    b = Value(6.8813735870195432, label="b")
    out = (x1 * w1 + x2 * w2 + b).tanh()
    out.label = "out"
    out.backward()
    print(f"\na neuron: out {out.data:.4f}, gradients", end=" ")
    print(", ".join(f"{v.label} {v.grad:.1f}" for v in (x1, w1, x2, w2)))
    common.picture(args, "01_neuron.svg", lambda path: path.write_text(draw_dot(out), "utf-8"))


def moons(n, noise):
    """n points on two half circles that reach into each other, and their class, -1 or 1."""
    points, classes = [], []
    for i in range(n):
        t = math.pi * (i // 2) / (n // 2 - 1)
        x, y = (math.cos(t), math.sin(t)) if i % 2 else (1 - math.cos(t), 0.5 - math.sin(t))
        points.append([x + random.gauss(0, noise), y + random.gauss(0, noise)])
        classes.append(1 if i % 2 else -1)
    return points, classes


def train(model, points, classes, steps, batch):
    """Every score should be on its side of 0 by a margin of 1, and weights small. Gradients add up,
    so each point goes forward and back by itself: no graph has more than a thousand numbers."""
    weights = model.parameters()
    for step in common.progress(steps):
        model.zero_grad()
        total = 0.0
        for i in random.sample(range(len(points)), batch):
            miss = (1 - classes[i] * model(points[i])).relu() * (1 / batch)
            miss.backward()
            total += miss.data
        small = 1e-4 * sum(p * p for p in weights)
        small.backward()
        rate = 1.0 - 0.9 * step / steps
        for p in weights:
            p.data -= rate * p.grad
        if step % max(steps // 10, 1) == 0:
            print(f"step {step:3d}: loss {total + small.data:.4f}", flush=True)


def as_matrices(model):
    """All points at once: what a layer of neurons computes is one matrix product. Next step."""
    layers = []
    for layer in model.layers:
        W = torch.tensor([[w.data for w in n.w] for n in layer.neurons], dtype=torch.float64)
        b = torch.tensor([n.b.data for n in layer.neurons], dtype=torch.float64)
        layers.append((W, b, layer.neurons[0].nonlin))

    def score(points):
        x = torch.tensor(points, dtype=torch.float64)  # (N, 2)
        for W, b, nonlinear in layers:
            x = x @ W.T + b
            x = x.relu() if nonlinear else x
        return x[:, 0]  # (N,)

    return score


def main():
    args = common.arguments(__doc__, steps=15, full=100, data="", seed=1337)
    gradients_of_an_expression(args)
    picture_of_a_neuron(args)

    random.seed(args.seed)
    points, classes = moons(100, noise=0.1)
    model = MLP(2, [16, 16, 1])
    print(f"\n{len(model.parameters())} parameters")
    train(model, points, classes, args.steps, batch=100 if args.full else 10)
    scores = [model(point).data for point in points]
    accuracy = sum((score > 0) == (c > 0) for score, c in zip(scores, classes)) / len(points)
    common.result(args, "two moons, accuracy in %", 100 * accuracy, 100.0, 50.0)

    score = as_matrices(model)
    gap = (score(points) - torch.tensor(scores, dtype=torch.float64)).abs().max().item()
    print(f"the same network as matrix products: largest difference {gap:.1e}")
    title = f"Two moons, {accuracy:.0%} right"
    common.picture(args, "01_moons.png", viz.plot_boundary, score, points, classes, title=title)


if __name__ == "__main__":
    main()
