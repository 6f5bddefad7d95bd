"""Gradient checkpointing: the law is that everything comes out as without it, bit for bit: values,
gradients, random numbers. Besides: what is kept, what is called how often, and what is refused."""

import importlib
import weakref

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.engine.arrays import kernels_on
from tinygrad_lm.engine.pytorch.checkpointing import checkpoint, checkpoint_sequential
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn import functional as F


class Net(nn.Module):
    """Two layers with dropout between; `part` is what the cases checkpoint."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 6)
        self.norm = nn.LayerNorm(6)

    def part(self, x, scale=1.0):
        h = F.dropout(self.first(x).tanh(), 0.3)
        return self.norm(self.second(h * scale))

    def two(self, x):
        h = self.part(x)
        return h, {"more": [h * h, "not a tensor", (x * 2).sum(1)]}


def plain(function, *args, preserve_rng_state=True, **kwargs):
    return function(*args, **kwargs)


def inputs_of(call, net, x):
    """A leaf that several things look at, before and after the checkpointed part."""
    h = x * x
    return call(net.part, h) + h + net.first.weight.sum()


def nested(call, net, x):
    def outer(x):
        y = call(net.part, F.dropout(x, 0.5))
        return call(net.part, y) + y

    return call(outer, x)


def several(call, net, x):
    h, rest = call(net.two, x)
    return h.sum() + rest["more"][0].sum() + (rest["more"][2] * 3).sum()


def one_of_several(call, net, x):
    return call(net.two, x)[1]["more"][2]


def shared(call, net, x):
    for _ in range(3):
        x = call(net.part, x)
    return F.linear(x, net.second.weight.T)


def captured(call, net, x):
    outside = net.norm(x) * 2
    return call(lambda: net.part(outside) * outside) + outside


def old_view(call, net, x):
    h = x * 1
    view = h[1:]
    h.mul_(2)  # after which the view has another history
    return call(net.part, view)


CASES = {
    "a view from before a write": old_view,
    "a part between others": inputs_of,
    "one in another": nested,
    "several outputs": several,
    "one of several": one_of_several,
    "a part used thrice": shared,
    "what a function captures": captured,
    "settings": lambda call, net, x: call(net.part, x, scale=tg.tensor(2.0)),
    "an input without a gradient": lambda call, net, x: call(net.part, x.detach()),
    "a view of the input": lambda call, net, x: call(lambda x: x[1:], x) * 3,
    "two views of one": lambda call, net, x: sum(
        p.sum() * (i + 1) for i, p in enumerate(call(lambda x: net.part(x).split(3, dim=1), x))
    ),
    "16 bits": lambda call, net, x: call(net.bfloat16().part, x.bfloat16()).float(),
}


def outcome(case, call):
    """All that can be seen after two backward passes that add up: bytes by name."""
    tg.manual_seed(3)
    net, x = Net(), tg.randn(5, 6, requires_grad=True)
    for _ in range(2):
        out = case(call, net, x)
        out.backward(tg.ones_like(out) * 0.7)
    seen = {name: p.grad for name, p in [*net.named_parameters(), ("x", x)]}
    seen.update(out=out.detach(), stream=tg.rand(2))
    return {
        name: None if t is None else t.float().cpu().numpy().tobytes() for name, t in seen.items()
    }


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_all_is_as_without_it(case):
    assert outcome(case, checkpoint) == outcome(case, plain)


def test_without_kernels_too():
    with tg.reference_only():
        assert outcome(nested, checkpoint) == outcome(nested, plain)


def small(dropout=0.2):
    tg.manual_seed(1)
    shape = {"block_size": 8, "vocab_size": 11, "n_layer": 3, "n_head": 2, "n_embd": 16}
    return GPT(GPTConfig(**shape, dropout=dropout))


def test_a_gpt_learns_as_without_it():
    ends = []
    for again in (False, True):
        model = small()
        model.gradient_checkpointing = again
        optimizer = model.configure_optimizers(0.1, 1e-2, (0.9, 0.99))
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(tg.randint(0, 11, (2, 8)), tg.randint(0, 11, (2, 8)))[1]
            loss.backward()
            optimizer.step()
        ends.append([p.tolist() for p in model.parameters()] + [loss.item(), tg.rand(2).tolist()])
    assert ends[0] == ends[1]


def test_a_gpt_does_it_in_training_only():
    model, calls = small(), []
    model.gradient_checkpointing = True
    model.transformer.h[0].register_forward_hook(lambda *_: calls.append(1))
    loss = model(tg.zeros(1, 4).long(), tg.zeros(1, 4).long())[1]
    loss.backward()
    assert len(calls) == 2
    model.eval()
    model(tg.zeros(1, 4).long(), tg.zeros(1, 4).long())[1].backward()
    assert len(calls) == 3
    model.train()
    cache = model.new_cache(1, 4)
    with tg.no_grad():
        model(tg.zeros(1, 2).long(), cache=cache)
    assert cache.length == 2


# ---------------------------------------------------------------- what is kept


def layer(seen):
    """A function that notes its activations, weakly."""

    def function(x):
        h = x.exp()
        seen.append(weakref.ref(h.array))
        return (h * h).sin()  # both ops keep h, or what is made of it

    return function


def test_activations_are_gone_between_forward_and_backward():
    kept = []
    for call in (plain, checkpoint):
        seen, x = [], tg.randn(4, requires_grad=True)
        y = call(layer(seen), call(layer(seen), x))
        kept.append([ref() is not None for ref in seen])
        y.sum().backward()
        assert all(ref() is None for ref in seen)  # and afterwards
    assert kept == [[True, True], [False, False]]


def test_backward_holds_the_activations_of_one_part_at_a_time():
    seen, alive = [], []
    x = tg.randn(4, requires_grad=True)

    def function(x):
        alive.append(sum(ref() is not None for ref in seen))
        return layer(seen)(x)

    y = x
    for _ in range(5):
        y = checkpoint(function, y)
    y.sum().backward()
    assert alive == [0] * 10


def test_a_graph_that_is_kept_runs_again_each_time():
    calls, x = [], tg.tensor([2.0], requires_grad=True)
    y = checkpoint(lambda x: calls.append(1) or x**3, x)
    y.backward(retain_graph=True)
    y.backward()
    assert len(calls) == 3 and x.grad.item() == 2 * 12.0
    with pytest.raises(RuntimeError, match="the graph must not have been freed"):
        y.backward()


def test_a_graph_that_is_kept_holds_nothing_of_a_run():
    seen, x = [], tg.randn(4, requires_grad=True)
    y, g = checkpoint(layer(seen), x), tg.ones(4)
    seen.append(weakref.ref(g.array))
    y.backward(g, retain_graph=True)
    del g
    assert [ref() for ref in seen] == [None] * 3 and y.requires_grad


def test_each_of_several_outputs_by_itself():
    x = tg.tensor([2.0], requires_grad=True)
    a, b = checkpoint(lambda x: (x * 3, x * 5), x)
    for out, want in ((a, 3.0), (b, 5.0), (a, 3.0)):
        x.grad = None
        out.backward(retain_graph=True)
        assert x.grad.item() == want


def test_results_share_no_memory():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    h = x * 1
    y, z, v = checkpoint(lambda h: (y := h * 2, y.view(2, 1), h[:1]), h)
    y.mul_(5)
    v.mul_(7)
    assert (h.tolist(), y.tolist(), z.tolist()) == ([1.0, 2.0], [10.0, 20.0], [[2.0], [4.0]])
    (y.sum() + z.sum() + v.sum()).backward()
    assert x.grad.tolist() == [19.0, 12.0]
    assert checkpoint(lambda x: x, x) is x


def test_hooks_inside_see_one_gradient():
    seen, x = [], tg.tensor([2.0], requires_grad=True)

    def function(x):
        y = x * 5
        y.register_hook(lambda g: seen.append(g.item()))
        return y * 3

    checkpoint(function, x).backward()
    assert seen == [3.0] and x.grad.item() == 15.0


# ---------------------------------------------------------------- which gradients


def test_what_wants_no_gradient_has_none():
    x, w = tg.ones(3), tg.ones(3, requires_grad=True)
    assert not checkpoint(lambda x: x * 2, x).requires_grad
    assert not checkpoint(lambda x: (x * w).detach(), x).requires_grad
    assert checkpoint(lambda x: x * w, x).requires_grad
    a, b, n = checkpoint(lambda x: (x * 2, x * w, 7), x)
    assert (a.requires_grad, b.requires_grad, n) == (False, True, 7)


def test_without_recording_it_is_the_function():
    calls, w = [], tg.ones(3, requires_grad=True)
    with tg.no_grad(), tg.autograd.higher_order():
        y = checkpoint(lambda: calls.append(1) or w * 2)
    assert not y.requires_grad and calls == [1]


def test_gradients_on_request_come_through_it():
    x, w = tg.tensor([2.0], requires_grad=True), tg.tensor([5.0], requires_grad=True)
    h = x * x
    y = checkpoint(lambda h: h * w, h).sum()
    found = tg.autograd.grad(y, [w, h, x])
    assert [g.item() for g in found] == [4.0, 5.0, 20.0] and x.grad is None and w.grad is None
    checkpoint(lambda x: x * w, x).backward(inputs=[w])
    assert w.grad.item() == 2.0 and x.grad is None


def test_the_settings_of_the_first_run_hold_in_the_second():
    x, w = tg.randn(4, 4, requires_grad=True), tg.randn(4, 4, requires_grad=True)
    seen = []

    def function(x):
        y = checkpoint(lambda x: x @ w, x)
        seen.append((y.dtype, tg.is_grad_enabled(), kernels_on()))
        return y

    with tg.amp.autocast("cpu", tg.bfloat16), tg.reference_only():
        y = checkpoint(function, x)
    with tg.autograd.higher_order(), tg.no_grad():
        y.backward(tg.ones_like(y))
        assert not tg.is_grad_enabled() and kernels_on()
    assert seen == [(tg.bfloat16, True, False)] * 2 and x.grad.node is None


def test_random_numbers_that_are_not_kept_are_new_ones():
    seen, x = [], tg.ones(3, requires_grad=True)
    y = checkpoint(lambda x: seen.append(tg.rand(1).item()) or x * 2, x, preserve_rng_state=False)
    y.sum().backward()
    assert seen[0] != seen[1]


def test_it_goes_by_pytorchs_name():
    name = "tinygrad_lm.utils.checkpoint"
    assert importlib.import_module(name).checkpoint is tg.utils.checkpoint.checkpoint is checkpoint


# ---------------------------------------------------------------- one after the other


@pytest.mark.parametrize("segments", [1, 2, 3, 5])
def test_a_sequence_in_segments(segments):
    def run(call):
        tg.manual_seed(0)
        net = nn.Sequential(
            *[nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 4)], nn.ReLU()
        )
        x = tg.randn(3, 4)
        y = call(net, x)
        y.sum().backward()
        return y.tolist(), [p.grad.tolist() for p in net.parameters()], tg.rand(1).item()

    assert run(lambda net, x: checkpoint_sequential(net, segments, x)) == run(plain)


def test_all_segments_but_the_last_run_again():
    counts = [0] * 5

    def function(i):
        def step(x):
            counts[i] += 1
            return x * 2

        return step

    x = tg.ones(1, requires_grad=True)
    checkpoint_sequential([function(i) for i in range(5)], 2, x, use_reentrant=False).backward()
    assert counts == [2, 2, 1, 1, 1] and x.grad.item() == 32.0


# ---------------------------------------------------------------- refused


def leaf(*values):
    return tg.tensor(values, requires_grad=True)


def second_derivative():
    with tg.autograd.higher_order():
        checkpoint(lambda x: x * x, leaf(1.0))


def second_derivative_from_outside():
    x = leaf(1.0)
    tg.autograd.grad(checkpoint(lambda x: x * x, x), x, create_graph=True)


def input_written_inside():
    checkpoint(lambda h: h.mul_(2) * 3, leaf(1.0) * 1)


def input_without_gradient_written_inside():
    w = leaf(1.0)
    checkpoint(lambda x: x.mul_(2) * w, tg.ones(1))


def input_written_later():
    h = leaf(1.0) * 1
    y = checkpoint(lambda h: h.exp() + 0, h)
    h.mul_(2)
    y.backward()


def constant_written_later():
    c, w = tg.ones(1), leaf(1.0)
    y = checkpoint(lambda c: c + w, c)  # a sum keeps neither
    c.add_(1)
    y.backward()


def parameter_written_later():
    w = leaf(1.0)
    y = checkpoint(lambda: (w + 1).exp())
    with tg.no_grad():
        w.add_(1)
    y.backward()


def parameter_read_inside_written_later():
    w = leaf(1.0)
    y = checkpoint(lambda: checkpoint(lambda: (w + 1).exp()))
    with tg.no_grad():
        w.add_(1)
    y.backward()


def parameter_replaced_later():
    w = leaf(1.0)
    y = checkpoint(lambda: w * w)
    w.data = tg.tensor([3.0])
    y.backward()


def history_lost_later():
    h = leaf(1.0) * 1
    y = checkpoint(lambda h: h * h, h)
    h.detach_()
    y.backward()


def another_shape_later():
    sizes = [1, 2]
    checkpoint(lambda x: x.expand(sizes.pop(0)), leaf(1.0)).backward()


def another_number_of_outputs_later():
    answers = [lambda x: (x * 1, x * 2), lambda x: x * 1]
    (checkpoint(lambda x: answers.pop(0)(x), leaf(1.0))[1]).backward()


REFUSED = {
    second_derivative: r"^\[checkpoint\] it must be outside of higher_order",
    second_derivative_from_outside: r"^\[create_graph\] the forward pass must be recorded for it",
    input_written_inside: r"^\[checkpoint\] the function must leave what it reads as it is",
    input_without_gradient_written_inside: r"^\[checkpoint\] the function must leave what it reads",
    input_written_later: r"^\[backward\] an array that .*Checkpoint.* must keep its value",
    constant_written_later: r"^\[backward\] an array that .*Checkpoint.* must keep its value",
    parameter_written_later: r"^\[backward\] an array that .*Checkpoint.* must keep its value",
    parameter_read_inside_written_later: r"^\[backward\] an array that .*Checkpoint.* must keep",
    parameter_replaced_later: r"^\[checkpoint\] what the function read must be the same",
    history_lost_later: r"^\[checkpoint\] what the function read must be the same",
    another_shape_later: r"^\[checkpoint\] the function must compute the same .*got .*\(2,\)",
    another_number_of_outputs_later: r"^\[checkpoint\] .* must compute the same .*, got nothing",
    lambda: checkpoint_sequential([abs], 2, leaf(1.0)): r"^\[checkpoint_sequential\] segments must",
    lambda: checkpoint_sequential([abs], 1, leaf(1.0), what=1): r"^\[checkpoint_sequential\] keyw",
}


@pytest.mark.parametrize(("case", "message"), REFUSED.items())
def test_refused(case, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        case()


def test_a_failure_inside_leaves_everything_as_it_was():
    calls, x = [], leaf(1.0)

    def function(x):
        calls.append(tg.rand(1).item())
        if len(calls) > 1:
            raise KeyError("mine")
        return x * 2

    y = checkpoint(function, x)
    tg.manual_seed(5)
    want = tg.Generator().manual_seed(5)
    with pytest.raises(KeyError, match="mine"):
        y.backward()
    assert tg.is_grad_enabled() and tg.rand(3).tolist() == tg.rand(3, generator=want).tolist()


# ---------------------------------------------------------------- on a GPU


@pytest.mark.cuda
def test_a_gpus_random_numbers_are_put_back(gpu):
    def run(call):
        tg.manual_seed(2)
        x = tg.ones(64, device="cuda", requires_grad=True)
        y = x
        for _ in range(2):
            y = call(lambda y: F.dropout(y * 2, 0.5) + tg.rand(64).cuda(), y)
        y.sum().backward()
        after = F.dropout(tg.ones(64, device="cuda"), 0.5)
        return x.grad.tolist(), y.tolist(), after.tolist(), tg.rand(2).tolist()

    assert run(checkpoint) == run(plain)


@pytest.mark.cuda
def test_in_a_captured_step_it_may_not_draw(gpu):
    w = tg.ones(8, device="cuda", requires_grad=True)

    def step(x, p):
        w.grad = None
        y = checkpoint(lambda x: F.dropout(x * w, p).exp(), x)
        y.sum().backward()
        return w.grad

    x = tg.randn(8, device="cuda")
    dry = tg.capture(step, warmup=1)
    for k in range(3):
        found = dry(x + k, 0.0).tolist()
        np.testing.assert_array_equal(found, step(x + k, 0.0).tolist())
    drawing = tg.capture(step, warmup=1)
    drawing(x, 0.5)
    with pytest.raises(RuntimeError, match=r"^\[capture\] a captured step must not draw"):
        drawing(x, 0.5)
