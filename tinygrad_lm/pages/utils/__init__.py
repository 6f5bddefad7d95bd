"""PyTorch's paths `torch.utils.data` and `torch.utils.tensorboard`. What stands behind the first is
in `tinygrad_lm.data`; nothing is computed here."""

from . import data, tensorboard

__all__ = ["data", "tensorboard"]
