"""In which order the items of a dataset are visited, drawn from PyTorch's stream.

A sampler is an iterable of positions, or of lists of positions; it needs the length of the data and
a generator, and never reads an item.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from ..engine.random.generator import Generator, default_generator
from ..ranks.group import Group, World


class Sampler:
    """What custom samplers derive from: define `__iter__`, and `__len__` where it is known."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"[{type(self).__name__}] a sampler must define __iter__")


class SequentialSampler(Sampler):
    """0, 1, 2, ... in order."""

    def __init__(self, data_source: Sized):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """Positions in random order; with replacement each of `num_samples` is drawn afresh.

    Without a `generator` each pass seeds one of its own from the default generator.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ):
        self.data_source, self.replacement = data_source, replacement
        self._num_samples, self.generator = num_samples, generator
        if not isinstance(replacement, bool):
            raise TypeError(f"[RandomSampler] replacement must be a bool, got {replacement!r}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(
                "[RandomSampler] num_samples should be a positive integer value, got "
                f"{self.num_samples}; is the dataset empty?"
            )

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, count = len(self.data_source), self.num_samples
        generator = self.generator or Generator().manual_seed(draw_seed(None))
        if self.replacement:
            for start in range(0, count, 32):
                width = min(32, count - start)
                yield from generator.integers(0, n, (width,)).tolist()
            return
        for start in range(0, count + 1, n):  # the last one is drawn even where none of it is used
            yield from generator.permutation(n)[: count - start].tolist()

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given positions in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None):
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        order = (self.generator or default_generator).permutation(len(self.indices))
        return (self.indices[i] for i in order.tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """`num_samples` positions, each with a probability proportional to its weight."""

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ):
        self.weights = np.array([float(w) for w in weights])
        self.num_samples, self.replacement, self.generator = num_samples, replacement, generator

    def __iter__(self) -> Iterator[int]:
        generator = self.generator or default_generator
        drawn = generator.multinomial(self.weights, self.num_samples, self.replacement)
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of `batch_size` consecutive positions of another sampler; the last may be shorter."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool):
        if type(batch_size) is not int or batch_size <= 0:
            raise ValueError(
                "[BatchSampler] batch_size should be a positive integer value, but got "
                f"batch_size={batch_size}"
            )
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        positions = iter(self.sampler)
        while batch := list(itertools.islice(positions, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        count: int = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else math.ceil(count / self.batch_size)


class DistributedSampler(Sampler):
    """The part of the data that process `rank` of `num_replicas` visits, padded to equal parts;
    by default this process, of all that mpiexec started.

    Each epoch has its own order: call `set_epoch(epoch)` before iterating.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ):
        self.dataset, self.shuffle, self.seed, self.epoch = dataset, shuffle, seed, 0
        group = World.group or Group()
        self.num_replicas = group.size if num_replicas is None else num_replicas
        self.rank, self.drop_last = group.rank if rank is None else rank, drop_last
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f"[DistributedSampler] rank must be in [0, {self.num_replicas}), got {self.rank}"
            )
        part = len(dataset) / self.num_replicas
        self.num_samples = math.floor(part) if drop_last else math.ceil(part)
        self.total_size = self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        if self.shuffle:
            order = Generator().manual_seed(self.seed + self.epoch).permutation(n).tolist()
        else:
            order = list(range(n))
        padded = itertools.islice(itertools.cycle(order), self.total_size)
        return itertools.islice(padded, self.rank, None, self.num_replicas)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def draw_seed(generator: Generator | None) -> int:
    """One number of [0, 2^63), as PyTorch draws the seeds of a pass over the data."""
    return int((generator or default_generator).integers(0, 2**63, ()))
