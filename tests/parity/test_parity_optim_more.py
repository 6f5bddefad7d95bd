"""What public scripts ask of torch.optim beside steps and rates: jumps of a schedule, schedules of
one's own, metrics, hooks, L-BFGS, optimisers that look at whole matrices, averaged models.
"""

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tinygrad_lm as tg  # noqa: E402

BOTH = (torch, tg)
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of")


def made(library, name="SGD", shapes=((2, 3), (4,)), dtype="float64", groups=None, **settings):
    """Parameters drawn without either library, and their optimiser."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    params = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in arrays]
    if library is tg:
        params = [tg.nn.Parameter(tg.from_numpy(a)) for a in arrays]
    given = [{"params": [p], **g} for p, g in zip(params, groups)] if groups else params
    return params, getattr(library.optim, name)(given, **settings)


def two_groups(library, **settings):
    momentum = {"lr": 0.1, "momentum": 0.9, **settings}
    return made(library, groups=[{"lr": 0.3}, {}], **momentum)[1]


def schedules(library):
    return library.optim.lr_scheduler


def close(a, b, rel=1e-12, abs=1e-15):
    assert b == pytest.approx(a, rel=rel, abs=abs)


# ---------------------------------------------------------------- schedules

RULES = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [3, 3, 11]}),
    ("ConstantLR", {}),
    ("LinearLR", {}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 8, "power": 2}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 1e-3}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 60, "three_phase": True}),
]


@pytest.mark.filterwarnings("ignore:The epoch parameter", "ignore:.step. epoch")
@pytest.mark.parametrize("name, settings", RULES)
def test_a_jump_to_an_epoch_and_on(name, settings):
    jumps = [None, 5, 5, None, 20, 1, None, 0, None, None]
    if name == "CosineAnnealingWarmRestarts":
        jumps += [0.5, 2.75, 3, 9.25, None, 26.5, None]
    seen = []
    for library in BOTH:
        optimizer = two_groups(library)
        schedule = getattr(schedules(library), name)(optimizer, **settings)
        seen.append([])
        for epoch in jumps:
            schedule.step(epoch)
            groups = [g[key] for g in optimizer.param_groups for key in ("lr", "momentum")]
            seen[-1].append([*groups, *schedule.get_last_lr(), schedule.last_epoch])
    for a, b in zip(*seen):
        close(a, b)


def test_a_jump_warns():
    for library in BOTH:
        schedule = schedules(library).StepLR(two_groups(library), 3)
        with pytest.warns(UserWarning, match="epoch"):
            schedule.step(3)


def chain(library, optimizer):
    module = schedules(library)
    parts = [
        module.ConstantLR(optimizer, factor=0.1, total_iters=4),
        module.ExponentialLR(optimizer, gamma=0.95),
        module.MultiplicativeLR(optimizer, lambda epoch: 1 - 0.1 / (epoch + 1)),
    ]
    return module.ChainedScheduler(parts, optimizer=optimizer)


def sequence(library, optimizer):
    module = schedules(library)
    parts = [
        module.LinearLR(optimizer, start_factor=0.1, total_iters=4),
        module.PolynomialLR(optimizer, total_iters=10),
        module.MultiplicativeLR(optimizer, lambda epoch: 0.9),
        module.CosineAnnealingWarmRestarts(optimizer, T_0=3),
        module.CyclicLR(optimizer, base_lr=0.1, max_lr=0.5, step_size_up=3),
        module.ConstantLR(optimizer),
    ]
    return module.SequentialLR(optimizer, parts, milestones=[5, 12, 17, 25, 33])


def chain_in_a_sequence(library, optimizer):
    module = schedules(library)
    first = chain(library, optimizer)
    return module.SequentialLR(optimizer, [first, module.StepLR(optimizer, 3)], milestones=[7])


@pytest.mark.parametrize("make", [chain, sequence, chain_in_a_sequence])
def test_forty_rates_of_several_schedules_resumed(make):
    seen = []
    for library in BOTH:
        optimizer = two_groups(library)
        schedule = make(library, optimizer)
        seen.append([])
        for step in range(40):
            seen[-1].append([g["lr"] for g in optimizer.param_groups] + schedule.get_last_lr())
            if step == 15:
                saved = copy.deepcopy((schedule.state_dict(), optimizer.state_dict()))
                optimizer = two_groups(library)
                schedule = make(library, optimizer)
                schedule.load_state_dict(saved[0])
                optimizer.load_state_dict(saved[1])
            schedule.step()
    for a, b in zip(*seen):
        close(a, b)


MANY = [
    lambda library, o: schedules(library).ReduceLROnPlateau(o),
    lambda library, o: library.optim.swa_utils.SWALR(o, 0.05),
    chain,
    sequence,
    *[lambda lib, o, r=r: getattr(schedules(lib), r[0])(o, **r[1]) for r in RULES],
]


@pytest.mark.parametrize("make", MANY)
def test_what_is_saved_has_pytorchs_names(make):
    """Known there, so that a run can go on here, and the other way round."""
    theirs, ours = (make(library, two_groups(library)).state_dict() for library in BOTH)
    parts = [(theirs, ours), *zip(theirs.get("_schedulers", []), ours.get("_schedulers", []))]
    for a, b in parts:
        assert set(b) == set(a) - {"anneal_func"}
        plain = {k for k, v in a.items() if isinstance(v, (int, float, str, bool, type(None)))}
        assert {k: b[k] for k in plain} == {k: a[k] for k in plain}


def test_a_schedule_of_ones_own():
    """As older scripts write one: from _LRScheduler, with a closed form, asking as they do."""
    seen = []
    for library in BOTH:

        class Warmup(schedules(library)._LRScheduler):
            def __init__(self, optimizer, steps, last_epoch=-1):
                self.steps = steps
                super().__init__(optimizer, last_epoch)

            def get_lr(self):
                assert self._get_lr_called_within_step
                scale = min(1.0, self._step_count / self.steps)
                return [base * scale for base in self.base_lrs]

            def _get_closed_form_lr(self):
                return [base * (1 + self.last_epoch) for base in self.base_lrs]

        optimizer = two_groups(library)
        schedule, rates = Warmup(optimizer, 5), []
        for _ in range(7):
            rates.append([*schedule.get_last_lr(), schedule._step_count, schedule.last_epoch])
            schedule.step()
        with pytest.warns(UserWarning):
            schedule.step(11)
        seen.append([*rates, schedule.get_last_lr()])
    for a, b in zip(*seen):
        close(a, b)


METRICS = [
    1.0,
    0.9,
    0.95,
    0.9,
    0.89995,
    0.91,
    0.8,
    0.9,
    0.9,
    0.9,
    0.9,
    0.9,
    1.2,
    1.3,
    1.4,
    -0.5,
    -0.6,
]
PLATEAUS = [
    {"patience": 1},
    {"patience": 0, "cooldown": 2, "factor": 0.5},
    {"mode": "max", "patience": 2, "threshold": 0.1},
    {"threshold_mode": "abs", "threshold": 0.06, "patience": 1},
    {"mode": "max", "threshold_mode": "abs", "patience": 1, "min_lr": [0.02, 0.005]},
    {"patience": 0, "eps": 0.01, "min_lr": 0.05},
]


@pytest.mark.parametrize("settings", PLATEAUS)
def test_reduce_on_plateau(settings):
    seen = []
    for library in BOTH:
        optimizer = two_groups(library)
        make = schedules(library).ReduceLROnPlateau
        schedule = make(optimizer, **settings)
        seen.append([])
        for step, metric in enumerate(METRICS):
            if step == 6:
                saved, schedule = schedule.state_dict(), make(optimizer)
                schedule.load_state_dict(saved)
            schedule.step(library.tensor(metric, dtype=library.float64) if step % 2 else metric)
            kept = schedule.num_bad_epochs, schedule.cooldown_counter, schedule.best
            seen[-1].append([*schedule.get_last_lr(), *kept, schedule.last_epoch])
    for a, b in zip(*seen):
        close(a, b)


def test_verbose_of_old_scripts_is_dropped():
    """PyTorch took it until 2.6; now it is an unknown argument there."""
    optimizer = two_groups(tg)
    module = schedules(tg)
    assert module.ReduceLROnPlateau(optimizer, "min", verbose=True).mode == "min"
    assert module.StepLR(optimizer, 3, verbose=True).step_size == 3

    class Own(module.LRScheduler):
        def __init__(self, optimizer, verbose=False):
            self.asked = verbose
            super().__init__(optimizer, -1, verbose)

        def get_lr(self):
            return self.base_lrs

    assert Own(optimizer, verbose=True).asked is True


BAD = [
    "ReduceLROnPlateau(o, factor=1.0)",
    "ReduceLROnPlateau(o, mode='least')",
    "ReduceLROnPlateau(o, threshold_mode='both')",
    "ReduceLROnPlateau(o, min_lr=[0.1])",
    "ReduceLROnPlateau(None)",
    "ConstantLR(o, factor=1.5)",
    "CosineAnnealingWarmRestarts(o, T_0=0)",
    "CosineAnnealingWarmRestarts(o, T_0=3, T_mult=0.5)",
    "CosineAnnealingWarmRestarts(o, T_0=3).step(-1)",
    "CyclicLR(o, 0.1, 0.2, mode='square')",
    "CyclicLR(o, 0.1, [0.2])",
    "OneCycleLR(o, [0.2], total_steps=3)",
    "MultiplicativeLR(o, 3)",
    "ChainedScheduler([])",
    "ChainedScheduler([ReduceLROnPlateau(o)])",
    "SequentialLR(o, [], [])",
    "SequentialLR(o, [ReduceLROnPlateau(o)], [])",
    "ChainedScheduler([StepLR(o, 1), StepLR(other, 1)])",
    "SWALR(o, 0.1, anneal_strategy='step')",
    "SWALR(o, 0.1, anneal_epochs=-1)",
]


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("line", BAD)
def test_the_same_errors(line):
    errors = []
    for library in BOTH:
        space = {**vars(schedules(library)), **vars(library.optim.swa_utils)}
        space.update(o=two_groups(library), other=two_groups(library))
        with pytest.raises((ValueError, TypeError)) as found:
            eval(line, space)
        errors.append(found)
    assert errors[1].type is errors[0].type and str(errors[1].value).startswith("[")


# ---------------------------------------------------------------- hooks


def hooked(library):
    (p, q), optimizer = made(library, lr=0.1)
    calls = []

    def closure():
        calls.append("closure")
        return library.tensor(3.0)

    def pre(opt, args, kwargs):
        calls.append(("pre", opt is optimizer, len(args), sorted(kwargs)))

    def with_closure(opt, args, kwargs):
        return (*args, closure), kwargs

    def saved(opt, state):
        calls.append(("saved", sorted(state)))
        return {**state, "extra": 1}

    def loading(opt, state):
        calls.append(("loading", sorted(state)))
        state["param_groups"][0]["lr"] = 0.5

    optimizer.register_step_pre_hook(pre)
    handle = optimizer.register_step_pre_hook(with_closure)
    optimizer.register_step_post_hook(lambda opt, args, kwargs: calls.append(len(args)))
    optimizer.register_state_dict_pre_hook(lambda opt: calls.append("second"))
    optimizer.register_state_dict_pre_hook(lambda opt: calls.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(saved)
    optimizer.register_load_state_dict_pre_hook(loading)
    optimizer.register_load_state_dict_post_hook(lambda opt: calls.append("loaded"))
    calls.append(float(optimizer.step()))
    handle.remove()
    calls.append(optimizer.step())
    optimizer.load_state_dict(optimizer.state_dict())
    calls.append(optimizer.param_groups[0]["lr"])
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: 3)
    with pytest.raises(RuntimeError):
        optimizer.step()
    return calls


def step_of_ones_own(library):
    class Sign(library.optim.Optimizer):
        def __init__(self, params, lr=0.5):
            super().__init__(params, {"lr": lr})

        @library.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p].setdefault("count", library.zeros(3, 2))
                    self.state[p]["count"] += 1
                    p.add_(p.grad.sign(), alpha=-group["lr"])

    p = library.nn.Parameter(library.tensor([1.0, -2.0]))
    optimizer, calls = Sign([p]), []
    optimizer.register_step_post_hook(lambda *given: calls.append(p.tolist()))
    (p * p).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    return [calls, state["state"][0]["count"].tolist(), optimizer.state[p]["count"].tolist()]


@pytest.mark.parametrize("run", [hooked, step_of_ones_own])
def test_hooks_are_called_as_by_pytorch(run):
    assert run(tg) == run(torch)


# ---------------------------------------------------------------- whole matrices, and L-BFGS


def walk(library, params, optimizer, steps):
    for step in steps:
        rng = np.random.default_rng(step)
        for i, p in enumerate(params):
            g = rng.standard_normal(tuple(p.shape)).astype("float32")
            p.grad = library.from_numpy(g).to(p.dtype)
            if (step, i) == (3, 0):
                p.grad = None
            elif (step, i) == (4, 0):
                p.grad = library.zeros_like(p)
        optimizer.step()


WHOLE = [
    *[("Adafactor", o, 1e-12) for o in ({}, {"weight_decay": 0.1, "maximize": True}, {"d": 2.0})],
    ("Adafactor", {"beta2_decay": -0.5, "eps": (1e-2, 0.5), "lr": 0.3}, 1e-12),
    *[("Muon", o, 2**-6) for o in ({}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw"})],
    ("Muon", {"weight_decay": 0, "ns_steps": 3, "momentum": 0.5}, 2**-6),
]


@pytest.mark.parametrize("name, settings, tolerance", WHOLE)
def test_twenty_steps_of_matrices(name, settings, tolerance):
    """Muon: of what changes, a part is bfloat16's rounding, which differs by the order of sums."""
    shapes = [(3, 4), (20, 7), (5, 5)] + [(2, 3, 4), (5,), ()] * (name == "Adafactor")
    settings = {"lr": 0.01, **settings}
    dtype = "float32" if name == "Muon" else "float64"
    (theirs, a), (ours, b) = (made(lib, name, shapes, dtype, **settings) for lib in BOTH)
    before = [p.detach().numpy().copy() for p in theirs]
    walk(torch, theirs, a, range(10))
    walk(tg, ours, b, range(10))
    assert b.state_dict()["param_groups"] == a.state_dict()["param_groups"]
    for i, kept in a.state_dict()["state"].items():
        mine = b.state_dict()["state"][i]
        assert mine.keys() == kept.keys()
        for key, value in kept.items():
            assert tuple(mine[key].shape) == tuple(value.shape)
            np.testing.assert_allclose(mine[key].numpy(), value.numpy(), 1e-5, 1e-6, err_msg=key)
    a.load_state_dict(as_torch(b.state_dict()))  # there and back
    b.load_state_dict(as_ours(a.state_dict()))
    walk(torch, theirs, a, range(10, 20))
    walk(tg, ours, b, range(10, 20))
    for p, q, old in zip(theirs, ours, before):
        moved = np.abs(p.detach().numpy() - old).max()
        assert moved > 1e-3
        assert np.abs(q.detach().numpy() - p.detach().numpy()).max() <= tolerance * moved


