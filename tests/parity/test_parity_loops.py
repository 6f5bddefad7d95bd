"""What scripts do in loops, number by number, against PyTorch: those forms have shorter ways here,
which must give the same values, views, errors and gradients as the long ones."""

import pytest

torch = pytest.importorskip("torch")

from test_parity_graph import assert_agree  # noqa: E402

# n is int32 (3, 4), u is uint8, w float32, b bool, x a leaf of (2, 3), y is x * 1; the last
# expression is what both must agree on.
LINES = """
n[1, 2] += 1; n[-1, -1] += 5; n
n[1, 2] += 1000000; n
n[1, 2] -= 3; n[0] *= 2; n[0, 1] += -4; n
n[1] += n[2]; n[0] -= n[0]; n
n[1] += u[1].long(); n
n[1, 2] += 1.5
n[1, 2] /= 2
n[1, 2] += True; n
u[0, 1] += 127; u[0, 1] += 127; u[0, 2] -= 1; u
u[0, 1] += n[0, 1]; u
b[0, 0] += 1
w[1, 2] += 1; w[1] -= 0.5; w[-3, 0] *= 2; w
w[2, 3] = 7; w[0] = L.tensor(3.0); w[1] = w[0] * 2; w[2] = 5.5; w
w[0, 0] = L.tensor([4.0]); w[0] = L.tensor([[1.0, 2.0, 3.0, 4.0]]); w
w[0, 0] = L.tensor([4.0, 5.0])
n[0, 0] = 2.7; n[0, 1] = L.tensor(3.9); n[0, 2] = True; n
w[3, 0]
w[0, 4]
w[0, 0, 0]
w[3, 0] = 1
L.tensor(1.0)[0]
v = w[1]; v[2] = 9; v += 1; [w, v, v.stride(), v.storage_offset()]
v = w[1, 2]; v += 1; [w, v, v.shape]
[r.add_(i) for i, r in enumerate(w)]; w
[e.item() for e in w[0]]
[list(e.shape) for e in w.unbind(1)] + [e.stride() for e in w.unbind(1)]
[e for e in w.t()]
[e for e in L.ones(0, 2)]
[e for e in L.tensor(1.0)]
y[0, 1] += 1; (y * y).sum().backward(); [x.grad, y]
v = y[0]; v[1] = 5; v *= 2; (y * y).sum().backward(); [x.grad, y, v]
y[1, 2] = x[0, 0]; (y * y).sum().backward(); x.grad
sum((i + 1) * (r * r).sum() for i, r in enumerate(y)).backward(); x.grad
(y[0, 1] * y[-1, 2]).backward(); x.grad
x[0, 1] += 1
x[0][1] = 2
v = w[0]; z = v * y[0, 0]; v[0] = 1; z.sum().backward()
v = w[0]; z = v * y[0, 0]; w[0, 0] = 1; z.sum().backward()
L.stack([w[0, 0], w[1, 1]]) | L.stack([w[0], w[1]], 1) | L.stack([w[0, 0], n[1, 1]])
L.stack([L.tensor(1), L.tensor(2.5)]) | L.stack([w[0, 0], w[0]]) | L.stack([]) | L.stack([1.0])
L.stack([b[0, 0], b[0, 1]]) | L.stack([w[0, 0]], -1) | L.stack([w[0, 0]], 1)
s = L.stack([y[0, 0], y[1, 1], y[0, 0], w[0, 0]]); (s * s).sum().backward(); [s, x.grad]
s = L.stack([y[0, i] * i for i in range(3)] * 20); (s * s).sum().backward(); x.grad
L.tensor([[1, 2.5], [True, 3]]) | L.tensor([[1, 2], [3, 4]]) | L.tensor([True, False])
L.tensor([[1, 2], [3]]) | L.tensor([[]]) | L.tensor([]) | L.tensor([[1, L.tensor(2.5)]])
L.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]) | L.tensor(((1, 2), [3, 4]))
L.tensor([np.float64(1.5), 2]) | L.tensor([[np.int32(1)]]) | L.tensor([2**40, 1.0]) | L.tensor(3)
L.multinomial(L.tensor([0.2, 0.0, 0.8]), 1) | L.multinomial(L.tensor([[0.2, 0.8], [1.0, 0.0]]), 1)
L.multinomial(L.tensor([0.2, -0.1]), 1) | L.multinomial(L.tensor([0.0, 0.0]), 1)
L.multinomial(L.tensor([0.2, float("nan")]), 1) | L.multinomial(L.tensor([0.2, float("inf")]), 1)
L.multinomial(L.tensor([[0.2, 0.8], [0.0, 0.0]]), 1) | L.multinomial(L.ones(0, 3), 1).shape
L.multinomial(L.ones(40).double(), 3) | [L.multinomial(L.ones(9), 1).item() for _ in range(300)]
"""


@pytest.mark.parametrize("line", [p for r in LINES.strip().split("\n") for p in r.split(" | ")])
def test_a_loop_of_a_script(line):
    def case(L):
        import numpy

        L.manual_seed(7)
        x = L.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
        space = {
            "L": L, "np": numpy, "x": x, "y": x * 1, "n": L.arange(12).view(3, 4).int(),
            "u": L.arange(12).view(3, 4).byte(), "w": L.arange(12.0).view(3, 4),
            "b": L.arange(12).view(3, 4) > 5,
        }  # fmt: skip
        *statements, last = line.split("; ")
        for statement in statements:
            exec(statement, space)
        try:
            last = compile(last, line, "eval")
        except SyntaxError:
            return exec(last, space)
        return eval(last, space)

    assert_agree(case)
