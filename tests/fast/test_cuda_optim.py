"""Optimisers, clipping and the step of a training on a GPU, beside the CPU: the same numbers, few
launches, no upload, no wait."""

import itertools

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn, optim
from tinygrad_lm.engine import arrays
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.optim import SGD, Adam, AdamW, RMSprop
from tinygrad_lm.training import NotFinite, TrainConfig, Trainer, split_tokens

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


@pytest.fixture
def counted(gpu, emulated_gpu):
    """What a function has the device do."""
    names = ("launches", "uploads", "downloads", "waits")

    def count(function, *args, **kwargs):
        before = emulated_gpu.counts()
        function(*args, **kwargs)
        after = emulated_gpu.counts()
        return {name: after[name] - before[name] for name in names}

    return count


def options(**choices):
    return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]


# 4,099 and 9,000 elements: more than a chunk, and a rest that 4 or 8 do not divide.
SHAPES = [(3, 4), (5,), (), (0, 3), (4099,), (90, 100), (16,)]
DECAY, TURNED = {"weight_decay": [0, 0.1]}, {"maximize": [False, True]}
CASES = [
    *[(kind, o) for kind in (Adam, AdamW) for o in options(amsgrad=[False, True], **TURNED)],
    (Adam, {"weight_decay": 0.1}),
    *[(SGD, o) for o in options(momentum=[0, 0.9], dampening=[0, 0.2], **DECAY)],
    (SGD, {"momentum": 0.9, "nesterov": True, "maximize": True}),
    (RMSprop, {"momentum": 0.9, "centered": True}),
    (optim.Adagrad, {"lr_decay": 0.1, "weight_decay": 0.1}),
    (optim.Adadelta, {}),
    (optim.Adamax, {"maximize": True}),
    (optim.RAdam, {"betas": (0.9, 0.9), "weight_decay": 0.1}),
    (optim.Rprop, {}),
    (optim.NAdam, {}),
    (optim.ASGD, {"lambd": 0.1, "t0": 2}),
]
MATRICES = [(3, 4), (70, 30), (16, 16), (5, 5), (2, 40), (90, 100)]


def pair(kind, dtype="float32", shapes=SHAPES, **settings):
    """The same parameters and their optimiser twice: on the CPU, on the GPU."""
    rng = np.random.default_rng(0)
    values = [np.asarray(rng.standard_normal(shape), np.float32) for shape in shapes]
    made = []
    for device in ("cpu", "cuda"):
        params = [
            tg.from_numpy(v).to(getattr(tg, dtype)).to(device).requires_grad_() for v in values
        ]
        groups = [{"params": params[::2]}, {"params": params[1::2], "lr": 3e-3}]
        made.append((params, kind(groups, lr=1e-2, **settings)))
    return made


def walk(pairs, steps):
    for step in steps:
        rng = np.random.default_rng(100 + step)
        drawn = [np.asarray(rng.standard_normal(p.shape), np.float32) for p in pairs[0][0]]
        for params, optimizer in pairs:
            for p, g in zip(params, drawn):
                p.grad = tg.from_numpy(g.copy()).to(p.dtype).to(p.device)
            if step % 4 == 2:  # these rest: their state and count must rest too
                params[0].grad = params[5].grad = None
            optimizer.step()


def numbers(tensor):
    return arrays.to_numpy(tensor.array).astype(np.float64)


def assert_same(pairs, tolerance):
    (here, a), (there, b) = pairs
    for p, q in zip(here, there):
        assert q.is_cuda and q.dtype == p.dtype
        np.testing.assert_allclose(numbers(q), numbers(p), rtol=tolerance, atol=tolerance)
        kept = a.state[p]
        assert b.state[q].keys() == kept.keys()
        for name, value in kept.items():
            assert b.state[q][name].dtype == value.dtype
            np.testing.assert_allclose(
                numbers(b.state[q][name]), numbers(value), rtol=tolerance, atol=tolerance
            )


@pytest.mark.parametrize("kind, settings", CASES)
def test_the_same_steps_as_on_the_cpu(kind, settings):
    pairs = pair(kind, **settings)
    walk(pairs, range(7))
    assert_same(pairs, 2e-6)


