"""The training steps that are timed, each written once in PyTorch's vocabulary and run with either
module. A work also says which matrix products it consists of, how much arithmetic and memory
traffic that is, and how often it is run."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Step = Callable[[], tuple[float, dict[str, float]]]  # the loss, and seconds by phase


class Watch:
    """Seconds by phase: `watch("forward")` ends the phase that is called so."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.last = time.perf_counter()

    def __call__(self, phase: str) -> None:
        now = time.perf_counter()
        self.phases[phase], self.last = now - self.last, now


class Program(NamedTuple):
    """A training step: `given()` is made outside; `step(watch, *given)` returns the loss, a Tensor,
    and tells the watch which phases end. What it does in Python it may do once and for all."""

    given: Callable[[], tuple]
    step: Callable[..., Any]


def eager(program: Program) -> Step:
    def step() -> tuple[float, dict[str, float]]:
        given = program.given()
        watch = Watch()
        loss = program.step(watch, *given)
        return loss.item(), watch.phases

    return step


def captured(torch: Any, program: Program) -> Step:
    """The same step recorded once and replayed, numbers as Tensors; it has no phases."""
    replay = torch.capture(lambda *given: program.step(Watch(), *given))

    def step() -> tuple[float, dict[str, float]]:
        given = (torch.tensor(x) if isinstance(x, float) else x for x in program.given())
        return replay(*given).item(), {}

    return step


class Product(NamedTuple):
    """A linear layer: x (rows, inputs) @ W.T (inputs, outputs), `times` in a step."""

    rows: int
    inputs: int
    outputs: int
    times: int = 1


# ---------------------------------------------------------------- small networks


def moons(torch: Any, compiled: Callable) -> Program:
    """micrograd's demo: two moons, 100 points, 2-16-16-1, SVM loss and L2, all points each step.
    PyTorch has no `Value`, so both engines run it on tensors."""
    torch.manual_seed(1337)
    angle = torch.linspace(0, math.pi, 50)
    upper = torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
    lower = torch.stack([1 - torch.cos(angle), 0.5 - torch.sin(angle)], dim=1)
    X = torch.cat([upper, lower]) + 0.1 * torch.randn(100, 2)
    y = torch.cat([torch.ones(50), -torch.ones(50)])
    nn = torch.nn
    model = nn.Sequential(
        nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1)
    )
    parameters = list(model.parameters())
    done = 0

    @compiled
    def loss_of() -> Any:
        margins = (1 - y * model(X).view(-1)).relu()
        return margins.mean() + 1e-4 * sum((p * p).sum() for p in parameters)

    def rate() -> tuple[float]:
        nonlocal done
        done += 1
        return (max(0.1, 1.0 - 0.9 * (done - 1) / 100),)

    def step(watch: Watch, rate: Any) -> Any:
        loss = loss_of()
        watch("forward")
        for p in parameters:
            p.grad = None
        loss.backward()
        watch("backward")
        for p in parameters:
            p.data -= rate * p.grad
        watch("update")
        return loss

    return Program(rate, step)


def mlp(torch: Any, compiled: Callable) -> Program:
    """The network of makemore's second lecture (27 characters, 3 of context, 10 numbers each, 200
    hidden, batch 32), with its own loop: gradients set to None, `.data` moved by the slope."""
    g = torch.Generator().manual_seed(2147483647)
    X = torch.randint(0, 27, (200_000, 3), generator=g)
    Y = torch.randint(0, 27, (200_000,), generator=g)
    C = torch.randn((27, 10), generator=g)
    W1, b1 = torch.randn((30, 200), generator=g), torch.randn(200, generator=g)
    W2, b2 = torch.randn((200, 27), generator=g), torch.randn(27, generator=g)
    parameters = [C, W1, b1, W2, b2]
    for p in parameters:
        p.requires_grad = True

    @compiled
    def loss_of(ix: Any) -> Any:
        emb = C[X[ix]]
        h = torch.tanh(emb.view(-1, 30) @ W1 + b1)
        logits = h @ W2 + b2
        return torch.nn.functional.cross_entropy(logits, Y[ix])

    def step(watch: Watch) -> Any:
        loss = loss_of(torch.randint(0, X.shape[0], (32,), generator=g))
        watch("forward")
        for p in parameters:
            p.grad = None
        loss.backward()
        watch("backward")
        for p in parameters:
            p.data += -0.1 * p.grad
        watch("update")
        return loss

    return Program(tuple, step)


