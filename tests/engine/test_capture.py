"""`capture` on the CPU: a step recorded as the calls it made, and replayed. That every op is
replayed bit for bit is in tests/laws/test_captured.py; CUDA graphs are in tests/fast."""

import random
import threading

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.capture import tape
from tinygrad_lm.engine.capture.tape import Taped
from tinygrad_lm.nn import functional as F


def training(kind, seed=1):
    """(model, optimizer, step) of a small network with norms, dropout and clipping."""
    tg.manual_seed(seed)
    model = nn.Sequential(
        nn.Embedding(7, 8), nn.Flatten(), nn.Linear(24, 16), nn.BatchNorm1d(16), nn.Tanh(),
        nn.Dropout(0.25), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 7),
    )  # fmt: skip
    settings = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer = getattr(tg.optim, kind)(model.parameters(), lr=0.05, **settings)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return {"loss": loss, "norm": norm}

    return model, optimizer, step


def batch(i):
    g = tg.Generator().manual_seed(i)
    return tg.randint(0, 7, (6, 3), generator=g), tg.randint(0, 7, (6,), generator=g)


@pytest.mark.parametrize("kind", ["AdamW", "SGD", "RMSprop", "Adagrad"])
def test_training_goes_on_bit_for_bit(kind):
    """With a schedule of the rate, gradients that are forgotten outside, and a state loaded."""
    found = []
    for captured in (False, True):
        model, optimizer, step = training(kind)
        run = tg.capture(step) if captured else step
        first = {name: x.clone() for name, x in model.state_dict().items()}
        tg.manual_seed(5)
        for i in range(12):
            optimizer.param_groups[0]["lr"] = 0.05 / (1 + i)
            out = run(*batch(i))
            found.append([out["loss"].item(), out["norm"].item()])
            if i == 7:
                optimizer.zero_grad()
            if i == 9:
                model.load_state_dict(first)
        found.append([x.array.tobytes() for x in model.state_dict().values()])
        found.append([p.grad.array.tobytes() for p in model.parameters()])
    half = len(found) // 2
    assert found[:half] == found[half:]


def test_what_is_drawn_is_the_stream_that_the_step_would_draw():
    def draw():
        g = tg.Generator().manual_seed(3)

        def step():
            ids = tg.randint(0, 9, (5,), generator=g)
            kept = tg.rand(4, generator=g) < 0.5
            return ids, kept, tg.randn(3, generator=g), tg.randperm(4, generator=g)

        return step

    step, fast = draw(), tg.capture(draw(), 1)
    for _ in range(5):
        assert [x.tolist() for x in step()] == [x.tolist() for x in fast()]


def test_a_seed_or_state_that_the_step_sets_is_set_again():
    def step():
        g = tg.Generator().manual_seed(3)
        state = g.get_state()
        first, second = tg.rand(2, generator=g), tg.rand(2, generator=g)
        g.set_state(state)
        return first, second, tg.rand(2, generator=g)

    fast = tg.capture(step, 1)
    want = [x.tolist() for x in step()]
    for _ in range(4):
        assert [x.tolist() for x in fast()] == want
    assert want[0] == want[2] != want[1]


@pytest.mark.parametrize("first", [None, "kept"])
def test_gradients_that_would_go_on_from_others_are_refused(first):
    w = tg.ones(2, requires_grad=True)

    def step():
        (w * 3).sum().backward()
        return w.grad

    fast = Taped(step, 0)
    w.grad = None if first is None else tg.ones(2)
    fast()
    if first:
        assert fast().tolist() == [7.0, 7.0]
        w.grad = None
    with pytest.raises(RuntimeError, match="not add to other gradients .*; call zero_grad"):
        fast()
    w.grad = None
    if first is None:
        assert fast().tolist() == [3.0, 3.0]


