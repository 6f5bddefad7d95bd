"""The gradient of a cross-entropy on a GPU takes the memory of the logits where nobody will look at
them again, to the same bits; and where somebody might, it does not."""

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import autograd
from tinygrad_lm.engine import arrays
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn import functional as F
from tinygrad_lm.training.config import TrainConfig
from tinygrad_lm.training.trainer import Trainer

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]
N, C, V = 6, 8, 40


@pytest.fixture
def written_over(gpu, monkeypatch):
    """Of each gradient of a cross-entropy that was made, whether it was written over the logits."""
    from tinygrad_lm.engine.kernels.cuda import softmax

    found, launch = [], softmax._launch

    def noting(function, x, rows, width, arguments):
        if function == "loss_backward":
            found.append(arguments[5].data.ptr == x.data.ptr)
        launch(function, x, rows, width, arguments)

    monkeypatch.setattr(softmax, "_launch", noting)
    return found


@pytest.fixture
def given():
    """x (N, C), w (C, V) and targets (N,) on the GPU."""
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=size).astype("float32") for size in ((N, C), (C, V)))
    leaves = [tg.tensor(a, device="cuda", requires_grad=True) for a in (x, w)]
    return *leaves, tg.tensor(rng.integers(0, V, N), device="cuda")


def slopes(x, w):
    found = [arrays.to_numpy(t.grad.array).tobytes() for t in (x, w)]
    x.grad = w.grad = None
    return found


@pytest.fixture
def known(given, written_over):
    """The gradients where the logits are held."""
    x, w, y = given
    logits = x @ w
    before = logits.tolist()
    F.cross_entropy(logits, y).backward()
    assert written_over == [False] and logits.tolist() == before
    written_over.clear()
    return slopes(x, w)


