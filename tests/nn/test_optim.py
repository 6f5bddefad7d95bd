"""Laws of the optimisers without PyTorch: hand-computed first steps, what is noticed between steps
(a parameter replaced, loaded, frozen, without gradient), exact resume, saving, and errors.
"""

import copy
import pickle

import fake_device
import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import optim
from tinygrad_lm.optim import SGD, Adam, AdamW, Optimizer, RMSprop, flat

KINDS = [
    (SGD, {}),
    (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (Adam, {"amsgrad": True, "weight_decay": 0.1}),
    (AdamW, {}),
    (RMSprop, {"momentum": 0.9, "centered": True}),
    (optim.Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    (optim.Adadelta, {"weight_decay": 0.1}),
    (optim.Adamax, {}),
    (optim.RAdam, {"betas": (0.9, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.Rprop, {}),
    (optim.NAdam, {"momentum_decay": 0.1}),
    (optim.ASGD, {"lambd": 0.1, "t0": 2}),
]
every_kind = pytest.mark.parametrize("kind, settings", KINDS)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Tensors of 32 elements and more are large and taken in blocks of 64, the others share one."""
    monkeypatch.setitem(flat.SIZES, "cpu", (64, 32))


def params(*shapes, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return [
        tg.from_numpy(np.asarray(rng.standard_normal(s)).astype(dtype)).requires_grad_()
        for s in shapes
    ]


SHAPES = [(3, 4), (5,), (), (0, 3), (9, 11), (2,)]


def gradients(step, tensors):
    rng = np.random.default_rng(100 + step)
    for p in tensors:
        g = np.asarray(rng.standard_normal(p.shape)).astype(p.array.dtype)
        p.grad = tg.from_numpy(g)


def walk(optimizer, tensors, steps):
    for step in steps:
        gradients(step, tensors)
        optimizer.step()


def values(tensors):
    return [p.array.copy() for p in tensors]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------- known answers


def one(kind, **settings):
    """The parameter 1.0 after a step and two with gradient 0.5."""
    p = tg.tensor([1.0], dtype=tg.float64, requires_grad=True)
    optimizer, seen = kind([p], **settings), []
    for _ in range(2):
        p.grad = tg.tensor([0.5], dtype=tg.float64)
        optimizer.step()
        seen.append(p.item())
    return seen


def test_first_steps_by_hand():
    assert one(SGD, lr=0.1) == pytest.approx([0.95, 0.9])
    # velocity 0.5, then 0.9 * 0.5 + 0.5
    assert one(SGD, lr=0.1, momentum=0.9) == pytest.approx([0.95, 0.95 - 0.095])
    # the first velocity is not damped: 0.5, then 0.9 * 0.5 + 0.5 * 0.5
    damped = one(SGD, lr=0.1, momentum=0.9, dampening=0.5)
    assert damped == pytest.approx([0.95, 0.95 - 0.07])
    assert one(SGD, lr=0.1, maximize=True) == pytest.approx([1.05, 1.1])
    # bias correction makes the first steps of Adam of length lr whatever the gradient
    assert one(Adam, lr=0.1, eps=0) == pytest.approx([0.9, 0.8])
    assert one(AdamW, lr=0.1, eps=0, weight_decay=0.5) == pytest.approx([0.85, 0.85 * 0.95 - 0.1])
    # v = 0.01 * 0.25, its root 0.05; then v = 0.0199 * 0.25
    assert one(RMSprop, lr=0.1, eps=0) == pytest.approx([0.0, -0.1 / np.sqrt(0.0199)])


def test_adam_finds_the_bottom_of_a_bowl():
    (p,) = params((7,))
    optimizer = AdamW([p], lr=0.05, weight_decay=0.0)
    for _ in range(400):
        optimizer.zero_grad()
        loss = ((p - 3.0) * (p - 3.0)).sum()
        loss.backward()
        optimizer.step()
    assert np.abs(p.array - 3).max() < 1e-3


# ---------------------------------------------------------------- blocks make no difference


@every_kind
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_blocks_and_neighbours_make_no_difference(kind, settings, dtype, monkeypatch):
    """Bit for bit: all in one optimiser, or each tensor alone in one block."""
    together, alone = params(*SHAPES, dtype=dtype), params(*SHAPES, dtype=dtype)
    optimizer = kind(together, lr=1e-2, **settings)
    walk(optimizer, together, range(5))
    monkeypatch.setitem(flat.SIZES, "cpu", (1 << 20, 1))
    separate = [kind([p], lr=1e-2, **settings) for p in alone]
    for step in range(5):
        gradients(step, alone)
        for each in separate:
            each.step()
    assert same(values(together), values(alone))
    assert all(p.array.dtype == dtype for p in together)


@every_kind
def test_memory_layout_makes_no_difference(kind, settings):
    plain = params((9, 11), (3, 4))
    odd = [tg.from_numpy(np.asfortranarray(p.array)).requires_grad_() for p in plain]
    odd[1].data = tg.from_numpy(np.repeat(plain[1].array, 2, axis=0)[::2])
    a, b = kind(plain, lr=1e-2, **settings), kind(odd, lr=1e-2, **settings)
    for step in range(4):
        gradients(step, plain)
        for p, q in zip(plain, odd):
            q.grad = tg.from_numpy(p.grad.array.T.copy().T)
        a.step()
        b.step()
    assert not odd[0].array.flags.c_contiguous and not odd[1].array.flags.c_contiguous
    assert same(values(plain), values(odd))


def test_gradients_are_only_read():
    tensors = params(*SHAPES)
    for kind, settings in KINDS:
        optimizer = kind(tensors, maximize=True, **settings)
        gradients(0, tensors)
        for p in tensors:
            p.grad.array.flags.writeable = False
        optimizer.step()


# ---------------------------------------------------------------- what is noticed


def test_updates_are_seen_through_every_alias():
    memory = np.ones((4, 25), np.float32)
    p, small = tg.from_numpy(memory).requires_grad_(), tg.tensor([1.0], requires_grad=True)
    row, alias = p.data[1], small.data
    optimizer = AdamW([p, small])
    walk(optimizer, [p, small], range(2))
    assert (memory != 1).all() and np.array_equal(row.numpy(), memory[1])
    assert p.array is memory or p.array.base is memory
    assert alias.item() == small.item() != 1


def test_two_tensors_on_one_memory_are_both_stepped():
    memory = np.ones(3, np.float32)
    a, b = (tg.from_numpy(memory).requires_grad_() for _ in range(2))
    optimizer = SGD([a, b], lr=0.25, momentum=0.5)
    a.grad, b.grad = tg.ones(3), tg.ones(3)
    optimizer.step()
    assert (memory == 0.5).all()
    b.grad = None
    optimizer.step()
    a.grad, b.grad = None, tg.zeros(3)
    optimizer.step()
    assert [t.array[0] for t in (a, b)] == [0.5 - 0.25 * 1.5 - 0.25 * 0.5] * 2


@every_kind
def test_a_replaced_parameter_is_noticed(kind, settings):
    p, q = params((9, 11), (3,))
    optimizer = kind([p, q], lr=1e-2, **settings)
    walk(optimizer, [p, q], range(2))
    twins = copy.deepcopy(optimizer)
    old = p.array
    before = old.copy()
    p.data, q.data = p.data.clone(), q.data.clone()
    walk(optimizer, [p, q], range(2, 4))
    walk(twins, twins.param_groups[0]["params"], range(2, 4))
    assert np.array_equal(old, before)
    assert same(values([p, q]), values(twins.param_groups[0]["params"]))


def test_a_parameter_that_changes_its_dtype_takes_its_state_along():
    p, q = params((9, 11), (3,))
    optimizer = Adam([p, q])
    walk(optimizer, [p, q], range(2))
    average = optimizer.state[p]["exp_avg"].array.copy()
    p.grad = None
    p.data = p.data.double()
    gradients(2, [p, q])
    optimizer.step()
    assert p.dtype == tg.float64 and optimizer.state[p]["exp_avg"].dtype == tg.float64
    expected = 0.9 * average + 0.1 * p.grad.array
    assert np.allclose(optimizer.state[p]["exp_avg"].array, expected, rtol=1e-6)
    assert optimizer.state[q]["exp_avg"].dtype == tg.float32
    assert optimizer.state[p]["step"].item() == 3


@every_kind
def test_without_a_gradient_nothing_happens(kind, settings):
    p, q, r, large = params((3,), (4,), (5,), (9, 11))
    optimizer = kind([p, q, r, large], lr=1e-2, **settings)
    walk(optimizer, [p, q, r, large], range(2))
    kept = {name: t.array.copy() for name, t in optimizer.state[q].items()}
    before = q.array.copy()
    q.grad = None
    walk(optimizer, [p, r, large], range(2, 4))
    assert np.array_equal(q.array, before)
    assert same(kept.values(), values(optimizer.state[q].values()))
    walk(optimizer, [p, q, r, large], range(4, 5))
    if "step" in kept:
        assert [optimizer.state[t]["step"].item() for t in (p, q, r)] == [5, 3, 5]
    assert not np.array_equal(q.array, before)


def test_a_parameter_frozen_later_stays():
    p, q = params((3,), (4,))
    optimizer = AdamW([p, q])
    walk(optimizer, [p, q], range(2))
    q.requires_grad_(False)
    optimizer.zero_grad()
    before, moved = q.array.copy(), p.array.copy()
    (p.sum() * q.sum()).backward()
    optimizer.step()
    assert np.array_equal(q.array, before) and not np.array_equal(p.array, moved)


def test_state_that_the_user_replaces_or_writes_counts():
    for change in ("replace", "write", "forget"):
        (p,) = params((3,))
        optimizer = SGD([p], lr=0.1, momentum=0.5)
        walk(optimizer, [p], range(1))
        if change == "replace":
            optimizer.state[p]["momentum_buffer"] = tg.ones(3)
        elif change == "write":
            optimizer.state[p]["momentum_buffer"].fill_(1.0)
        else:
            del optimizer.state[p]
        before = p.array.copy()
        p.grad = tg.zeros(3)
        optimizer.step()
        expected = 0.0 if change == "forget" else -0.05
        assert np.allclose(p.array - before, expected, atol=1e-7)


def test_state_replaced_while_another_parameter_rests():
    p, q = params((3,), (4,))
    optimizer = SGD([p, q], lr=0.1, momentum=0.5)
    walk(optimizer, [p, q], range(1))
    optimizer.state[p]["momentum_buffer"] = tg.ones(3)
    p.grad, q.grad = tg.zeros(3), None
    before = p.array.copy()
    optimizer.step()
    assert np.allclose(p.array - before, -0.05)


def test_a_step_count_written_in_place_counts():
    tensors, twins = params((3,), (3,)), params((3,), (3,))
    first, second = Adam(tensors, lr=0.1), [Adam([t], lr=0.1) for t in twins]
    for step in range(5):
        gradients(step, tensors)
        gradients(step, twins)
        for optimizer in (first, *second):
            optimizer.step()
        if step == 2:
            first.state[tensors[1]]["step"].fill_(0)
            second[1].state[twins[1]]["step"].fill_(0)
    assert same(values(tensors), values(twins))
    assert [first.state[t]["step"].item() for t in tensors] == [5, 2]


def test_a_backward_through_the_old_values_is_refused():
    p, q = params((9, 11), (3,))
    loss = (p * p).sum() + (q * q).sum()
    loss.backward(retain_graph=True)
    SGD([p, q], lr=0.1).step()
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


def test_no_warning_and_no_stop_at_extreme_gradients():
    (p,) = params((3,))
    optimizer = AdamW([p], lr=1e-3)
    p.grad = tg.tensor([1e38, np.nan, 0.0])
    optimizer.step()
    assert np.isnan(p.array[1]) and np.isfinite(p.array[[0, 2]]).all()


def test_a_rate_of_zero_changes_nothing():
    for kind, settings in KINDS:
        if kind is optim.Rprop:  # its rate is the first step, at least 1e-6
            continue
        tensors = params(*SHAPES)
        before = values(tensors)
        walk(kind(tensors, lr=0.0, **settings), tensors, range(2))
        assert same(values(tensors), before)


@every_kind
def test_a_step_that_found_an_overflow_changes_nothing(kind, settings):
    tensors, twins = params(*SHAPES), params(*SHAPES)
    optimizer, other = kind(tensors, **settings), kind(twins, **settings)
    optimizer.found_inf = tg.tensor(1.0)
    walk(optimizer, tensors, [0])
    optimizer.take_back()
    assert same(values(tensors), values(twins))
    optimizer.found_inf = tg.tensor(0.0)
    walk(optimizer, tensors, [1, 2])
    walk(other, twins, [1, 2])
    assert same(values(tensors), values(twins))


# ---------------------------------------------------------------- closure, zero_grad


def test_closure_records_and_its_loss_comes_back():
    (p,) = params((3,))
    optimizer, before = SGD([p], lr=0.1), p.array.copy()

    def closure():
        optimizer.zero_grad()
        loss = p.sum()
        loss.backward()
        return loss

    with tg.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == pytest.approx(before.sum(), abs=1e-6)
    assert np.allclose(p.array, before - 0.1)


def test_zero_grad_forgets_or_fills():
    p, q = params((3,), (2,))
    optimizer = SGD([p, q])
    p.grad = tg.tensor([np.nan, 1.0, 2.0])
    alias = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is alias and alias.tolist() == [0, 0, 0] and q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


# ---------------------------------------------------------------- saving


@every_kind
def test_resume_is_exact(kind, settings):
    """Bit for bit, also when a parameter has rested and settings were changed."""
    tensors = params(*SHAPES)
    optimizer = kind(tensors, lr=1e-2, **settings)
    walk(optimizer, tensors, range(3))
    tensors[0].grad = None
    walk(optimizer, tensors[1:], range(3, 5))
    optimizer.param_groups[0]["lr"] = 5e-3
    saved = pickle.loads(pickle.dumps(optimizer.state_dict()))
    there = [tg.from_numpy(p.array.copy()).requires_grad_() for p in tensors]
    resumed = kind(there, lr=1.0, **settings)
    resumed.load_state_dict(saved)
    walk(optimizer, tensors, range(5, 9))
    walk(resumed, there, range(5, 9))
    assert same(values(tensors), values(there))
    for p, q in zip(tensors, there):
        assert same(values(optimizer.state[p].values()), values(resumed.state[q].values()))


def test_loading_leaves_what_was_loaded_alone():
    (p,) = params((3,))
    optimizer = AdamW([p])
    walk(optimizer, [p], range(2))
    saved = copy.deepcopy(optimizer.state_dict())
    before = values(saved["state"][0].values())
    optimizer.load_state_dict(saved)
    walk(optimizer, [p], range(2))
    assert same(values(saved["state"][0].values()), before)


def test_state_is_cast_to_its_parameter_and_steps_are_not():
    (p,) = params((3,))
    source = AdamW([p])
    walk(source, [p], range(3))
    (q,) = params((3,), dtype="float64")
    optimizer = AdamW([q])
    optimizer.load_state_dict(source.state_dict())
    assert optimizer.state[q]["exp_avg"].dtype == tg.float64
    assert optimizer.state[q]["step"].dtype == tg.float32
    walk(optimizer, [q], range(1))
    assert optimizer.state[q]["step"].item() == 4


# ---------------------------------------------------------------- 16 bits


SHORT = ["float16", "bfloat16"]


def shortened(tensors, dtype):
    return [p.detach().to(getattr(tg, dtype)).requires_grad_() for p in tensors]


@every_kind
@pytest.mark.parametrize("dtype", SHORT)
def test_short_parameters_are_the_rounding_of_a_float32_training(kind, settings, dtype):
    """Their masters take the very steps that float32 parameters take from the same gradients."""
    short = shortened(params(*SHAPES), dtype)
    long = [p.detach().float().requires_grad_() for p in short]
    a, b = kind(short, lr=1e-4, **settings), kind(long, lr=1e-4, **settings)
    for step in range(5):
        gradients(step, short)
        for p, q in zip(short, long):
            q.grad = p.grad.float()
        a.step()
        b.step()
    assert all(p.dtype == getattr(tg, dtype) for p in short)
    assert same([a.state[p]["master"].array for p in short], values(long))
    assert same(values(short), [q.to(p.dtype).array for p, q in zip(short, long)])
    for p, q in zip(short, long):
        state = {name: t.array for name, t in a.state[p].items() if name != "master"}
        assert same(state.values(), values(b.state[q].values()))


def test_steps_below_a_short_parameters_precision_add_up():
    p = tg.ones(40).bfloat16().requires_grad_()
    optimizer = SGD([p], lr=1e-4)
    for _ in range(200):
        p.grad = tg.ones(40).bfloat16()
        optimizer.step()
    assert np.allclose(p.float().detach().numpy(), 0.98, atol=2**-9)


@pytest.mark.parametrize("dtype", SHORT)
def test_the_master_follows_a_parameter_that_was_written(dtype):
    (p,) = shortened(params((100,)), dtype)
    optimizer = SGD([p], lr=1.0)
    p.grad = tg.zeros(100).to(p.dtype) + 1e-3
    optimizer.step()
    kept = optimizer.state[p]["master"].array.copy()
    p.data[:50] = 3.0
    p.grad = tg.zeros(100).to(p.dtype)
    optimizer.step()
    now = optimizer.state[p]["master"].array
    assert (now[:50] == 3).all() and np.array_equal(now[50:], kept[50:])
    assert not np.array_equal(kept, p.float().detach().numpy())  # it is worth keeping


@every_kind
@pytest.mark.parametrize("dtype", SHORT)
def test_resume_with_masters_is_exact(kind, settings, dtype):
    tensors = shortened(params(*SHAPES), dtype)
    optimizer = kind(tensors, lr=1e-3, **settings)
    walk(optimizer, tensors, range(3))
    saved = pickle.loads(pickle.dumps(optimizer.state_dict()))
    there = [p.detach().clone().requires_grad_() for p in tensors]
    resumed = kind(there, lr=1e-3, **settings)
    resumed.load_state_dict(saved)
    walk(optimizer, tensors, range(3, 6))
    walk(resumed, there, range(3, 6))
    for p, q in zip(tensors, there):
        assert same(values(optimizer.state[p].values()), values(resumed.state[q].values()))


def test_a_parameter_that_is_shortened_takes_its_state_along_and_back():
    (p,) = params((9, 11))
    optimizer = Adam([p])
    walk(optimizer, [p], range(2))
    average = optimizer.state[p]["exp_avg"].array.copy()
    p.grad = None
    p.data = p.data.bfloat16()
    gradients(2, [p])
    optimizer.step()
    expected = 0.9 * average + 0.1 * p.grad.float().numpy()
    assert np.allclose(optimizer.state[p]["exp_avg"].array, expected, rtol=1e-6)
    p.grad = None
    p.data = p.data.float()
    walk(optimizer, [p], [3])
    assert "master" not in optimizer.state[p] and optimizer.state[p]["step"].item() == 4


def test_what_does_not_fit_is_not_loaded():
    p, q = params((3,), (4,))
    source = AdamW([p])
    walk(source, [p], range(1))
    saved = source.state_dict()
    with pytest.raises(ValueError, match=r"these many parameters: \[2\], got \[1\]"):
        AdamW([p, q]).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"exp_avg must have .* \(4,\), got \(3,\)"):
        AdamW([q]).load_state_dict(saved)


def test_a_deep_copy_walks_alone():
    tensors = params(*SHAPES)
    optimizer = AdamW(tensors, lr=1e-2)
    walk(optimizer, tensors, range(2))
    twin = copy.deepcopy(optimizer)
    before = values(tensors)
    walk(twin, twin.param_groups[0]["params"], range(2, 4))
    assert same(values(tensors), before)
    walk(optimizer, tensors, range(2, 4))
    assert same(values(tensors), values(twin.param_groups[0]["params"]))


# ---------------------------------------------------------------- groups and errors


def test_groups_have_settings_of_their_own():
    p, q = params((2,), (2,))
    before = values([p, q])
    groups = [{"params": [("first", p)], "lr": 1.0}, {"params": iter([("second", q)])}]
    optimizer = SGD(groups, lr=0.5)
    p.grad = q.grad = tg.ones(2)
    optimizer.step()
    assert np.allclose(p.array, before[0] - 1) and np.allclose(q.array, before[1] - 0.5)
    assert [g["param_names"] for g in optimizer.param_groups] == [["first"], ["second"]]
    assert "lr" not in groups[1]  # the caller's dict stays his


A = tg.ones(3, requires_grad=True)
BAD = [
    (TypeError, "must be an iterable of Tensors", lambda: SGD(A)),
    (ValueError, "empty parameter list", lambda: SGD([])),
    (TypeError, "must be a Tensor, got float", lambda: SGD([A, 1.0])),
    (TypeError, "ordered, got a set", lambda: SGD([{"params": {A}}])),
    (TypeError, "must be a dict, got list", lambda: SGD([A]).add_param_group([A])),
    (ValueError, "non-leaf Tensor, parameter 1", lambda: SGD([A, A * 2])),
    (ValueError, "one place, number 1 of shape .3,.", lambda: SGD([A, A])),
    (ValueError, "one place, number 0", lambda: SGD([{"params": A}, {"params": [A]}])),
    (ValueError, "all or no parameters must have names, got 1 of 2", lambda: SGD([("a", A), A])),
    (ValueError, "lr must not be negative, got -0.1", lambda: AdamW([A], lr=-0.1)),
    (ValueError, "lr must not be negative, got nan", lambda: SGD([A], lr=float("nan"))),
    (ValueError, "eps must not be negative", lambda: Adam([A], eps=-1e-8)),
    (ValueError, "weight_decay must not be negative", lambda: SGD([A], weight_decay=-1)),
    (ValueError, "momentum must not be negative", lambda: RMSprop([A], momentum=-1)),
    (ValueError, "alpha must not be negative", lambda: RMSprop([A], alpha=-1)),
    (ValueError, r"betas\[0\] must be in \[0, 1\), got 1.0", lambda: Adam([A], betas=(1.0, 0.9))),
    (ValueError, r"betas\[1\] must be .* got -1", lambda: Adam([A], betas=(0.9, -1))),
    (ValueError, "lr must not be negative", lambda: SGD([{"params": A, "lr": -1}])),
    (ValueError, "nesterov needs momentum above zero", lambda: SGD([A], nesterov=True)),
    (RuntimeError, "differentiable must be False", lambda: Adam([A], differentiable=True)),
    (RuntimeError, "fused and foreach", lambda: AdamW([A], fused=True, foreach=True)),
]


@pytest.mark.parametrize("error, message, make", BAD)
def test_errors_say_what_must_hold(error, message, make):
    with pytest.raises(error, match=message):
        make()


def test_shapes_that_no_longer_fit_are_refused():
    (p,) = params((3,))
    optimizer = Adam([p])
    walk(optimizer, [p], range(1))
    p.data = tg.zeros(4)
    with pytest.raises(RuntimeError, match=r"\[step\]"):
        optimizer.step()
    p.grad = tg.zeros(4)
    with pytest.raises(RuntimeError, match="drop its state"):
        optimizer.step()
    del optimizer.state[p]
    optimizer.step()


def test_a_rule_of_ones_own():
    """What the base class asks of a rule is enough to add one: sign descent."""

    class Sign(Optimizer):
        counts = False

        def kept(self, group):
            return ()

        def update(self, group, step, number):
            rate = number(-group["lr"])

            def block(lib, p, g, kept, scratch):
                lib.add(p, lib.multiply(lib.sign(g), rate), p)

            return block

    tensors = params(*SHAPES)
    before = values(tensors)
    gradients(0, tensors)
    Sign(tensors, {"lr": 0.5}).step()
    for p, old in zip(tensors, before):
        assert np.allclose(p.array, old - 0.5 * np.sign(p.grad.array))


# ---------------------------------------------------------------- another array library


@every_kind
@pytest.mark.parametrize("sizes", [(1 << 20, 1 << 20), (64, 32)])
def test_another_library_gets_the_same_numbers_without_a_transfer(
    kind, settings, sizes, monkeypatch
):
    fake_device.install()
    monkeypatch.setitem(flat.SIZES, "fake", sizes)
    here, there = params(*SHAPES), [p.detach().to("fake") for p in params(*SHAPES)]
    a = kind(here, lr=1e-2, **settings)
    b = kind([p.requires_grad_() for p in there], lr=1e-2, **settings)
    for step in range(4):
        gradients(step, here)
        for p, q in zip(here, there):
            q.grad = p.grad.to("fake")
        a.step()
        before = fake_device.FakeArray.waits
        b.step()
        assert fake_device.FakeArray.waits == before
    assert same(values(here), [p.array.get() for p in there])


def test_a_parameter_that_moves_takes_its_state_along():
    fake_device.install()
    p, q = params((9, 11), (3,))
    twins = params((9, 11), (3,))
    optimizer, other = AdamW([p, q]), AdamW(twins)
    walk(optimizer, [p, q], range(2))
    walk(other, twins, range(2))
    for t in (p, q):
        t.data = t.data.to("fake")
    gradients(2, twins)
    for t, twin in zip((p, q), twins):
        t.grad = twin.grad.to("fake")
    optimizer.step()
    other.step()
    assert same([t.array.get() for t in (p, q)], values(twins))
