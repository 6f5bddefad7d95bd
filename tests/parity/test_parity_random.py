"""The generator draws what PyTorch's CPU generator draws, call for call, in any order of calls.

Where PyTorch's transcendental functions are in the way (normal, exponential), values agree to the
rounding of those functions; everything else is equal bit for bit. A final `rand` in each check
shows that both streams stand at the same place.
"""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import tinygrad_lm as tl  # noqa: E402
from tinygrad_lm.engine.random import generator as ours  # noqa: E402

SIZES = [0, 1, 2, 15, 16, 17, 31, 32, 33, 100, 1000]
DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16}
ROUNDING = {"float32": 1e-6, "float64": 1e-15, "float16": 2e-3, "bfloat16": 2e-2}
CPUINFO = Path("/proc/cpuinfo")
INTEL = CPUINFO.exists() and "GenuineIntel" in CPUINFO.read_text()

try:
    import ml_dtypes

    DTYPES["bfloat16"] = ml_dtypes.bfloat16
except ImportError:
    pass


def pair(seed):
    """Our generator and PyTorch's, from one seed."""
    return ours.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)


def numbers(tensor):
    return tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()


def same_place(g, t):
    assert g.uniform((3,)).tolist() == torch.rand(3, generator=t).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_uniform(size, dtype):
    g, t = pair(size)
    theirs = torch.empty(size, dtype=getattr(torch, dtype))
    for low, high in [(0, 1), (-1.1, 2.3), (-0.0883, 0.0883), (1e3, 1e3 + 0.1), (2, 2)]:
        mine = g.uniform((size,), low, high, DTYPES[dtype])
        assert mine.dtype == DTYPES[dtype]
        np.testing.assert_allclose(
            mine.astype(np.float64),
            numbers(theirs.uniform_(low, high, generator=t)),
            rtol=0,
            atol=abs(high) * 2e-16 if dtype == "float64" else 0,  # PyTorch's is fused there
        )
    same_place(g, t)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_normal(size, dtype):
    """Twice, so that a sine half kept by the first call is used by the second."""
    g, t = pair(size + 7)
    theirs = torch.empty(size, dtype=getattr(torch, dtype))
    for mean, std in [(0, 1), (1.3, 0.37), (5, 0)]:
        mine = g.normal((size,), mean, std, DTYPES[dtype])
        assert mine.dtype == DTYPES[dtype]
        np.testing.assert_allclose(
            mine.astype(np.float64),
            numbers(theirs.normal_(mean, std, generator=t)),
            rtol=ROUNDING[dtype],
            atol=ROUNDING[dtype],
        )
    same_place(g, t)


def test_normal_into_a_transposed_target():
    g, t = pair(3)
    theirs = torch.empty(5, 7).T.normal_(generator=t)
    mine = g.normal((5, 7), contiguous=False).T  # PyTorch walks memory, not rows
    np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(g.normal((1,)), torch.randn(1, generator=t), rtol=1e-6)
    same_place(g, t)


