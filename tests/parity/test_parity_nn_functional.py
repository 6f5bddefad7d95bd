"""Every function of `nn.functional` beside PyTorch's: value, dtype, the name printed for it,
gradients under a random upstream, the generator at the same place after; the same exceptions.

A line is Python in which `F` is the library's `nn.functional`, `torch` the library, and the short
names are the inputs made below.
"""

import math

import numpy as np
import pytest

import tinygrad_lm as tg

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
INPUTS = {
    "x": RNG.normal(size=(4, 5)),
    "w": RNG.normal(size=(3, 5)),
    "b": RNG.normal(size=3),
    "c": RNG.normal(size=5),
    "d": RNG.normal(size=5),
    "y": RNG.normal(size=(4, 5)),
    "u": RNG.normal(size=(2, 5, 3)),
    "z": RNG.normal(size=(2, 5, 3, 2)),
    "p": RNG.uniform(0.05, 0.95, (4, 5)),
    "soft": RNG.dirichlet(np.ones(5), 4),
    "softu": RNG.dirichlet(np.ones(5), (2, 3)).transpose(0, 2, 1),
    "q": RNG.normal(size=(2, 3, 4, 6)),
    "k": RNG.normal(size=(2, 3, 5, 6)),
    "v": RNG.normal(size=(2, 3, 5, 7)),
    "big": np.array([[1e4, -1e4, 0.0, 5.0, -5.0]]),
}  # fmt: skip
CONSTANTS = {
    "t": np.array([1, 0, -100, 4]),
    "t32": np.array([1, 0, 3, 4], np.int32),
    "tu": np.array([[1, 0, 4], [2, -100, 3]]),
    "tz": RNG.integers(0, 5, (2, 3, 2)),
    "bits": RNG.integers(0, 2, (4, 5)).astype(np.float32),
    "cw": RNG.uniform(0.5, 2, 5).astype(np.float32),
    "mean": RNG.normal(size=5).astype(np.float32),
    "var": RNG.uniform(0.5, 2, 5).astype(np.float32),
    "allowed": RNG.random((4, 5)) < 0.6,
    "added": RNG.normal(size=(3, 4, 5)).astype(np.float32),
    "edge": np.array([[0.0, 1.0, 0.0, 1.0, 0.5]], np.float32),
    "edgebits": np.array([[0.0, 1.0, 1.0, 0.0, 1.0]], np.float32),
}

SAME = """
F.linear(x, w, b)
F.linear(x, w)
F.linear(c, w, b)
F.linear(c, w)
F.linear(u.transpose(1, 2), w, None)
F.linear(z.permute(0, 2, 3, 1).contiguous(), w, b)
F.embedding(t32, x.repeat(2, 1))
F.embedding(tz, w.t(), padding_idx=1)
F.layer_norm(x, (5,), c, d)
F.layer_norm(u, u.shape[1:])
F.layer_norm(x, [5], None, d, 0.1)
F.rms_norm(x, (5,), c)
F.rms_norm(u, (5, 3), eps=0.1)
F.batch_norm(x, mean, var, c, d)
F.batch_norm(u, None, None, c, d, training=True)
F.batch_norm(u, mean, var, eps=0.1)
F.normalize(x)
F.normalize(u, p=1, dim=-1)
F.dropout(x, 0.3)
F.dropout(x, 0.3, training=False)
F.dropout(x, 1.0)
F.relu(x)
F.relu(x * 1, inplace=True)
F.tanh(x)
F.sigmoid(x)
F.gelu(x)
F.gelu(x, approximate="tanh")
F.silu(x)
F.leaky_relu(x, 0.3)
F.softplus(x, 2, 0.5)
F.logsigmoid(x)
F.logsigmoid(big)
F.elu(x)
F.elu(big, 2.0)
F.softmax(x, dim=0)
F.softmax(u, 1, dtype=torch.float64)
F.softmax(big, -1)
F.log_softmax(x, dim=-1)
F.log_softmax(big, -1)
F.one_hot(t32.long(), 6)
F.one_hot(tz)
F.pad(x, (1, 2), value=3.0)
F.cross_entropy(x, t)
F.cross_entropy(x, t, reduction="sum")
F.cross_entropy(x, t, reduction="none")
F.cross_entropy(x, t, cw)
F.cross_entropy(x, t32.long(), cw, ignore_index=4, reduction="mean")
F.cross_entropy(x, t, label_smoothing=0.2)
F.cross_entropy(x, t, cw, label_smoothing=0.2)
F.cross_entropy(x, t, cw, label_smoothing=0.2, reduction="none")
F.cross_entropy(x, t, label_smoothing=1.0)
F.cross_entropy(c, torch.tensor(2))
F.cross_entropy(c, torch.tensor(2), reduction="none")
F.cross_entropy(u, tu)
F.cross_entropy(u, tu, cw, reduction="none")
F.cross_entropy(u, tu, cw, label_smoothing=0.1)
F.cross_entropy(z, tz)
F.cross_entropy(x, torch.tensor([-100, -100, -100, -100]))
F.cross_entropy(big, torch.tensor([1]))
F.cross_entropy(x, soft)
F.cross_entropy(x, soft, cw, reduction="sum")
F.cross_entropy(x, soft, cw, label_smoothing=0.1)
F.cross_entropy(u, softu, cw, reduction="none")
F.cross_entropy(c, soft[0])
F.nll_loss(F.log_softmax(x, -1), t)
F.nll_loss(x, t, cw, reduction="none")
F.nll_loss(u, tu, reduction="sum")
F.mse_loss(x, y)
F.mse_loss(x, y, reduction="sum")
F.mse_loss(x, y, reduction="none")
F.l1_loss(x, y)
F.l1_loss(x, y, reduction="none")
F.binary_cross_entropy(p, bits)
F.binary_cross_entropy(p * 1e-4, bits)
F.binary_cross_entropy(p, bits, cw, reduction="sum")
F.binary_cross_entropy(p, soft, reduction="none")
F.binary_cross_entropy((edge + 0 * big).relu(), edgebits, reduction="none")
F.binary_cross_entropy_with_logits(x, bits)
F.binary_cross_entropy_with_logits(x, soft, reduction="none")
F.binary_cross_entropy_with_logits(big, edgebits, reduction="none")
F.binary_cross_entropy_with_logits(x, bits, cw, reduction="sum", pos_weight=var)
F.binary_cross_entropy_with_logits(big, edgebits, pos_weight=var, reduction="none")
F.scaled_dot_product_attention(q, k, v)
F.scaled_dot_product_attention(q, q, q, is_causal=True)
F.scaled_dot_product_attention(q, k, v, is_causal=True)
F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
F.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=0.3)
F.scaled_dot_product_attention(q, k, v, dropout_p=0.4)
F.scaled_dot_product_attention(q, q, q, dropout_p=0.4, is_causal=True)
F.scaled_dot_product_attention(q[0], k[0], v[0])
F.scaled_dot_product_attention(q[0, 0], k[0, 0], v[0, 0], attn_mask=allowed)
torch.nn.CrossEntropyLoss(cw, ignore_index=4, label_smoothing=0.1)(x, t32.long())
torch.nn.NLLLoss(cw, reduction="sum")(x, t)
torch.nn.MSELoss(reduction="sum")(x, y)
torch.nn.L1Loss()(x, y)
torch.nn.BCELoss(cw)(p, bits)
torch.nn.BCEWithLogitsLoss(pos_weight=var)(x, bits)
"""
LINES = SAME.strip().split("\n")


