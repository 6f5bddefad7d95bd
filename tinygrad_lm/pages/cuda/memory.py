"""How much of a GPU's memory is in use, now and at most, under PyTorch's names: bytes that arrays
take ("allocated"), and bytes that CuPy's pool has from the GPU for them ("reserved"). Without a GPU
they are 0."""

from __future__ import annotations

from typing import Any

from ...engine import arrays
from .devices import Where, number_of


class _Peaks:
    """By the number of a GPU. A hook in CuPy's pool counts what each allocation takes and gives
    back; it is there from the first reset on, so that a program that never asks pays nothing."""

    hook: Any = None
    used: dict[int, int] = {}
    most: dict[int, int] = {}
    reserved: dict[int, int] = {}


def _count(device: int, size: int) -> None:
    now = _Peaks.used[device] = _Peaks.used.get(device, 0) + size
    if now > _Peaks.most.get(device, 0):
        _Peaks.most[device] = now


def _start_counting() -> None:
    cp = arrays.cupy()

    class Hook(cp.cuda.MemoryHook):  # type: ignore[name-defined]
        name = "peak"

        def malloc_postprocess(self, **given: Any) -> None:
            _count(given["device_id"], given["mem_size"])

        def free_postprocess(self, **given: Any) -> None:
            _count(given["device_id"], -given["mem_size"])

    for device in range(cp.cuda.runtime.getDeviceCount()):
        _Peaks.used[device] = _pool(device, "used_bytes")
    _Peaks.hook = Hook()
    _Peaks.hook.__enter__()


def _pool(device: int, what: str) -> int:
    """`used_bytes` or `total_bytes` of CuPy's pool, which answers for the current GPU."""
    cp = arrays.cupy()
    with cp.cuda.Device(device):
        return int(getattr(cp.get_default_memory_pool(), what)())


def memory_allocated(device: Where = None) -> int:
    """Bytes in use by arrays."""
    return _pool(number_of(device), "used_bytes") if arrays.cuda_is_available() else 0


def memory_reserved(device: Where = None) -> int:
    """Bytes that the pool has from the GPU."""
    return _pool(number_of(device), "total_bytes") if arrays.cuda_is_available() else 0


def max_memory_allocated(device: Where = None) -> int:
    """The most bytes in use by arrays since `reset_peak_memory_stats`. Before it was first called
    nobody has counted them: then, the most that the pool has had, which is somewhat more."""
    if not arrays.cuda_is_available():
        return 0
    if _Peaks.hook is None:
        return max_memory_reserved(device)
    return _Peaks.most.get(number_of(device), 0)


def max_memory_reserved(device: Where = None) -> int:
    """The most bytes that the pool has had from the GPU, which only `empty_cache` makes fewer."""
    if not arrays.cuda_is_available():
        return 0
    return max(memory_reserved(device), _Peaks.reserved.get(number_of(device), 0))


def reset_peak_memory_stats(device: Where = None) -> None:
    """Peaks begin anew, at what is in use now."""
    if not arrays.cuda_is_available():
        return
    if _Peaks.hook is None:
        _start_counting()
    number = number_of(device)
    _Peaks.used[number] = _pool(number, "used_bytes")
    _Peaks.most[number] = _Peaks.used[number]
    _Peaks.reserved[number] = _pool(number, "total_bytes")


reset_max_memory_allocated = reset_peak_memory_stats


def empty_cache() -> None:
    """Give the memory that CuPy keeps for later back to the GPU."""
    if arrays.cuda_is_available():
        _Peaks.reserved[number_of(None)] = max_memory_reserved()
        arrays.cupy().get_default_memory_pool().free_all_blocks()


def memory_summary(device: Where = None, abbreviated: bool = False) -> str:
    """What the functions above say, as lines of text."""
    asked = (memory_allocated, max_memory_allocated, memory_reserved, max_memory_reserved)
    return "\n".join(f"{ask.__name__:21}{ask(device):15,} bytes" for ask in asked)


def mem_get_info(device: Where = None) -> tuple[int, int]:
    """Free and total bytes of a GPU, whoever uses them."""
    cp = arrays.cupy()
    with cp.cuda.Device(number_of(device)):
        free, total = cp.cuda.runtime.memGetInfo()
    return int(free), int(total)
