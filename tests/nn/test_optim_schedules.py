"""Schedules without PyTorch: nanoGPT's rule, the edges where a naive formula divides by zero, the
first rate, saving, and errors.
"""

import math

import pytest

import tinygrad_lm as tg
from tinygrad_lm.optim import SGD, AdamW
from tinygrad_lm.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
    StepLR,
    WarmupCosine,
    warmup_cosine,
)


def optimizer(lr=0.1, **settings):
    return SGD([tg.ones(2, requires_grad=True)], lr=lr, **settings)


def rates(schedule, steps):
    found = []
    for _ in range(steps):
        found += schedule.get_last_lr()
        schedule.step()
    return found


def nanogpt(it, learning_rate, warmup_iters, lr_decay_iters, min_lr):
    """The rule as its definition says it, in three pieces."""
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    if it > lr_decay_iters:
        return min_lr
    angle = math.pi * (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    return min_lr + 0.5 * (1 + math.cos(angle)) * (learning_rate - min_lr)


def test_warmup_cosine_is_nanogpts_rule():
    for step in range(30):
        found = warmup_cosine(step, lr=6e-4, warmup=7, total=23, min_lr=6e-5)
        assert found == pytest.approx(nanogpt(step, 6e-4, 7, 23, 6e-5), rel=1e-12)
    # by hand: an eighth, the peak, half way, the end, beyond
    settings = {"lr": 1.0, "warmup": 7, "total": 23, "min_lr": 0.5}
    by_hand = {0: 1 / 8, 6: 7 / 8, 7: 1, 15: 0.75, 23: 0.5, 24: 0.5, 1000: 0.5}
    assert {s: warmup_cosine(s, **settings) for s in by_hand} == pytest.approx(by_hand)


@pytest.mark.parametrize("warmup, total", [(0, 0), (0, 1), (1, 0), (5, 5), (6, 5), (0, 9), (9, 0)])
def test_warmup_cosine_has_no_bad_edge(warmup, total):
    found = [warmup_cosine(s, lr=1.0, warmup=warmup, total=total, min_lr=0.0) for s in range(12)]
    assert found[0] > 0 and all(0 <= rate <= 1 for rate in found)
    assert found[-1] == 0
    if warmup >= 1:
        assert found[: warmup - 1] == sorted(found[: warmup - 1])


@pytest.mark.parametrize("name", ["step", "lr", "warmup", "total", "min_lr"])
def test_warmup_cosine_refuses_what_is_negative(name):
    settings = {"step": 1, "lr": 1.0, "warmup": 1, "total": 1, "min_lr": 0.0, name: -1}
    with pytest.raises(ValueError, match=rf"\[warmup_cosine\] {name} must not be negative, got -1"):
        warmup_cosine(**settings)


def test_warmup_cosine_as_a_schedule_keeps_the_groups_apart():
    groups = [{"params": tg.ones(2, requires_grad=True), "lr": lr} for lr in (1.0, 0.5)]
    schedule = WarmupCosine(AdamW(groups), warmup=3, total=10, min_lr=0.1)
    for step in range(14):
        expected = [warmup_cosine(step, lr=lr, warmup=3, total=10, min_lr=0.1) for lr in (1.0, 0.5)]
        assert schedule.get_last_lr() == expected
        assert [group["lr"] for group in schedule.optimizer.param_groups] == expected
        schedule.step()


EDGES = [
    lambda o: LinearLR(o, total_iters=0),
    lambda o: OneCycleLR(o, max_lr=1.0, total_steps=1),
    lambda o: OneCycleLR(o, max_lr=1.0, total_steps=2, pct_start=0.5),  # an up phase of no steps
    lambda o: OneCycleLR(o, max_lr=1.0, total_steps=4, pct_start=0.25, three_phase=True),
    lambda o: OneCycleLR(o, max_lr=1.0, total_steps=9, pct_start=0.0),
    lambda o: OneCycleLR(o, max_lr=1.0, total_steps=9, pct_start=1.0),
    lambda o: CosineAnnealingLR(o, T_max=1),
    lambda o: StepLR(o, step_size=1),
]


@pytest.mark.parametrize("make", EDGES)
def test_no_edge_divides_by_zero_and_the_first_rate_is_not_zero(make):
    schedule = make(optimizer(momentum=0.9))
    steps = getattr(schedule, "total_steps", 5)
    found = rates(schedule, steps)
    assert 0 < found[0] <= 1 and all(math.isfinite(rate) and rate >= 0 for rate in found)


def test_one_cycle_moves_beta1_against_the_rate():
    adam = AdamW([tg.ones(2, requires_grad=True)], betas=(0.9, 0.99))
    schedule = OneCycleLR(adam, max_lr=1.0, total_steps=11, pct_start=0.5)
    seen = []
    for _ in range(11):
        group = adam.param_groups[0]
        seen.append((group["lr"], group["betas"][0]))
        assert group["betas"][1] == 0.99
        schedule.step()
    by_rate = [beta for _, beta in sorted(seen)]
    assert by_rate == sorted(by_rate, reverse=True)
    assert seen[0] == pytest.approx((1 / 25, 0.95))


def make_sequence(o):
    parts = [LinearLR(o, total_iters=3), CosineAnnealingLR(o, T_max=7), StepLR(o, step_size=2)]
    return SequentialLR(o, parts, milestones=[3, 9])


def test_each_part_of_a_sequence_starts_from_its_own_beginning():
    o = optimizer(lr=1.0)
    parts = [ExponentialLR(o, 0.5), ExponentialLR(o, 0.1), ExponentialLR(o, 0.25)]
    schedule = SequentialLR(o, parts, milestones=[3, 5])
    assert rates(schedule, 7) == pytest.approx([1, 0.5, 0.25, 1, 0.1, 1, 0.25])


SAVED = [
    lambda o: WarmupCosine(o, 3, 9),
    lambda o: LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    lambda o: OneCycleLR(o, max_lr=1.0, total_steps=20),
    make_sequence,
]


@pytest.mark.parametrize("make", SAVED)
def test_resume_is_exact(make):
    first = optimizer(momentum=0.9)
    schedule = make(first)
    rates(schedule, 5)
    saved = schedule.state_dict(), first.state_dict()
    assert "optimizer" not in saved[0]
    second = optimizer(momentum=0.9)
    resumed = make(second)
    resumed.load_state_dict(saved[0])
    second.load_state_dict(saved[1])
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"]
    assert rates(resumed, 12) == rates(schedule, 12)


def test_last_epoch_goes_on_where_it_stood():
    first = optimizer()
    schedule = ExponentialLR(first, gamma=0.5)
    rates(schedule, 3)
    again = optimizer()
    with pytest.raises(KeyError, match="initial_lr"):
        ExponentialLR(again, gamma=0.5, last_epoch=2)
    again.load_state_dict(first.state_dict())
    resumed = ExponentialLR(again, gamma=0.5, last_epoch=2)  # made, it is at epoch 3
    assert rates(resumed, 2) == [0.1 * 0.5**3, 0.1 * 0.5**4] == rates(schedule, 2)


def test_a_schedule_of_ones_own():
    class Halves(LRScheduler):
        def get_lr(self):
            return [
                group["initial_lr"] / 2**self.last_epoch for group in self.optimizer.param_groups
            ]

    assert rates(Halves(optimizer(lr=1.0)), 3) == [1, 0.5, 0.25]


BAD = [
    (TypeError, "needs an Optimizer, got int", lambda o: StepLR(3, 1)),
    (ValueError, "step_size must be at least 1, got 0", lambda o: StepLR(o, 0)),
    (ValueError, "T_max must be at least 1", lambda o: CosineAnnealingLR(o, 0)),
    (ValueError, "start_factor must be above 0", lambda o: LinearLR(o, start_factor=0)),
    (ValueError, "end_factor", lambda o: LinearLR(o, end_factor=2)),
    (ValueError, "one for each of 1 groups, got 2", lambda o: LambdaLR(o, [len, len])),
    (ValueError, "needs total_steps, or epochs", lambda o: OneCycleLR(o, 1.0)),
    (ValueError, "at least 1 step, got 0", lambda o: OneCycleLR(o, 1.0, total_steps=0)),
    (ValueError, "pct_start", lambda o: OneCycleLR(o, 1.0, total_steps=5, pct_start=2.0)),
    (ValueError, "'cos' or 'linear'", lambda o: OneCycleLR(o, 1.0, 5, anneal_strategy="exp")),
    (ValueError, "at most 2", lambda o: rates(OneCycleLR(o, 1.0, total_steps=2), 4)),
    (ValueError, "one schedule more", lambda o: SequentialLR(o, [StepLR(o, 1)], [3])),
    (ValueError, "of this optimizer", lambda o: SequentialLR(o, [StepLR(optimizer(), 1)], [])),
]


@pytest.mark.parametrize("error, message, make", BAD)
def test_errors_say_what_must_hold(error, message, make):
    with pytest.raises(error, match=message):
        make(optimizer())
