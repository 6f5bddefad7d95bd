"""`torch.version`: what scripts ask for before they use a GPU."""

from __future__ import annotations

import sys
from typing import Any

from ..engine import arrays

debug, hip, xpu, git_version = False, None, None, "unknown"


def __getattr__(name: str) -> Any:
    """`cuda`: the version that CuPy works with, such as "12.4", None without a GPU."""
    if name == "__version__":
        return vars(sys.modules[__package__.partition(".")[0]])[name]
    if name == "cuda":
        if not arrays.cuda_is_available():
            return None
        number = arrays.cupy().cuda.runtime.runtimeGetVersion()
        return f"{number // 1000}.{number % 1000 // 10}"
    raise AttributeError(f"module 'torch.version' has no attribute {name!r}")
