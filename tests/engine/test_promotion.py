"""Which dtype comes out, without PyTorch: category first, then width; 0-d tensors and Python
numbers only lift the category."""

import itertools

import pytest

import tinygrad_lm as tg

ORDER = [tg.bool, tg.uint8, tg.int16, tg.int32, tg.int64, tg.float16, tg.float32, tg.float64]


@pytest.mark.parametrize("a, b", list(itertools.product(ORDER, repeat=2)))
def test_the_later_of_two_types_comes_out(a, b):
    x, y = tg.ones(2, dtype=a), tg.ones(2, dtype=b)
    expected = max(a, b, key=ORDER.index)
    assert (x + y).dtype is (x * y).dtype is tg.cat([x, y]).dtype is expected
    assert (x == y).dtype is tg.bool
    assert (x / y).dtype is (expected if expected.is_floating_point else tg.float32)


@pytest.mark.parametrize("a, b", list(itertools.product(ORDER, repeat=2)))
def test_a_0d_tensor_lifts_the_category_only(a, b):
    x, y = tg.ones(2, dtype=a), tg.ones((), dtype=b)
    assert (x + y).dtype is (y + x).dtype is (b if b.category > a.category else a)


@pytest.mark.parametrize("a", ORDER)
def test_python_numbers_lift_the_category_only(a):
    x = tg.ones(2, dtype=a)
    assert (x + True).dtype is a
    assert (x + 2).dtype is (tg.int64 if a is tg.bool else a)
    assert (x + 2.5).dtype is (x * 2.5).dtype is (a if a.is_floating_point else tg.float32)


def test_integers_are_summed_as_int64_and_their_functions_are_the_default_float():
    for kind in ORDER[:5]:
        x = tg.ones(2, dtype=kind)
        assert x.sum().dtype is x.prod().dtype is x.cumsum(0).dtype is tg.int64
        assert (
            x.sqrt().dtype is x.exp().dtype is x.erf().dtype is x.logsumexp(0).dtype is tg.float32
        )
    tg.set_default_dtype(tg.float64)
    assert tg.ones(2, dtype=tg.int64).sqrt().dtype is (tg.tensor([1]) * 0.5).dtype is tg.float64


@pytest.mark.parametrize("write", ["add_", "mul_", "__iadd__", "__itruediv__", "__ipow__"])
def test_a_write_may_not_lift_the_category(write):
    with pytest.raises(RuntimeError, match="cannot be kept in"):
        getattr(tg.ones(2, dtype=tg.int64), write)(2.5)
    assert getattr(tg.ones(2), write)(tg.ones(2, dtype=tg.float64)).dtype is tg.float32


def test_bfloat16_stays_bfloat16():
    x = tg.ones(3, dtype=tg.bfloat16)
    for out in (
        x + 1,
        x * 2.5,
        x / 3,
        x.exp(),
        x.sum(),
        x.mean(),
        x.var(),
        x.tanh(),
        x + tg.tensor(1.0),
    ):
        assert out.dtype is tg.bfloat16
    assert (x + tg.ones(3, dtype=tg.float16)).dtype is (x + tg.ones(3)).dtype is tg.float32
