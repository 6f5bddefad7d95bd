"""The streams of random numbers of GPUs, one for each, under PyTorch's names. Dropout and
`multinomial` draw from them; where no generator is given, tensors that are made of random numbers
have the CPU's."""

from __future__ import annotations

import secrets

from ...engine import arrays
from ...engine.core.tensor import Tensor, wrap
from ...engine.random import philox


def _stream(device: int | str | arrays.device | None) -> philox.Philox:
    cp = arrays.cupy()
    if isinstance(device, int):
        return philox.stream(device)
    index = None if device is None else arrays.device(device).index
    return philox.stream(cp.cuda.Device().id if index is None else index)


def manual_seed(seed: int) -> None:
    """Restart the stream of the current GPU; without one, nothing happens."""
    if arrays.cuda_is_available():
        _stream(None).manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Restart the streams of all GPUs; without any, nothing happens."""
    philox.seed_all(int(seed))


def seed() -> None:
    """Restart the stream of the current GPU from the operating system's entropy."""
    manual_seed(secrets.randbits(64))


def seed_all() -> None:
    """Restart the streams of all GPUs from the operating system's entropy."""
    manual_seed_all(secrets.randbits(64))


def initial_seed() -> int:
    """The seed that the stream of the current GPU was last started from."""
    return _stream(None).initial_seed()


def get_rng_state(device: int | str | arrays.device = "cuda") -> Tensor:
    """Seed and offset of a GPU's stream, as uint8."""
    return wrap(_stream(device).get_state())


def set_rng_state(new_state: Tensor, device: int | str | arrays.device = "cuda") -> None:
    """Continue from what `get_rng_state` returned."""
    _stream(device).set_state(new_state.numpy())


def get_rng_state_all() -> list[Tensor]:
    count = arrays.cupy().cuda.runtime.getDeviceCount() if arrays.cuda_is_available() else 0
    return [get_rng_state(i) for i in range(count)]


def set_rng_state_all(new_states: list[Tensor]) -> None:
    for i, state in enumerate(new_states):
        set_rng_state(state, i)