def converted(state, kind, convert):
    if isinstance(state, kind):
        return convert(state)
    if isinstance(state, dict):
        return {k: converted(v, kind, convert) for k, v in state.items()}
    return [converted(v, kind, convert) for v in state] if isinstance(state, list) else state


def as_torch(state):
    return converted(state, tg.Tensor, lambda t: torch.from_numpy(t.numpy().copy()))


def as_ours(state):
    return converted(state, torch.Tensor, lambda t: tg.from_numpy(t.numpy().copy()))


def losses(library, optimizer, params, steps):
    """A bent valley, minimised by closures: every loss that was computed."""
    found = []

    def closure():
        optimizer.zero_grad()
        x, y = params
        loss = ((1 - x[0]) ** 2).sum() + 100 * ((x[1] - x[0] ** 2) ** 2).sum() + (y**4).sum()
        loss.backward()
        found.append(loss.item())
        return loss

    for _ in range(steps):
        found.append(optimizer.step(closure).item())
    return found


SEARCHES = [
    {"lr": 0.01},
    {"lr": 0.05, "max_iter": 6, "history_size": 3},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "max_iter": 7, "history_size": 2},
    {"line_search_fn": "strong_wolfe", "lr": 3.0, "max_eval": 9},
    {"line_search_fn": "strong_wolfe", "lr": 1e-3},
    {"line_search_fn": "strong_wolfe", "tolerance_change": 1e-2, "tolerance_grad": 1e-3},
]


