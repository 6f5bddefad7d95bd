"""All ops, by kind: each file is a page of functions of arrays, with their values and pullbacks."""

from . import (
    bits,
    convolution,
    elementwise,
    exponentials,
    fused,
    group_norm,
    index,
    linear,
    over_tensors,
    pooling,
    quotients,
    reduce,
    running,
    shape,
    trigonometry,
    windows,
)

__all__ = [
    "convolution", "elementwise", "fused", "index", "linear", "over_tensors", "reduce", "shape",
    "windows",
]  # fmt: skip
