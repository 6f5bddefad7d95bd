"""PyTorch's spelling of the ops, without PyTorch: known answers, the names of printed ops, and
errors in the house form."""

import math

import numpy as np
import pytest

import tinygrad_lm as tg

X = [[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]]

KNOWN = """
x.sum().item() -> 5.0 | x.sum(1).tolist() -> [2.0, 3.0] | x.mean(0).tolist() -> [2.5, 1.5, -1.5]
x.sum(0, keepdim=True).shape -> (1, 3) | x.sum(axis=0, keepdims=True).shape -> (1, 3)
x.var(1, unbiased=False).tolist()[0] -> 38 / 9 | tg.tensor([1.0, 3.0]).std().item() -> 2**0.5
x.max().item() -> 5.0 | x.max(1).indices.tolist() -> [2, 1]
x.min(0)[0].tolist() -> [1.0, -2.0, -6.0] | x.argmax().item() -> 4
x.topk(2).values.tolist() -> [[3.0, 1.0], [5.0, 4.0]] | x.median().item() -> 1.0
x.sort(descending=True)[1].tolist() -> [[2, 0, 1], [1, 0, 2]]
x.cumsum(1).tolist()[0] -> [1.0, -1.0, 2.0] | x.norm(1).item() -> 21.0
x.norm(math.inf).item() -> 6.0 | tg.tensor([3.0, 4.0]).norm().item() -> 5.0
(x > 0).sum().item() -> 4 | x.count_nonzero().item() -> 6
(x < 0).nonzero().tolist() -> [[0, 1], [1, 2]]
tg.bincount(tg.tensor([0, 2, 2])).tolist() -> [1, 0, 2]
tg.unique(tg.tensor([3, 1, 3])).tolist() -> [1, 3] | x.T.shape -> (3, 2)
x.view(3, -1).shape -> (3, 2) | x.unsqueeze(1).squeeze(1).shape -> (2, 3)
x.flatten().tolist() -> [1.0, -2.0, 3.0, 4.0, 5.0, -6.0] | tg.cat([x, x], 1).shape -> (2, 6)
tg.stack([x, x], -1).shape -> (2, 3, 2) | [p.shape[1] for p in x.split([1, 2], 1)] -> [1, 2]
x.expand(4, 2, 3).stride() -> (0, 3, 1) | x.roll(1, 1).tolist()[0] -> [3.0, 1.0, -2.0]
x.trace().item() -> 6.0 | tg.tensor([1.0, 2.0]).diag().tolist() -> [[1.0, 0.0], [0.0, 2.0]]
x.unflatten(1, (3, 1)).shape -> (2, 3, 1)
x.gather(1, tg.tensor([[2], [0]])).tolist() -> [[3.0], [4.0]]
x.index_select(1, tg.tensor([2])).tolist() -> [[3.0], [-6.0]]
tg.zeros(3).scatter(0, tg.tensor([1]), 5.0).tolist() -> [0.0, 5.0, 0.0]
tg.tensor([7, 5])[tg.tensor(1)].item() -> 5
tg.zeros(3).index_add(0, tg.tensor([1, 1]), tg.tensor([2.0, 3.0])).tolist() -> [0.0, 5.0, 0.0]
(x @ x.T).tolist() -> [[14.0, -24.0], [-24.0, 77.0]]
tg.einsum("ij->j", x).tolist() -> [5.0, 3.0, -3.0] | tg.einsum("ii", tg.eye(3)).item() -> 3.0
tg.dot(x[0], x[1]).item() -> -24.0 | tg.outer(x[0], x[1]).shape -> (3, 3)
x.clamp(-1, 2).tolist() -> [[1.0, -1.0, 2.0], [2.0, 2.0, -1.0]]
tg.where(x > 0, x, 0.0).sum().item() -> 13.0 | x.masked_fill(x < 0, 0).sum().item() -> 13.0
tg.lerp(x, x + 4, 0.25).tolist()[0] -> [2.0, -1.0, 4.0] | (-7 // tg.tensor(2)).item() -> -4
(tg.tensor(-7) % 3).item() -> 2 | tg.fmod(tg.tensor(-7), 3).item() -> -1
tg.div(tg.tensor(-7), 2, rounding_mode="trunc").item() -> -3 | tg.tensor(2.5).round().item() -> 2.0
tg.tensor(-1.5).frac().item() -> -0.5
tg.meshgrid(tg.arange(2), tg.arange(3), indexing="ij")[1].tolist() -> [[0, 1, 2], [0, 1, 2]]
tg.isclose(x, x + 1e-9).all().item() -> True | tg.allclose(x, x * 2) -> False
tg.bitwise_xor(tg.tensor([6]), tg.tensor([3])).tolist() -> [5]
tg.is_tensor(x) -> True | x.norm(0).item() -> 6.0 | x.norm(-math.inf).item() -> 1.0
tg.tensor([1, 2]).clamp(max=1.5).dtype == tg.float32 -> True
tg.zeros(0).logsumexp(0).item() -> -math.inf | tg.zeros(0, 2).softmax(0).shape -> (0, 2)
x.reshape(shape=(3, 2)).shape -> (3, 2) | x.view(size=(6,)).shape -> (6,)
x.permute(dims=(1, 0)).shape -> (3, 2) | tg.flip(x, dims=(0, 1)).tolist()[0] -> [-6.0, 5.0, 4.0]
x.expand(size=(4, 2, 3)).shape -> (4, 2, 3) | x.repeat(repeats=(2, 1)).shape -> (4, 3)
tg.broadcast_to(x, size=(1, 2, 3)).shape -> (1, 2, 3) | tg.mm(x, mat2=x.T).trace().item() -> 91.0
tg.dot(x[0], tensor=x[1]).item() -> -24.0 | tg.outer(x[0], vec2=x[1]).trace().item() -> -24.0
tg.max(x, other=-x).sum().item() -> 21.0 | tg.mul(input=x, other=x).sum().item() -> 91.0
x.mul(other=2).sum().item() -> 10.0 | tg.exp(input=x * 0).sum().item() -> 6.0
tg.nn.functional.silu(x * 0, inplace=True).sum().item() -> 0.0 | x.byte().tolist()[0][0] -> 1
tg.nn.functional.leaky_relu(x, 0.5, inplace=True).sum().item() -> 9.0
tg.bernoulli(x, p=1.0).sum().item() -> 6.0
tg.zeros(2, 0).log_softmax(1).shape -> (2, 0) | tg.tensor([-1], dtype=tg.uint8).item() -> 255
"""

