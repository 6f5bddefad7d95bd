"""Kernels in NumPy, mostly of the fused ops, one file each. A kernel takes what its op takes, as
arrays, and returns the value and the pullbacks; where it has nothing faster to offer it returns
NotImplemented.
"""

from . import (
    attention,
    batch_norm,
    convolution,
    cross_entropy,
    dropout,
    embedding,
    extremes,
    gelu,
    index,
    layer_norm,
    linear,
    nll_loss,
    order,
    pooling,
    rms_norm,
    softmax,
)
