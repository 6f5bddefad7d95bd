"""PyTorch's path to the GPU: is there one, which one, wait for it. On a machine without, questions
are answered as PyTorch answers them and requests are the engine's one clear error."""

from __future__ import annotations

from typing import Any, TypeAlias

from ...engine import arrays
from . import amp
from .random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)

__all__ = [
    "set_rng_state_all",
    "set_rng_state",
    "seed_all",
    "seed",
    "initial_seed",
    "get_rng_state_all",
    "get_rng_state",
    "amp",
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "is_available",
    "is_bf16_supported",
    "manual_seed",
    "manual_seed_all",
    "memory_allocated",
    "set_device",
    "synchronize",
]

# A GPU's number, its name, or None for the current one.
_Where: TypeAlias = int | str | arrays.device | None


def is_available() -> bool:
    """Whether CuPy is installed and finds a GPU."""
    return arrays.cuda_is_available()


def device_count() -> int:
    return arrays.cupy().cuda.runtime.getDeviceCount() if is_available() else 0


def current_device() -> int:
    return arrays.cupy().cuda.Device().id


def _on(device: _Where) -> Any:
    """CuPy's device object for a number, a name or None (the current one)."""
    cuda = arrays.cupy().cuda
    if device is None:
        return cuda.Device()
    return cuda.Device(device if isinstance(device, int) else arrays.device(device).index or 0)


def set_device(device: _Where) -> None:
    _on(device).use()


def synchronize(device: _Where = None) -> None:
    """Wait until the GPU has done everything it was asked for."""
    _on(device).synchronize()
    for look in arrays.WHEN_READ:
        look()


def get_device_capability(device: _Where = None) -> tuple[int, int]:
    number = _on(device).compute_capability
    return int(number[:-1]), int(number[-1])


def get_device_name(device: _Where = None) -> str:
    properties = arrays.cupy().cuda.runtime.getDeviceProperties(_on(device).id)
    return properties["name"].decode()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the GPU multiplies in bfloat16: from compute capability 8 on."""
    return is_available() and get_device_capability()[0] >= 8


def empty_cache() -> None:
    """Give the memory that CuPy keeps for later back to the GPU."""
    if is_available():
        arrays.cupy().get_default_memory_pool().free_all_blocks()


def memory_allocated(device: _Where = None) -> int:
    """Bytes in use by arrays."""
    return arrays.cupy().get_default_memory_pool().used_bytes() if is_available() else 0
