"""Looking at a model: a table of its layers, what flows through them, where attention looks, and
how the loss answers to the learning rate. All of it leaves the model, its gradients, its optimizer
and the random stream as they were; `viz.py` draws what is measured here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..engine.arrays import to_numpy
from ..engine.core.tensor import Tensor
from ..engine.pytorch.grad_mode import no_grad
from ..engine.random.generator import Generator, default_generator
from ..nn import functional as F
from ..nn.hooks import RemovableHandle
from ..optim import SGD
from ..optim.optimizer import Optimizer


class LearningRates(NamedTuple):
    """What `lr_finder` tried, in order, and the loss before each of these steps."""

    rates: list[float]
    losses: list[float]

    @property
    def width(self) -> int:
        """How many neighbouring losses are averaged: a tenth of them."""
        return max(len(self.losses) // 10, 1)

    def smoothed(self) -> tuple[list[float], list[float]]:
        """(rates, average of the losses around each of them)."""
        means = np.convolve(self.losses, np.ones(self.width) / self.width, mode="valid")
        start = self.width // 2
        return self.rates[start : start + len(means)], means.tolist()

    @property
    def suggestion(self) -> float:
        """The rate around which the average loss was lowest. It is near the edge: take it or less,
        not more."""
        rates, means = self.smoothed()
        return rates[int(np.argmin(means))]


class LayerStats(NamedTuple):
    """One layer: its outputs, the loss's gradient there, both flat, and the share of saturated
    outputs."""

    name: str
    kind: str
    values: np.ndarray
    grads: np.ndarray
    saturated: float


# Where a nonlinearity is flat, so that almost no gradient comes back through it: a test of outputs.
FLAT: dict[type, Callable[[np.ndarray], np.ndarray]] = {
    nn.Tanh: lambda y: np.abs(y) > 0.97,
    nn.Sigmoid: lambda y: np.abs(2 * y - 1) > 0.97,
    nn.ReLU: lambda y: y <= 0,
}


@contextmanager
def unchanged(
    model: nn.Module | Iterable[Tensor],
    generator: Generator | None = None,
    optimizer: Optimizer | None = None,
) -> Iterator[None]:
    """Whatever happens inside, values and gradients of the tensors (a Module's parameters and
    buffers, or those of a list), training modes, the optimizer's state and random streams are the
    same bits afterwards."""
    tensors, modes = _tensors(model), {}
    if isinstance(model, nn.Module):
        modes = {module: module.training for module in model.modules()}
        tensors += list(model.buffers())
    kept = [(t, t.data, t.data.clone(), t.grad) for t in tensors]
    steps = copy.deepcopy(optimizer.state_dict()) if optimizer else {}
    streams = [g for g in (default_generator, generator) if g is not None]
    states = [g.get_state() for g in streams]
    for t in tensors:
        t.grad = None  # so that what is kept above is not added to
    try:
        yield
    finally:
        for t, data, values, grad in kept:
            t.data = data.copy_(values)
            t.grad = grad
        for module, training in modes.items():
            object.__setattr__(module, "training", training)
        if optimizer:
            optimizer.load_state_dict(steps)
        for stream, state in zip(streams, states):
            stream.set_state(state)


@contextmanager
def removed(handles: list[RemovableHandle]) -> Iterator[None]:
    """Hooks are gone afterwards."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(model: nn.Module | Iterable[Tensor]) -> list[Tensor]:
    return list(model.parameters() if isinstance(model, nn.Module) else model)


def lr_finder(
    model: nn.Module | Iterable[Tensor],
    loss: Callable[[], Tensor],
    optimizer: Optimizer | None = None,
    low: float = 1e-3,
    high: float = 1.0,
    steps: int = 1000,
    generator: Generator | None = None,
) -> LearningRates:
    """One step with each of `steps` learning rates, evenly spaced in their logarithm from low to
    high (Smith, 2017, "Cyclical learning rates", section 3.3).

    model: a Module or its parameters; loss() gives the loss of the next batch; optimizer: plain SGD
    if left out; generator: what loss() draws from, if not the default one. The search ends early
    where the loss is NaN, infinite or four times its lowest. Everything is put back. ValueError:
    bounds or steps that make no search.
    """
    if not (0 < low < high and steps >= 10):
        raise ValueError(
            f"[lr_finder] needs 0 < low < high and at least 10 steps, got {low}, {high}, {steps}"
        )
    params = _tensors(model)
    optimizer = SGD(params, lr=low) if optimizer is None else optimizer
    rates: list[float] = []
    losses: list[float] = []
    with unchanged(model if isinstance(model, nn.Module) else params, generator, optimizer):
        for rate in np.geomspace(low, high, steps).tolist():
            found = loss()
            value = found.item()
            if not math.isfinite(value) or (losses and value > 4 * max(min(losses), 1e-3)):
                break
            rates.append(rate)
            losses.append(value)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
    if not rates:
        raise ValueError("[lr_finder] the loss must be finite at the start; is there a NaN in it?")
    return LearningRates(rates, losses)


