"""The engine: arrays in, gradients out. It knows no layer, no model and nothing outside this
folder; start reading in `core/`."""

from . import kernels
from .pytorch import methods
