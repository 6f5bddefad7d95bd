"""Kernels in C for float32 on the CPU, where NumPy cannot fuse loops, and the engine's hot path in
C.

They are compiled when the package is installed, if there is a C compiler; without them NumPy and
plain Python do the same work. The loops are in the .h files; `rows.py`, `group_norm.py`,
`positions.py`, `attention.py`, `linear.py` and `random.py` make arguments for them out of arrays.
`recorder.py` is the door to `recorder.c`.
"""

import os
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any


def source_version(folder: Path) -> str:
    """A name for the present C sources; `setup.py` computes the same and compiles it in."""
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.[ch]")))
    return f"{zlib.crc32(text):08x}"


def load(name: str) -> Any:
    """The module; or None if there was no C compiler at install, if it is not for this Python or
    this processor, with `TINYGRAD_LM_COMPILED=0` in the environment, and if it was compiled from
    other sources than those beside it: an install in place that has to be repeated."""
    if os.environ.get("TINYGRAD_LM_COMPILED") == "0":
        return None
    try:
        found: Any = import_module(f".{name}", __name__)
    except ImportError:
        return None
    return found if found.VERSION == source_version(Path(__file__).parent) else None


fast = load("_fast")
if fast is not None:
    from . import attention, group_norm, positions, random, rows

    if fast.LANES == 16:  # narrower vectors: too few registers for a tile, NumPy's BLAS is faster
        from . import linear
