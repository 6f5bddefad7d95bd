"""The programs that are timed on a CPU and on a GPU, each written once in PyTorch's vocabulary and
run with either module. Unlike those of works.py they read nothing: a step returns its loss as a
tensor, and its batches lie on the device already. Parameters and batches are drawn on the CPU, so
that both modules and both devices compute the same numbers. Training steps are here, single ops and
transfers in device_ops.py, text in writers.py; sweeps.py lists them all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from works import Size, gpt_class

PROGRAMS = 2  # grows where losses change: those of other programs are not compared
BATCHES = 4  # drawn beforehand, used in turn
COMPILED = {"compiled": None, "reduced": "reduce-overhead"}  # our name -> mode of torch.compile


class Built(NamedTuple):
    """A program: step(*batch) -> loss, its batches, and what it is made of."""

    step: Callable
    batches: list[tuple]
    tokens: int = 0  # of a step
    flops: float = 0.0
    moved: float = 0.0  # bytes


@dataclasses.dataclass(frozen=True)
class On:
    """Where and in which precision: float32, tf32 or bfloat16; compiled by PyTorch or not."""

    torch: Any
    device: str
    dtype: str = "float32"
    mode: str = "eager"  # compiled, reduced: by PyTorch; captured: by us; transfers have their own

    @property
    def theirs(self) -> bool:
        return self.torch.__name__ == "torch"

    def put(self, x: Any) -> Any:
        """A tensor on the device; numbers that are no ids in 16 bits where that is asked for."""
        x = x.to(self.device)
        return x.to(self.torch.bfloat16) if self.dtype == "bfloat16" and floats(x) else x

    def model(self, model: Any) -> Any:
        """PyTorch's users train 16 bits by autocast; our optimisers keep float32 masters."""
        model = model.to(self.device)
        return model.to(self.torch.bfloat16) if self.dtype == "bfloat16" and self.ours else model

    @property
    def ours(self) -> bool:
        return not self.theirs

    def compiled(self, f: Callable) -> Callable:
        if self.ours or self.mode not in COMPILED:
            return f
        return self.torch.compile(f, mode=COMPILED[self.mode])

    def function(self, f: Callable, masters: bool = True) -> Callable:
        """The forward pass, by PyTorch under autocast and compiled, as nanoGPT calls it. Without an
        optimiser that keeps masters, ours runs under autocast, too."""
        torch = self.torch
        f = self.compiled(f)
        if self.dtype != "bfloat16" or (self.ours and masters):
            return f

        def cast(*inputs: Any) -> Any:
            with torch.autocast(self.device, dtype=torch.bfloat16):
                return f(*inputs)

        return cast


def floats(x: Any) -> bool:
    return bool(x.is_floating_point())


def trained(on: On, model: Any, lr: float = 1e-3, clip: float | None = 1.0) -> Callable:
    """One step of the usual loop around a model that returns its loss."""
    torch, loss_of = on.torch, on.function(model)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), fused=True)

    def step(*batch: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*batch)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        return loss.detach()

    return step


# ---------------------------------------------------------------- training steps


def gpt(on: On, size: Size) -> Built:
    torch = on.torch
    torch.manual_seed(1337)
    model = gpt_class(torch)(size)
    batches = []
    for _ in range(BATCHES):
        text = torch.randint(0, size.vocabulary, (size.batch, size.context + 1))
        ids, targets = text[:, :-1].contiguous(), text[:, 1:].contiguous()
        batches.append((ids.to(on.device), targets.to(on.device)))
    return Built(trained(on, on.model(model)), batches, size.tokens, size.flops, size.traffic)


