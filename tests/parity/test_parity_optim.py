"""Optimisers and schedules beside PyTorch's: signatures, trajectories, state, and what they print.

Both sides get the same gradients, drawn without either of them. Tolerances are relative to the
largest value, or to 1: the update is the same formula with its operations in another order.
"""

import copy
import inspect
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tinygrad_lm as tg  # noqa: E402
from tinygrad_lm import optim  # noqa: E402
from tinygrad_lm.optim import flat, lr_scheduler  # noqa: E402

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
SHAPES = [(3, 4), (5,), (), (0, 3), (9, 11)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """The last tensor is large and takes two blocks, the others share one."""
    monkeypatch.setitem(flat.SIZES, "cpu", (64, 32))


def options(**choices):
    return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]


DECAY, MAXIMIZE = {"weight_decay": [0, 0.1]}, {"maximize": [False, True]}
BOTH = {"weight_decay": [0.1], "maximize": [True]}
CASES = [
    *[("SGD", o) for o in options(momentum=[0, 0.9], dampening=[0, 0.2], **DECAY, **MAXIMIZE)],
    *[("SGD", o) for o in options(momentum=[0.9], nesterov=[True], **DECAY, **MAXIMIZE)],
    *[("Adam", o) for o in options(amsgrad=[False, True], **DECAY, **MAXIMIZE)],
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "betas": (0.4, 0.6)}),
    *[("AdamW", o) for o in options(amsgrad=[False, True], **DECAY, **MAXIMIZE)],
    ("AdamW", {"betas": (0.0, 0.5), "eps": 1e-2}),
    *[
        ("RMSprop", o)
        for o in options(momentum=[0, 0.9], centered=[False, True], **DECAY, **MAXIMIZE)
    ],
    ("RMSprop", {"alpha": 0.5, "eps": 1e-3}),
    *[("Adagrad", o) for o in options(lr_decay=[0, 0.1], **BOTH)],
    ("Adagrad", {"initial_accumulator_value": 0.5, "eps": 1e-3}),
    *[("Adadelta", o) for o in options(rho=[0.9, 0.5], **BOTH)],
    *[("Adamax", o) for o in options(betas=[(0.9, 0.999), (0.5, 0.6)], **BOTH)],
    *[("NAdam", o) for o in options(decoupled_weight_decay=[False, True], **BOTH)],
    ("NAdam", {"momentum_decay": 0.1, "betas": (0.5, 0.6)}),
    *[("RAdam", o) for o in options(decoupled_weight_decay=[False, True], **BOTH)],
    ("RAdam", {"betas": (0.5, 0.6), "eps": 1e-3}),
    *[("Rprop", o) for o in options(etas=[(0.5, 1.2), (0.1, 3.0)], maximize=[True])],
    ("Rprop", {"step_sizes": (1e-3, 2e-2)}),
    *[("ASGD", o) for o in options(t0=[1e6, 5], **BOTH)],
    ("ASGD", {"lambd": 0.1, "alpha": 0.5}),
]


def pair(name, dtype="float64", shapes=SHAPES, groups=None, **settings):
    """The same parameters and the same optimiser twice: PyTorch's, ours."""
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in shapes]
    theirs = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in arrays]
    ours = [tg.from_numpy(a.copy()).requires_grad_() for a in arrays]
    made = []
    for module, params in ((torch.optim, theirs), (optim, ours)):
        kind = getattr(module, name)
        made.append(kind(groups(params) if groups else params, **settings))
    return (*made, theirs, ours)


BANK = [[np.random.default_rng(s).standard_normal(shape) for shape in SHAPES] for s in range(9)]


def give_gradients(step, theirs, ours):
    for t, p, g in zip(theirs, ours, BANK[step % 9]):
        g = np.asarray(g).astype(p.array.dtype)
        t.grad, p.grad = torch.from_numpy(g.copy()), tg.from_numpy(g)


