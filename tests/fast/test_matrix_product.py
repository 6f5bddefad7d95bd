"""The compiled product of matrices: exact on whole numbers for every size and order in memory, the
same bits whatever the threads, and the layer that is made of it."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygrad_lm as tg
from tinygrad_lm.engine.kernels.c import fast
from tinygrad_lm.nn import functional as F

if fast is not None:
    from tinygrad_lm.engine.kernels.c import linear
pytestmark = pytest.mark.skipif(fast is None, reason="installed without a C compiler")


ORDERS = {
    "rows": lambda x: np.ascontiguousarray(x),
    "columns": lambda x: np.asfortranarray(x),
    "gaps": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
}


def product(a, b, bias=None, sums=None, threads=2):
    out = np.full((len(a), b.shape[1]), np.nan, "f4")
    fast.matmul(*out.shape, len(b), threads, a, b, bias, sums, out)
    return out


size = st.one_of(st.integers(1, 20), st.integers(21, 300))
orders = st.sampled_from(list(ORDERS))


@settings(max_examples=150)
@given(size, size, size, orders, orders, st.integers(1, 3), st.integers(0, 2**32 - 1))
@example(70, 40, 9000, "rows", "rows", 2, 0)  # k in several parts
@example(40, 70, 9000, "columns", "columns", 2, 1)
@example(30, 20, 9000, "columns", "gaps", 2, 3)
@example(2100, 2050, 2100, "rows", "columns", 2, 2)  # more than is packed at a time
@example(2050, 2100, 2100, "columns", "rows", 3, 3)
def test_whole_numbers_are_multiplied_exactly(m, n, k, of_a, of_b, threads, seed):
    """float32 holds whole numbers up to 2^24, so that no order of summation can differ."""
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-9, 10, shape).astype("f4") for shape in ((m, k), (k, n)))
    bias, sums = rng.integers(-99, 100, n).astype("f4"), np.full(m, np.nan, "f4")
    got = product(ORDERS[of_a](a), ORDERS[of_b](b), bias, sums, threads)
    np.testing.assert_array_equal(got, a.astype("f8") @ b.astype("f8") + bias)
    np.testing.assert_array_equal(sums, a.sum(1, dtype="f8"))
    # without sums small ones go another way
    np.testing.assert_array_equal(product(ORDERS[of_a](a), ORDERS[of_b](b), bias), got)
    np.testing.assert_array_equal(product(ORDERS[of_a](a), ORDERS[of_b](b)), got - bias)


@pytest.mark.parametrize(
    "shape", [(96, 300, 700), (300, 96, 700), (33, 40, 9000), (90, 150, 200), (32, 30, 9000)]
)
def test_threads_change_no_bit_and_rounding_stays_small(shape):
    m, n, k = shape
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal(s).astype("f4") for s in ((m, k), (k, n)))
    first, *others = (product(a, b, threads=threads) for threads in (1, 2, 3, 2))
    assert all(other.tobytes() == first.tobytes() for other in others)
    exact, bound = a.astype("f8") @ b.astype("f8"), np.abs(a) @ np.abs(b)
    assert (np.abs(first - exact) <= 2**-24 * 300 * bound).all()  # 256 steps, and their sums


@pytest.fixture
def threads_as_before():
    before = tg.get_num_threads()
    yield
    tg.set_num_threads(before)


@pytest.mark.usefixtures("threads_as_before")
@pytest.mark.parametrize("shape", [(768, 128, 512), (768, 512, 128), (256, 768, 768)])
def test_the_layers_of_a_gpt_have_the_same_bits_for_any_threads(shape):
    """OpenBLAS's products of these sizes do not."""
    rows, inputs, outputs = shape
    tg.manual_seed(3)
    x, w = tg.randn(rows, inputs), tg.randn(outputs, inputs)
    found = []
    for threads in (1, 2, 3):
        tg.set_num_threads(threads)
        leaves = [t.detach().clone().requires_grad_() for t in (x, w, w.mT)]
        layer, product = F.linear(leaves[0], leaves[1]), leaves[0] @ leaves[2]
        (layer * product).sum().backward()
        found.append([t.array.tobytes() for t in (layer, product, *(t.grad for t in leaves))])
    assert found[1] == found[0] == found[2]


