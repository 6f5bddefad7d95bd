"""Files that outlive a run: checkpoints, `torch.save`, safetensors. Each is written whole or not at
all."""

from .checkpoint import load_checkpoint, save_checkpoint
from .files import check_writable, load_safetensors, replacing, save_safetensors

__all__ = [
    "check_writable",
    "load_checkpoint",
    "load_safetensors",
    "replacing",
    "save_checkpoint",
    "save_safetensors",
]
