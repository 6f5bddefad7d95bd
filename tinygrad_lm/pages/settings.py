"""Switches of PyTorch that have nothing to act on here: ops are deterministic, denormal numbers are
kept, and warnings are Python's. What is set can be read back."""

from __future__ import annotations

from ..engine.core.tensor import Tensor


class _Set:
    """Process-wide."""

    deterministic = warn_only = warn_always = False
    interop_threads = 1


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ops here are deterministic always, on the CPU and on GPUs."""
    _Set.deterministic = _flag("use_deterministic_algorithms", mode)
    _Set.warn_only = mode and warn_only


def are_deterministic_algorithms_enabled() -> bool:
    return _Set.deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    return _Set.warn_only


def set_warn_always(b: bool, /) -> None:
    _Set.warn_always = _flag("set_warn_always", b)


def is_warn_always_enabled() -> bool:
    return _Set.warn_always


def set_num_interop_threads(num: int) -> None:
    """Ops run one after the other; their own threads are set by `set_num_threads`."""
    if num < 1:
        raise RuntimeError(f"[set_num_interop_threads] must be a positive number, got {num}")
    _Set.interop_threads = num


def get_num_interop_threads() -> int:
    return _Set.interop_threads


def set_flush_denormal(mode: bool) -> bool:
    """False: numbers nearest to 0 are kept as they are, whatever is asked for."""
    _flag("set_flush_denormal", mode)
    return False


def is_distributed(input: Tensor) -> bool:
    """False: a tensor is in one process."""
    return False


def _flag(name: str, given: bool) -> bool:
    if not isinstance(given, bool):
        raise TypeError(f"[{name}] must be True or False, got {given!r:.60}")
    return given