@pytest.mark.parametrize("size", [2**16, 2**16 + 5, 2**17 + 16])
def test_more_than_one_block(size):
    g, t = pair(size)
    np.testing.assert_array_equal(g.uniform((size,)), torch.rand(size, generator=t))
    np.testing.assert_allclose(
        g.normal((size,)), torch.randn(size, generator=t), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(
        g.integers(0, 65, (size,)), torch.randint(65, (size,), generator=t)
    )
    same_place(g, t)


RANGES = [
    (0, 1),
    (0, 27),
    (-5, 100),
    (0, 2**28 - 1),
    (0, 2**28),
    (-7, 2**32),
    (-(2**63), 2**63 - 1),
]


@pytest.mark.parametrize("low, high", RANGES)
@pytest.mark.parametrize("size", [0, 1, 17, 100])
def test_integers(low, high, size):
    g, t = pair(11)
    mine, theirs = g.integers(low, high, (size,)), torch.randint(low, high, (size,), generator=t)
    assert mine.dtype == np.int64 and mine.tolist() == theirs.tolist()
    same_place(g, t)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32", "bool"])
def test_integers_of_other_dtypes(dtype):
    g, t = pair(12)
    mine = g.integers(0, 2, (4, 5), getattr(np, dtype))
    theirs = torch.randint(0, 2, (4, 5), dtype=getattr(torch, dtype), generator=t)
    assert mine.dtype == dtype and mine.tolist() == theirs.tolist()


@pytest.mark.parametrize("size", [*SIZES, 70_000])
def test_permutation(size):
    g, t = pair(size)
    mine = g.permutation(size)
    assert mine.dtype == np.int64
    np.testing.assert_array_equal(mine, torch.randperm(size, generator=t))
    same_place(g, t)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_exponential(size, dtype):
    g, t = pair(size)
    theirs = torch.empty(size, dtype=getattr(torch, dtype))
    for rate in (1, 2.5):
        mine = g.exponential((size,), rate, DTYPES[dtype])
        np.testing.assert_allclose(
            mine.astype(np.float64),
            numbers(theirs.exponential_(rate, generator=t)),
            rtol=ROUNDING[dtype] if size else 0,
        )
    same_place(g, t)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_bernoulli_of_one_p_and_dropout(p):
    """Builds that draw this from MKL on Intel processors have another stream there; ours is this
    one everywhere: u < p, u being the low 53 bits of two words. Elsewhere it is PyTorch's."""
    g = ours.Generator().manual_seed(21)
    mine, kept = g.bernoulli(p, (1000,)), g.bernoulli(1 - p, (25, 8))
    assert mine.dtype == bool
    words = np.random.RandomState(21).randint(0, 2**32, size=2400, dtype=np.uint32).astype(object)
    u = (words[0::2] * 2**32 + words[1::2]) % 2**53 / 2**53
    assert mine.tolist() == (u[:1000] < p).tolist()
    assert kept.ravel().tolist() == (u[1000:] < 1 - p).tolist()
    if not INTEL:
        torch.manual_seed(21)
        assert mine.tolist() == torch.empty(1000).bernoulli_(p).bool().tolist()
        if 0 < p < 1:  # at the ends PyTorch's dropout draws nothing
            dropped = torch.nn.functional.dropout(torch.ones(25, 8), p)
            assert kept.tolist() == (dropped != 0).tolist()
            assert g.uniform((3,)).tolist() == torch.rand(3).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_bernoulli_of_many_p(dtype):
    g, t = pair(31)
    probs = torch.linspace(0, 1, 300, dtype=getattr(torch, dtype)).reshape(30, 10)
    mine = g.bernoulli_each(numbers(probs).astype(DTYPES[dtype]))
    assert mine.dtype == DTYPES[dtype]
    np.testing.assert_array_equal(
        mine.astype(np.float64), numbers(torch.bernoulli(probs, generator=t))
    )
    same_place(g, t)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(27,), (1,), (4, 27), (0, 3), (2, 50_000)])
