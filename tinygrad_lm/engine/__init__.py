"""The engine: arrays in, gradients out. There is no layer and no model in it; start reading in
`core/`."""

# The order counts. NumPy loads after what `arrays/process.py` has to tell its OpenBLAS; kernels
# register with the ops, methods are bound to Tensor, and then C stands in for what it can.
from . import arrays  # isort: skip
from . import kernels  # isort: skip
from .pytorch import methods  # isort: skip
from .kernels.c import recorder  # isort: skip
