"""The compiled loops as a module, `fast`. It is None without a C compiler at install, on a processor
other than the one they were compiled for, or with `TINYGRAD_LM_COMPILED=0` in the environment. This
file knows no op.
"""

import os
from typing import Any


def _load() -> Any:
    if os.environ.get("TINYGRAD_LM_COMPILED") == "0":
        return None
    try:
        from . import _fast  # type: ignore[attr-defined]
    except ImportError:
        return None
    return _fast


fast = _load()
