"""Batches: every item once and in the promised order, streams that repeat, collating by type, and
errors that say what to change. PyTorch's own order is in `parity/test_parity_data_loader.py`."""

from collections import Counter, namedtuple

import numpy as np
import pytest

import tinygrad_lm as tl
from tinygrad_lm.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
    get_worker_info,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return tl.tensor([i, i * i])


def firsts(loader):
    return [batch[:, 0].tolist() for batch in loader]


def test_batches_in_order_and_the_last_one():
    assert firsts(DataLoader(Squares(7), batch_size=3)) == [[0, 1, 2], [3, 4, 5], [6]]
    kept = DataLoader(Squares(7), batch_size=3, drop_last=True)
    assert firsts(kept) == [[0, 1, 2], [3, 4, 5]]
    assert [len(DataLoader(Squares(7), 3)), len(kept), len(DataLoader(Squares(7)))] == [3, 2, 7]


@pytest.mark.parametrize("workers", [0, 3])
def test_shuffling_is_a_permutation_that_the_seed_repeats(workers):
    loader = DataLoader(Squares(20), batch_size=6, shuffle=True, num_workers=workers)
    tl.manual_seed(7)
    first, second = sum(firsts(loader), []), sum(firsts(loader), [])
    assert sorted(first) == sorted(second) == list(range(20)) and first != second
    tl.manual_seed(7)
    assert sum(firsts(loader), []) == first


def test_workers_change_no_batch_but_have_streams_of_their_own():
    class Noisy(Squares):
        def __getitem__(self, i):
            return i, tl.rand(()).item(), get_worker_info()

    def collate(items):
        return items

    def passes(workers):
        tl.manual_seed(3)
        loader = DataLoader(Noisy(8), 2, True, num_workers=workers, collate_fn=collate)
        return list(loader), tl.rand(()).item()

    alone, _ = passes(0)
    shared, after = passes(2)
    order = [[i for i, _, _ in batch] for batch in alone]
    assert [[i for i, _, _ in batch] for batch in shared] == order
    infos = [batch[0][2] for batch in shared]
    assert [info.id for info in infos] == [0, 1, 0, 1] and infos[0].num_workers == 2
    assert infos[1].seed == infos[0].seed + 1 and alone[0][0][2] is None
    # a worker's draws come from its own seed and leave the stream of the caller alone
    generator = tl.Generator().manual_seed(infos[1].seed)
    assert [noise for _, noise, _ in shared[1]] == tl.rand(2, generator=generator).tolist()
    tl.manual_seed(3)
    list(DataLoader(Squares(8), 2, True))
    assert tl.rand(()).item() == after
    assert get_worker_info() is None


def test_each_worker_is_initialised_once():
    started = []
    loader = DataLoader(Squares(9), 1, num_workers=2, worker_init_fn=started.append)
    assert len(list(loader)) == 9 and started == [0, 1]


def test_samplers_reach_what_they_should():
    many = list(RandomSampler(range(5), replacement=True, num_samples=5000))
    assert len(many) == 5000 and all(900 < n < 1100 for n in Counter(many).values())
    assert set(Counter(RandomSampler(range(5), num_samples=12)).values()) == {2, 3}
    assert set(SubsetRandomSampler([3, 9, 4])) == {3, 4, 9}
    batches = BatchSampler(SequentialSampler(range(5)), 2, True)
    assert list(batches) == [[0, 1], [2, 3]] and len(batches) == 2
    parts = [list(DistributedSampler(range(10), 3, rank)) for rank in range(3)]
    assert {len(part) for part in parts} == {4} and set(sum(parts, [])) == set(range(10))
    loader = DataLoader(Squares(9), batch_sampler=[[8, 1], [2]])
    assert firsts(loader) == [[8, 1], [2]]
    assert [x.tolist() for x in DataLoader(Squares(2), batch_size=None)] == [[0, 0], [1, 1]]


def test_datasets_apart_and_together():
    x, y = tl.arange(6), tl.arange(6) * 10
    pairs = TensorDataset(x, y)
    assert len(pairs) == 6 and [t.item() for t in pairs[2]] == [2, 20]
    both = ConcatDataset([Squares(2), Squares(3)])
    assert [both[i][0].item() for i in range(5)] == [0, 1, 0, 1, 2]
    assert both[-1][0].item() == 2 and len(Squares(1) + Squares(4)) == 5
    parts = random_split(range(10), [0.5, 0.25, 0.25])
    assert [len(part) for part in parts] == [6, 2, 2]
    assert sorted(item for part in parts for item in part) == list(range(10))
    assert Subset("abcd", [3, 0])[0] == "d"


def test_a_stream_is_walked_once_in_order():
    class Count(IterableDataset):
        def __iter__(self):
            return iter(range(5))

    assert [b.tolist() for b in DataLoader(Count(), batch_size=2)] == [[0, 1], [2, 3], [4]]
    with pytest.raises(ValueError, match="no shuffle"):
        DataLoader(Count(), shuffle=True)


def test_collating_follows_the_type_of_the_items():
    Point = namedtuple("Point", "x y")
    made = default_collate([{"a": 1, "b": (2.5, "u")}, {"a": 3, "b": (4.5, "v")}])
    assert made["a"].dtype is tl.int64 and made["a"].tolist() == [1, 3]
    assert made["b"][0].dtype is tl.float64 and made["b"][1] == ("u", "v")
    assert default_collate([tl.ones(2), tl.zeros(2)]).shape == (2, 2)
    assert default_collate([np.ones(3, np.float32)] * 4).dtype is tl.float32
    assert default_collate([np.int64(3), np.int64(4)]).tolist() == [3, 4]
    assert default_collate([True, False]).dtype is tl.bool
    point = default_collate([Point(1, 2), Point(3, 4)])
    assert type(point) is Point and point.y.tolist() == [2, 4]
    with pytest.raises(TypeError, match="collate_fn"):
        default_collate([object()])
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([[1, 2], [3]])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"shuffle": True, "sampler": [0]}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler option"),
        ({"batch_size": 0}, "positive integer"),
        ({"batch_size": None, "drop_last": True}, "drop_last"),
        ({"num_workers": -1}, "num_workers"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(Squares(4), **settings)


def test_an_empty_dataset_cannot_be_shuffled():
    with pytest.raises(ValueError, match="num_samples should be a positive integer"):
        DataLoader(Squares(0), shuffle=True)


def test_tensors_of_different_lengths_are_no_dataset():
    with pytest.raises(ValueError, match=r"\[3, 2\]"):
        TensorDataset(tl.ones(3), tl.ones(2))