def rnn(torch: Any, compiled: Callable) -> Program:
    """makemore's RNN on names: 27 symbols, 16 positions, 64 wide, batch 32, the cell called once
    per position. The names are random; they do not change the time."""
    nn, F = torch.nn, torch.nn.functional
    torch.manual_seed(1337)
    letters = torch.randint(1, 27, (20_000, 16))
    ends = torch.randint(3, 16, (20_000, 1))
    X = letters * (torch.arange(16) < ends)  # after the end: 0 to read, -1 to be left out
    Y = torch.cat([X[:, 1:], X[:, :1] * 0], 1).masked_fill(torch.arange(16) >= ends, -1)

    class RNN(nn.Module):
        def __init__(self, symbols: int = 27, width: int = 64):
            super().__init__()
            self.start = nn.Parameter(torch.zeros(1, width))
            self.wte = nn.Embedding(symbols, width)
            self.xh_to_h = nn.Linear(2 * width, width)
            self.lm_head = nn.Linear(width, symbols)

        def forward(self, ids: Any, targets: Any) -> Any:
            emb = self.wte(ids)
            h, hidden = self.start.expand(ids.size(0), -1), []
            for t in range(ids.size(1)):
                h = torch.tanh(self.xh_to_h(torch.cat([emb[:, t, :], h], dim=1)))
                hidden.append(h)
            logits = self.lm_head(torch.stack(hidden, 1))
            return F.cross_entropy(logits.view(-1, 27), targets.view(-1), ignore_index=-1)

    def batch() -> tuple[Any, Any]:
        ix = torch.randint(0, X.shape[0], (32,))
        return X[ix], Y[ix]

    settings = {"lr": 5e-4, "weight_decay": 0.01, "betas": (0.9, 0.99), "eps": 1e-8}
    step = with_adamw(torch, RNN(), compiled, settings, clip=None)
    return Program(tuple, lambda watch: step(watch, *batch()))