def assert_close(theirs, ours, tolerance):
    for t, p in zip(theirs, ours):
        expected = t.detach().numpy()
        scale = np.abs(expected).max(initial=1)
        assert p.array.shape == expected.shape and p.array.dtype == expected.dtype
        assert np.abs(p.array - expected).max(initial=0) <= tolerance * scale


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name, settings", CASES)
def test_a_hundred_steps(name, settings, dtype):
    a, b, theirs, ours = pair(name, dtype, lr=1e-2, **settings)
    for step in range(100):
        give_gradients(step, theirs, ours)
        if step % 7 == 3:  # this one rests: its state and count must rest too
            theirs[0].grad = ours[0].grad = None
        for optimizer in (a, b):
            optimizer.param_groups[0]["lr"] = 1e-2 / (1 + step % 3)
            optimizer.step()
    assert_close(theirs, ours, TOLERANCE[dtype])
    state, expected = b.state_dict()["state"], a.state_dict()["state"]
    assert {i: set(kept) for i, kept in state.items()} == {i: set(k) for i, k in expected.items()}
    for i, kept in expected.items():
        for key, value in kept.items():
            assert_close([value], [state[i][key]], 10 * TOLERANCE[dtype])


def test_settings_may_change_between_steps():
    a, b, theirs, ours = pair("AdamW", lr=1e-2)
    for step in range(20):
        give_gradients(step, theirs, ours)
        for optimizer in (a, b):
            beta = 0.5 + step / 100
            optimizer.param_groups[0].update(betas=(beta, 0.9), weight_decay=step / 50, eps=1e-4)
            optimizer.step()
    assert_close(theirs, ours, 1e-12)


def test_groups_and_a_parameter_that_comes_later():
    def groups(params):
        return [{"params": params[:2], "lr": 0.1}, {"params": params[2], "weight_decay": 0.5}]

    a, b, theirs, ours = pair("AdamW", groups=groups, lr=1e-2)
    for step in range(12):
        if step == 5:
            a.add_param_group({"params": theirs[3:], "betas": (0.5, 0.6)})
            b.add_param_group({"params": ours[3:], "betas": (0.5, 0.6)})
        give_gradients(step, theirs, ours)
        a.step()
        b.step()
    assert_close(theirs, ours, 1e-12)
    assert b.state_dict()["param_groups"] == a.state_dict()["param_groups"]


NAMES = sorted({name for name, _ in CASES})


@pytest.mark.parametrize("name", NAMES)
def test_same_signature_defaults_and_repr(name):
    settings = {
        module: {
            k: (p.default, p.kind)
            for k, p in inspect.signature(getattr(module, name)).parameters.items()
        }
        for module in (torch.optim, optim)
    }
    assert settings[optim] == settings[torch.optim]
    a, b, _, _ = pair(name, groups=lambda params: [{"params": params[:2]}, {"params": params[2:]}])
    assert b.state_dict()["param_groups"] == a.state_dict()["param_groups"]
    kept = [{i: set(k) for i, k in o.state_dict()["state"].items()} for o in (a, b)]
    assert kept[1] == kept[0]
    assert repr(b) == repr(a)


GO_ON = [(name, {}) for name in NAMES]


@pytest.mark.parametrize("name, settings", [*GO_ON, CASES[8], ("AdamW", {"amsgrad": True})])
def test_pytorch_state_is_ours(name, settings):
    """A run begun by PyTorch goes on here."""
    a, b, theirs, ours = pair(name, lr=1e-2, **settings)
    for step in range(10):
        if step == 5:
            saved = copy.deepcopy(a.state_dict())
            for kept in saved["state"].values():
                kept.update({k: tg.from_numpy(v.numpy()) for k, v in kept.items()})
            b.load_state_dict(saved)
            for t, p in zip(theirs, ours):
                p.data = tg.from_numpy(t.detach().numpy().copy())
        give_gradients(step, theirs, ours)
        a.step()
        if step >= 5:
            b.step()
    assert_close(theirs, ours, 1e-12)


