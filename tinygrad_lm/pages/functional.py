"""`torch.functional`, where PyTorch keeps some of its functions in Python; public files also reach
`torch.nn.functional` through it, as `torch.functional.F`."""

from __future__ import annotations

import sys
from typing import Any

from ..engine.core.tensor import Tensor
from ..nn import functional as F

__all__ = ["F", "Tensor"]

NAMES = set(
    "atleast_1d atleast_2d atleast_3d block_diag broadcast_shapes broadcast_tensors cartesian_prod "
    "cdist chain_matmul einsum lu meshgrid norm split tensordot unique unique_consecutive "
    "unravel_index".split()
)


def __getattr__(name: str) -> Any:
    """The package's own function, as far as there is one."""
    if name in NAMES:
        return getattr(sys.modules[__name__.partition(".")[0]], name)
    raise AttributeError(f"module 'torch.functional' has no attribute {name!r}")
