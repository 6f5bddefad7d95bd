"""The DataLoader under PyTorch's longer path. It is defined in `tinygrad_lm.data.loader`."""

from ....data.loader import DataLoader, default_collate, default_convert, get_worker_info

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]
