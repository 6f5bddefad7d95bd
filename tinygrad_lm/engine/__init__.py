"""The engine: arrays in, gradients out. There is no layer and no model in it; start reading in
`core/`."""

# Kernels register with the ops, methods are bound to Tensor, and then C stands in for what it can.
from . import kernels  # isort: skip
from .pytorch import methods  # isort: skip
from .kernels.c import recorder  # isort: skip
