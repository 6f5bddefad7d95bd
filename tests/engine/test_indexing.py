"""Reading and writing at positions, without PyTorch: one key at a time against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lm as tg


@given(st.integers(0, 99))
def test_integers_beside_index_arrays_are_taken_first(seed):
    rng = np.random.default_rng(seed)
    array, ids = rng.normal(size=(2, 3, 4)), rng.integers(-4, 4, 5)
    x = tg.tensor(array, requires_grad=True)
    out = x[1, :, tg.tensor(ids)]
    assert out.shape == (3, 5) and out.is_contiguous()
    for i in range(3):
        for j in range(5):
            assert out[i, j].item() == array[1, i, ids[j]]
    upstream, expected = rng.normal(size=(3, 5)), np.zeros((2, 3, 4))
    out.backward(tg.tensor(upstream))
    for j in range(5):
        expected[1, :, ids[j]] += upstream[:, j]  # positions that repeat add up
    np.testing.assert_allclose(x.grad, expected)
    z = tg.tensor(array)
    z[1, :, tg.tensor(ids)] = 7.0
    array[1][:, ids] = 7.0
    np.testing.assert_array_equal(z, array)


def test_basic_keys_are_views_and_index_arrays_copies():
    x = tg.zeros(2, 3)
    x[0][1:].fill_(1)
    x[..., 0].add_(2)
    x[[0, 1]].fill_(9)
    x[tg.tensor([True, False])].fill_(9)
    assert x.tolist() == [[2, 1, 1], [2, 0, 0]]


def test_leading_axes_of_size_one_are_dropped_from_a_written_value():
    x, value = tg.zeros(3), tg.tensor([[5.0]], requires_grad=True)
    x[1] = value
    (x * 2).sum().backward()
    assert x.tolist() == [0, 5, 0] and value.grad.tolist() == [[2]]


def test_floats_written_into_integers_leave_no_graph():
    x = tg.zeros(2, dtype=tg.int64)
    x[0] = tg.tensor(2.7, requires_grad=True)
    assert x.tolist() == [2, 0] and not x.requires_grad


@pytest.mark.parametrize(
    "key, error",
    [
        (3, IndexError), ((0, 0, 0), IndexError), (slice(None, None, -1), ValueError),
        (0.5, IndexError), ([9], IndexError), (np.zeros(5, bool), IndexError), ("a", TypeError),
        (np.array([0.5]), IndexError),
    ],
)  # fmt: skip
def test_wrong_keys_are_refused_for_reading_and_writing(key, error):
    x = tg.zeros(2, 3)
    with pytest.raises(error, match=r"^\[\w+\] "):
        repr(x[key])  # a GPU tells of positions at the next read
    with pytest.raises(error, match=r"^\[\w+\] "):
        x[key] = 1.0
        repr(x)


def test_a_value_of_two_axes_does_not_fit_where_a_mask_holds():
    """NumPy calls this a TypeError; it is a shape that does not fit, as any other."""
    x = tg.zeros(5)
    with pytest.raises(RuntimeError, match=r"\[setitem\] the value must fit the region \(2,\)"):
        x[tg.tensor([False, False, True, False, True])] = tg.zeros(7, 5)
    assert (x == 0).all()


@pytest.mark.parametrize("x, ids, dim", [
    ((4, 4), (3, 1), 0), ((1, 4), (3, 2), 1), ((1, 3, 1), (2, 1, 1), 1), ((4, 2), (4, 1), 1),
])  # fmt: skip
def test_what_take_along_dim_stretches_gets_the_sum_of_the_gradients(x, ids, dim):
    x = tg.rand(x).requires_grad_()
    out = tg.take_along_dim(x, tg.zeros(ids, dtype=tg.int64), dim)
    out.sum().backward()
    assert x.grad.sum().item() == out.numel()