def schedules(kind):
    """A step with a schedule and clipping by value inside."""
    w = tg.ones(3, requires_grad=True)
    optimizer = tg.optim.SGD([w], lr=0.5)
    lr = tg.optim.lr_scheduler
    halves = lr.StepLR(optimizer, 1, 0.5)
    one = {"own": halves, "super": lr.ChainedScheduler([halves, lr.ConstantLR(optimizer)])}[kind]

    def step(x):
        optimizer.zero_grad()
        (w * x * 100).sum().backward()
        nn.utils.clip_grad_value_([w], 2.5)
        optimizer.step()
        one.step()
        return w

    return step


@pytest.mark.parametrize("kind", ["own", "super"])
def test_a_schedule_inside_goes_on(kind):
    found = []
    for captured in (False, True):
        step = tg.capture(schedules(kind), 1) if captured else schedules(kind)
        found.append([step(tg.full((3,), 0.01 * i)).tolist() for i in range(1, 7)])
    assert found[0] == found[1] and len(set(map(str, found[0]))) == 6


def test_a_captured_step_inside_another_one_is_a_part_of_it():
    inner = tg.capture(lambda x: x * 2, 1)
    outer = tg.capture(lambda x: inner(x) + 1, 1)
    for i in range(5):
        assert outer(tg.tensor(float(i))).item() == 2.0 * i + 1
        assert inner(tg.tensor(float(i))).item() == 2.0 * i


@pytest.mark.parametrize("name", ["plus", "minus"])
def test_what_is_scaled_meets_itself(name):
    """t = s x; t + t is no x + s y: the new t is on both sides."""
    steps = {"plus": lambda x: (t := x * 3.0) + t, "minus": lambda x: (t := x * 3.0) - t.detach()}
    fast = tg.capture(steps[name], 1)
    for i in range(5):
        x = tg.full((3,), float(i))
        assert fast(x).tolist() == steps[name](x).tolist()


def test_bits_are_those_of_several_threads():
    """Attention with a mask is NumPy's, in blocks whose products stay in one thread each."""
    mask, threads = tg.rand(200, 200) < 0.7, tg.get_num_threads()
    q = tg.randn(4, 4, 200, 32)
    tg.set_num_threads(2)
    try:
        want = F.scaled_dot_product_attention(q, q, q, attn_mask=mask).tolist()
        fast = tg.capture(lambda q: F.scaled_dot_product_attention(q, q, q, attn_mask=mask), 1)
        for _ in range(3):
            assert fast(q).tolist() == want
    finally:
        tg.set_num_threads(threads)


@pytest.mark.parametrize("written", ["a tensor outside", "a result"])
def test_a_graph_outside_sees_that_a_replay_writes(written):
    state, w = tg.ones(4), tg.ones(4, requires_grad=True)

    def step(x):
        state.add_(x)
        return state * 2

    fast = tg.capture(step, 1)
    for _ in range(3):
        result = fast(tg.ones(4))
    loss = (w * (state if written == "a tensor outside" else result)).sum()
    fast(tg.ones(4))
    with pytest.raises(RuntimeError, match="must keep its value until backward"):
        loss.backward()


def test_a_convolution_as_wide_as_its_input_is_replayed():
    layer, x = nn.Conv2d(4, 4, 3, padding=1), tg.randn(2, 4, 5, 5, requires_grad=True)

    def step():
        x.grad = None
        layer(x).square().sum().backward()
        return x.grad

    fast = tg.capture(step, 1)
    for _ in range(4):
        x.data *= 0.5
        layer.zero_grad()
        want = step().array.tobytes()
        layer.zero_grad()
        assert fast().array.tobytes() == want


def test_a_replay_does_not_call_the_step():
    seen = []

    def step(x):
        seen.append(1)
        return x + 1

    fast = tg.capture(step, 1)
    assert [fast(tg.tensor(float(i))).item() for i in range(5)] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(seen) == 2


def test_memory_serves_again_what_comes_later():
    x = tg.ones(1000)

    def step():
        y = x
        for _ in range(50):
            y = y + 1
        return y.sum()

    fast = Taped(step, 1)
    fast(), fast()
    memory = {args[-1].__array_interface__["data"][0] for f, args in fast.calls if f is np.add}
    assert len(memory) <= 3 and fast().item() == 51000.0