def with_adamw(
    torch: Any, model: Any, compiled: Callable, settings: dict, clip: float | None
) -> Callable:
    """The usual loop around a model that returns its loss: a Program's step, given the batch."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, fused=True, **settings)
    loss_of = compiled(model)

    def step(watch: Watch, ids: Any, targets: Any) -> Any:
        loss = loss_of(ids, targets)
        watch("forward")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        watch("backward")
        if clip:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        watch("update")
        return loss

    return step


# ---------------------------------------------------------------- GPT


@dataclass(frozen=True)
class Size:
    layers: int
    heads: int
    width: int
    context: int
    batch: int
    vocabulary: int = 65
    bias: bool = False
    dropout: float = 0.0
    recompute: bool = False  # blocks are computed again in backward, and keep one activation each

    @property
    def tokens(self) -> int:
        return self.batch * self.context

    @property
    def parameters(self) -> int:
        """Without the table of positions, as nanoGPT counts them for its arithmetic."""
        C = self.width
        layer = 12 * C * C + 2 * C + (11 * C if self.bias else 0)
        return self.vocabulary * C + self.layers * layer + C + (C if self.bias else 0)

    @property
    def products(self) -> list[Product]:
        n, C, L = self.tokens, self.width, self.layers
        layer = [(C, 3 * C), (C, C), (C, 4 * C), (4 * C, C)]
        return [*(Product(n, a, b, L) for a, b in layer), Product(n, C, self.vocabulary)]

    @property
    def flops(self) -> float:
        """Of a step: 6 N + 12 L C T per token."""
        C, L, T = self.width, self.layers, self.context
        return float(self.tokens * (6 * self.parameters + 12 * L * C * T))

    @property
    def traffic(self) -> float:
        """Bytes of a step if every fused op read its inputs and wrote its outputs once: per token
        and layer 101 C numbers (norms 10, linears 48, attention 11, GELU 20, sums 12), around the
        layers the head and the loss; per parameter 10 (weight twice, gradient, AdamW)."""
        C, V = self.width, self.vocabulary
        return 4.0 * (self.tokens * (101 * C * self.layers + 11 * C + 6 * V) + 10 * self.parameters)


def gpt_class(torch: Any) -> Any:
    """A GPT in nanoGPT's form, tied head, dropout in its four places."""
    nn, F = torch.nn, torch.nn.functional
    checkpoint = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint

    class Attention(nn.Module):
        def __init__(self, s: Size):
            super().__init__()
            self.heads, self.width, self.dropout = s.heads, s.width, s.dropout
            self.c_attn = nn.Linear(s.width, 3 * s.width, bias=s.bias)
            self.c_proj = nn.Linear(s.width, s.width, bias=s.bias)
            self.drop = nn.Dropout(s.dropout)

        def forward(self, x: Any) -> Any:
            B, T, C = x.size()
            parts = self.c_attn(x).split(self.width, dim=2)
            q, k, v = (z.view(B, T, self.heads, C // self.heads).transpose(1, 2) for z in parts)
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout, is_causal=True)
            return self.drop(self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C)))

    class Block(nn.Module):
        def __init__(self, s: Size):
            super().__init__()
            self.ln_1 = nn.LayerNorm(s.width, bias=s.bias)
            self.attn = Attention(s)
            self.ln_2 = nn.LayerNorm(s.width, bias=s.bias)
            self.c_fc = nn.Linear(s.width, 4 * s.width, bias=s.bias)
            self.gelu = nn.GELU()
            self.c_proj = nn.Linear(4 * s.width, s.width, bias=s.bias)
            self.drop = nn.Dropout(s.dropout)

        def forward(self, x: Any) -> Any:
            x = x + self.attn(self.ln_1(x))
            return x + self.drop(self.c_proj(self.gelu(self.c_fc(self.ln_2(x)))))

    class GPT(nn.Module):
        def __init__(self, s: Size):
            super().__init__()
            self.recompute = s.recompute
            self.wte = nn.Embedding(s.vocabulary, s.width)
            self.wpe = nn.Embedding(s.context, s.width)
            self.drop = nn.Dropout(s.dropout)
            self.h = nn.ModuleList([Block(s) for _ in range(s.layers)])
            self.ln_f = nn.LayerNorm(s.width, bias=s.bias)
            self.lm_head = nn.Linear(s.width, s.vocabulary, bias=False)
            self.wte.weight = self.lm_head.weight

        def logits_of(self, ids: Any) -> Any:
            positions = torch.arange(ids.size(1), device=ids.device)
            x = self.drop(self.wte(ids) + self.wpe(positions))
            for block in self.h:
                x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
            return self.lm_head(self.ln_f(x))

        def forward(self, ids: Any, targets: Any) -> Any:
            logits = self.logits_of(ids)
            return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    return GPT


def gpt(torch: Any, compiled: Callable, size: Size) -> Program:
    torch.manual_seed(1337)
    model = gpt_class(torch)(size)
    text = torch.randint(0, size.vocabulary, (100_000,))
    T = size.context

    def batch() -> tuple[Any, Any]:
        starts = torch.randint(0, len(text) - T - 1, (size.batch,)).tolist()
        ids = torch.stack([text[i : i + T] for i in starts])
        return ids, torch.stack([text[i + 1 : i + 1 + T] for i in starts])

    settings = {"lr": 1e-3, "betas": (0.9, 0.99)}
    return Program(batch, with_adamw(torch, model, compiled, settings, clip=1.0))


# ---------------------------------------------------------------- the works


