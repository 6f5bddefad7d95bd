"""Laws of layers and their functions that need no PyTorch: two ways to one result agree, what is
random keeps its distribution, gradients agree with differences, and errors name what came."""

import math

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.nn import functional as F


def normal(*shape, seed=0, dtype=np.float32):
    return tg.tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def assert_close(a, b, tolerance=1e-6):
    a, b = (np.asarray(x.detach().numpy() if isinstance(x, tg.Tensor) else x) for x in (a, b))
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "layer, cell", [("RNN", "RNNCell"), ("GRU", "GRUCell"), ("LSTM", "LSTMCell")]
)
def test_a_layer_is_its_cell_step_by_step(layer, cell):
    layer, cell = getattr(nn, layer)(3, 4), getattr(nn, cell)(3, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x, state, steps = normal(5, 2, 3), None, []
    for step in x:
        state = cell(step, state)
        steps.append(state[0] if isinstance(state, tuple) else state)
    out, last = layer(x)
    assert_close(out, tg.stack(steps))
    last, state = ((x if isinstance(x, tuple) else (x,)) for x in (last, state))
    for mine, theirs in zip(last, state, strict=True):
        assert_close(mine[0], theirs)


def test_backward_direction_reads_the_sequence_from_the_end():
    both = nn.GRU(3, 4, bidirectional=True)
    one = nn.GRU(3, 4)
    given = {k.removesuffix("_reverse"): v for k, v in both.state_dict().items() if "_reverse" in k}
    one.load_state_dict(given)
    x = normal(5, 2, 3)
    assert_close(both(x)[0][..., 4:].flip(0), one(x.flip(0))[0])


def test_recurrent_errors_and_warning():
    with pytest.raises(RuntimeError, match=r"the states must have the shapes \[\(1, 2, 4\)\]"):
        nn.GRU(3, 4)(tg.zeros(5, 2, 3), tg.zeros(2, 2, 4))
    with pytest.raises(RuntimeError, match=r"\[LSTM\] the last size of the input must be 3"):
        nn.LSTM(3, 4)(tg.zeros(5, 2, 4))
    with pytest.raises(ValueError, match="'tanh' or 'relu'"):
        nn.RNN(3, 4, nonlinearity="sin")
    with pytest.warns(UserWarning, match="dropout acts between layers"):
        nn.LSTM(3, 4, dropout=0.5)


def test_attention_is_the_same_with_and_without_weights():
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = normal(2, 5, 8)
    mask = tg.ones(5, 5, dtype=bool).triu(1)
    with_weights, weights = layer(x, x, x, attn_mask=mask)
    without, none = layer(x, x, x, attn_mask=mask, need_weights=False)
    assert none is None
    assert_close(with_weights, without)
    assert_close(weights.sum(-1), np.ones((2, 5)))
    assert not weights.detach().numpy()[:, mask.numpy()].any()
    changed = x.clone()
    changed[:, 3:] = 7.0  # what comes later does not matter
    assert_close(layer(changed, changed, changed, attn_mask=mask)[0][:, :3], with_weights[:, :3])


def test_attention_errors():
    with pytest.raises(AssertionError, match="heads must divide the width, got 3 and 8"):
        nn.MultiheadAttention(8, 3)
    layer, x = nn.MultiheadAttention(8, 2), tg.zeros(5, 2, 8)
    with pytest.raises(
        RuntimeError, match=r"masks must be .* with B=2, H=2, T=5, S=5, got \(4, 5\)"
    ):
        layer(x, x, x, attn_mask=tg.zeros(4, 5))
    with pytest.raises(RuntimeError, match="is_causal describes attn_mask"):
        layer(x, x, x, is_causal=True)


def test_dropout_keeps_its_share_and_its_mean():
    x = tg.ones(200, 500)
    out = F.dropout(x, 0.2).numpy()
    assert set(np.unique(out)) == {np.float32(0), np.float32(1.25)}
    assert abs((out == 0).mean() - 0.2) < 0.005
    before = tg.default_generator.get_state().tolist()
    assert F.dropout(x, 0.0) is x and F.dropout(x, 0.5, training=False) is x
    assert not F.dropout(x, 1.0).numpy().any()
    assert tg.default_generator.get_state().tolist() == before  # nothing was drawn
    written = tg.ones(10)
    assert F.dropout(written, 1.0, inplace=True) is written and not written.numpy().any()


def test_batch_norm_takes_statistics_only_in_training():
    layer = nn.BatchNorm1d(3)
    x = normal(8, 3)
    with tg.no_grad():
        out = layer(x)
    assert_close(out.mean(0), np.zeros(3), 1e-6)
    assert_close(layer.running_mean, 0.1 * x.numpy().mean(0))
    assert_close(layer.running_var, 0.9 + 0.1 * x.numpy().var(0, ddof=1))
    before = {k: v.tolist() for k, v in layer.state_dict().items()}
    layer.eval()(x)
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == before
    with pytest.raises(
        ValueError, match=r"\[BatchNorm1d\] needs \(N, 3\) or \(N, 3, L\), got \(8, 4\)"
    ):
        layer(tg.zeros(8, 4))


IDS = [
    (lambda: F.embedding(tg.tensor([[0, 7]]), tg.zeros(5, 2)), "0 ... 4, got 7"),
    (lambda: F.embedding(tg.tensor([-3], dtype=tg.int32), tg.zeros(5, 2)), "0 ... 4, got -3"),
    (lambda: F.cross_entropy(tg.zeros(2, 4), tg.tensor([0, 4])), "0 ... 3, got 4"),
    (lambda: F.cross_entropy(tg.zeros(2, 4), tg.tensor([-100, -1])), "0 ... 3, got -1"),
    (lambda: F.nll_loss(tg.zeros(2, 4), tg.tensor([0, 99]), ignore_index=98), "0 ... 3, got 99"),
]


@pytest.mark.parametrize("call, said", IDS)
def test_an_id_out_of_range_is_named(call, said):
    with pytest.raises(IndexError, match=f"ids must be in {said}") as caught:
        call().tolist()  # a GPU tells of it at the next read
    error = caught.value  # one error is told, not how it was found
    assert error.__suppress_context__ or error.__context__ is None


def test_ids_of_any_integer_type():
    table = normal(5, 2)
    for kind in (tg.uint8, tg.int32, tg.int64):
        assert F.embedding(tg.tensor([1, 4], dtype=kind), table).tolist() == table[[1, 4]].tolist()
    assert F.embedding(tg.zeros(0, 3, dtype=tg.int64), table).shape == (0, 3, 2)


def test_padding_row_gets_no_gradient():
    layer = nn.Embedding(4, 3, padding_idx=1)
    assert layer.weight[1].tolist() == [0, 0, 0]
    layer(tg.tensor([1, 2, 2])).sum().backward()
    assert layer.weight.grad.tolist() == [[0] * 3, [0] * 3, [2] * 3, [0] * 3]
    fixed = nn.Embedding.from_pretrained(normal(4, 3))
    assert not fixed.weight.requires_grad and fixed.num_embeddings == 4
    with pytest.raises(AssertionError, match="padding_idx must be below 4, got 4"):
        nn.Embedding(4, 3, padding_idx=4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.elu(x, 0.7),
        lambda x: F.logsigmoid(x),
        lambda x: F.normalize(x, p=3, dim=0),
        lambda x: F.binary_cross_entropy(x.sigmoid(), (x * 0.1).sigmoid(), reduction="none"),
        lambda x: F.binary_cross_entropy_with_logits(x, x.sigmoid(), pos_weight=x[0].exp()),
        lambda x: F.cross_entropy(x, x.softmax(-1), label_smoothing=0.1),
        lambda x: F.layer_norm(x, (4,), x[0], x[1]),
    ],
)
def test_gradients_agree_with_differences(function):
    assert tg.autograd.gradcheck(function, [normal(3, 4, dtype=np.float64).requires_grad_()])


