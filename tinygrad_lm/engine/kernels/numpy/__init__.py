"""NumPy kernels of the fused ops, one file per op.

A kernel takes what its composition in `ops/fused.py` takes, as arrays, and returns the value and
the pullbacks. Where it has nothing faster to offer it returns NotImplemented.
"""

from . import (
    attention,
    batch_norm,
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    rms_norm,
    softmax,
)
