"""Kernels in C for float32 on the CPU, where NumPy cannot fuse loops; importing this package
registers them before those of `kernels/cpu`.

They are compiled when the package is installed, if there is a C compiler; `_fast` is the result.
Without it, or with `TINYGRAD_LM_COMPILED=0` in the environment, nothing is registered and the NumPy
kernels do the same work. The loops are in the .h files; here arrays become their arguments.
"""

import os
from typing import Any

from .. import cpu  # noqa: F401  (registered first, so that they are tried last)


def _load() -> Any:
    if os.environ.get("TINYGRAD_LM_COMPILED") == "0":
        return None
    try:
        from . import _fast  # type: ignore[attr-defined]
    except ImportError:  # not compiled, or for another processor
        return None
    return _fast


fast = _load()
if fast is not None:
    from . import attention, rows  # noqa: F401
