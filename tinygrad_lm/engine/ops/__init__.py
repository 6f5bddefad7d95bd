"""All ops, by kind: each file is a page of functions of arrays, with their values and pullbacks."""

from . import (
    bits,
    elementwise,
    exponentials,
    fused,
    index,
    linear,
    over_tensors,
    reduce,
    running,
    shape,
    trigonometry,
)

__all__ = [
    "bits",
    "elementwise",
    "exponentials",
    "fused",
    "index",
    "linear",
    "over_tensors",
    "reduce",
    "running",
    "shape",
    "trigonometry",
]
