"""The compiled loops as a module, `fast`; it knows no op. None without a C compiler at install, on
another processor than theirs, or with `TINYGRAD_LM_COMPILED=0` in the environment.
"""

import os
from typing import Any

VERSION = 2  # of the calls' arguments, as in _fast.c


def _load() -> Any:
    if os.environ.get("TINYGRAD_LM_COMPILED") == "0":
        return None
    try:
        from . import _fast  # type: ignore[attr-defined]
    except ImportError:
        return None
    return _fast


fast = _load()
if fast is not None and fast.VERSION != VERSION:  # an install in place that was not made anew
    fast = None
