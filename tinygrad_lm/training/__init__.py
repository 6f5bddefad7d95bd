"""Training a GPT on text: the configuration, the steps, and the run with its folder.

`train(TrainConfig(...))` is all of it; the command line is in `cli.py`.
"""

from .config import PRESETS, TrainConfig
from .console import Interrupted
from .not_finite import NotFinite
from .resuming import saved_config
from .run import train
from .trainer import Trainer, batch_at, draw_offsets, split_tokens

__all__ = [
    "PRESETS",
    "Interrupted",
    "NotFinite",
    "TrainConfig",
    "Trainer",
    "batch_at",
    "draw_offsets",
    "saved_config",
    "split_tokens",
    "train",
]
