"""Faster ways to compute ops: a folder for NumPy, one for C and one for CUDA. They work on arrays,
not on Tensors."""

# In this order: the kernel of an op that was registered last is tried first.
from . import numpy  # isort: skip
from . import c  # isort: skip
from . import cuda  # isort: skip
