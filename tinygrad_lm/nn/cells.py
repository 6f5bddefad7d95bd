"""One step of recurrent networks: the step functions, and the cells that hold their weights (Elman,
1990; LSTM: Hochreiter and Schmidhuber, 1997; GRU: Cho et al., 2014). `recurrent` runs the same
steps over time.

Gates are stacked in the rows of the weights in PyTorch's order: i, f, g, o and r, z, n.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..engine.core.tensor import Tensor
from ..engine.pytorch import creation
from ..engine.pytorch.common import Device, Dtype
from . import functional as F
from . import init
from .layers import new
from .module import Module

# Shapes: B batch, I input, C hidden size, G gates.

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State], State]


def elman(x: Tensor, recurrent: Tensor, state: State) -> State:
    return ((x + recurrent).tanh(),)


def elman_relu(x: Tensor, recurrent: Tensor, state: State) -> State:
    return ((x + recurrent).relu(),)


def lstm(x: Tensor, recurrent: Tensor, state: State) -> State:
    i, f, g, o = (x + recurrent).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru(x: Tensor, recurrent: Tensor, state: State) -> State:
    xr, xz, xn = x.chunk(3, -1)
    hr, hz, hn = recurrent.chunk(3, -1)
    r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    n = (xn + r * hn).tanh()
    return (n + z * (state[0] - n),)


ELMAN = {"tanh": elman, "relu": elman_relu}


class Recurrent(Module):
    """What layers and cells share: sizes, weights, and states given or zero."""

    gates, states = 1, 1
    step: Step = staticmethod(elman)

    def __init__(self, input_size: int, hidden_size: int, bias: bool, nonlinearity: str):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        if self.gates == 1:
            if nonlinearity not in ELMAN:
                raise ValueError(
                    f"[RNN] nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}"
                )
            self.nonlinearity, self.step = nonlinearity, ELMAN[nonlinearity]

    def _add_weights(self, suffix: str, inputs: int, device: Device, dtype: Dtype) -> None:
        rows = self.gates * self.hidden_size
        for name, size in (
            ("weight_ih", (rows, inputs)),
            ("weight_hh", (rows, self.hidden_size)),
            ("bias_ih", (rows,)),
            ("bias_hh", (rows,)),
        ):
            made = new(*size, device=device, dtype=dtype)
            wanted = self.bias or not name.startswith("bias")
            self.register_parameter(name + suffix, made if wanted else None)

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _inputs(self, x: Tensor, suffix: str) -> Tensor:
        """What the input gives to the gates, (..., G C)."""
        held = self._parameters
        return F.linear(x, held["weight_ih" + suffix], held["bias_ih" + suffix])  # type: ignore

    def _advance(self, inputs: Tensor, state: State, suffix: str) -> State:
        held = self._parameters
        recurrent = F.linear(state[0], held["weight_hh" + suffix], held["bias_hh" + suffix])  # type: ignore
        return self.step(inputs, recurrent, state)

    def _start(self, input: Tensor, hx: Tensor | State | None, shape: tuple) -> State:
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"[{type(self).__name__}] the last size of the input must be {self.input_size}, "
                f"got {tuple(input.shape)}"
            )
        if hx is None:
            return (creation.zeros(shape, dtype=input.dtype, device=input.device),) * self.states
        given = hx if isinstance(hx, tuple) else (hx,)
        if len(given) != self.states or any(h.shape != shape for h in given):
            raise RuntimeError(
                f"[{type(self).__name__}] the state must be {self.states} of shape {shape}, "
                f"got {[tuple(h.shape) for h in given]}"
            )
        return given


class _Cell(Recurrent):
    """One time step: forward(input (B, I), hx (B, C)); without the batch axis too."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__(input_size, hidden_size, bias, nonlinearity)
        self._add_weights("", input_size, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor, hx: Tensor | State | None = None) -> Tensor | State:
        state = self._start(input, hx, (*input.shape[:-1], self.hidden_size))
        state = self._advance(self._inputs(input, ""), state, "")
        return state if self.states == 2 else state[0]

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
        relu = self.gates == 1 and self.nonlinearity != "tanh"
        return shown + (f", nonlinearity={self.nonlinearity}" if relu else "")


class RNNCell(_Cell):
    """One step of `RNN`."""


class LSTMCell(_Cell):
    """One step of `LSTM`: hx and the result are pairs (h, c)."""

    gates, states, step = 4, 2, staticmethod(lstm)


class GRUCell(_Cell):
    """One step of `GRU`."""

    gates, step = 3, staticmethod(gru)
