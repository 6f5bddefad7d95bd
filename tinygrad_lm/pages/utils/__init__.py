"""PyTorch's page `torch.utils`: its `data` is `tinygrad_lm.data`, its `checkpoint` belongs to the
engine, its `tensorboard` is a file here."""

from ... import data
from ...engine.pytorch import checkpointing as checkpoint
from . import tensorboard

__all__ = ["checkpoint", "data", "tensorboard"]
