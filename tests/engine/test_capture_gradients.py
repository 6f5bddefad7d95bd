"""In a replay an optimizer sees the gradients that it saw when the step was recorded, in whatever
order a step makes, uses and forgets them."""

import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.nn import functional as F


def forgetting_last(loss, model, optimizer):
    loss().backward()
    optimizer.step()
    optimizer.zero_grad()


def twice(loss, model, optimizer):
    """The second time the layers get their gradients in another order, and are of one size."""
    for again in range(2):
        optimizer.zero_grad()
        (loss() if again else model[4](model[0](X)).square().mean()).backward()
        optimizer.step()


def a_step_aside_first(loss, model, optimizer):  # as sharpness-aware minimization does
    optimizer.zero_grad()
    loss().backward()
    aside = [p.grad * 0.05 for p in model.parameters()]
    with tg.no_grad():
        for p, d in zip(model.parameters(), aside):
            p.add_(d)
    optimizer.zero_grad()
    loss().backward()
    with tg.no_grad():
        for p, d in zip(model.parameters(), aside):
            p.sub_(d)
    optimizer.step()


def stepping_first(loss, model, optimizer):
    optimizer.step()
    optimizer.zero_grad()
    loss().backward()


def a_gradient_after_the_step(loss, model, optimizer):
    optimizer.zero_grad()
    model[0](X).square().mean().backward()
    optimizer.step()
    loss().backward()


X = tg.randn(5, 6)
ORDERS = [forgetting_last, twice, a_step_aside_first, stepping_first, a_gradient_after_the_step]


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)
def test_an_optimizer_sees_in_a_replay_what_it_saw(order, kind):
    found = []
    for captured in (False, True):
        tg.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)
        )
        optimizer = getattr(tg.optim, kind)(model.parameters(), lr=0.1)

        def step(y, model=model, optimizer=optimizer):
            order(lambda: F.mse_loss(model(X), y), model, optimizer)

        run = tg.capture(step, 1) if captured else step
        for i in range(6):
            run(tg.full((5, 6), 0.1 * i))
            found.append([p.array.tobytes() for p in model.parameters()])
            found.append(
                [p.grad is not None and p.grad.array.tobytes() for p in model.parameters()]
            )
    assert found[:12] == found[12:]


def test_gradients_from_outside_are_not_forgotten_silently():
    w = tg.ones(2, requires_grad=True)
    optimizer = tg.optim.SGD([w], lr=0.1)

    def step():
        (w * 3).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    fast = tg.capture(step, 1)
    for _ in range(3):
        fast()
    (w * 5).sum().backward()
    with pytest.raises(RuntimeError, match="must not add to other gradients"):
        fast()
