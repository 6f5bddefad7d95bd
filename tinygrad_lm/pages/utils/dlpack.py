"""`torch.utils.dlpack`: arrays from and to other libraries without a copy."""

from __future__ import annotations

from typing import Any

from ...engine.core.tensor import Tensor
from ...engine.pytorch.indexing import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """A capsule that another library's `from_dlpack` takes, once."""
    return tensor.__dlpack__()
