"""All ops, by kind: a file is a page of functions of arrays, each with its value and its pullbacks.
Kernels and PyTorch's spelling are elsewhere."""

from . import elementwise, fused, index, linear, over_tensors, reduce, shape

__all__ = ["elementwise", "fused", "index", "linear", "over_tensors", "reduce", "shape"]
