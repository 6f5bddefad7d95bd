"""PyTorch's page `torch.utils`: its `data` is `tinygrad_lm.data`, its `tensorboard` is a file here.
Nothing is computed on this page."""

from ... import data
from . import tensorboard

__all__ = ["data", "tensorboard"]