@pytest.mark.parametrize("shape", [(N, V), (2, N // 2, V)])
def test_logits_that_were_let_go_of_are_written_over(shape, given, known, written_over):
    x, w, y = given
    F.cross_entropy((x @ w).view(shape).view(N, V), y).backward()
    assert written_over == [True] and slopes(x, w) == known


@pytest.mark.parametrize("kind", [tg.bfloat16, tg.float16, tg.float32])
def test_a_gpt_gets_the_same_bits(kind, written_over):
    tg.manual_seed(1)
    model = GPT(GPTConfig(8, 24, 2, 2, 16)).to("cuda", kind)
    ids = tg.randint(24, (4, 9), device="cpu")
    x, y = ids[:, :-1].contiguous().cuda(), ids[:, 1:].contiguous().cuda()

    def gradients(hold, recomputed=False):
        model.gradient_checkpointing = recomputed
        model.zero_grad()
        result = model(x, y)
        loss = result[1]
        if not hold:
            del result
        loss.backward()
        return [arrays.to_numpy(p.grad.array).tobytes() for p in model.parameters()]

    assert gradients(True) == gradients(False) == gradients(False, recomputed=True)
    assert written_over == [False, True, True]


@pytest.mark.parametrize("through_a_view", [False, True])
@pytest.mark.parametrize("look", [
    lambda z: z,
    lambda z: z.array,
    lambda z: z.detach(),
    lambda z: z.data,
    lambda z: z.view(-1),
    lambda z: z[1:3],
    lambda z: z.T,
    lambda z: z.array[0, 1:],
    lambda z: z.diagonal(),
    lambda z: arrays.library(z.array).lib.stride_tricks.as_strided(z.array, (2, 2), (4, 8)),
    lambda z: z * z,
    lambda z: (z * 2, z.relu()),
    lambda z: tg.from_dlpack(z.detach()),
    lambda z: type(z.array)((3,), "float32", memptr=z.array.data + 4),
])  # fmt: skip
def test_logits_that_somebody_sees_stay(look, through_a_view, given, known, written_over):
    x, w, y = given
    logits = x @ w
    seen, before = look(logits), logits.tolist()
    loss = F.cross_entropy(logits.view(N, V) if through_a_view else logits, y)
    del logits
    loss.backward()
    assert seen is not None and written_over == [False] and slopes(x, w) == known
    if isinstance(seen, tg.Tensor) and seen.shape == (N, V) and not seen.grad_fn:
        assert seen.tolist() == before


def test_what_another_op_keeps_stays(given, written_over):
    x, w, y = given
    F.cross_entropy((x @ w).exp(), y).backward()  # of which the slope is the result
    found = slopes(x, w)
    held = (x @ w).exp()
    F.cross_entropy(held, y).backward()
    assert written_over == [False, False] and slopes(x, w) == found


def test_the_last_of_several_losses_and_walks_writes_over(given, written_over):
    x, w, y = given
    logits = x @ w
    both = F.cross_entropy(logits, y) + F.cross_entropy(logits, (y + 1) % V)
    del logits
    found = []
    for retain in (True, True, False):
        both.backward(retain_graph=retain)
        found.append(slopes(x, w))
    assert found[0] == found[1] == found[2]
    assert written_over == [False] * 4 + [False, True]


def test_a_walk_inside_another_does_not_end_that_one_s_wish(given, known, written_over):
    """A hook that walks another graph while the outer one is retained."""
    x, w, y = given

    def hook(g):
        with tg.enable_grad():
            tg.ones(1, requires_grad=True).sum().backward()

    loss = F.cross_entropy(x @ w, y)
    loss.register_hook(hook)
    for _ in range(2):
        loss.backward(retain_graph=True)
        assert slopes(x, w) == known
    assert written_over == [False] * 2


def test_hooks_and_kept_gradients_are_what_they_were(given, known, written_over):
    x, w, y = given
    logits, seen = x @ w, []
    logits.register_hook(lambda g: seen.append(g))
    loss = F.cross_entropy(logits, y)
    loss.backward(retain_graph=True)
    logits.retain_grad()
    del logits
    loss.backward()
    first, second = (g.tolist() for g in seen)
    assert first == second and written_over == [False, True]


def test_second_derivatives_keep_the_logits(given):
    def curvature(x, w, y):
        with autograd.higher_order():
            loss = F.cross_entropy(x @ w, y)
        (slope,) = autograd.grad(loss, [x], create_graph=True)
        return autograd.grad((slope * slope).sum(), [w])[0].tolist()

    x, w, y = given
    here = curvature(*(t.detach().cpu().requires_grad_() for t in (x, w)), y.cpu())
    np.testing.assert_allclose(curvature(x, w, y), here, rtol=1e-4, atol=1e-6)


def test_a_walk_that_failed_is_not_begun_again_with_what_is_left(given):
    x, w, y = given
    with tg.autograd.set_detect_anomaly(True):
        loss = F.cross_entropy((x * np.nan) @ w, y)
        with pytest.raises(RuntimeError, match="nan values"):
            loss.backward()
    with pytest.raises(RuntimeError, match="already walked"):
        loss.backward()


def test_a_captured_step_replays_it(given, written_over):
    x, w, y = given

    def step(y):
        x.grad = w.grad = None
        loss = F.cross_entropy(x @ w, y)
        loss.backward()
        return loss, x.grad, w.grad

    fast = tg.capture(step)
    for shift in range(5):
        targets = (y + shift) % V
        found = [t.tolist() for t in fast(targets)]
        assert found == [t.tolist() for t in step(targets)]
    assert all(written_over)


def test_a_step_of_the_trainer_holds_the_logits_once(emulated_gpu):
    """A large vocabulary: beside the logits, in bytes, everything else is small."""
    size, vocabulary = 16, 2048
    tokens = np.random.default_rng(0).integers(0, vocabulary, 2000)
    model = GPT(GPTConfig(size, vocabulary, 1, 1, 8)).cuda()
    config = TrainConfig(block_size=size, batch_size=size, eval_iters=1)
    trainer = Trainer(model, {"train": tokens, "val": tokens}, config)
    trainer.update()
    with emulated_gpu.without_pool():
        trainer.update()
        before = emulated_gpu.counts()["bytes"]
        emulated_gpu.reset_peak()
        trainer.update()
        most = emulated_gpu.counts()["peak_bytes"] - before
    logits = 4 * size * size * vocabulary
    assert logits < most < 1.3 * logits