@dataclass(frozen=True)
class Work:
    title: str
    turns: tuple[int, int, int, int]  # steps of warm-up, timed steps; processes, turns of each
    agree: tuple[int, float]  # the losses agree after so many steps, to this share
    program: Callable[[Any, Callable], Program] | None = None  # else a GPT
    size: Size | None = None
    small: tuple[Product, ...] = ()  # the products of a program that is no GPT
    captured: bool = False  # is measured as a captured step, too
    settings: dict[str, str] = field(default_factory=dict)  # additions to everyone's environment

    def build(self, torch: Any, compiled: Callable = lambda f: f, capture: bool = False) -> Step:
        if self.program:
            program = self.program(torch, compiled)
        else:
            program = gpt(torch, compiled, self.size)
        return captured(torch, program) if capture else eager(program)

    @property
    def products(self) -> list[Product]:
        return self.size.products if self.size else list(self.small)

    @property
    def flops(self) -> float:
        if self.size:
            return self.size.flops
        return float(sum(6 * p.rows * p.inputs * p.outputs * p.times for p in self.small))


BABY = (6, 6, 384, 256, 64)
# Holds us, PyTorch (its own loops, MKL and oneDNN) and NumPy to AVX2.
NO_AVX512 = {
    "TINYGRAD_LM_ISA": "v3",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
GPT2 = {"vocabulary": 50257, "bias": True}
WORKS = {
    "moons": Work(
        "two moons (micrograd's demo on tensors: 100 points, 2-16-16-1)",
        (100, 200, 2, 8),
        (100, 1e-5),
        moons,
        captured=True,
        small=(Product(100, 2, 16), Product(100, 16, 16), Product(100, 16, 1)),
    ),
    "mlp": Work(
        "the MLP of makemore part 2 (batch 32, `.data` updates)",
        (100, 200, 2, 8),
        (10, 1e-5),
        mlp,
        captured=True,
        small=(Product(32, 30, 200), Product(32, 200, 27)),
    ),
    "rnn": Work(
        "the RNN of makemore on names (16 positions, 64 wide, batch 32)",
        (20, 100, 2, 8),
        (100, 1e-5),
        rnn,
        captured=True,
        small=(Product(32, 128, 64, 16), Product(512, 64, 27)),
    ),
    "gpt-cpu": Work(
        "GPT, nanoGPT's CPU configuration (4 layers, 4 heads, 128 wide, T 64, B 12)",
        (5, 20, 2, 8),
        (25, 1e-5),
        size=Size(4, 4, 128, 64, 12),
        captured=True,
    ),
    "gpt-cpu-avx2": Work(
        "the same, held to AVX2 on both sides",
        (5, 20, 2, 8),
        (25, 1e-5),
        size=Size(4, 4, 128, 64, 12),
        settings=NO_AVX512,
    ),
    "baby-gpt": Work(
        "GPT, nanoGPT's baby GPT without dropout (6 layers, 6 heads, 384 wide, T 256, B 64)",
        (1, 1, 3, 1),
        (2, 1e-4),
        size=Size(*BABY),
    ),
    "baby-gpt-dropout": Work(
        "the same baby GPT with its dropout of 0.2",
        (1, 1, 2, 1),
        (2, 1e-4),
        size=Size(*BABY, dropout=0.2),
    ),
    "gpt2-b1": Work(
        "GPT-2 124M, T 256, B 1",
        (1, 2, 3, 1),
        (3, 1e-4),
        size=Size(12, 12, 768, 256, 1, **GPT2),
    ),
    "gpt2-b4": Work(
        "GPT-2 124M, T 256, B 4",
        (1, 1, 5, 1),
        (2, 1e-4),
        size=Size(12, 12, 768, 256, 4, **GPT2),
    ),
    "gpt2": Work(
        "GPT-2 124M as it is fine-tuned, T 1024, B 1",
        (1, 1, 3, 1),
        (2, 1e-4),
        size=Size(12, 12, 768, 1024, 1, **GPT2),
    ),
    "gpt2-recomputed": Work(
        "the same with gradient checkpointing",
        (1, 1, 3, 1),
        (2, 1e-4),
        size=Size(12, 12, 768, 1024, 1, **GPT2, recompute=True),
    ),
}
