"""Schedules of the learning rate, under PyTorch's path and names; `WarmupCosine` is nanoGPT's.
`base.py` says what a schedule is.
"""

from .base import LRScheduler, SequentialLR
from .one_cycle import OneCycleLR
from .rules import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    StepLR,
    WarmupCosine,
    warmup_cosine,
)

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "SequentialLR",
    "StepLR",
    "WarmupCosine",
    "warmup_cosine",
]
