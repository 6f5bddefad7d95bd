"""The GPUs of a machine under PyTorch's names: how many, which is the current one, what they are.
A GPU is named by its number, by "cuda:1", or by nothing: the current one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from ...engine import arrays

# A GPU's number, its name, or None for the current one.
Where: TypeAlias = int | str | arrays.device | None


def number_of(where: Where) -> int:
    """The number of a GPU, which must be there; the engine's one clear error without any."""
    runtime = arrays.cupy().cuda.runtime
    if not isinstance(where, int) and where is not None:
        named = arrays.device(where)
        if named.type != "cuda":
            raise ValueError(f"[cuda] must be a GPU, cuda or cuda:N, got {named}")
        where = named.index
    if where is None:
        return int(runtime.getDevice())
    count = runtime.getDeviceCount()
    if not 0 <= where < count:
        there = "the only one is cuda:0" if count == 1 else f"there are cuda:0 to cuda:{count - 1}"
        raise RuntimeError(f"[cuda] the GPU must be there, got number {where}; {there}")
    return where


def on(where: Where) -> Any:
    """CuPy's object for a GPU."""
    return arrays.cupy().cuda.Device(number_of(where))


class device:
    """Inside, this GPU is the current one: `with cuda.device(1):`. None changes nothing."""

    def __init__(self, device: Where):
        self._where = device
        self.idx = -1 if device is None or device == -1 else number_of(device)

    def __enter__(self) -> None:
        if self.idx >= 0:
            self.prev_idx = current_device()
            set_device(self.idx)

    def __exit__(self, *exc: object) -> None:
        if self.idx >= 0:
            set_device(self.prev_idx)


def is_available() -> bool:
    """Whether CuPy is installed and finds a GPU."""
    return arrays.cuda_is_available()


def is_initialized() -> bool:
    """Whether there is a GPU: CuPy itself is loaded when it is asked for."""
    return is_available()


def device_count() -> int:
    return arrays.cupy().cuda.runtime.getDeviceCount() if is_available() else 0


def current_device() -> int:
    return number_of(None)


def set_device(device: Where) -> None:
    on(device).use()


def synchronize(device: Where = None) -> None:
    """Wait until the GPU has done everything it was asked for. IndexError: it met a wrong id;
    RuntimeError: it met probabilities or logits that are none."""
    on(device).synchronize()
    arrays.ask_devices()


@dataclass(frozen=True)
class Properties:
    """What a GPU is; memory in bytes."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    warp_size: int
    shared_memory_per_block: int
    regs_per_multiprocessor: int
    max_threads_per_multi_processor: int
    L2_cache_size: int


NAMES_IN_CUDA = {
    "total_memory": "totalGlobalMem",
    "multi_processor_count": "multiProcessorCount",
    "warp_size": "warpSize",
    "shared_memory_per_block": "sharedMemPerBlock",
    "regs_per_multiprocessor": "regsPerMultiprocessor",
    "max_threads_per_multi_processor": "maxThreadsPerMultiProcessor",
    "L2_cache_size": "l2CacheSize",
}


def get_device_properties(device: Where = None) -> Properties:
    found = arrays.cupy().cuda.runtime.getDeviceProperties(number_of(device))
    numbers = {ours: int(found.get(theirs, 0)) for ours, theirs in NAMES_IN_CUDA.items()}
    major, minor = get_device_capability(device)
    return Properties(name=get_device_name(device), major=major, minor=minor, **numbers)


def get_device_capability(device: Where = None) -> tuple[int, int]:
    number = on(device).compute_capability
    return int(number[:-1]), int(number[-1])


def get_device_name(device: Where = None) -> str:
    properties = arrays.cupy().cuda.runtime.getDeviceProperties(number_of(device))
    return properties["name"].decode()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the GPU multiplies in bfloat16: from compute capability 8 on."""
    return is_available() and get_device_capability()[0] >= 8
