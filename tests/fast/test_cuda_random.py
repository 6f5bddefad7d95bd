"""Random tensors that a GPU draws by itself, and where its stream is after an evaluation that was
stopped. On a GPU, or where one is emulated."""

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.training.config import TrainConfig
from tinygrad_lm.training.trainer import Trainer, split_tokens

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


# ---------------------------------------------------------------- draws


@pytest.mark.parametrize("n", [1, 4, 5, 1023, 1024, 1025, 4099])
def test_words_are_those_of_the_definition(gpu, n):
    here, there = tg.Generator("cuda"), tg.Generator("cuda")
    for source in (here, there):  # which carries into the second word of the counter
        source.set_state(np.array([2**63 + 12345, 2**32 - 3], "<u8").view("u1"))
    for _ in range(2):
        want = here.words(n)
        found = there.random_raw(n)
        assert type(found) is gpu.ndarray and np.array_equal(found.get(), want)
        assert np.array_equal(here.get_state(), there.get_state())


FORMS = {
    "float32": lambda g: g.uniform((2, 3000)),
    "bounds": lambda g: g.uniform((50,), -3.0, 5.0),
    "float64": lambda g: g.uniform((50,), dtype=np.float64),
    "float16": lambda g: g.uniform((4000,), dtype=np.float16),
    "few": lambda g: g.normal((15,), 1.0, 2.0),
    "many": lambda g: g.normal((1003,), 1.0, 2.0),
    "wide": lambda g: g.normal((40,), dtype=np.float64),
    "narrow": lambda g: g.normal((40,), dtype=np.float16),
    "few integers": lambda g: g.integers(-5, 5, (30, 2)),
    "integers": lambda g: g.integers(0, 1000, (2000,), np.int32),
    "large integers": lambda g: g.integers(-(2**40), 2**40, (30,)),
    "exponential": lambda g: g.exponential((30,), 2.0),
    "nothing": lambda g: g.normal((0, 3)),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_the_gpu_makes_of_its_words_is_what_the_cpu_does(gpu, name):
    here, there = tg.Generator("cuda").manual_seed(4), tg.Generator("cuda").manual_seed(4)
    with here._on_host():
        want = FORMS[name](here)
    found = FORMS[name](there)
    assert type(want) is np.ndarray and type(found) is gpu.ndarray
    assert found.dtype == want.dtype and found.shape == want.shape
    np.testing.assert_allclose(
        found.get(), want, rtol=2e-3 if want.itemsize == 2 else 2e-5, atol=1e-6
    )
    assert np.array_equal(here.get_state(), there.get_state())


def test_draws_have_the_law_they_claim(gpu):
    source, n = tg.Generator("cuda").manual_seed(1), 20_000
    where = {"generator": source, "device": "cuda"}
    u, z, k = tg.rand(n, **where), tg.randn(n, **where), tg.randint(7, (n,), **where)
    for values, mean, std in ((u, 0.5, 12**-0.5), (z, 0.0, 1.0), (k.float(), 3.0, 2.0)):
        assert values.is_cuda and abs(values.mean().item() - mean) < 5 * std / n**0.5
        assert abs(values.std().item() - std) < 0.02 * std
    assert 0 <= u.min().item() and u.max().item() < 1
    assert sorted(set(k.tolist())) == list(range(7))
    assert abs(tg.erf(z / 2**0.5).abs().mean().item() - 0.5) < 0.01  # uniform, if z is normal
    probs = tg.tensor([0.0, 0.25, 1.0], device="cuda").expand(n, 3).contiguous()
    none, some, all_of = tg.bernoulli(probs, generator=source).mean(0).tolist()
    assert (none, all_of) == (0.0, 1.0) and abs(some - 0.25) < 0.02
    assert abs(tg.empty(n, device="cuda").bernoulli_(0.25, generator=source).mean() - 0.25) < 0.02


def test_draws_in_a_step_neither_wait_nor_send(emulated_gpu):
    source = tg.Generator("cuda")
    x, probs = tg.empty(40, device="cuda"), tg.full((40,), 0.5, device="cuda")
    where = {"generator": source, "device": "cuda"}

    def draw():
        x.uniform_(generator=source)
        x.normal_(0.0, 2.0, generator=source)
        x.bernoulli_(0.5, generator=source)
        tg.bernoulli(probs, generator=source)
        tg.rand(3, **where), tg.randn(3, **where), tg.randn(40, **where)
        tg.randint(9, (4,), **where)

    draw()
    before = emulated_gpu.counts()
    draw()
    after = emulated_gpu.counts()
    assert all(after[name] == before[name] for name in ("waits", "uploads", "downloads"))


def test_a_captured_step_draws_what_the_step_would(gpu):
    stream = gpu.cuda.Stream(non_blocking=True)
    try:
        stream.begin_capture()
        stream.end_capture()
    except RuntimeError:
        pytest.skip("streams cannot be captured here")
    source = tg.Generator("cuda")
    where = {"generator": source, "device": "cuda"}

    def step(x):
        return x + tg.rand(5, **where) + tg.randn(5, **where) + tg.randint(9, (5,), **where)

    x = tg.zeros(5, device="cuda")
    source.manual_seed(2)
    want = [step(x).tolist() for _ in range(5)]
    assert len({tuple(values) for values in want}) == 5
    state = source.get_state()
    source.manual_seed(2)
    fast = tg.capture(step)
    assert [fast(x).tolist() for _ in range(5)] == want
    assert fast.way.graph is not None and np.array_equal(source.get_state(), state)


# ---------------------------------------------------------------- a run


def test_an_evaluation_that_is_stopped_puts_both_streams_back(gpu):
    config = TrainConfig(block_size=8, batch_size=2, eval_iters=2)
    model = GPT(GPTConfig(8, 7, 1, 2, 8, 0.2)).to("cuda")
    trainer = Trainer(model, split_tokens(np.arange(200) % 7, config), config)
    before, left = trainer.streams.state(), [3]

    def between():
        nn.functional.dropout(tg.ones(9, device="cuda"), 0.5)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.evaluate(between)
    after = trainer.streams.state()
    assert before.keys() == after.keys() == {"random", "random.cuda"}
    assert all(np.array_equal(before[name], after[name]) for name in before)
