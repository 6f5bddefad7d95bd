"""Text and tokens to train on, and PyTorch's `torch.utils.data`: datasets, samplers, the
DataLoader."""

from . import datasets as dataset
from . import loader as dataloader
from . import samplers as distributed
from . import samplers as sampler
from .corpora import load_text
from .datasets import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from .loader import DataLoader, default_collate, default_convert, get_worker_info
from .samplers import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from .shards import Shards, open_shards
from .token_files import open_tokens, write_tokens

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Shards",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "dataloader",
    "dataset",
    "default_collate",
    "default_convert",
    "distributed",
    "get_worker_info",
    "load_text",
    "open_shards",
    "open_tokens",
    "random_split",
    "sampler",
    "write_tokens",
]