def test_more_threads_than_processors_wait_for_each_other():
    """Each piece of work needs earlier ones, and with 8 threads some of these are late."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype("f4") for s in ((16, 20_000), (20_000, 64)))
    want = product(a, b, threads=1).tobytes()
    assert all(product(a, b, threads=8).tobytes() == want for _ in range(100))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_rows_and_columns(bad):
    """What fills up the last tile must not multiply them."""
    a, b = np.ones((19, 30), "f4"), np.ones((30, 37), "f4")
    a[18, 29] = b[29, 36] = bad
    got = product(a, b)
    want = np.full((19, 37), 30.0, "f4")
    want[18], want[:, 36] = bad, bad
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("where", range(3))
def test_matrices_that_do_not_fit_are_refused(where):
    arrays = [np.ones((3, 4), "f4"), np.ones((4, 5), "f4"), np.ones((3, 5), "f4")]
    fast.matmul(3, 5, 4, 2, *arrays[:2], None, None, arrays[2])
    for wrong in (arrays[where][:-1], arrays[where].astype("f8"), arrays[where][0]):
        a, b, c = (wrong if i == where else x for i, x in enumerate(arrays))
        with pytest.raises(ValueError, match="shapes must fit"):
            fast.matmul(3, 5, 4, 2, a, b, None, None, c)
    empty = np.ones((0, 4), "f4"), np.ones((4, 5), "f4"), None, None, np.ones((0, 5), "f4")
    with pytest.raises(ValueError, match="no size may be 0"):
        fast.matmul(0, 5, 4, 2, *empty)
    with pytest.raises(ValueError, match="dense rows"):
        fast.matmul(3, 5, 4, 2, *arrays[:2], None, None, np.asfortranarray(arrays[2]))
    arrays[2].flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        fast.matmul(3, 5, 4, 2, *arrays[:2], None, None, arrays[2])


def large_layer():
    tg.manual_seed(1)
    x, w, b = tg.randn(700, 70), tg.randn(90, 70), tg.randn(90)
    assert x.numel() * len(w) >= linear.LARGE
    return x, w, b, tg.randn(700, 90)


@pytest.mark.parametrize("wanted", [(0, 1, 1), (1, 0, 1), (0, 0, 1), (1, 1, 0), (1, 1, 1)])
def test_a_layer_gives_each_gradient_that_is_wanted(wanted):
    """The bias's is found on the way to the weight's: with it, without it, and a second time."""
    x, w, b, g = large_layer()
    leaves = [t.requires_grad_(bool(want)) for t, want in zip((x, w, b), wanted)]
    out = F.linear(*leaves)
    for _ in range(2):
        for t in leaves:
            t.grad = None
        out.backward(g, retain_graph=True)
        double = [t.array.astype("f8") for t in (x, w, g)]
        exact = double[2] @ double[1], double[2].T @ double[0], double[2].sum(0)
        for leaf, want, slope in zip(leaves, wanted, exact, strict=True):
            assert (leaf.grad is not None) == bool(want)
            if want:
                np.testing.assert_allclose(leaf.grad.array, slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", [(0, 1, 1), (1, 0, 1), (0, 0, 1), (1, 1, 0), (1, 0, 0)])
def test_a_layer_multiplies_for_what_is_wanted_only(wanted, monkeypatch):
    leaves = [t.requires_grad_(bool(want)) for t, want in zip(large_layer(), wanted)]
    out, shapes = F.linear(*leaves), []
    product = linear.product
    monkeypatch.setattr(
        linear, "product", lambda *a, **k: shapes.append(product(*a, **k).shape) or product(*a, **k)
    )
    out.sum().backward()
    assert shapes == [s for s, want in zip([(700, 70), (90, 70)], wanted) if want]


def test_a_layer_takes_rows_that_lie_unaligned():
    """As in a field of a packed record: 282 bytes from row to row, 280 of them numbers."""
    _, w, b, _ = large_layer()
    x = np.ndarray((300, 70), "f4", np.zeros((300, 282), "u1"), 0, (282, 4))
    x[...] = np.random.default_rng(2).standard_normal(x.shape)
    got, want = (F.linear(tg.engine.core.tensor.wrap(rows), w, b).array for rows in (x, x.copy()))
    np.testing.assert_array_equal(got, want)
