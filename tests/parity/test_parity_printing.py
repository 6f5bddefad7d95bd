"""A tensor's text is PyTorch's, for any shape, dtype, magnitude and print options."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from tinygrad_lm.engine.pytorch import printing  # noqa: E402

FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTEGERS = ["int64", "int32", "uint8", "bool"]
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, 0.5, 1e-4, 1e8, 1001.0, 1e-30, 3e38]


@pytest.fixture(autouse=True)
def default_options():
    yield
    for library in (torch, printing):
        library.set_printoptions(profile="default")


def both(tensor, **words):
    """Our text of a PyTorch tensor's values, and PyTorch's."""
    values = tensor.detach().double() if tensor.is_floating_point() else tensor
    mine = printing.format_tensor(values.numpy(), dtype=str(tensor.dtype)[6:], **words)
    return mine, repr(tensor)


def same(tensor, **words):
    mine, theirs = both(tensor, **words)
    assert mine == theirs


shapes = st.one_of(
    st.lists(st.integers(0, 4), max_size=4),
    st.tuples(st.integers(0, 60)),
    st.sampled_from([(1000,), (1001,), (7, 150), (6, 167), (3, 400), (40, 5, 6), (1, 1, 1100)]),
    st.sampled_from(
        [(2, 3, 4, 40), (8, 7, 2, 10), (5, 40), (2, 3, 30), (1, 1100), (0, 7), (2, 0, 3)]
    ),
)


@given(
    shape=shapes,
    dtype=st.sampled_from(FLOATS),
    decade=st.integers(-9, 12),
    spread=st.floats(0, 5),
    whole=st.booleans(),
    special=st.lists(st.sampled_from(SPECIAL), max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=150)
def test_floats(shape, dtype, decade, spread, whole, special, seed):
    draw = np.random.default_rng(seed)
    values = draw.standard_normal(shape) * 10.0 ** (decade + spread * draw.uniform(-1, 1, shape))
    values = np.asarray(np.round(values) if whole else values)
    for value in special[: values.size]:
        values.flat[draw.integers(values.size)] = value
    same(torch.tensor(values).to(getattr(torch, dtype)))


@given(
    shape=shapes,
    dtype=st.sampled_from(INTEGERS),
    high=st.sampled_from([2, 10, 200, 10**6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_integers_and_booleans(shape, dtype, high, seed):
    values = np.random.default_rng(seed).integers(-high, high, shape)
    same(torch.tensor(values).to(getattr(torch, dtype)))


@given(
    shape=shapes,
    precision=st.integers(0, 8) | st.none(),
    threshold=st.sampled_from([None, 0, 5, 10**6]),
    edgeitems=st.integers(0, 4) | st.none(),
    linewidth=st.sampled_from([None, 1, 30, 120]),
    profile=st.sampled_from([None, "default", "short", "full"]),
    sci_mode=st.sampled_from([None, True, False]),
    whole=st.booleans(),
)
@settings(max_examples=100)
def test_options(whole, shape, **chosen):
    for library in (torch, printing):
        library.set_printoptions(profile="default")
        library.set_printoptions(**chosen)
    assert printing.get_printoptions() == torch._tensor_str.get_printoptions()
    values = np.random.default_rng(0).standard_normal(shape) * 50
    same(torch.tensor(np.round(values) if whole else values, dtype=torch.float32))


@given(st.integers(0, 40), st.sampled_from(FLOATS), st.booleans())
def test_suffixes_and_where_the_line_breaks(size, dtype, leaf):
    x = torch.arange(size, dtype=getattr(torch, dtype)).requires_grad_()
    if leaf:
        same(x, requires_grad=True)
    else:
        same(x * 1.5, requires_grad=True, grad_fn="MulBackward0")
        same((x * 2).reshape(1, size), requires_grad=True, grad_fn="ViewBackward0")


def test_every_line_width():
    x = torch.arange(24.0).reshape(2, 12).requires_grad_()
    for width in range(20, 120):
        for library in (torch, printing):
            library.set_printoptions(linewidth=width)
        same(x, requires_grad=True)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
@pytest.mark.parametrize("shape", [(0,), (2,), ()])
def test_another_default_dtype(dtype, shape):
    torch.set_default_dtype(torch.float64)
    try:
        same(torch.ones(shape, dtype=getattr(torch, dtype)), default_dtype="float64")
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_subclass_prints_under_its_name():
    class Weight(torch.Tensor):
        pass

    same(torch.randn(5, 9, 3).as_subclass(Weight), prefix="Weight(")