SCHEDULES = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch + 0.1}),
    ("LambdaLR", {"lr_lambda": [lambda epoch: 1 / (1 + epoch), lambda epoch: 1 + epoch]}),
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [30, 4, 4, 11]}),
    ("MultiplicativeLR", {"lr_lambda": [lambda epoch: 0.9, lambda epoch: 1 - 1 / (epoch + 2)]}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 12}),
    ("PolynomialLR", {"total_iters": 30, "power": 1.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 1e-3}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": [0.1, 0.2], "step_size_up": 5}),
    (
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.1,
            "step_size_up": 4,
            "step_size_down": 7,
            "mode": "triangular2",
            "max_momentum": 0.95,
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": [0.01, 0.02],
            "max_lr": 0.1,
            "step_size_up": 8,
            "gamma": 0.97,
            "mode": "exp_range",
            "cycle_momentum": False,
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.1,
            "step_size_up": 8,
            "scale_mode": "iterations",
            "scale_fn": lambda x: 0.9**x,
        },
    ),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 40}),
    ("ExponentialLR", {"gamma": 0.93}),
    ("CosineAnnealingLR", {"T_max": 20, "eta_min": 1e-3}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 50}),
    ("OneCycleLR", {"max_lr": [0.5, 1], "epochs": 5, "steps_per_epoch": 10, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 60, "pct_start": 0.0, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 55, "pct_start": 1.0, "base_momentum": [0.1, 0.2]}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 50, "cycle_momentum": False, "div_factor": 2.0}),
]


def two_groups(params):
    return [{"params": params[:2], "lr": 0.3}, {"params": params[2:]}]


def same_rates(a, b, theirs, ours, steps=50):
    """Walk both schedules and compare the optimisers they write."""
    for step in range(steps + 1):
        if step:
            a.step()  # without it PyTorch warns
            theirs.step()
            ours.step()
        for x, y in zip(a.param_groups, b.param_groups):
            for key in {"lr", "momentum", "betas"} & x.keys():
                assert y[key] == pytest.approx(x[key], rel=1e-12, abs=1e-15)
        assert ours.get_last_lr() == [group["lr"] for group in b.param_groups]


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("name, settings", SCHEDULES)
def test_fifty_rates(name, settings, optimizer):
    momentum = {"momentum": 0.9} if optimizer == "SGD" else {}
    a, b, _, _ = pair(optimizer, groups=two_groups, lr=0.1, **momentum)
    theirs = getattr(torch.optim.lr_scheduler, name)(a, **settings)
    ours = getattr(lr_scheduler, name)(b, **settings)
    same_rates(a, b, theirs, ours)


def test_fifty_rates_of_a_sequence():
    a, b, _, _ = pair("SGD", groups=two_groups, lr=0.1)
    sequences = []
    for module, optimizer in ((torch.optim.lr_scheduler, a), (lr_scheduler, b)):
        parts = [
            module.LinearLR(optimizer, start_factor=0.1, total_iters=5),
            module.CosineAnnealingLR(optimizer, T_max=20),
            module.StepLR(optimizer, step_size=4),
            module.ExponentialLR(optimizer, gamma=0.9),
            module.LambdaLR(optimizer, lambda epoch: 1 / (epoch + 1)),
        ]
        sequences.append(module.SequentialLR(optimizer, parts, milestones=[5, 17, 30, 41]))
    same_rates(a, b, *sequences)