@pytest.mark.parametrize("settings", SEARCHES)
def test_lbfgs_evaluates_what_pytorch_evaluates(settings):
    (theirs, a), (ours, b) = (made(library, "LBFGS", **settings) for library in BOTH)
    want, got = losses(torch, a, theirs, 2), losses(tg, b, ours, 2)
    close(want, got, 1e-6, 1e-12)
    mine, kept = as_torch(b.state_dict()), a.state_dict()
    assert mine["param_groups"] == kept["param_groups"]
    assert mine["state"][0].keys() == kept["state"][0].keys() - {"al"}  # room it works in
    a.load_state_dict(mine)
    b.load_state_dict(as_ours(a.state_dict()))
    for p, q in zip(theirs, ours):
        p.data = torch.from_numpy(q.detach().numpy().copy())
    close(losses(torch, a, theirs, 1), losses(tg, b, ours, 1), 1e-6, 1e-12)


def test_what_optimisers_refuse():
    p = tg.ones(3, requires_grad=True)
    rows = [
        (
            ValueError,
            lambda o: o.LBFGS([{"params": p}, {"params": tg.ones(2, requires_grad=True)}]),
        ),
        (ValueError, lambda o: o.Muon([p])),
        (ValueError, lambda o: o.Rprop([p], etas=(1.5, 0.5))),
        (ValueError, lambda o: o.Adadelta([p], rho=1.5)),
        (ValueError, lambda o: o.Adagrad([p], lr_decay=-1)),
        (ValueError, lambda o: o.Adafactor([p], d=0.5)),
        (ValueError, lambda o: o.Adafactor([p], eps=(None, -1.0))),
        (ValueError, lambda o: o.NAdam([p], momentum_decay=-1)),
        (RuntimeError, lambda o: o.Adamax([p], differentiable=True)),
        (RuntimeError, lambda o: o.LBFGS([p], line_search_fn="armijo")),
        (NotImplementedError, lambda o: o.SparseAdam([p])),
    ]
    for error, make in rows:
        with pytest.raises(error, match=r"^\["):
            make(tg.optim)