def observe(library, line):
    """(value, printed name, gradients) of a line."""
    library.manual_seed(2)
    leaves = {k: library.tensor(v.astype(np.float32)).requires_grad_() for k, v in INPUTS.items()}
    space = {k: library.tensor(v) for k, v in CONSTANTS.items()} | leaves
    out = eval(line, {"torch": library, "F": library.nn.functional, "math": math}, space)
    name = repr(out.grad_fn).split(" ")[0].strip("<>")
    if out.requires_grad:
        upstream = np.random.default_rng(7).normal(size=out.shape)
        out.backward(library.tensor(upstream).to(out.dtype))
    return out, name, {k: x.grad for k, x in leaves.items()}


def close(mine, theirs, what):
    assert tuple(mine.shape) == tuple(theirs.shape), what
    assert str(mine.dtype) == str(theirs.dtype), what
    a, b = (np.asarray(x.detach().tolist()) for x in (mine, theirs))
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6, err_msg=what)


@pytest.mark.parametrize("line", LINES)
def test_line(line):
    theirs, mine = observe(torch, line), observe(tg, line)
    close(mine[0], theirs[0], "value")
    assert mine[1] == theirs[1]
    for key, g in theirs[2].items():
        assert (mine[2][key] is None) == (g is None), key
        if g is not None:
            close(mine[2][key], g, f"gradient of {key}")
    assert tg.rand(3).tolist() == torch.rand(3).tolist()


WRONG = """
F.cross_entropy(x, torch.tensor([0, 1, 5, 0]))
F.cross_entropy(x, torch.tensor([0, 1, -1, 0]))
F.embedding(torch.tensor([[0, 3]]), w)
F.embedding(torch.tensor([-1]), w)
F.embedding(x, w)
F.cross_entropy(x, tu)
F.cross_entropy(x, t, reduction="average")
F.nll_loss(x, torch.tensor([0, 1, 2]))
F.linear(x, w.t())
F.layer_norm(x, (4,))
F.rms_norm(x, (4,))
F.batch_norm(x[:1], None, None, training=True)
F.dropout(x, 1.5)
F.dropout(x, -0.5)
F.gelu(x, approximate="fast")
F.binary_cross_entropy(x, bits)
F.binary_cross_entropy(p, bits[:2])
F.binary_cross_entropy_with_logits(x, bits[:2])
F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=True)
F.scaled_dot_product_attention(q, k, v[:, :, 1:])
F.one_hot(torch.tensor([3]), 2)
F.relu(x, inplace=True)
"""


@pytest.mark.parametrize("line", WRONG.strip().split("\n"))
def test_the_same_exception(line):
    with pytest.raises(Exception) as theirs:
        observe(torch, line)
    with pytest.raises(theirs.type, match=r"^\[\w+(-\w+)?\] .*(, |; |: )"):
        observe(tg, line)


def test_broadcast_losses_warn():
    for library in (torch, tg):
        with pytest.warns(UserWarning, match="broadcast"):
            library.nn.functional.mse_loss(library.ones(3, 1), library.ones(3))
