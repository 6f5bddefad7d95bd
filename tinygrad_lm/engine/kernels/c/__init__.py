"""Kernels in C for float32 on the CPU, where NumPy cannot fuse loops, and the engine's hot path in
C.

They are compiled when the package is installed, if there is a C compiler; without them NumPy and
plain Python do the same work. The loops are in the .h files; the other .py files make arguments for
them out of arrays. `recorder.py` is the door to `recorder.c`.
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


def switched_off() -> bool:
    return os.environ.get("TINYGRAD_LM_COMPILED") == "0"


def load(name: str) -> Any:
    """The module; or None if there was no C compiler at install, if it is not for this Python,
    with `TINYGRAD_LM_COMPILED=0` in the environment, and if it was compiled from other sources
    than those beside it: an install in place that has to be repeated."""
    if switched_off():
        return None
    try:
        found: Any = import_module(f".{name}", __name__)
    except ImportError:
        return None
    return found if found.VERSION == source_version(Path(__file__).parent) else None


def load_best() -> Any:
    """The kernels in the best form that this processor runs and this install has, or in the form
    that `TINYGRAD_LM_ISA` names."""
    isa, wanted = load("_isa"), os.environ.get("TINYGRAD_LM_ISA")
    runs = isa.FORMS.split() if isa else []
    for form in runs:
        if wanted in (None, "", form) and (found := load(f"_fast_{form}")):
            return found
    if wanted and not switched_off():
        have = [form for form in runs if load(f"_fast_{form}")]
        raise ImportError(
            f"[kernels] TINYGRAD_LM_ISA must name a form of the C kernels that this processor runs "
            f"and this install has ({', '.join(have) or 'none'}), got {wanted!r}; unset it"
        )
    return None


fast = load_best()
if fast is not None:
    from . import attention, channels, convolution, maps, pooling, positions, random, rows

    if fast.LANES > 4:  # by vectors of four numbers NumPy's BLAS is faster
        from . import linear
