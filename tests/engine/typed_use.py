"""What a user's type checker has to accept, py.typed being there; checked by `mypy`, never run."""

import tinygrad_lm as tl
from tinygrad_lm import nn, randn
from tinygrad_lm.nn import functional as F


def step(x: tl.Tensor, optimizer: tl.optim.Optimizer) -> float:
    loss: tl.Tensor = F.mse_loss(nn.Linear(2, 3)(x), tl.zeros(1, 3))
    loss.backward()
    optimizer.step()
    both: tl.Tensor = tl.cat([loss.reshape(1), tl.tensor([1.0]).exp()])
    return both.to(tl.float64).mean().item()


print(step(randn(1, 2), tl.optim.SGD([randn(2, requires_grad=True)], lr=0.1)))
