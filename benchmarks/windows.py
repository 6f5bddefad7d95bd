"""Time on a device that works by itself: warm up until it is steady, then windows of many steps
with nothing read in between, one clock when they are queued (host) and one when they are done."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from statistics import median
from typing import Any

WINDOWS, ENOUGH = 5, 0.2  # how many, and seconds of each at least
LEAST, MOST, LIMIT = 4, 10, 5.0  # warm-up steps (a captured step records in its third), seconds
STEADY = 0.05


def waiter(torch: Any, device: str) -> Callable[[], None]:
    """What waits until the device is done; nothing to do on the CPU."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def used_bytes(module: str, device: str) -> int:
    """What all memory pools of this process hold on the GPU, by the driver's own count."""
    if device != "cuda":
        return 0
    if module == "torch":
        free, whole = importlib.import_module("torch").cuda.mem_get_info()
    else:
        free, whole = importlib.import_module("cupy").cuda.runtime.memGetInfo()
    return int(whole - free)


def number(found: Any) -> float:
    """A loss, or for a larger result the mean of its squares, by which results are compared."""
    single = found.numel() == 1
    return float(found.item() if single else found.float().square().mean().item())


def warm_up(step: Callable, wait: Callable, losses: list[float]) -> list[float]:
    """Seconds of each step until two agree; the losses are read, which belongs to no window."""
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < MOST:
        start = time.perf_counter()
        found = step()
        wait()
        seconds.append(time.perf_counter() - start)
        losses.append(number(found))
        steady = len(seconds) > 1 and abs(seconds[-1] / seconds[-2] - 1) < STEADY
        late = time.perf_counter() - begin > LIMIT
        if len(seconds) >= LEAST and (steady or late):
            break
    return seconds


def window(step: Callable, wait: Callable, n: int, read: bool = False) -> tuple[float, float]:
    """Seconds per step until n steps are queued, and until they are done."""
    wait()
    start = time.perf_counter()
    for _ in range(n):
        found = step()
        if read:
            number(found)
    queued = time.perf_counter() - start
    wait()
    return queued / n, (time.perf_counter() - start) / n


def timed(
    step: Callable, wait: Callable, windows: int = WINDOWS, enough: float = ENOUGH
) -> dict[str, Any]:
    """step() -> a tensor of one number. Milliseconds of each window, and the first losses."""
    losses: list[float] = []
    warm = warm_up(step, wait, losses)
    n = max(1, round(enough / max(warm[-1], 1e-6)))
    _, once = window(step, wait, n)  # with full queues: how many steps a window really needs
    n = max(1, round(enough / max(once, 1e-7)))
    pairs = [window(step, wait, n) for _ in range(windows)]
    _, reading = window(step, wait, n, read=True)
    return {
        "first_ms": 1e3 * warm[0],
        "steps": n,
        "host_ms": [1e3 * host for host, _ in pairs],
        "ms": [1e3 * done for _, done in pairs],
        "reading_ms": 1e3 * reading,
        "losses": losses[:LEAST],
    }


def middle(row: dict[str, Any]) -> float:
    return float(median(row["ms"]))