def test_clipping_by_norm():
    p, q = nn.Parameter(tg.zeros(1)), nn.Parameter(tg.zeros(1, 1))
    p.grad, q.grad = tg.tensor([3.0]), tg.tensor([[4.0]])
    assert nn.utils.clip_grad_norm_([p, q], 10.0).item() == 5
    assert p.grad.tolist() == [3]
    assert nn.utils.clip_grad_norm_([p, q], 1.0).item() == 5
    assert_close(tg.stack([p.grad[0], q.grad[0, 0]]), [0.6, 0.8], 1e-5)
    assert nn.utils.clip_grad_norm_(nn.Parameter(tg.zeros(2)), 1.0).item() == 0  # no gradient
    p.grad = tg.tensor([math.nan])
    with pytest.raises(RuntimeError, match=r"\[clip_grad_norm_\] the norm must be finite, got nan"):
        nn.utils.clip_grad_norm_([p, q], 1.0, error_if_nonfinite=True)
    assert_close(q.grad, [[0.8]], 1e-5)


def test_clipping_a_gradient_stored_by_columns():
    p = nn.Parameter(tg.zeros(3, 2))
    p.grad = normal(2, 3).t()
    expected = np.linalg.norm(p.grad.numpy())
    assert_close(nn.utils.clip_grad_norm_(p, 0.1), expected)
    assert_close(np.linalg.norm(p.grad.numpy()), 0.1, 1e-5)


def test_first_values_have_the_law_they_claim():
    w = tg.empty(400, 300)
    nn.init.kaiming_uniform_(w, nonlinearity="relu")
    assert abs(w.std().item() / math.sqrt(2 / 300) - 1) < 0.01
    assert abs(w).max().item() <= math.sqrt(6 / 300)
    nn.init.xavier_normal_(w, gain=2.0)
    assert abs(w.std().item() / (2 * math.sqrt(2 / 700)) - 1) < 0.01
    nn.init.trunc_normal_(w, std=2.0, a=-1.0, b=3.0)
    assert w.min().item() >= -1 and w.max().item() <= 3 and w.mean().item() > 0.5
    for shape in ((5, 9), (9, 5)):
        q = nn.init.orthogonal_(tg.empty(shape), gain=3.0)
        assert_close((q @ q.t() if shape[0] < shape[1] else q.t() @ q) / 9, np.eye(5), 1e-5)
    leaf = nn.Parameter(tg.empty(2, 2))
    assert nn.init.eye_(leaf) is leaf and leaf.is_leaf and leaf.tolist() == [[1, 0], [0, 1]]


WRONG_FIRST = [
    (lambda: nn.init.xavier_uniform_(tg.empty(3)), r"\[init\] fan in and fan out need at least 2"),
    (lambda: nn.init.kaiming_normal_(tg.empty(3, 3), mode="fan"), "mode must be 'fan_in' or"),
    (lambda: nn.init.calculate_gain("sine"), r"\[calculate_gain\] must be one of sigmoid, tanh"),
    (lambda: nn.init.orthogonal_(tg.empty(3)), r"\[orthogonal_\] needs at least 2 dims"),
    (lambda: nn.init.eye_(tg.empty(3)), r"\[eye_\] needs 2 dims, got shape \(3,\)"),
]


@pytest.mark.parametrize("call, said", WRONG_FIRST)
def test_first_value_errors(call, said):
    with pytest.raises(ValueError, match=said):
        call()