CHAINS = [
    [("LinearLR", {"start_factor": 0.5, "total_iters": 7}), ("MultiStepLR", {"milestones": [3]})],
    [("ExponentialLR", {"gamma": 0.97}), ("StepLR", {"step_size": 9, "gamma": 0.5})],
    [("CosineAnnealingLR", {"T_max": 8, "eta_min": 1e-3}), ("ExponentialLR", {"gamma": 0.99})],
    [("CosineAnnealingLR", {"T_max": 1}), ("LinearLR", {"end_factor": 0.25})],
    [("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}), ("StepLR", {"step_size": 2})],
]


def chains(settings, a, b, last_epoch=-1):
    return [
        [getattr(module, name)(optimizer, last_epoch=last_epoch, **how) for name, how in settings]
        for module, optimizer in ((torch.optim.lr_scheduler, a), (lr_scheduler, b))
    ]


@pytest.mark.parametrize("settings", [*CHAINS, *[[one] for one in SCHEDULES]])
def test_a_hundred_rates_of_a_chain_that_is_resumed_and_corrected_by_hand(settings):
    """Several schedules step one optimiser, a rate is set by hand, and all go on in new objects."""
    momentum = {"momentum": 0.9}
    a, b, _, _ = pair("SGD", groups=two_groups, lr=0.1, **momentum)
    theirs, ours = chains(settings, a, b)
    steps = 101 if all(name != "OneCycleLR" for name, _ in settings) else 50
    for step in range(steps):
        rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in (a, b)]
        assert rates[1] == pytest.approx(rates[0], rel=1e-12, abs=1e-15)
        assert [s.get_last_lr() for s in ours] == [
            pytest.approx(s.get_last_lr(), rel=1e-12, abs=1e-15) for s in theirs
        ]
        if step == 30:
            a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = 0.25
        if step == 40:
            saved = (
                [o.state_dict() for o in (a, b)],
                [[s.state_dict() for s in c] for c in (theirs, ours)],
            )
            a, b, _, _ = pair("SGD", groups=two_groups, lr=0.1, **momentum)
            theirs, ours = chains(settings, a, b)
            for optimizer, state, chain, states in zip((a, b), saved[0], (theirs, ours), saved[1]):
                optimizer.load_state_dict(state)
                for schedule, kept in zip(chain, states):
                    schedule.load_state_dict(kept)
        a.step()
        for schedule in (*theirs, *ours):
            schedule.step()


@pytest.mark.parametrize("last_epoch", [0, 3, 6])
@pytest.mark.parametrize("name, settings", [s for s in SCHEDULES if s[0] != "OneCycleLR"])
def test_a_schedule_made_in_the_middle(name, settings, last_epoch):
    a, b, _, _ = pair("SGD", groups=two_groups, lr=0.1)
    for optimizer in (a, b):
        for group, lr in zip(optimizer.param_groups, (0.2, 0.4)):
            group["initial_lr"], group["lr"] = group["lr"], lr
    (theirs,), (ours,) = chains([(name, settings)], a, b, last_epoch)
    assert ours.last_epoch == theirs.last_epoch
    same_rates(a, b, theirs, ours, 20)


def test_a_sequence_goes_on_with_a_schedule_of_ones_own():
    """Its `get_lr` goes on from the rate that is there, as do others from one set by hand."""
    sequences = []
    a, b, _, _ = pair("SGD", groups=two_groups, lr=0.1)
    for module, optimizer in ((torch.optim.lr_scheduler, a), (lr_scheduler, b)):

        class Slower(module.LRScheduler):
            def get_lr(self):
                return [group["lr"] * 0.75 for group in self.optimizer.param_groups]

        parts = [
            module.ExponentialLR(optimizer, gamma=0.5),
            Slower(optimizer),
            module.MultiStepLR(optimizer, milestones=[0, 2]),
            module.CosineAnnealingLR(optimizer, T_max=5),
        ]
        sequences.append(module.SequentialLR(optimizer, parts, milestones=[4, 8, 12]))
    same_rates(a, b, *sequences, steps=14)
    a.param_groups[1]["lr"] = b.param_groups[1]["lr"] = 0.5
    for schedule in sequences:
        schedule.step()
    same_rates(a, b, *sequences, steps=14)


@pytest.mark.parametrize("name", sorted({name for name, _ in SCHEDULES} | {"SequentialLR"}))
def test_same_schedule_signature(name):
    theirs, ours = (
        {k: p.default for k, p in inspect.signature(getattr(module, name)).parameters.items()}
        for module in (torch.optim.lr_scheduler, lr_scheduler)
    )
    assert ours == theirs
