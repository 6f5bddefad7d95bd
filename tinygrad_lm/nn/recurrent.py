"""Recurrent layers: the steps of `cells` over time, in layers and directions, as compositions of
recorded ops. The formulas of a step are in `cells.py`."""

from __future__ import annotations

import warnings
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Dtype
from ..engine.pytorch.joining import cat, stack
from . import functional as F
from .cells import Recurrent, State, elman_mode
from .parameter import Parameter
from .utils.rnn import PackedSequence

# Shapes: T time, B batch, I input, C hidden size, L layers, W directions (1 or 2), G gates.


class RNNBase(Recurrent):
    """All time steps, in one or more layers, in one or two directions. mode: which step."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device = None,
        dtype: Dtype = None,
    ):
        super().__init__(mode, input_size, hidden_size, bias, proj_size)
        self.mode, self.num_layers, self.batch_first = mode, num_layers, batch_first
        self.dropout, self.bidirectional = dropout, bidirectional
        self._check()
        self.dropout = float(dropout)
        self.suffixes = [
            [f"_l{n}{way}" for way in ("", "_reverse")[: 1 + bidirectional]]
            for n in range(num_layers)
        ]
        for n, layer in enumerate(self.suffixes):
            for suffix in layer:
                inputs = (proj_size or hidden_size) * (1 + bidirectional) if n else input_size
                self._add_weights(suffix, inputs, device, dtype)
        self.reset_parameters()

    def _check(self) -> None:
        """The options, as far as PyTorch looks at them."""
        name = type(self).__name__
        for option, wanted in (
            ("input_size", int), ("hidden_size", int), ("bias", bool), ("batch_first", bool),
        ):  # fmt: skip
            if not isinstance(value := getattr(self, option), wanted):
                raise TypeError(f"[{name}] {option} must be of type {wanted.__name__}, got {value}")
        for option in ("input_size", "hidden_size", "num_layers"):
            if (value := getattr(self, option)) < 1:
                raise ValueError(f"[{name}] {option} must be at least 1, got {value}")
        p, projected = self.dropout, self.proj_size
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise ValueError(f"[{name}] dropout must be a number in 0 ... 1, got {p!r}")
        if not 0 <= projected < self.hidden_size or (projected and self.mode != "LSTM"):
            raise ValueError(
                f"[{name}] proj_size must be in 0 ... hidden_size - 1, and 0 but for LSTM, "
                f"got {projected}"
            )
        if p and self.num_layers == 1:
            warnings.warn(
                f"[{name}] dropout acts between layers, and there is one",
                stacklevel=4,
            )

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction, in PyTorch's order."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        several = [suffix for layer in self.suffixes for suffix in layer]
        found = [[getattr(self, kind + suffix) for kind in kinds] for suffix in several]
        return [[p for p in weights if p is not None] for weights in found]

    def flatten_parameters(self) -> None:
        """Nothing to do: PyTorch's hint for cuDNN."""

    def forward(self, input: Any, hx: Tensor | State | None = None) -> tuple[Any, Any]:
        """input (T, B, I), or (B, T, I) if batch_first, or (T, I), or a PackedSequence; hx
        (L W, B, C), a pair of them for LSTM, zeros if left out. Returns the last layer's output
        (..., W C), packed for packed input, and the last hx."""
        if isinstance(input, PackedSequence):
            data, sizes, order, way_back = input
            numbers = sizes.tolist()
            start = self._start(data, hx, self.num_layers * (1 + self.bidirectional), numbers[0])
            x, states = self._layers(data, _ordered(start, order), numbers)
            output: Any = PackedSequence(x, sizes, order, way_back)
            states = _ordered(states, way_back)
            return output, states if self.states == 2 else states[0]
        if input.ndim not in (2, 3):
            raise ValueError(
                f"[{type(self).__name__}] the input must be (T, B, I) or (T, I), "
                f"got {tuple(input.shape)}"
            )
        batched = input.ndim == 3
        if not batched:
            input = input.unsqueeze(1)
            if hx is not None:
                hx = tuple(h.unsqueeze(1) for h in (hx if isinstance(hx, tuple) else (hx,)))
        elif self.batch_first:
            input = input.transpose(0, 1)
        start = self._start(input, hx, self.num_layers * (1 + self.bidirectional), input.shape[1])
        x, states = self._layers(input, start, None)
        if not batched:
            x, states = x.squeeze(1), tuple(h.squeeze(1) for h in states)
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, states if self.states == 2 else states[0]

    def _layers(self, x: Tensor, start: State, sizes: list[int] | None) -> tuple[Tensor, State]:
        """All layers on (T, B, I), or on packed data (N, I) with the sizes of its steps."""
        ways = 1 + self.bidirectional
        last = []
        for n, layer in enumerate(self.suffixes):
            outputs = []
            for way, suffix in enumerate(layer):
                state = tuple(h[n * ways + way] for h in start)
                output, state = self._run(x, state, suffix, way == 1, sizes)
                outputs.append(output)
                last.append(state)
            x = cat(outputs, -1) if ways == 2 else outputs[0]
            if n < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(stack(several) for several in zip(*last))

    def _run(
        self, x: Tensor, state: State, suffix: str, backwards: bool, sizes: list[int] | None
    ) -> tuple[Tensor, State]:
        """One layer in one direction: (T, B, I) to (T, B, C), or (N, I) to (N, C), and the last
        state. A packed step is one of the first rows only: the others keep their state."""
        inputs = self._inputs(x, suffix)  # (T, B, G C), in one product
        steps = inputs.unbind(0) if sizes is None else inputs.split(sizes)
        outputs = []
        for gates in reversed(steps) if backwards else steps:
            n = gates.shape[0]
            if n == state[0].shape[0]:
                state = self._advance(gates, state, suffix)
            else:
                moved = self._advance(gates, tuple(h[:n] for h in state), suffix)
                state = tuple(cat([new, h[n:]]) for new, h in zip(moved, state))
            outputs.append(state[0] if sizes is None else state[0][:n])
        outputs = outputs[::-1] if backwards else outputs
        return (stack if sizes is None else cat)(outputs), state

    def extra_repr(self) -> str:
        shown = [str(self.input_size), str(self.hidden_size)]
        for name, usual in (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
        ):
            if getattr(self, name) != usual:
                shown.append(f"{name}={getattr(self, name)}")
        return ", ".join(shown)


def _ordered(states: State, order: Tensor | None) -> State:
    return states if order is None else tuple(h.index_select(1, order) for h in states)


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *args: Any,
        **kwargs: Any,
    ):
        mode = elman_mode(nonlinearity)
        super().__init__(mode, input_size, hidden_size, num_layers, *args, **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'), with the gates i, f, g, o."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """h' = (1 - z) n + z h with the reset gate r inside n = tanh(x_n + r h_n)."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__("GRU", *args, **kwargs)