@pytest.mark.parametrize("kind, tolerance", [(optim.Adafactor, 2e-6), (optim.Muon, 1e-3)])
def test_matrices_as_on_the_cpu(kind, tolerance):
    """Muon rounds its products to bfloat16, sums of which are of another order there."""
    pairs = pair(kind, shapes=MATRICES)
    walk(pairs, range(5))
    assert_same(pairs, tolerance)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "kind, settings",
    [
        (AdamW, {}),
        (Adam, {"amsgrad": True}),
        (SGD, {}),
        (SGD, {"momentum": 0.9}),
        (RMSprop, {}),
        (optim.Adagrad, {}),
        (optim.NAdam, {}),
    ],
)
def test_parameters_of_16_bits_have_masters_there_too(kind, settings, dtype):
    pairs = pair(kind, dtype, **settings)
    walk(pairs, range(3))
    for params, _ in pairs:
        params[4].data[:2000] = 0.5  # written by the user: the master follows
    walk(pairs, range(3, 6))
    for (p, state), kind_of in itertools.product(pairs[1][1].state.items(), ["master"]):
        rounded = state[kind_of].to(p.dtype)
        assert state[kind_of].dtype == tg.float32 and bool((rounded == p).all())
    (here, a), (there, b) = pairs
    for p, q in zip(here, there):
        np.testing.assert_allclose(numbers(b.state[q]["master"]), numbers(a.state[p]["master"]),
                                   rtol=1e-5, atol=1e-6)  # fmt: skip


