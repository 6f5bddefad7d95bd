"""`torch.cpu`: what scripts ask of any device, answered for the CPU, which is always there and has
always finished."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    return True


def is_initialized() -> bool:
    return True


def device_count() -> int:
    return 1


def current_device() -> str:
    return "cpu"


def set_device(device: Any) -> None:
    """There is one."""


def synchronize(device: Any = None) -> None:
    """Ops have finished when they return."""