def test_a_write_into_a_tensor_is_done_again():
    total, row = tg.zeros(3), tg.zeros(2, 3)

    def step(x):
        total.add_(x)
        row[0] = total
        row[1] += x
        return row.sum()

    fast = tg.capture(step, 1)
    for i in range(1, 5):
        fast(tg.full((3,), float(i)))
    assert total.tolist() == [10.0] * 3 and row.tolist() == [[10.0] * 3] * 2


X, W = tg.randn(4, 3), tg.randn(3, requires_grad=True)
H = {"now": tg.zeros(1)}


def replacing(x):
    W.data = W.data - x.sum()
    return x


def carrying(x):  # as `self.h = f(self.h, x)` does
    H["now"] = H["now"] + x.sum()
    return H["now"] * 1


def applying_late(x):
    W.grad = W.grad * 2
    return x


def making_an_optimizer(x):
    tg.optim.SGD([W], lr=0.1)
    return x


def python_dice(x):
    return x * random.random()


REFUSED = {
    "item": (lambda x: tg.tensor(x.sum().item()), "must not read a result"),
    "branch": (lambda x: x if x.sum() > 0 else -x, "must not read a result"),
    "from numpy": (lambda x: x + tg.from_numpy(np.ones(3, "f4")), "must not make a tensor of a"),
    "tensor of numpy": (lambda x: x + tg.tensor(np.ones(3, "f4")), "must not make a tensor of a"),
    "numpy": (lambda x: tg.tensor(x.numpy() + 1), "must not read a result"),
    "print": (lambda x: print(x), "must not read a result"),
    "mask": (lambda x: x[x > 0], "must not select by a mask|must not read"),
    "replaced": (replacing, "must not replace a tensor, or what it holds"),
    "carried": (carrying, r"must not replace a tensor.*x\.copy_"),
    "late": (applying_late, "must not read a gradient and replace it"),
    "argument": (lambda x: x.add_(1), "must not write into an argument"),
    "optimizer": (making_an_optimizer, "must not make an optimizer; make it outside"),
    "dice": (python_dice, "must not draw from Python's"),
    "number": (lambda x: 3, "must return Tensors on the CPU or None"),
    "inside": (lambda x: (tg.capture(lambda: X + 1, 1), Taped(lambda: X + 1, 0)())[1], "inside an"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_replayed_is_refused_in_a_sentence(name):
    step, says = REFUSED[name]
    fast = Taped(step, 0)
    before, W.grad = W.array, tg.ones(3)
    with pytest.raises(RuntimeError, match=rf"^\[capture\].*({says})"):
        fast(X)
    W.grad = None
    assert type(X.array) is type(W.array) is np.ndarray  # as before
    W.array = before
    assert (X + 1).sum().item() == pytest.approx(float(X.array.sum()) + 12, rel=1e-5)


def test_a_position_that_does_not_exist_is_an_error_in_a_replay_as_well():
    fast = tg.capture(lambda ids: X[ids], 1)
    for _ in range(3):
        fast(tg.tensor([0, 3]))
    with pytest.raises(IndexError, match=r"must be in .* 3, got 4"):
        fast(tg.tensor([0, 4]))
    assert fast(tg.tensor([1, -1])).tolist() == [X[1].tolist(), X[3].tolist()]


def test_named_arguments_are_not_mixed_up():
    fast = tg.capture(lambda x, y: x - y, 1)
    for _ in range(3):
        assert fast(x=tg.tensor(3.0), y=tg.tensor(1.0)).item() == 2
    with pytest.raises(RuntimeError, match="named and ordered as before"):
        fast(y=tg.tensor(1.0), x=tg.tensor(3.0))


def test_a_tensor_whose_array_was_replaced_must_be_captured_again():
    weight = tg.ones(2)
    fast = tg.capture(lambda x: x * weight, 1)
    fast(tg.ones(2)), fast(tg.ones(2))
    weight.data = tg.zeros(2)
    with pytest.raises(RuntimeError, match="capture it again"):
        fast(tg.ones(2))


def test_arguments_must_stay_as_they_were_recorded():
    fast = tg.capture(lambda x, by=None: x * 2, 1)
    fast(tg.ones(2)), fast(tg.ones(2))
    for wrong in [(tg.ones(3),), (tg.ones(2, dtype=tg.float64),), (tg.ones(2), 3), (), (1.5,)]:
        with pytest.raises(RuntimeError, match=r"^\[capture\]"):
            fast(*wrong)
    assert fast(tg.full((2,), 4.0)).tolist() == [8.0, 8.0]


def test_another_thread_computes_as_always_while_a_step_is_recorded():
    found = []

    def step(x):
        thread = threading.Thread(target=lambda: found.append((tg.zeros(2) + 1).sum().item()))
        thread.start()
        thread.join()
        return x + 1

    fast = Taped(step, 0)
    fast(X)
    assert found == [2.0] and len(fast.calls) == 2  # and what notes that it wrote


def test_after_a_recording_everything_has_its_name_again():
    names = [(owner, name) for owner, name, _ in tape.replaced(tape.Tape())]
    before = [vars(owner)[name] for owner, name in names]
    Taped(lambda x: x * 2 + tg.rand(4, 3), 0)(X)
    assert [vars(owner)[name] for owner, name in names] == before
    assert arrays.LIBRARIES[np.ndarray] is np


def test_what_is_no_function_or_has_no_warmup_is_refused():
    with pytest.raises(TypeError, match="must be a function, got int"):
        tg.capture(3)
    with pytest.raises(ValueError, match="warmup must be at least 1, got 0"):
        tg.capture(len, warmup=0)


def test_reading_what_is_in_memory_here_is_no_reading_from_the_device():
    x = tg.ones(3)
    with arrays.recording_step():
        assert x.sum().item() == 3.0
        with pytest.raises(RuntimeError, match="inside another one"), arrays.recording_step():
            pass
    assert not arrays.is_recording_step()


MOVES = {  # a step of (p, b, rate), where p (4, 9) and b (9,); how many calls it is in C
    "up": (lambda p, b, rate: p.add_(-0.1 * b.expand(4, 9).contiguous()), 2),
    "down": (lambda p, b, rate: p.sub_((p * p) * rate), 2),
    "elsewhere": (lambda p, b, rate: (c := b.expand(4, 9).contiguous(), p - c * rate), 2),
    "beside": (lambda p, b, rate: (c := b.expand(4, 9).contiguous(), c * rate, p.add_(c)), 3),
    "rows": (lambda p, b, rate: (p * p) + b, 2),
    "rows in place": (lambda p, b, rate: p.add_(b), 1),
    "of itself": (lambda p, b, rate: p.sub_(p * rate), 2),
    "of its own row": (lambda p, b, rate: p.add_(p[1]), 1),
    "what moves is moved": (lambda p, b, rate: p[1:].add_(p[:-1].mul_(rate)), 2),
    "over itself": (lambda p, b, rate: [np.add(p[:-1].array, b.array, p[1:].array)][1:], 1),
    "another order": (lambda p, b, rate: p.add_((p.t() * rate).t()), 2),
    "numbers": (lambda p, b, rate: p.add_(p.double() * rate), 4),
}


@pytest.mark.parametrize("name", MOVES)
def test_neighbouring_calls_are_one_with_the_same_bits(name):
    move, calls = MOVES[name]
    found = []
    for captured in (False, True):
        tg.manual_seed(3)
        p, b = tg.randn(4, 9), tg.randn(9)
        fast = Taped(lambda rate, p=p, b=b: (move(p, b, rate), (p * b).sum()), 0)
        step = fast if captured else fast.step
        for i in range(4):
            out = step(tg.tensor(0.3 - 0.1 * i))
            found.append([x.numpy().tobytes() for x in arrays.leaves((out, p))])
    for want, got in zip(found[:4], found[4:]):
        assert want == got
    assert fast.calls is not None and len(fast.calls) == calls + 3
