"""The engine: arrays in, gradients out. Start reading in `core/`."""

# The order counts. NumPy loads after what `arrays/process.py` has to tell its OpenBLAS; kernels
# register with the ops, methods are bound to Tensor, and then C replaces what it can.
from . import arrays  # isort: skip
from . import kernels  # isort: skip
from .pytorch import methods  # isort: skip
from . import several_gpus  # isort: skip
from .kernels.c import recorder  # isort: skip
