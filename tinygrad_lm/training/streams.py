"""The random numbers of a run: those of one process, however many ranks there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.arrays import device as Device
from ..engine.pytorch.grad_mode import no_grad
from ..engine.random import philox
from ..engine.random.generator import Generator, default_generator
from ..saving.files import Arrays


class Streams:
    """That of the CPU, and that of a model's GPU, from which its dropout draws."""

    def __init__(self, device: Device) -> None:
        self.all: dict[str, Generator] = {"random": default_generator}
        if device.type == "cuda":
            self.all["random.cuda"] = philox.stream(device.index)
        self._forward: dict[str, int] = {}  # words that a forward pass draws, of each

    def state(self) -> Arrays:
        return {name: stream.get_state() for name, stream in self.all.items()}

    def set_state(self, states: Arrays) -> None:
        for name, stream in self.all.items():
            if name in states:
                stream.set_state(states[name])

    def pass_over(self, forward: Callable[[], Any]) -> None:
        """Draw what another rank's forward pass draws, as much as forward() does, and forget it."""
        if self._forward:
            for name, stream in self.all.items():
                stream.skip(self._forward[name])
        else:  # once it is done in full, to count
            before = self.state()
            with no_grad():
                forward()
            for name, stream in self.all.items():
                self._forward[name] = stream.drawn_since(before[name])