def mlp(on: On, batch: int) -> Built:
    """The network of makemore's second lecture, with its own loop."""
    torch = on.torch
    g = torch.Generator().manual_seed(2147483647)
    shapes = [(27, 10), (30, 200), (200,), (200, 27), (27,)]
    parameters = [torch.randn(shape, generator=g).to(on.device) for shape in shapes]
    for p in parameters:
        p.requires_grad = True
    C, W1, b1, W2, b2 = parameters

    def forward(x: Any, y: Any) -> Any:
        h = torch.tanh(C[x].view(-1, 30) @ W1 + b1)
        return torch.nn.functional.cross_entropy(h @ W2 + b2, y)

    loss_of = on.function(forward, masters=False)

    def step(x: Any, y: Any) -> Any:
        for p in parameters:
            p.grad = None
        loss = loss_of(x, y)
        loss.backward()
        for p in parameters:
            p.data += -0.1 * p.grad
        return loss.detach()

    draw = [
        (torch.randint(0, 27, (batch, 3), generator=g), torch.randint(0, 27, (batch,), generator=g))
        for _ in range(BATCHES)
    ]
    batches = [(x.to(on.device), y.to(on.device)) for x, y in draw]
    return Built(step, batches, batch, 6.0 * batch * (30 * 200 + 200 * 27))


def moons(on: On, points: int) -> Built:
    """micrograd's demo on tensors: two moons, 2-16-16-1, SVM loss and L2."""
    torch, nn = on.torch, on.torch.nn
    torch.manual_seed(1337)
    angle = torch.linspace(0, math.pi, max(1, points // 2))
    upper = torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
    lower = torch.stack([1 - torch.cos(angle), 0.5 - torch.sin(angle)], dim=1)
    X = torch.cat([upper, lower]) + 0.1 * torch.randn(len(upper) * 2, 2)
    y = torch.cat([torch.ones(len(upper)), -torch.ones(len(upper))])
    layers = [nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1)]
    model = nn.Sequential(*layers).to(on.device)
    parameters = list(model.parameters())

    def forward(x: Any, target: Any) -> Any:
        margins = (1 - target * model(x).view(-1)).relu()
        return margins.mean() + 1e-4 * sum((p * p).sum() for p in parameters)

    loss_of = on.function(forward, masters=False)

    def step(x: Any, target: Any) -> Any:
        for p in parameters:
            p.grad = None
        loss = loss_of(x, target)
        loss.backward()
        for p in parameters:
            p.data -= 0.1 * p.grad
        return loss.detach()

    work = 6.0 * points * (2 * 16 + 16 * 16 + 16)
    return Built(step, [(X.to(on.device), y.to(on.device))], points, work)


def rnn(on: On, batch: int) -> Built:
    """makemore's RNN: 27 symbols, 16 positions, 64 wide, the cell called once per position."""
    torch, nn, F = on.torch, on.torch.nn, on.torch.nn.functional
    torch.manual_seed(1337)

    class RNN(nn.Module):
        def __init__(self, width: int = 64):
            super().__init__()
            self.start = nn.Parameter(torch.zeros(1, width))
            self.wte = nn.Embedding(27, width)
            self.xh_to_h = nn.Linear(2 * width, width)
            self.lm_head = nn.Linear(width, 27)

        def forward(self, ids: Any, targets: Any) -> Any:
            emb = self.wte(ids)
            h, hidden = self.start.expand(ids.size(0), -1), []
            for t in range(ids.size(1)):
                h = torch.tanh(self.xh_to_h(torch.cat([emb[:, t, :], h], dim=1)))
                hidden.append(h)
            logits = self.lm_head(torch.stack(hidden, 1))
            return F.cross_entropy(logits.view(-1, 27), targets.view(-1))

    model = on.model(RNN())
    draw = [torch.randint(1, 27, (batch, 17)) for _ in range(BATCHES)]
    batches = [
        (x[:, :-1].contiguous().to(on.device), x[:, 1:].contiguous().to(on.device)) for x in draw
    ]
    work = 6.0 * batch * 16 * (128 * 64 + 64 * 27)
    return Built(trained(on, model, 5e-4, clip=None), batches, 16 * batch, work)
