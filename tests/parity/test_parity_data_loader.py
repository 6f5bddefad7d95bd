"""The order of batches is PyTorch's, bit for bit: seeds, generators, samplers, splits; and after a
pass the random stream is where PyTorch's is."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_lm as tl

torch = pytest.importorskip("torch")
pytest.importorskip("torch.utils.data.distributed")  # PyTorch loads it only when asked

LINES = [
    "loader(range(10), 3, shuffle=True)",
    "loader(range(10), 3, shuffle=True, drop_last=True)",
    "loader(range(10), 3, shuffle=True, generator=g)",
    "loader(range(10), 3)",
    "loader(range(10), shuffle=True, batch_size=None)",
    "loader(range(10), 4, sampler=d.RandomSampler(range(10), replacement=True, num_samples=70))",
    "loader(range(10), 4, sampler=d.RandomSampler(range(10), True, 64, g))",
    "loader(range(10), 4, sampler=d.RandomSampler(range(10), num_samples=25))",
    "loader(range(10), 4, sampler=d.SubsetRandomSampler([4, 2, 9, 7], generator=g))",
    "loader(range(10), batch_sampler=d.BatchSampler(d.RandomSampler(range(10)), 4, False))",
    "loader(range(4), 4, sampler=d.WeightedRandomSampler([0.1, 3.0, 0.0, 2.0], 9))",
    "loader(range(4), 4, sampler=d.WeightedRandomSampler([0.1, 3.0, 0.5, 2.0], 3, False))",
    "loader(range(20), 4, sampler=d.DistributedSampler(range(20), 3, 1, seed=5))",
    "loader(d.random_split(range(20), [0.3, 0.3, 0.4])[2], 3, shuffle=True)",
    "loader(d.random_split(range(20), [3, 17], generator=g)[1], 6)",
    "loader(d.TensorDataset(lib.arange(9), lib.rand(9)), 4, shuffle=True)",
    "loader(d.ConcatDataset([range(4), range(9)]), 5, shuffle=True)",
    "loader([{'a': i, 'b': (i / 2, str(i))} for i in range(5)], 2, shuffle=True)",
    "loader([np.float32(i) for i in range(5)], 2, shuffle=True)",
    "loader([np.full(2, i) for i in range(5)], 2, collate_fn=len)",
    "loader([[i, True] for i in range(5)], 2)",
]


def outcome(lib, line):
    """Two passes, what comes in them, and what the next draws of both generators are."""
    lib.manual_seed(11)
    g = lib.Generator().manual_seed(5)
    names = {"d": lib.utils.data, "loader": lib.utils.data.DataLoader, "lib": lib, "np": np, "g": g}
    made = eval(line, names)
    batches = [[str(batch) for batch in made] for _ in range(2)]
    return batches, lib.rand(2).tolist(), lib.rand(2, generator=g).tolist(), len(made)


@pytest.mark.parametrize("line", LINES)
def test_batches_come_as_in_pytorch(line):
    assert outcome(tl, line) == outcome(torch, line)


class Noisy:
    """A dataset that draws its items."""

    def __init__(self, lib):
        self.lib = lib

    def __len__(self):
        return 9

    def __getitem__(self, i):
        return self.lib.rand(2)


def noisy_pass(lib):
    lib.manual_seed(3)
    loader = lib.utils.data.DataLoader(Noisy(lib), 2, shuffle=True, num_workers=2)
    return [batch.tolist() for batch in loader]


def test_two_loaders_in_step():
    def pairs(lib):
        lib.manual_seed(3)
        left = lib.utils.data.DataLoader(range(9), 2, shuffle=True)
        right = lib.utils.data.DataLoader(range(9), 2, shuffle=True)
        return [(a.tolist(), b.tolist()) for a, b in zip(left, right)]

    assert pairs(tl) == pairs(torch)


def draws_between(lib, workers):
    """Workers are handed positions ahead of time, and replaced samples are drawn 32 by 32."""
    lib.manual_seed(3)
    g = lib.Generator().manual_seed(5)
    sampler = lib.utils.data.RandomSampler(range(9), True, 100, g)
    loader = lib.utils.data.DataLoader(range(9), 8, sampler=sampler, num_workers=workers)
    shuffled = lib.utils.data.DataLoader(range(9), 2, shuffle=True, num_workers=workers)
    batches, others = iter(loader), iter(shuffled)
    found = [lib.rand(1).tolist()]
    for batch in batches:
        found += [batch.tolist(), lib.rand(1, generator=g).tolist(), lib.rand(1).tolist()]
    return [*found, *(batch.tolist() for batch in others), lib.rand(1).tolist()]


def test_draws_between_the_batches():
    assert draws_between(tl, 0) == draws_between(torch, 0)


WITH_WORKERS = {
    "shuffled": lambda lib: outcome(lib, "loader(range(10), 3, shuffle=True, num_workers=2)"),
    "noisy": noisy_pass,
    "between": lambda lib: draws_between(lib, 2),
}


@pytest.fixture(scope="module")
def pytorchs_workers():
    """What PyTorch's workers give. They are forks, and a fork of a process whose threads have run
    a backward pass dies now and then; so they get a process of their own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", WITH_WORKERS)
def test_workers_change_nothing_but_what_pytorchs_change(name, pytorchs_workers):
    assert json.loads(json.dumps(WITH_WORKERS[name](tl))) == pytorchs_workers[name]


if __name__ == "__main__":
    print(json.dumps({name: found(torch) for name, found in WITH_WORKERS.items()}))