def test_multinomial(shape, dtype):
    g, t = pair(41)
    probs = torch.rand(shape, generator=t).add(0.01).to(getattr(torch, dtype))
    g.uniform(shape)
    for samples, replacement in [(1, False), (1, True), (5, True), (shape[-1] // 9 + 1, False)]:
        mine = g.multinomial(numbers(probs).astype(DTYPES[dtype]), samples, replacement)
        theirs = torch.multinomial(probs, samples, replacement, generator=t)
        assert mine.dtype == np.int64
        if replacement or samples == 1 or dtype in ("float32", "float64"):
            assert mine.tolist() == theirs.tolist()
    same_place(g, t)


DRAWS = {
    "randn": (lambda g, n: g.normal((n,)), lambda t, n: torch.randn(n, generator=t)),
    "randn64": (
        lambda g, n: g.normal((n,), dtype=np.float64),
        lambda t, n: torch.randn(n, dtype=torch.float64, generator=t),
    ),
    "rand": (lambda g, n: g.uniform((n,)), lambda t, n: torch.rand(n, generator=t)),
    "rand64": (
        lambda g, n: g.uniform((n,), dtype=np.float64),
        lambda t, n: torch.rand(n, dtype=torch.float64, generator=t),
    ),
    "randint": (
        lambda g, n: g.integers(-3, 40, (n,)),
        lambda t, n: torch.randint(-3, 40, (n,), generator=t),
    ),
    "randperm": (lambda g, n: g.permutation(n), lambda t, n: torch.randperm(n, generator=t)),
    "exponential": (
        lambda g, n: g.exponential((n,)),
        lambda t, n: torch.empty(n).exponential_(generator=t),
    ),
    "multinomial": (
        lambda g, n: g.multinomial(np.arange(1, 9) / 8, n + 1, True),
        lambda t, n: torch.multinomial(torch.arange(1, 9) / 8, n + 1, True, generator=t),
    ),
}


@given(
    seed=st.integers(-(2**63), 2**64 - 1),
    calls=st.lists(st.tuples(st.sampled_from(sorted(DRAWS)), st.integers(0, 40)), max_size=12),
)
def test_any_order_of_calls(seed, calls):
    g, t = pair(seed)
    assert g.initial_seed() == t.initial_seed()
    for name, size in calls:
        mine, theirs = (draw(source, size) for draw, source in zip(DRAWS[name], (g, t)))
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6, err_msg=name)
    same_place(g, t)


@pytest.mark.parametrize("seed", [0, 1337, 2**32 - 1, 2**32, 2**63, 2**64 - 1, -1, -5, -(2**63)])
def test_seeds(seed):
    g, t = pair(seed)
    assert g.initial_seed() == t.initial_seed()
    same_place(g, t)


def test_a_fresh_generator():
    g, t = ours.Generator(), torch.Generator()
    assert g.initial_seed() == t.initial_seed()
    same_place(g, t)


BAD_CALLS = {
    "a seed of 2**64": ("manual_seed", 2**64),
    "a seed below -2**63": ("manual_seed", -(2**63) - 1),
    "a negative weight": ("multinomial", [0.5, -0.1], 1),
    "an infinite weight": ("multinomial", [0.5, np.inf], 2, True),
    "a weight that is not a number": ("multinomial", [0.5, np.nan], 1),
    "no weight at all": ("multinomial", [[1.0, 1.0], [0.0, 0.0]], 1),
    "too many without replacement": ("multinomial", [0.5, 0.5], 3),
    "no samples": ("multinomial", [0.5, 0.5], 0),
    "integer weights": ("multinomial", [1, 2], 1),
    "three dimensions": ("multinomial", [[[1.0, 2.0]]], 1),
    "no categories": ("multinomial", [], 1, True),
    "a p above one": ("bernoulli_each", [1.5]),
    "integer p": ("bernoulli_each", [1, 0]),
}


@pytest.mark.parametrize("bad", BAD_CALLS)
def test_refuses_what_pytorch_refuses(bad):
    name, value, *rest = BAD_CALLS[bad]
    g, t = ours.Generator(), torch.Generator()
    theirs = getattr(torch, name.removesuffix("_each"))
    with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        if name == "manual_seed":
            t.manual_seed(value)
        else:
            theirs(torch.tensor(value), *rest, generator=t)
    error = ValueError if name == "manual_seed" else RuntimeError
    with pytest.raises(error, match=r"^\[\w+\] .*"):
        getattr(g, name)(value if name == "manual_seed" else np.array(value), *rest)


WHOLE = ["float32", "float64", "float16", "bfloat16", "int64", "uint8", "bool"]


@pytest.mark.parametrize("dtype", [name for name in WHOLE if hasattr(tl, name)])
def test_random_without_bounds(dtype):
    """int32 is not among them: PyTorch takes one word there, and two in `randint`."""
    tl.manual_seed(3), torch.manual_seed(3)
    mine = tl.zeros(7, dtype=getattr(tl, dtype)).random_()
    theirs = torch.zeros(7, dtype=getattr(torch, dtype)).random_()
    assert mine.tolist() == theirs.tolist() and tl.rand(1).item() == torch.rand(1).item()