def test_double_precision_and_gaps_take_the_general_path():
    pairs = pair(AdamW, "float64")
    walk(pairs, range(3))
    assert_same(pairs, 1e-12)
    pairs = pair(AdamW)
    for params, _ in pairs:
        params[5].data = params[5].data.t()
    walk(pairs, range(3))
    pairs = pair(AdamW)
    for change in (lambda x: x, lambda x: x.t().contiguous().t(), lambda x: x.contiguous()):
        for params, _ in pairs:
            params[5].grad, params[5].data = None, change(params[5].data)
        walk(pairs, range(3, 6))
        assert_same(pairs, 2e-6)


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_gradients_by_columns_and_with_gaps(kind):
    """In an update, a norm and its clipping."""
    pairs = pair(kind)
    walk(pairs, [0])
    drawn = np.random.default_rng(5).standard_normal((200, 100)).astype(np.float32)
    for change in (lambda x: x[:90].t().contiguous().t(), lambda x: x[:180:2], lambda x: x[20:110]):
        found = []
        for params, optimizer in pairs:
            params[5].grad = None
            params[5].grad = change(tg.from_numpy(drawn.copy()).to(params[5].device))
            found.append(nn.utils.clip_grad_norm_(params, 0.5))
            optimizer.step()
        np.testing.assert_allclose(*map(numbers, found), rtol=1e-6)
        np.testing.assert_allclose(numbers(pairs[1][0][5].grad), numbers(pairs[0][0][5].grad),
                                   rtol=1e-5)  # fmt: skip
        assert_same(pairs, 2e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_is_a_launch_per_table_and_nothing_else(counted, dtype):
    ((_, _), (params, optimizer)) = pairs = pair(AdamW, dtype, [(7,)] * 250)
    walk(pairs[1:], range(2))
    assert counted(optimizer.step) == {"launches": 4, "uploads": 0, "downloads": 0, "waits": 0}
    clip = nn.utils.clip_grad_norm_
    assert counted(clip, params, 0.1) == {"launches": 5, "uploads": 0, "downloads": 0, "waits": 0}


def test_a_step_that_found_an_overflow_changes_nothing():
    pairs = pair(AdamW)
    walk(pairs, range(2))
    before = [[numbers(p) for p in params] for params, _ in pairs]
    for _, optimizer in pairs:
        optimizer.found_inf = tg.tensor(1.0, device=optimizer.param_groups[0]["params"][0].device)
    walk(pairs, [3])
    for (params, optimizer), old in zip(pairs, before):
        assert all(map(np.array_equal, map(numbers, params), old))
        optimizer.take_back()
        optimizer.found_inf = None
    walk(pairs, range(4, 6))
    assert_same(pairs, 2e-6)


def test_a_recorded_step_goes_by_the_count_and_rate_of_its_replay():
    pairs = pair(AdamW)
    walk(pairs, range(2))
    (_, here), (params, there) = pairs
    there.found_inf = tg.tensor(1.0, device="cuda")  # here the launches run while they are recorded
    with arrays.recording_step() as actions:
        there.step()
    there.found_inf = None
    for rate in (0.5, 0.25):
        for _, optimizer in pairs:
            optimizer.param_groups[0]["lr"] = rate
        here.step()
        for action in actions:
            action()
        for plan in there._plans.values():
            for age in plan.ages:
                made = age.parts[0].made
                made.run([p.grad.array for p in age.parts[0].params], (0.0,) * 9, True, None)
    assert_same(pairs, 2e-6)


def test_what_cannot_be_replayed_is_not_recorded():
    (_, (params, optimizer)) = pairs = pair(RMSprop)
    walk(pairs[1:], range(1))
    with arrays.recording_step(), pytest.raises(RuntimeError, match="must be SGD, Adam or AdamW"):
        optimizer.step()
    (_, (params, optimizer)) = pairs = pair(AdamW)
    walk(pairs[1:], range(1))
    params[0].grad = None
    with arrays.recording_step(), pytest.raises(RuntimeError, match="like the one before it"):
        optimizer.step()


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("longest", [0.5, 1e6])
def test_clipping(dtype, norm_type, longest):
    pairs = pair(AdamW, dtype)
    walk(pairs, [0])
    found = [nn.utils.clip_grad_norm_(params, longest, norm_type) for params, _ in pairs]
    tolerance = {"float32": 1e-6, "bfloat16": 1e-6, "float64": 1e-14}[dtype]
    assert found[0].dtype == found[1].dtype == (tg.float64 if dtype == "float64" else tg.float32)
    np.testing.assert_allclose(*map(numbers, found[::-1]), rtol=tolerance)
    for p, q in zip(pairs[0][0], pairs[1][0]):
        atol = 1e-2 if dtype == "bfloat16" else tolerance
        np.testing.assert_allclose(numbers(q.grad), numbers(p.grad), rtol=1e-2, atol=atol)


def test_a_norm_that_is_not_finite_is_waited_for_only_if_it_is_an_error(counted):
    (_, (params, _)) = pairs = pair(AdamW)
    walk(pairs[1:], [0])
    params[4].grad[7] = float("nan")
    with pytest.raises(RuntimeError, match="the norm must be finite, got nan"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert bool(params[0].grad.isfinite().all())
    assert counted(nn.utils.clip_grad_norm_, params, 1.0)["waits"] == 0
    assert bool(params[0].grad.isnan().all())  # as PyTorch does


def test_a_norm_of_more_chunks_than_a_block_has_threads():
    ones = [tg.ones(1, device="cuda") for _ in range(700)]
    assert nn.utils.get_total_norm(ones).item() == pytest.approx(700**0.5, rel=1e-6)
    assert nn.utils.get_total_norm([]).item() == 0


def test_columns_mixed_types_and_no_gradient():
    pairs = pair(AdamW)
    walk(pairs, [0])
    for params, _ in pairs:
        params[0].grad = None
        params[5].grad = tg.from_numpy(np.asfortranarray(params[5].grad.cpu().numpy())).to(
            params[5].device
        )
        params[4].data = params[4].data.bfloat16()
        params[4].grad = tg.ones(4099, device=params[4].device).bfloat16()
    found = [nn.utils.clip_grad_norm_(params, 0.5) for params, _ in pairs]
    np.testing.assert_allclose(*map(numbers, found), rtol=1e-6)
    for p, q in zip(pairs[0][0], pairs[1][0]):
        if p.grad is not None:
            np.testing.assert_allclose(numbers(q.grad), numbers(p.grad), rtol=1e-2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_scaler_divides_all_gradients_and_waits_once(counted, dtype):
    pairs = pair(AdamW, dtype)
    for bad in (False, True):
        walk(pairs, [0])
        scalers = [tg.amp.GradScaler("cpu", init_scale=4.0) for _ in pairs]
        before = [[numbers(p) for p in params] for params, _ in pairs]
        for scaler, (params, optimizer) in zip(scalers, pairs):
            expected = [numbers(p.grad) / 4 for p in params]
            if bad:
                params[4].grad[3] = float("inf")
            scaler.unscale_(optimizer)
            if not bad:
                assert all(map(np.array_equal, map(numbers, [p.grad for p in params]), expected))
        found = counted(scalers[1].step, pairs[1][1])
        assert found["downloads"] == 1 and found["uploads"] == 0 or dtype == "float64"
        scalers[0].step(pairs[0][1])
        for scaler, (params, _), old in zip(scalers, pairs, before):
            stayed = all(map(np.array_equal, map(numbers, params), old))
            scaler.update()
            assert stayed == bad and scaler.get_scale() == (2.0 if bad else 4.0)


def test_zeros_in_place_of_gradients():
    (_, (params, optimizer)) = pairs = pair(AdamW)
    walk(pairs[1:], [0])
    optimizer.zero_grad(set_to_none=False)
    assert all(bool((p.grad == 0).all()) for p in params)


# ---------------------------------------------------------------- a training

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16}


def trainer_on(device, dtype="float32", **changes):
    numbers = {**SHAPE, "batch_size": 4, "warmup_iters": 3, "eval_iters": 2, **changes}
    config = TrainConfig(learning_rate=1e-2, grad_clip=0.5, **numbers)
    tg.manual_seed(1)
    model = GPT(GPTConfig(vocab_size=10, **SHAPE)).to(device).to(getattr(tg, dtype))
    tokens = np.random.default_rng(0).integers(0, 10, 2000)
    return Trainer(model, split_tokens(tokens, config), config)


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2}])
def test_a_training_there_is_the_one_here(changes):
    found = []
    for device in ("cpu", "cuda"):
        trainer = trainer_on(device, **changes)
        found += [[trainer.update() for _ in range(4)], trainer.evaluate()]
    for here, there in zip(found[0], found[2]):
        assert there == pytest.approx(here, rel=1e-4)
    assert found[3] == pytest.approx(found[1], rel=1e-4)


