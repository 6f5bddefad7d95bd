"""Making tensors, without PyTorch: which dtype data get, what shares memory, ranges, refusals."""

import numpy as np
import pytest

import tinygrad_lm as tg

DTYPES = """
tg.tensor(1): int64 | tg.tensor(1.5): float32 | tg.tensor(True): bool | tg.tensor([]): float32
tg.tensor([1, 2.5]): float32 | tg.tensor(np.float64(1)): float64 | tg.tensor(np.ones(2)): float64
tg.Tensor([1, 2]): float32 | tg.arange(3): int64 | tg.arange(3.0): float32
tg.full((2,), 1): int64 | tg.full((2,), True): bool | tg.zeros(2): float32 | tg.eye(2): float32
tg.linspace(0, 1, 3): float32 | tg.randint(3, (2,)): int64 | tg.randperm(3): int64
tg.rand(2): float32 | tg.ones(2, dtype=int): int64 | tg.get_rng_state(): uint8
tg.tensor([tg.tensor(1), tg.tensor(2)]): int64
"""


@pytest.mark.parametrize(
    "line", [x for row in DTYPES.strip().split("\n") for x in row.split(" | ")]
)
def test_data_and_rules_have_their_dtype(line):
    code, name = line.rsplit(": ", 1)
    assert eval(code, {"tg": tg, "np": np}).dtype is getattr(tg, name)


@pytest.mark.parametrize(
    "use",
    [tg.from_numpy, tg.tensor, tg.as_tensor, lambda masked: tg.ones(3, device="cpu") + masked],
)
def test_a_masked_array_does_not_lose_its_mask(use):
    masked = np.ma.array(np.float32([1, 2, 3]), mask=[0, 1, 0])
    with pytest.raises(TypeError, match=r"got a masked array; .*\.filled\(value\)"):
        use(masked)
    assert use(masked.filled(7)).tolist()[1] in (7, 8)


def test_from_numpy_shares_memory_and_tensor_copies():
    array = np.zeros(2)
    shared, copied = tg.from_numpy(array), tg.tensor(array)
    array[0] = 5
    assert shared.tolist() == [5, 0] and copied.tolist() == [0, 0]


def test_ranges_count_from_both_ends():
    assert tg.arange(5, 0, -2).tolist() == [5, 3, 1]
    assert tg.arange(end=3).tolist() == [0, 1, 2]
    np.testing.assert_allclose(tg.linspace(-1, 1, 5), [-1, -0.5, 0, 0.5, 1])


def test_memory_is_filled_in_its_own_order():
    tg.manual_seed(3)
    straight = tg.rand(4, 3)
    tg.manual_seed(3)
    assert tg.zeros(4, 3).T.uniform_().T.equal(straight)


def test_a_random_state_continues_where_it_was_taken():
    state = tg.get_rng_state()
    first = tg.randn(5)
    tg.set_rng_state(state)
    assert tg.randn(5).equal(first)


@pytest.mark.parametrize(
    "code",
    [
        "tg.tensor([[1, 2], [3]])", "tg.tensor(['a'])", "tg.tensor(None)", "tg.zeros(-1)",
        "tg.zeros(1.5)", "tg.full(2, 1)", "tg.arange(0, 3, -1)", "tg.arange(1, 2, 0)",
        "tg.linspace(0, 1, -1)", "tg.randint(5, 5, (2,))", "tg.randint(5)", "tg.from_numpy([1])",
        "tg.Tensor('a')", "tg.Tensor(-1)", "tg.randn(2, dtype=tg.int64)",
        "tg.rand(2, generator=1)", "tg.set_rng_state(tg.zeros(3))", "tg.normal(0.0, -1.0, (2,))",
        "tg.tensor([tg.ones(2), tg.ones(2)])",
    ],
)  # fmt: skip
def test_what_makes_no_tensor_is_refused(code):
    errors = (RuntimeError, TypeError, ValueError, NotImplementedError)
    with pytest.raises(errors, match=r"^\[\w+\] "):
        eval(code, {"tg": tg})


def test_an_array_whose_elements_share_memory_is_read_and_not_written():
    windows = np.lib.stride_tricks.as_strided(np.arange(4.0), (3, 2), (8, 8))
    x = tg.from_numpy(windows)
    assert (x * 2).tolist() == [[0, 2], [2, 4], [4, 6]]
    with pytest.raises(RuntimeError, match="must have memory of its own"):
        x.add_(1)
    assert windows.tolist() == [[0, 1], [1, 2], [2, 3]] and windows.flags.writeable
    y = tg.from_numpy(np.arange(6.0).reshape(2, 3).T[::-1])
    assert y.mul_(2).tolist() == [[4, 10], [2, 8], [0, 6]]
