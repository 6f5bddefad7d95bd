"""Time on a device that works by itself: warm up until it is steady, then windows of many steps
with nothing read in between, one clock when they are queued (host) and one when they are done."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

WINDOWS, ENOUGH = 5, 0.2  # how many, and seconds of each at least
LEAST, MOST, LIMIT = 4, 10, 5.0  # warm-up steps (a captured step records in its third), seconds
STEADY = 0.05
LONG = 3.0  # seconds of windows after which two are enough


def waiter(torch: Any, device: str) -> Callable[[], None]:
    """What waits until the device is done; nothing to do on the CPU."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def used_bytes(module: str, device: str) -> int:
    """What all memory pools of this process hold on the GPU, by the driver's own count. Pools give
    nothing back while a step is timed, so that this is also the most."""
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


def window(step: Callable, wait: Callable, n: int) -> tuple[float, float]:
    """Seconds per step until n steps are queued, and until they are done."""
    wait()
    start = time.perf_counter()
    for _ in range(n):
        step()
    queued = time.perf_counter() - start
    wait()
    return queued / n, (time.perf_counter() - start) / n


def timed(
    first: Callable,
    step: Callable,
    wait: Callable,
    others: Mapping[str, Callable] | None = None,
    windows: int = WINDOWS,
    enough: float = ENOUGH,
) -> dict[str, Any]:
    """Milliseconds of each window of step(), and of one window of each of the others. first() warms
    up: the same step, on one batch, so that its losses depend on the gradients."""
    losses: list[float] = []
    warm = warm_up(first, wait, losses)
    n, once = max(1, round(enough / max(warm[-1], 1e-6))), warm[-1]
    if n > 1:  # with full queues: how many steps a window really needs
        _, once = window(step, wait, n)
    n = max(1, round(enough / max(once, 1e-7)))
    begin, pairs = time.perf_counter(), []
    while len(pairs) < windows and (len(pairs) < 2 or time.perf_counter() - begin < LONG):
        pairs.append(window(step, wait, n))
    return {
        "first_ms": 1e3 * warm[0],
        "steps": n,
        "host_ms": [1e3 * host for host, _ in pairs],
        "ms": [1e3 * done for _, done in pairs],
        **{f"{name}_ms": 1e3 * window(f, wait, n)[1] for name, f in (others or {}).items()},
        "losses": losses[:LEAST],
    }
