"""The DataLoader, which groups the items of a dataset into batches, under PyTorch's name.

Workers run in this process, one batch after the other in the same order.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..engine.core.tensor import Tensor
from ..engine.pytorch.creation import as_tensor, tensor
from ..engine.pytorch.joining import stack
from ..engine.random.generator import Generator, default_generator
from .datasets import IterableDataset
from .samplers import BatchSampler, RandomSampler, SequentialSampler, draw_seed


def default_collate(batch: Sequence[Any]) -> Any:
    """One batch from a list of items: tensors, arrays and numbers are stacked along a new first
    axis, texts stay a list, and inside dicts, tuples and lists the same is done part by part."""
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(batch)
    if isinstance(first, np.ndarray):
        return stack([as_tensor(item) for item in batch])
    if isinstance(first, np.generic):
        return as_tensor(np.stack(batch))
    if isinstance(first, float):
        return tensor(batch, dtype="float64")
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        made = {key: default_collate([item[key] for item in batch]) for key in first}
        whole = copy.copy(first) if hasattr(first, "update") else None
        return made if whole is None else whole.update(made) or whole
    if isinstance(first, Sequence):
        if any(len(item) != len(first) for item in batch):
            raise RuntimeError(
                "[default_collate] each element in list of batch should be of equal size"
            )
        parts = [default_collate(part) for part in zip(*batch)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    raise TypeError(
        "[default_collate] items must be tensors, arrays, numbers, texts, dicts, tuples or lists, "
        f"got {type(first).__name__}; pass collate_fn="
    )


def default_convert(data: Any) -> Any:
    """Arrays become tensors, also inside dicts, tuples and lists; the rest stays."""
    if isinstance(data, (np.ndarray, np.generic)):
        return as_tensor(np.asarray(data))
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        parts = [default_convert(part) for part in data]
        return type(data)(*parts) if hasattr(data, "_fields") else parts
    return data


class WorkerInfo(NamedTuple):
    """Which worker fetches the current batch; `seed` is what its random stream started from."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker: list[WorkerInfo | None] = [None]


def get_worker_info() -> WorkerInfo | None:
    """Inside a dataset that is read by a worker: which one. None in the main process."""
    return _worker[0]


class DataLoader:
    """Batches of a dataset: `for x, y in DataLoader(TensorDataset(X, Y), batch_size=32)`.

    The random stream is PyTorch's: each pass draws a base seed and then, when it shuffles, the seed
    of its order (with `generator=`, the order itself) from that generator or the default one.
    With `num_workers` the batches are the same and in the same order; each worker has a random
    stream of its own, seeded base seed + worker, and all of them run in this process (an
    IterableDataset is walked once, by none). `pin_memory` and the settings of processes (timeout,
    prefetch_factor, ...) have nothing to act on.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        if num_workers < 0:
            raise ValueError(f"[DataLoader] num_workers must not be negative, got {num_workers}")
        self._check(dataset, batch_size, shuffle, sampler, batch_sampler, drop_last)
        self.dataset, self.num_workers, self.generator = dataset, num_workers, generator
        self.pin_memory, self.timeout, self.worker_init_fn = pin_memory, timeout, worker_init_fn
        self.prefetch_factor, self.persistent_workers = prefetch_factor, persistent_workers
        self.batch_size = None if batch_sampler is not None else batch_size
        self.drop_last = drop_last
        if sampler is None and not isinstance(dataset, IterableDataset):
            shuffled = RandomSampler(dataset, generator=generator) if shuffle else None
            sampler = shuffled or SequentialSampler(dataset)
        if batch_sampler is None and batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.sampler, self.batch_sampler = sampler, batch_sampler
        batched = batch_sampler is not None or batch_size is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)

    @staticmethod
    def _check(
        dataset: Any, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop: bool
    ) -> None:
        told = []
        if isinstance(dataset, IterableDataset) and (shuffle or sampler or batch_sampler):
            told.append("an IterableDataset decides its own order: no shuffle, no sampler")
        if sampler is not None and shuffle:
            told.append("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler or drop):
            told.append(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                "and drop_last"
            )
        if batch_size is None and drop:
            told.append("batch_size=None turns batching off and leaves nothing for drop_last")
        if told:
            raise ValueError(f"[DataLoader] {told[0]}")

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        if self.sampler is not None:
            return len(self.sampler)  # type: ignore[arg-type]
        n = len(self.dataset)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else math.ceil(n / self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        # drawn now and not at the first batch, so that loaders iterated in step draw in order
        seed = draw_seed(self.generator)
        if isinstance(self.dataset, IterableDataset):
            return self._batches_of_stream()
        wanted: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
        if not self.num_workers:
            return map(self._fetch, wanted)
        # PyTorch's workers are handed positions ahead of time, so those are drawn now, too
        positions = iter(wanted)
        ahead = deque(itertools.islice(positions, (self.prefetch_factor or 2) * self.num_workers))
        return self._by_workers(positions, ahead, seed)

    def _fetch(self, wanted: Any) -> Any:
        if self.batch_sampler is None:
            return self.collate_fn(self.dataset[wanted])
        if hasattr(self.dataset, "__getitems__"):
            return self.collate_fn(self.dataset.__getitems__(wanted))
        return self.collate_fn([self.dataset[i] for i in wanted])

    def _by_workers(self, positions: Iterator[Any], ahead: deque, seed: int) -> Iterator[Any]:
        """Batch i is fetched by worker i mod n, with that worker's random stream."""
        n = self.num_workers
        infos = [WorkerInfo(i, n, seed + i, self.dataset) for i in range(n)]
        streams = [Generator().manual_seed(info.seed).get_state() for info in infos]
        for number in itertools.count():
            if not ahead:
                return
            item = ahead.popleft()
            info = infos[number % n]
            with _as_worker(info, streams):
                if number < n and self.worker_init_fn is not None:
                    self.worker_init_fn(info.id)
                fetched = self._fetch(item)
            ahead.extend(itertools.islice(positions, 1))
            yield fetched

    def _batches_of_stream(self) -> Iterator[Any]:
        items = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, items)
            return
        while batch := list(itertools.islice(items, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)


@contextlib.contextmanager
def _as_worker(info: WorkerInfo, streams: list[Any]) -> Iterator[None]:
    """Inside, the default generator is the worker's."""
    ours = default_generator.get_state()
    default_generator.set_state(streams[info.id])
    _worker[0] = info
    try:
        yield
    finally:
        _worker[0] = None
        streams[info.id] = default_generator.get_state()
        default_generator.set_state(ours)
