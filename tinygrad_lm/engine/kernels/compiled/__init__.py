"""Kernels in C for float32 on the CPU, where NumPy cannot fuse loops; importing this package
registers them before those of `kernels/cpu`.

They are compiled when the package is installed, if there is a C compiler. Without one nothing is
registered and the NumPy kernels do the same work. The loops are in the .h files; `rows.py` and
`attention.py` make arguments for them out of arrays.
"""

from ... import random
from .. import cpu  # registered first, so that they are tried last
from .loaded import fast

if fast is not None:
    from . import attention, rows

    if fast.LANES == 16:  # narrower vectors: too few registers for a tile, NumPy's BLAS is faster
        from . import linear
    random.FASTER["keep_below"] = fast.keep_below
