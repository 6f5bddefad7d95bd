"""`torch.random`: the default generator's functions under PyTorch's path, and `fork_rng`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..engine.pytorch.random import get_rng_state, set_rng_state
from ..engine.random.generator import (
    Generator,
    default_generator,
    initial_seed,
    manual_seed,
    seed,
)
from . import cuda

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]


@contextmanager
def fork_rng(
    devices: Iterable[Any] | None = None, enabled: bool = True, **named: Any
) -> Iterator[None]:
    """What is drawn inside leaves the streams outside as they were: the CPU's, and those of the
    GPUs in `devices` (all where left out)."""
    if not enabled:
        yield
        return
    there = range(cuda.device_count()) if devices is None else devices
    before, on_gpus = get_rng_state(), [(i, cuda.get_rng_state(i)) for i in there]
    try:
        yield
    finally:
        set_rng_state(before)
        for device, state in on_gpus:
            cuda.set_rng_state(state, device)