PRINTED = """
1 - x: Rsub 1 | 2 / x: Mul 0 | x ** x: Pow 1 | 2 ** x: Pow 2 | x.square(): Pow 0 | x.sum(0): Sum 1
x.clamp(0): Clamp 1 | x.max(1).values: Max 0 | x.T: Permute 0 | x.t(): T 0 | x[0]: Select 0
x[:, 1:]: Slice 0 | x.T.reshape(6): UnsafeView 0 | x.double(): ToCopy 0 | x.softmax(1): Softmax 0
x @ x.T: Mm 0
"""

REFUSED = """
x.view(4) | x.sum(2) | x.softmax(-3) | x @ x | x + tg.ones(5) | tg.cat([]) | tg.stack([x, x[0]])
x[7] | x[::-1] | x.gather(1, tg.tensor([[9]])) | x.topk(4) | x.split(0) | x.permute(0, 0)
x.expand(4, 3) | tg.ones(2).long().mean() | tg.einsum("ij,jk", x) | x.squeeze(5) | x.repeat(2)
tg.dot(x, x) | x.masked_fill(x, 0) | tg.where(x, x, x) | -(x > 0)
x.gather(1, tg.tensor([[-1]])) | x.index_select(0, tg.tensor([-1])) | x.roll((1, 2))
x.scatter_add(1, tg.tensor([[-1]]), x) | x.scatter(1, tg.tensor([[-1]]), 0.0)
x.index_add(0, tg.tensor([-1]), x[:1]) | tg.tensor(2) // 0 | tg.tensor([2, 1]) % tg.tensor([1, 0])
5 % tg.tensor(0) | 2 ** tg.tensor(-1) | x.long().histogram() | x.norm("nuc") | tg.arange(math.nan)
tg.arange(0, math.inf) | x.to(devise="cpu") | tg.tensor([300], dtype=tg.uint8) | x.fill_("a")
tg.tensor([2**40], dtype=tg.int32) | tg.randint(0, 5, 2) | x.fill_(x) | tg.from_dlpack([1])
tg.exp() | x[0, 0].sum(1) | x[0, 0].mean(-2) | x[0, 0].softmax(1)
(x > 0) ** (x > 0) | x.histogram(4, weight=x[0])
x[0].expand(2, 3).add_(1) | x[0].expand(2, 3).exp_()
x[0].expand(2, 3).fill_(x[0, 0]) | x[0].expand(2, 3).__setitem__(0, 1.0)
"a" in x | tg.nn.functional.dropout(x.long()) | tg.nn.functional.layer_norm(x, 3)
tg.nn.functional.cross_entropy(x, tg.tensor([0, 1]), tg.ones(2)) | tg.nn.Linear(1, 1).to(devise=0)
tg.nn.functional.cross_entropy(x, x.softmax(1), tg.ones(1)) | tg.nn.Linear(1, 1).load_state_dict([])
"""


def rows_of(table):
    return [line.strip() for row in table.strip().split("\n") for line in row.split(" | ")]


def value_of(line, **given):
    return eval(line, {"tg": tg, "math": math, **given})


@pytest.mark.parametrize("line", rows_of(KNOWN))
def test_known_answers(line):
    code, answer = line.split(" -> ")
    np.testing.assert_allclose(value_of(code, x=tg.tensor(X)), eval(answer), 1e-6)


@pytest.mark.parametrize("line", rows_of(PRINTED))
def test_a_recorded_op_prints_under_pytorchs_name(line):
    code, name = line.rsplit(": ", 1)
    out = value_of(code, x=tg.tensor(X, requires_grad=True))
    assert f"grad_fn=<{name.replace(' ', 'Backward')}>" in repr(out)


@pytest.mark.parametrize("line", rows_of(REFUSED))
def test_wrong_use_is_refused_in_the_house_form(line):
    with pytest.raises(
        (RuntimeError, IndexError, ValueError, TypeError), match=r"^\[\w+\] .*, got "
    ):
        repr(value_of(line, x=tg.tensor(X)))  # a GPU tells of ids at the next read
