"""PyTorch's stream of random numbers: `generator.py` draws, `recipes.py` has the arithmetic.
Tensors are made of them in `pytorch/random.py`."""

from . import philox
from .generator import Generator
