"""One step of recurrent networks: the step functions, and the cells that hold their weights (Elman,
1990; LSTM: Hochreiter and Schmidhuber, 1997; GRU: Cho et al., 2014). `recurrent` runs the same
steps over time.

Gates are stacked in the rows of the weights in PyTorch's order: i, f, g, o and r, z, n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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


# mode -> (a step, gates, states), under PyTorch's names of modes
MODES: dict[str, tuple[Step, int, int]] = {
    "RNN_TANH": (elman, 1, 1),
    "RNN_RELU": (elman_relu, 1, 1),
    "LSTM": (lstm, 4, 2),
    "GRU": (gru, 3, 1),
}


def elman_mode(nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"[RNN] nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
    return f"RNN_{nonlinearity.upper()}"


class Recurrent(Module):
    """What layers and cells share: sizes, weights, and states given or zero. With proj_size, h has
    that many numbers, W_hr of what a step gives (Sak et al., 2014, arXiv 1402.1128)."""

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, bias: bool, proj_size: int = 0
    ):
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"[RNN] mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.step, self.gates, self.states = MODES[mode]
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.proj_size = proj_size

    def _add_weights(self, suffix: str, inputs: int, device: Device, dtype: Dtype) -> None:
        rows, width = self.gates * self.hidden_size, self.proj_size or self.hidden_size
        for name, size in (
            ("weight_ih", (rows, inputs)),
            ("weight_hh", (rows, width)),
            ("bias_ih", (rows,) if self.bias else None),
            ("bias_hh", (rows,) if self.bias else None),
            ("weight_hr", (width, self.hidden_size) if self.proj_size else None),
        ):
            made = new(*size, device=device, dtype=dtype) if size else None
            self.register_parameter(name + suffix, made)

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _inputs(self, x: Tensor, suffix: str) -> Tensor:
        """What the input gives to the gates, (..., G C)."""
        return F.linear(x, getattr(self, "weight_ih" + suffix), getattr(self, "bias_ih" + suffix))

    def _advance(self, inputs: Tensor, state: State, suffix: str) -> State:
        weight, bias = getattr(self, "weight_hh" + suffix), getattr(self, "bias_hh" + suffix)
        state = self.step(inputs, F.linear(state[0], weight, bias), state)
        if self.proj_size:
            state = F.linear(state[0], getattr(self, "weight_hr" + suffix)), *state[1:]
        return state

    def _start(self, input: Tensor, hx: Tensor | State | None, *before: int) -> State:
        """The states given, or zeros, each of shape (*before, its width)."""
        name = type(self).__name__
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"[{name}] the last size of the input must be {self.input_size}, "
                f"got {tuple(input.shape)}"
            )
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: self.states]
        shapes = [(*before, width) for width in widths]
        if hx is None:
            how: Any = {"dtype": input.dtype, "device": input.device}
            return tuple(creation.zeros(shape, **how) for shape in shapes)
        given = hx if isinstance(hx, (tuple, list)) else (hx,)
        if [tuple(h.shape) for h in given] != shapes:
            raise RuntimeError(
                f"[{name}] the states must have the shapes {shapes}, "
                f"got {[tuple(h.shape) for h in given]}"
            )
        return tuple(given)


class _Cell(Recurrent):
    """One time step: forward(input (B, I), hx (B, C)); without the batch axis too."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__(mode, input_size, hidden_size, bias)
        self._add_weights("", input_size, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor, hx: Tensor | State | None = None) -> Tensor | State:
        if input.ndim not in (1, 2):
            raise ValueError(
                f"[{type(self).__name__}] the input must be (B, I) or (I,), "
                f"got {tuple(input.shape)}"
            )
        state = self._start(input, hx, *input.shape[:-1])
        state = self._advance(self._inputs(input, ""), state, "")
        return state if self.states == 2 else state[0]

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
        usual = getattr(self, "nonlinearity", "tanh") == "tanh"
        return shown if usual else f"{shown}, nonlinearity=relu"


class RNNCell(_Cell):
    """One step of `RNN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__(elman_mode(nonlinearity), input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity


class LSTMCell(_Cell):
    """One step of `LSTM`: hx and the result are pairs (h, c)."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__("LSTM", *args, **kwargs)


class GRUCell(_Cell):
    """One step of `GRU`."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__("GRU", *args, **kwargs)
