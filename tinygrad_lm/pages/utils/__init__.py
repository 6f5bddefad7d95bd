"""PyTorch's page `torch.utils`: its `data` is `tinygrad_lm.data`, its `tensorboard` is
a file here."""

from ... import data
from . import tensorboard

__all__ = ["data", "tensorboard"]
