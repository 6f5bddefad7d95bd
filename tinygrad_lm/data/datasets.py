"""Datasets under PyTorch's names: items by position, and ways to put datasets together or
apart. Batches are made in `loader.py`.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..engine.core.tensor import Tensor
from ..engine.random.generator import Generator, default_generator


class Dataset:
    """What datasets derive from: define `__getitem__(position)` and `__len__()`."""

    def __class_getitem__(cls, item: Any) -> Any:
        return cls  # Dataset[T] in annotations and base classes

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] a Dataset must define __getitem__")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """A dataset that is only walked from its start: define `__iter__()`."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"[{type(self).__name__}] an IterableDataset must define it")


class TensorDataset(Dataset):
    """Row i of every tensor, as a tuple."""

    def __init__(self, *tensors: Tensor):
        if len({len(t) for t in tensors}) > 1:
            lengths = [len(t) for t in tensors]
            raise ValueError(f"[TensorDataset] tensors must have equal lengths, got {lengths}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset):
    """The items of a dataset at the given positions."""

    def __init__(self, dataset: Any, indices: Sequence[int]):
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Datasets one after the other."""

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = list(datasets)
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"[ConcatDataset] index must be below {len(self)}, got {index}")
        index %= len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        before = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - before]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset):
    """Iterable datasets one after the other."""

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)


class StackDataset(Dataset):
    """Item i of every dataset, as a tuple; as a dict where they are given by name."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.datasets = kwargs or args
        parts = [*kwargs.values()] or [*args]
        if not parts or (args and kwargs) or len({len(d) for d in parts}) > 1:
            raise ValueError(
                "[StackDataset] datasets must have equal lengths and be given all by name or none, "
                f"got {len(args)} and {len(kwargs)} of lengths {[len(d) for d in parts]}"
            )
        self._length = len(parts[0])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: d[index] for name, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __len__(self) -> int:
        return self._length


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """Disjoint random subsets of the given lengths, or of fractions that sum to 1 (what rounding
    leaves over goes to the first ones, one each)."""
    n = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        sizes = [math.floor(n * fraction) for fraction in lengths]
        left = n - sum(sizes)
        sizes = [size + (i < left) for i, size in enumerate(sizes)]
    else:
        sizes = [int(length) for length in lengths]
    if sum(sizes) != n or min(sizes) < 0:
        raise ValueError(f"[random_split] lengths must sum to {n} (or to 1), got {list(lengths)}")
    order = (generator or default_generator).permutation(n).tolist()
    ends = itertools.accumulate(sizes)
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends)]
