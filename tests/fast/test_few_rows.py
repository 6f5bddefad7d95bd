"""What writing text needs of the compiled kernels: a layer of few rows, whose weights are read once
in float32 or bfloat16, and attention of one query over keys in a larger memory."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_lm as tg
from tinygrad_lm.engine.kernels.c import fast
from tinygrad_lm.nn import functional as F

if fast is not None:
    from tinygrad_lm.engine.kernels.c import linear
pytestmark = pytest.mark.skipif(fast is None, reason="installed without a C compiler")
BFLOAT16 = tg.zeros(1, dtype=tg.bfloat16).numpy().dtype


def layer(rows, n, k, half, threads=2, seed=0, bias=True):
    """(what the kernel gives, the same in float64) of whole numbers, which are exact in both."""
    rng = np.random.default_rng(seed)
    x, w, b = (rng.integers(-9, 10, s).astype("f4") for s in ((rows, k), (n, k), n))
    b, out = b if bias else None, np.full((rows, n), np.nan, "f4")
    stored = w.astype(BFLOAT16).view("u2") if half else w
    fast.few(rows, n, k, threads, x, half, stored, b, out)
    return out, x.astype("f8") @ w.T.astype("f8") + (0 if b is None else b)


@given(
    st.integers(1, 19), st.integers(1, 70), st.integers(1, 100), st.booleans(), st.integers(1, 3)
)
@example(8, 40_001, 40, True, 2)
@example(1, 3, 5000, False, 2)
def test_whole_numbers_are_multiplied_exactly(rows, n, k, half, threads):
    for bias in (True, False):
        np.testing.assert_array_equal(*layer(rows, n, k, half, threads, n, bias))


def test_threads_change_no_bit():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((5, 333)).astype("f4"), rng.standard_normal((3000, 333)).astype("f4")
    outs = [np.empty((5, 3000), "f4") for _ in range(3)]
    for threads, out in enumerate(outs, 1):
        fast.few(5, 3000, 333, threads, x, False, w, None, out)
    assert outs[0].tobytes() == outs[1].tobytes() == outs[2].tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_stays_in_its_row_and_column(bad):
    x, w, out = np.ones((5, 19), "f4"), np.ones((9, 19), "f4"), np.empty((5, 9), "f4")
    x[4, 18] = w[8, 18] = bad
    fast.few(5, 9, 19, 2, x, False, w, None, out)
    want = np.full((5, 9), 19.0, "f4")
    want[4], want[:, 8] = bad, bad
    np.testing.assert_array_equal(out, want)


def test_sizes_that_do_not_fit_are_refused():
    x, w, out = np.ones((2, 4), "f4"), np.ones((3, 4), "f4"), np.empty((2, 3), "f4")
    for arrays in ((x[:1], w, out), (x, w[:2], out), (x, w, out[:1]), (x, w.astype("f8"), out)):
        with pytest.raises(ValueError, match="bytes, got"):
            fast.few(2, 3, 4, 2, arrays[0], False, arrays[1], None, arrays[2])
    with pytest.raises(ValueError, match="bytes, got"):
        fast.few(2, 3, 4, 2, x, True, w, None, out)


@pytest.mark.parametrize("rows", [1, 4, 8, 9])
@pytest.mark.parametrize("dtype", [tg.float32, tg.bfloat16])
def test_a_layer_goes_that_way_where_nothing_is_recorded(rows, dtype, monkeypatch):
    tg.manual_seed(0)
    x, w, b = tg.randn(rows, 70), tg.randn(90, 70).to(dtype).requires_grad_(), tg.randn(90)
    calls, few = [], linear.few
    monkeypatch.setattr(linear, "few", lambda *a: calls.append(1) or few(*a))
    recorded = F.linear(x, w, b)
    assert recorded.requires_grad and not calls
    with tg.no_grad():
        got = F.linear(x, w, b)
    assert len(calls) == (rows <= linear.FEW) and got.dtype == recorded.dtype == tg.float32
    exact = x.double().numpy() @ w.detach().double().numpy().T + b.double().numpy()
    for out in (got, recorded):
        np.testing.assert_allclose(out.detach().numpy(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("T", [1, 2, 3])
@pytest.mark.parametrize("S, D", [(1, 64), (3, 5), (50, 64), (333, 70), (64, 16)])
def test_attention_of_few_queries_over_part_of_a_memory(T, S, D):
    """Value, and gradients, which go back the usual way."""
    rng = np.random.default_rng(S)
    room = rng.standard_normal((2, 3, S + 7, 2 * D)).astype("f4")
    q = rng.standard_normal((2, 3, T, D)).astype("f4")
    k, v = room[:, :, :S, :D], room[:, :, :S, D:]
    scores = np.einsum("bhtd,bhsd->bhts", *(x.astype("f8") for x in (q, k))) / np.sqrt(D)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    wide = tg.tensor(room).requires_grad_()
    keys, values = wide[:, :, :S, :D], wide[:, :, :S, D:]
    out = F.scaled_dot_product_attention(tg.tensor(q), keys, values)
    np.testing.assert_allclose(out.detach().numpy(), weights @ v, rtol=1e-5, atol=1e-5)
    out.sum().backward()
    np.testing.assert_allclose(
        wide.grad.numpy()[:, :, :S, D:], weights.sum(2)[..., None] + 0 * v, rtol=1e-5, atol=1e-5
    )