# ---------------------------------------------------------------- averaged models


def network(library):
    nn = library.nn
    library.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


AVERAGES = [
    lambda swa: {},
    lambda swa: {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9)},
    lambda swa: {"avg_fn": swa.get_ema_avg_fn(0.8), "use_buffers": True},
    lambda swa: {"multi_avg_fn": swa.get_swa_multi_avg_fn()},
    lambda swa: {"avg_fn": swa.get_swa_avg_fn()},
]


@pytest.mark.parametrize("settings", AVERAGES)
def test_averaged_models(settings):
    x = np.random.default_rng(0).standard_normal((6, 5, 3)).astype("float32")
    states = []
    for library in BOTH:
        swa = library.optim.swa_utils
        model = network(library)
        average = swa.AveragedModel(model, **settings(swa))
        optimizer = library.optim.SGD(model.parameters(), lr=0.1)
        for batch in x:
            optimizer.zero_grad()
            (model(library.from_numpy(batch)) ** 2).mean().backward()
            optimizer.step()
            average.update_parameters(model)
        states.append([average.state_dict()])
        swa.update_bn([(library.from_numpy(b), 0) for b in x], average)
        assert average.training and average.module[1].momentum == 0.1
        average.eval()
        out = average(library.from_numpy(x[0])).detach()
        states[-1] += [average.module[1].state_dict(), {"out": out}]
    for want, got in zip(*states):
        assert list(got) == list(want)
        for key, value in want.items():
            np.testing.assert_allclose(got[key].numpy(), value.numpy(), 1e-5, 1e-6, err_msg=key)
    for library in BOTH:
        swa = library.optim.swa_utils
        with pytest.raises(ValueError):
            swa.get_ema_multi_avg_fn(1.5)
        with pytest.raises(AssertionError):
            swa.AveragedModel(network(library), avg_fn=len, multi_avg_fn=len)


@pytest.mark.parametrize(
    "how", [{}, {"anneal_strategy": "linear", "anneal_epochs": 4}, {"anneal_epochs": 0}]
)
def test_swalr(how):
    seen = []
    for library in BOTH:
        optimizer = two_groups(library)
        schedule = library.optim.swa_utils.SWALR(optimizer, swa_lr=[0.05, 0.5], **how)
        seen.append([])
        for _ in range(14):
            seen[-1].append(schedule.get_last_lr())
            schedule.step()
    for a, b in zip(*seen):
        close(a, b)
    assert not math.isnan(seen[1][-1][0])