def activation_stats(
    model: nn.Module, loss: Callable[[], Tensor], kinds: tuple[type, ...] = tuple(FLAT)
) -> list[LayerStats]:
    """Outputs and output gradients of every layer of the given kinds, in the order of their calls,
    after one loss() and its backward; saturated is 0 for a kind that FLAT does not list."""
    outputs: list[tuple[str, nn.Module, Tensor]] = []

    def watch(name: str, module: nn.Module) -> RemovableHandle:
        def hook(_: nn.Module, args: tuple, out: Tensor) -> None:
            out.retain_grad()
            outputs.append((name, module, out))

        return module.register_forward_hook(hook)

    layers: list[tuple[str, nn.Module]] = list(model.named_modules())
    handles = [watch(name, m) for name, m in layers if isinstance(m, kinds)]
    with unchanged(model), removed(handles):
        loss().backward()
    found = []
    for name, module, out in outputs:
        values = to_numpy(out.detach().array).reshape(-1)
        grads = np.zeros_like(values) if out.grad is None else to_numpy(out.grad.array).reshape(-1)
        flat = FLAT.get(type(module))
        share = float(flat(values).mean()) if flat else 0.0
        found.append(LayerStats(name, type(module).__name__, values, grads, share))
    return found


def summary(model: nn.Module, *inputs: Any) -> str:
    """A table: every module, its parameters, and with `inputs` the shape of its output.

    Tied parameters are counted where they come first, so that the column adds up to the total. The
    inputs go through the model once, in evaluation mode and without a graph.
    """
    shapes: dict[nn.Module, str] = {}

    def watch(module: nn.Module, args: tuple, out: object) -> None:
        first = out[0] if isinstance(out, tuple) else out
        shapes[module] = str(tuple(first.shape)) if isinstance(first, Tensor) else ""

    if inputs:
        handles = [module.register_forward_hook(watch) for module in model.modules()]
        with unchanged(model), removed(handles), no_grad():
            model.eval()(*inputs)
    counted: set[int] = set()
    rows = [("layer", "kind", "output" if inputs else "", "parameters")]
    for name, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in counted]
        counted.update(map(id, own))
        number = sum(p.numel() for p in own)
        label = "  " * (name.count(".") + 1) + name.rpartition(".")[2] if name else "(model)"
        count = f"{number:,}" if number else ""
        rows.append((label, type(module).__name__, shapes.get(module, ""), count))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    wide = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{a:{wide[0]}}  {b:{wide[1]}}  {c:{wide[2]}}  {d:>{wide[3]}}".rstrip()
        for a, b, c, d in rows
    ]
    rule = "-" * max(map(len, lines))
    ending = f"{total:,} parameters, {trained:,} trained"
    return "\n".join([lines[0], rule, *lines[1:], rule, ending])


def attention_maps(model: nn.Module, idx: Tensor) -> list[np.ndarray]:
    """Where a `models.gpt.GPT` looks when it reads idx (B, T): one array (B, H, T, T) per layer,
    row t being the weights with which position t gathers from positions 0 ... t."""
    maps: list[np.ndarray] = []

    def watch(module: Any, args: tuple) -> None:
        q, k, _ = module.c_attn(args[0]).chunk(3, dim=2)  # each (B, T, C)
        B, T, C = q.shape
        q, k = (x.view(B, T, module.n_head, C // module.n_head).transpose(1, 2) for x in (q, k))
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])  # (B, H, T, T)
        hidden = scores.new_ones(T, T).tril() == 0
        maps.append(to_numpy(F.softmax(scores.masked_fill(hidden, -math.inf), dim=-1).array))

    layers = [m for m in model.modules() if hasattr(m, "c_attn") and hasattr(m, "n_head")]
    if not layers:
        raise ValueError("[attention_maps] the model must have attention layers as models.gpt has")
    handles = [layer.register_forward_pre_hook(watch) for layer in layers]
    with unchanged(model), removed(handles), no_grad():
        model.eval()(idx)
    return maps
