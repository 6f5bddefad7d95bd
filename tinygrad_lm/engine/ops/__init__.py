"""All ops, by kind: each file is a page of functions of arrays, with their values and pullbacks."""

from . import elementwise, fused, index, linear, over_tensors, reduce, shape

__all__ = ["elementwise", "fused", "index", "linear", "over_tensors", "reduce", "shape"]
