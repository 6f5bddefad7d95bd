"""The hot path in C as a module, `recorder`; `recorder.c` says what it does. None without a C
compiler at install, on a Python without CPython's lock, or with `TINYGRAD_LM_COMPILED=0` in the
environment: then the functions in Python, which define it, do all the work.
"""

import os
from typing import Any

VERSION = 1  # of what Python and C expect of each other, as in recorder.c


def _load() -> Any:
    if os.environ.get("TINYGRAD_LM_COMPILED") == "0":
        return None
    try:
        from . import _recorder  # type: ignore[attr-defined]
    except ImportError:
        return None
    return _recorder if _recorder.VERSION == VERSION else None  # an install in place, not made anew


recorder = _load()
OpFields: Any = object if recorder is None else recorder.OpFields
