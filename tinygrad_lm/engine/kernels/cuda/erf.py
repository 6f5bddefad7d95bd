"""The error function and what it leaves, by CUDA's own, in one launch each."""

import cupy

from ...arrays import kernel
from ...ops import special

ERF = cupy.ElementwiseKernel("T x", "T y", "y = erf(x)", "tinygrad_lm_erf")
ERF_16 = cupy.ElementwiseKernel("T x", "T y", "y = T(erff(float(x)))", "tinygrad_lm_erf_16")
ERFC = cupy.ElementwiseKernel("T x", "T y", "y = erfc(x)", "tinygrad_lm_erfc")


@kernel(special.error_function, cupy.ndarray)
def error_function(x):
    return (ERF if x.dtype.itemsize > 2 else ERF_16)(x)


@kernel(special.complementary_error_function, cupy.ndarray)
def complementary_error_function(x):
    return ERFC(x)
