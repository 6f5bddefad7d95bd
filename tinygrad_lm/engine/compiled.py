"""The package's modules in C, which do what functions in Python define: `load` for the kernels' and
the hot path's own, `recorder` (`recorder.c` says what it does). It knows nothing of what they do.
"""

import os
from importlib import import_module
from typing import Any


def load(name: str, version: int) -> Any:
    """The module, or None: without a C compiler at install, on a Python or a processor it is not
    for, in an install in place that was not made anew (then the versions differ), and with
    `TINYGRAD_LM_COMPILED=0` in the environment."""
    if os.environ.get("TINYGRAD_LM_COMPILED") == "0":
        return None
    try:
        found: Any = import_module(name, __package__)
    except ImportError:
        return None
    return found if found.VERSION == version else None


recorder = load("._recorder", version=2)  # the version stands in recorder.c too
OpFields: Any = object if recorder is None else recorder.OpFields
