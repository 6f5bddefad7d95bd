"""Steps recorded into a CUDA graph: a replay is the step bit for bit, and what cannot be recorded
is refused in a sentence and leaves nothing half done. On a GPU, or where one is emulated."""

import gc
import random
import threading

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn.functional import cross_entropy

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


class Training:
    """A small model with its optimizer and a step."""

    def __init__(self, **settings):
        tg.manual_seed(1)
        layers = tg.nn.Linear(8, 16), tg.nn.Tanh(), tg.nn.Linear(16, 4)
        self.model = tg.nn.Sequential(*layers).to("cuda")
        self.optimizer = tg.optim.AdamW(self.model.parameters(), lr=0.05, **settings)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def weights(self):
        return [p.numpy(force=True).copy() for p in self.model.parameters()]


def batches(count, seed=3):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield (
            tg.tensor(rng.standard_normal((5, 8)).astype("f")),
            tg.tensor(rng.integers(4, size=5)),
        )


def double(x):
    return x * 2


def after_warmup(step, *args, warmup=1):
    """The captured step, which its next call will record."""
    fast = tg.capture(step, warmup)
    for _ in range(warmup):
        fast(*args)
    return fast


@pytest.mark.parametrize("warmup", [1, 2, 3])
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_replay_is_the_step_bit_for_bit(warmup, where):
    one, other = Training(), Training()
    fast = tg.capture(other.step, warmup)
    for i, (x, y) in enumerate(batches(8)):
        for training in (one, other):
            training.optimizer.param_groups[0]["lr"] = 0.05 / (1 + i // 3)
        want = one.step(x.cuda(), y.cuda())
        x, y = (x.cuda(), y.cuda()) if i == 0 else (x.to(where), y.to(where))
        found = fast(x, y)
        assert found.item() == want.item() and not found.requires_grad
        for a, b in zip(one.weights(), other.weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert fast.way.graph is not None


def gpt():
    tg.manual_seed(1)
    model = GPT(GPTConfig(block_size=8, vocab_size=11, n_layer=2, n_head=2, n_embd=16)).to("cuda")
    return model, model.configure_optimizers(0.1, 0.01, (0.9, 0.99), "cuda")


@pytest.mark.parametrize("narrow", [False, True])
def test_a_gpt_is_recorded_with_its_embeddings_attention_and_clipping(narrow):
    models, steps = [], []
    for _ in range(2):
        model, optimizer = gpt()

        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            with tg.autocast("cuda", tg.bfloat16, enabled=narrow):
                _, loss = model(x, y)
            loss.backward()
            norm = tg.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return loss, norm

        models.append(model)
        steps.append(step)
    fast = tg.capture(steps[1])
    for i in range(5):
        ids = tg.tensor(np.random.default_rng(i).integers(11, size=(3, 9)), device="cuda")
        x, y = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        want = [t.item() for t in steps[0](x, y)]
        assert [t.item() for t in fast(x, y)] == want
    assert fast.way.graph is not None
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        assert (p == q).all().item()


def test_every_replay_writes_the_same_memory_anew():
    x = tg.ones(3, device="cuda")
    fast = after_warmup(lambda x: (double(x), {"sum": x.sum(), "nothing": None}), x)
    out, rest = fast(x)
    kept = out.clone()
    again, rest_again = fast(x + 1)
    assert again is out and rest_again["sum"] is rest["sum"] and rest["nothing"] is None
    assert out.tolist() == [4.0] * 3 and rest["sum"].item() == 6.0 and kept.tolist() == [2.0] * 3


def test_nothing_else_gets_the_memory_of_a_recording(gpu):
    def step(x):
        for _ in range(5):
            x = x + 1
        return x

    x = tg.zeros(1000, device="cuda")
    fast = after_warmup(step, x)
    fast(x)
    gpu.get_default_memory_pool().free_all_blocks()
    others = [tg.full((1000,), 7.0, device="cuda") for _ in range(20)]
    assert (fast(x) == 5).all().item()
    assert all((other == 7).all().item() for other in others)


def test_what_the_host_does_is_done_before_each_replay(gpu):
    count, kept = [0], gpu.zeros(1)

    def send():
        count[0] += 1
        kept.fill(count[0])

    def step(x):
        arrays.before_each_replay(send)
        return x + tg.engine.core.tensor.wrap(kept)

    x = tg.zeros(1, device="cuda")
    fast = after_warmup(step, x)
    assert [fast(x).item() for _ in range(3)] == [1.0, 2.0, 3.0]


def test_arguments_of_two_calls_in_a_row_do_not_meet():
    fast = after_warmup(double, tg.zeros(4, device="cuda"))
    for i in range(6):
        x = tg.full((4,), float(i))
        out = fast(x)
        x.fill_(-1.0)
        assert out.tolist() == [2.0 * i] * 4


SCHEDULE = tg.optim.lr_scheduler.StepLR(tg.optim.SGD([tg.nn.Parameter(tg.ones(1))], lr=1.0), 1)
REFUSED = {
    "item": (lambda x: x + x.sum().item(), "return the loss and read it outside"),
    "bool": (lambda x: x if x.sum() > 0 else -x, "read it outside"),
    "tolist": (lambda x: x * len(x.tolist()), "read it outside"),
    "numpy": (lambda x: x * len(x.cpu().numpy()), "read it outside"),
    "print": (lambda x: print(x) or x, "read it outside"),
    "upload": (lambda x: x + tg.ones(3).to("cuda"), "pass the tensor in"),
    "random": (lambda x: x * random.random(), "draw"),
    "numpy.random": (lambda x: x * np.random.rand(), "draw"),
    "our generator": (lambda x: (tg.rand(3), x * 2)[1], "draw"),
    "a number": (lambda x: (x * 2, 3.0), "compute it outside, got float|got float"),
    "a result on the CPU": (lambda x: (x * 2, tg.ones(3)), "got a Tensor on cpu"),
    "a schedule": (lambda x: SCHEDULE.step() or x * 2, "step it after the captured step"),
    "a wait": (lambda x: arrays.cupy().cuda.get_current_stream().synchronize() or x, "wait for it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_is_refused_and_leaves_nothing_half_done(name, gpu):
    step, sentence = REFUSED[name]
    x = tg.ones(3, device="cuda")
    fast = after_warmup(step, x)
    state = random.getstate()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=sentence) as found:
            fast(x)
        assert str(found.value).startswith("[capture]")
    random.setstate(state)
    assert gc.isenabled() and not arrays.is_recording_step()
    step(x)
    assert fast.way.graph is None and not fast.way.stream.is_capturing()
    assert gpu.cuda.get_current_stream() == gpu.cuda.Stream.null
    assert after_warmup(double, x)(x).tolist() == [2.0] * 3


def test_an_error_of_the_steps_own_is_left_as_it_is():
    calls = []

    def step(x):
        calls.append(x)
        if len(calls) == 2:
            raise KeyError("mine")
        return x * 2

    x = tg.ones(3, device="cuda")
    fast = after_warmup(step, x)
    with pytest.raises(KeyError, match="mine"):
        fast(x)
    assert fast(x).tolist() == [2.0] * 3


X = [1.0, 2.0, 3.0]
OTHER = {
    "shape": ((tg.ones(4), 2), {}),
    "dtype": ((tg.ones(3, dtype=tg.float64), 2), {}),
    "no Tensor": ((3.0, 2), {}),
    "gradient": ((tg.ones(3, requires_grad=True), 2), {}),
    "number": ((tg.ones(3), 3), {}),
    "a Tensor for a number": ((tg.ones(3), tg.ones(())), {}),
    "names": ((tg.ones(3),), {"by": 2}),
    "more": ((tg.ones(3), 2, None), {}),
    "an array": ((tg.ones(3), np.ones(3)), {}),
}


@pytest.mark.parametrize("name", OTHER)
def test_other_arguments_than_recorded_are_refused(name):
    args, kwargs = OTHER[name]
    fast = tg.capture(lambda x, by, more=None: x * by, 1)
    x = tg.tensor(X, device="cuda")
    for _ in range(3):
        assert fast(x, 2).tolist() == [2.0, 4.0, 6.0]
        with pytest.raises((RuntimeError, TypeError), match=r"^\[capture\]"):
            if fast.way.slots is None:
                fast(x, 2)
            fast(*args, **kwargs)
    assert fast(x, 2).tolist() == [2.0, 4.0, 6.0]


def test_a_captured_step_inside_another_is_refused():
    x = tg.ones(3, device="cuda")
    inner = after_warmup(double, x)
    inner(x)
    outer = after_warmup(lambda x: inner(x) + 1, x)
    with pytest.raises(RuntimeError, match="inside another"):
        outer(x)


def test_a_step_that_uses_no_gpu_is_recorded_on_the_cpu():
    seen = []

    def step(x):
        seen.append(x)
        return x.sum()

    x = tg.ones(3)
    fast = tg.capture(step)
    assert [fast(x).item() for _ in range(5)] == [3.0] * 5
    assert len(seen) == 3 and fast.way.graph is None and fast.way.on_cpu.calls


def test_a_step_without_arguments_or_results():
    w = tg.zeros(3, device="cuda")

    def step():
        w.add_(tg.ones(3, device="cuda"))

    fast = tg.capture(step)
    for i in range(5):
        assert fast() is None and w.tolist() == [i + 1.0] * 3
    assert fast.way.graph is not None


@pytest.mark.parametrize("written", ["a tensor outside", "a result"])
def test_a_graph_outside_sees_that_a_replay_writes(written):
    state, w = tg.ones(4, device="cuda"), tg.ones(4, device="cuda", requires_grad=True)

    def step(x):
        state.add_(x)
        return state * 2

    x = tg.ones(4, device="cuda")
    fast = after_warmup(step, x)
    result = fast(x)
    used = state if written == "a tensor outside" else result
    loss, other = (w * used).sum(), (w * used.clone()).sum()
    fast(x)
    with pytest.raises(RuntimeError, match="must keep its value until backward"):
        loss.backward()
    other.backward()


@pytest.mark.parametrize("replaced", ["optimizer.load_state_dict", "state", "data"])
def test_what_was_replaced_since_the_recording_is_not_written_to_in_silence(replaced, gpu):
    layer = tg.nn.Linear(3, 2, device="cuda")
    optimizer = tg.optim.AdamW(layer.parameters())

    def step(x):
        optimizer.zero_grad()
        loss = layer(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    fast, x = tg.capture(step), tg.ones(4, 3, device="cuda")
    for _ in range(4):
        fast(x)
    if replaced == "data":
        layer.weight.data = layer.weight.data / 2
    elif replaced == "state":
        optimizer.state.clear()
    else:
        optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(RuntimeError, match="capture the step again"):
        fast(x)
    again = tg.capture(step)
    losses = [again(x).item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True)


def test_what_another_thread_writes_during_a_recording_is_not_of_it():
    """Else each replay would seem to write it, and backward there would be refused."""
    weights, x = tg.ones(3, device="cuda"), tg.ones(3, device="cuda")

    def train():
        nonlocal weights
        weights += 1

    def step(x):
        if arrays.is_recording_step():
            thread = threading.Thread(target=train)
            thread.start()
            thread.join()
        return x * 2

    train()
    fast = after_warmup(step, x)
    fast(x)
    leaf = tg.ones(3, device="cuda", requires_grad=True)
    loss = (leaf * weights).sum()
    fast(x)
    loss.backward()
    assert leaf.grad.tolist() == [3.0] * 3


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_recording_that_goes_gives_its_memory_back(calls, gpu, emulated_gpu):
    """At once, and also what lies idle in its pool, which CuPy would keep for ever."""
    x, w = tg.ones(40, 30, device="cuda"), tg.ones(30, 30, device="cuda")

    def some():
        fast = tg.capture(lambda x: ((x @ w).exp() @ w).sum(1), warmup=2)
        for _ in range(calls):
            fast(x)

    gc.collect()
    gc.disable()
    try:
        found = []
        for _ in range(4):
            some()
            gpu.get_default_memory_pool().free_all_blocks()
            found.append(emulated_gpu.counts()["bytes"])
    finally:
        gc.enable()
    assert found[1:] == found[:-1]
