"""Faster ways to compute ops, one folder for NumPy and one for C. They work on arrays, not on
Tensors."""

# In this order: the kernel of an op that was registered last is tried first.
from . import numpy  # isort: skip
from . import c  # isort: skip
