"""Optimisers with PyTorch's signatures, and schedules of their rate. Start reading
in `optimizer.py`, then `adam.py` for a rule and `flat.py` for how it is applied."""

from . import kernels, lr_scheduler
from .adam import Adam, AdamW
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
