"""Whole quotients and what they leave. CuPy rounds x / y first, which is wrong where that is not
exact or y is infinite; these go by fmod, as NumPy's do."""

import cupy

from ...arrays import in_float32, kernel, rounded
from ...ops import elementwise

REMAINDER = cupy.ElementwiseKernel(
    "T x, T y", "T z", "z = fmod(x, y); if (z != 0 && (z < 0) != (y < 0)) z += y", "tg_remainder"
)
FLOOR_DIVIDE = cupy.ElementwiseKernel(
    "T x, T y",
    "T z",
    """
    T left = fmod(x, y);
    z = y == 0 ? x / y : rint((x - left) / y) - (left != 0 && (left < 0) != (y < 0));
    """,
    "tg_floor_divide",
)


@kernel(elementwise.remainder, cupy.ndarray)
def remainder(x, y):
    kind = (x if hasattr(x, "dtype") else y).dtype
    if kind.kind in "iub" or kind.itemsize == 2:  # 16 bits come again, in float32
        return NotImplemented
    return REMAINDER(x, y), (lambda g: g, lambda g: -g * cupy.floor(x / y))


@kernel(elementwise.floor_divide, cupy.ndarray)
def floor_divide(x, y):
    kind = (x if hasattr(x, "dtype") else y).dtype
    if kind.kind in "iub":
        return NotImplemented
    return rounded(FLOOR_DIVIDE(in_float32(x), in_float32(y)), kind), None