class Line(nn.Module):
    """A model whose passes need no wait on any device: what is counted is the trainer's own."""

    configure_optimizers = GPT.configure_optimizers

    def __init__(self):
        super().__init__()
        self.lm_head = nn.Linear(4, 4)

    def forward(self, x, y):
        both = (x + y).to(self.lm_head.weight.dtype)
        return None, (self.lm_head.weight * both.mean() - self.lm_head.bias).square().mean()


def line_trainer(dtype, **changes):
    config = TrainConfig(eval_iters=3, block_size=8, **changes)
    tg.manual_seed(1)
    tokens = split_tokens(np.arange(100) % 7, config)
    return Trainer(Line().cuda().to(getattr(tg, dtype)), tokens, config)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("passes", [1, 3])
def test_a_training_step_waits_once_and_an_evaluation_once_per_split(counted, dtype, passes):
    trainer = line_trainer(dtype, gradient_accumulation_steps=passes)
    trainer.update()
    found = counted(trainer.update)
    assert found["downloads"] == found["waits"] == 1 and found["uploads"] == 2 * passes  # x and y
    found = counted(trainer.evaluate)
    assert found["downloads"] == found["waits"] == 2 and found["uploads"] == 2 * 2 * 3


@pytest.mark.parametrize("make", [
    lambda: trainer_on("cuda"), lambda: line_trainer("float32"), lambda: line_trainer("bfloat16")
])  # fmt: skip
def test_a_training_goes_on_where_it_was_saved_bit_for_bit(make):
    first, second = make(), make()
    for _ in range(2):
        first.update()
    weights = {name: t.detach().clone() for name, t in first.model.state_dict().items()}
    kept, meta = first.state()
    kept = {name: a.copy() for name, a in kept.items()}
    expected = [first.update() for _ in range(2)]
    second.model.load_state_dict(weights)
    second.load_state(kept, meta)
    assert [second.update() for _ in range(2)] == expected


@pytest.mark.parametrize("hook, words", [
    (lambda g: g * float("nan"), "first in the gradient of transformer.h.0.ln_2.weight"),
    (lambda g: g * 0 + 1e30, "first in the norm over all parameters"),
])  # fmt: skip
def test_what_is_not_finite_has_changed_nothing(hook, words):
    trainer = trainer_on("cuda")
    trainer.update()
    handle = trainer.model.transformer.h[0].ln_2.weight.register_hook(hook)
    before = [numbers(p) for p in trainer.model.parameters()]
    kept = {name: a.copy() for name, a in trainer.state()[0].items() if "optimizer" in name}
    steps = trainer.state()[1]["optimizer"]
    with pytest.raises(NotFinite, match=words):
        trainer.update()
    assert all(map(np.array_equal, map(numbers, trainer.model.parameters()), before))
    after, meta = trainer.state()
    assert all(np.array_equal(after[name], a) for name, a in kept.items())
    assert meta["optimizer"] == steps and meta["step"] == 1
    handle.remove()
    trainer.optimizer.zero_grad()
    trainer.update()
