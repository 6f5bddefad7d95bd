"""Whether a run can fit into memory, before it starts: a system that has no more may end the
process without a word. What is counted is certain to be needed, so what is refused cannot run.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..engine.arrays import OutOfMemoryError
from .config import TrainConfig

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PER_PARAMETER = 16  # bytes: weight, gradient and AdamW's two; in 16 bits the master, too
PER_UNIT = 4 * 4  # of each layer, position and unit of n_embd, kept for backward
PER_CHECKPOINT = 4
PER_LOGIT = 4


def available() -> int | None:
    """Bytes that this process may still take; None where the system does not say."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text().strip()
        if most != "max":
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            used = int((group / "memory.current").read_text()) - int(stat["inactive_file"])
            found.append(int(most) - used)
    except (OSError, ValueError, KeyError):
        pass
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] if resource else -1
    if resource and limit != resource.RLIM_INFINITY:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        found.append(limit - taken)
    return min(found, default=None)


def needed(config: TrainConfig, vocab_size: int, n_inner: int = 0) -> tuple[int, int]:
    """(bytes for the parameters and what belongs to them, bytes of one forward pass), at least."""
    c, tokens = config, config.batch_size * config.block_size
    per_block = 4 * c.n_embd + 2 * (n_inner or 4 * c.n_embd)
    parameters = c.n_embd * (vocab_size + c.block_size + c.n_layer * per_block)
    low = 4 * c.lora_rank * c.n_embd * c.n_layer
    per_layer = PER_CHECKPOINT if c.gradient_checkpointing else PER_UNIT
    kept = tokens * (per_layer * c.n_layer * c.n_embd + PER_LOGIT * vocab_size)
    if c.lora_rank:
        return 4 * parameters + PER_PARAMETER * low, kept
    return PER_PARAMETER * parameters, kept


def check_fits(config: TrainConfig, vocab_size: int, n_inner: int = 0) -> None:
    """OutOfMemoryError: there is not enough, how much there is, and what to lower. A GPU has memory
    of its own, and says so itself."""
    free = available()
    if free is None or (config.device or "cpu") != "cpu":
        return
    model, passing = needed(config, vocab_size, n_inner)
    if model + passing > free:
        gb = 1 << 30
        message = f"[train] {free / gb:.1f} GiB of memory must be enough, got a model of at least "
        came = f"{model / gb:,.1f} GiB and batches of at least {passing / gb:,.1f} GiB"
        lower = "n_embd or n_layer" if model > passing else "batch_size or block_size"
        raise OutOfMemoryError(f"{message}{came}; lower {lower}?")
