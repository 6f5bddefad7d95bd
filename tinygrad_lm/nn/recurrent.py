"""Recurrent layers: the steps of `cells` over time, in layers and directions, as compositions of
recorded ops. The formulas of a step are in `cells.py`."""

from __future__ import annotations

import warnings
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Dtype
from ..engine.pytorch.joining import cat, stack
from . import functional as F
from .cells import Recurrent, State, gru, lstm

# Shapes: T time, B batch, I input, C hidden size, L layers, W directions (1 or 2), G gates.


class _Layer(Recurrent):
    """All time steps, in one or more layers, in one or two directions."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        nonlinearity: str = "tanh",
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__(input_size, hidden_size, bias, nonlinearity)
        if dropout and num_layers == 1:
            warnings.warn(
                f"[{type(self).__name__}] dropout acts between layers, and there is one",
                stacklevel=3,
            )
        self.num_layers, self.batch_first = num_layers, batch_first
        self.dropout, self.bidirectional = float(dropout), bidirectional
        self.suffixes = [
            [f"_l{n}{way}" for way in ("", "_reverse")[: 1 + bidirectional]]
            for n in range(num_layers)
        ]
        for n, layer in enumerate(self.suffixes):
            for suffix in layer:
                inputs = hidden_size * (1 + bidirectional) if n else input_size
                self._add_weights(suffix, inputs, device, dtype)
        self.reset_parameters()

    def flatten_parameters(self) -> None:
        """Nothing to do: PyTorch's hint for cuDNN."""

    def forward(
        self, input: Tensor, hx: Tensor | State | None = None
    ) -> tuple[Tensor, Tensor | State]:
        """input (T, B, I), or (B, T, I) if batch_first, or (T, I); hx (L W, B, C), a pair of them
        for LSTM, zeros if left out. Returns the last layer's output (..., W C) and the last hx."""
        batched = input.ndim == 3
        if not batched:
            input = input.unsqueeze(1)
            if hx is not None:
                hx = tuple(h.unsqueeze(1) for h in (hx if isinstance(hx, tuple) else (hx,)))
        elif self.batch_first:
            input = input.transpose(0, 1)
        ways = 1 + self.bidirectional
        shape = (self.num_layers * ways, input.shape[1], self.hidden_size)
        start = self._start(input, hx, shape)
        x, last = input, []
        for n, layer in enumerate(self.suffixes):
            outputs = []
            for way, suffix in enumerate(layer):
                state = tuple(h[n * ways + way] for h in start)
                output, state = self._run(x, state, suffix, backwards=way == 1)
                outputs.append(output)
                last.append(state)
            x = cat(outputs, -1) if ways == 2 else outputs[0]
            if n < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        states = tuple(stack(several) for several in zip(*last))
        if not batched:
            x, states = x.squeeze(1), tuple(h.squeeze(1) for h in states)
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, states if self.states == 2 else states[0]

    def _run(self, x: Tensor, state: State, suffix: str, backwards: bool) -> tuple[Tensor, State]:
        """One layer in one direction: (T, B, I) to (T, B, C) and the last state."""
        w_ih, w_hh, b_ih, b_hh = (
            getattr(self, name + suffix)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        inputs = F.linear(x, w_ih, b_ih).unbind(0)  # T times (B, G C), in one product
        outputs = []
        for gates in reversed(inputs) if backwards else inputs:
            state = self.step(gates, F.linear(state[0], w_hh, b_hh), state)
            outputs.append(state[0])
        return stack(outputs[::-1] if backwards else outputs), state

    def extra_repr(self) -> str:
        shown = [str(self.input_size), str(self.hidden_size)]
        for name, usual in (
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
        ):
            if getattr(self, name) != usual:
                shown.append(f"{name}={getattr(self, name)}")
        return ", ".join(shown)


class RNN(_Layer):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        **how: Any,
    ):
        rest = (bias, batch_first, dropout, bidirectional)
        super().__init__(
            input_size, hidden_size, num_layers, *rest, nonlinearity=nonlinearity, **how
        )


class LSTM(_Layer):
    """c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'), with the gates i, f, g, o."""

    gates, states, step = 4, 2, staticmethod(lstm)


class GRU(_Layer):
    """h' = (1 - z) n + z h with the reset gate r inside n = tanh(x_n + r h_n)."""

    gates, step = 3, staticmethod(gru)
