"""How products on a GPU are computed, process-wide; both off at first, as in PyTorch. TF32: float32
products may use a mantissa of 10 bits instead of 23, several times as fast on tensor cores. Tuned:
the fastest of several ways is found by timing them."""

from __future__ import annotations

from typing import Any

import numpy

from .libraries import LIBRARIES, ON_CUDA


class _State:
    tf32 = False
    tuned = False


def allow_tf32() -> bool:
    return _State.tf32


def set_allow_tf32(allowed: bool) -> None:
    _State.tf32 = bool(allowed)
    for library in LIBRARIES.values():
        if library.__name__ == "cupy":
            _tell(library)


def tuned_products() -> bool:
    """Whether a product whose shapes come for the first time is timed in several ways, of which
    the fastest stays. Which one that is, and with it the last bits, may differ by process."""
    return _State.tuned


def set_tuned_products(tuned: bool) -> None:
    _State.tuned = bool(tuned)


def _tell(cp: Any) -> None:
    """CuPy's own products follow: this is how it asks cuBLAS for TF32."""
    linalg = cp._core._routines_linalg
    kind = linalg.COMPUTE_TYPE_TF32 if _State.tf32 else linalg.COMPUTE_TYPE_DEFAULT
    linalg.set_compute_type(numpy.dtype(numpy.float32), kind)


def _on_cuda() -> None:
    set_allow_tf32(_State.tf32)


ON_CUDA.append(_on_cuda)
