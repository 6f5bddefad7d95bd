"""In which order the windows of a long text are visited: each once per epoch, in constant memory.

A permutation of any number of windows is computed place by place instead of being kept: a Feistel
network (Luby and Rackoff, 1988) permutes the next power of four, and what it sends outside is sent
on until it is inside (Black and Rogaway, 2002, "Ciphers with arbitrary finite domains").
"""

from __future__ import annotations

import numpy as np

ROUNDS = 6


def permuted(places: np.ndarray, n: int, key: tuple[int, int]) -> np.ndarray:
    """Where a permutation of range(n) that follows from `key` sends `places`, int64, any shape.

    0 <= places < n < 2**62. Two keys give two permutations that have nothing to do with each other.
    """
    half = np.uint64(max(1, (int(n - 1).bit_length() + 1) // 2))  # bits
    low = np.uint64((1 << int(half)) - 1)
    keys = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)
    found = places.astype(np.uint64)
    outside = np.ones(found.shape, bool)
    while outside.any():
        left, right = found[outside] >> half, found[outside] & low
        for k in keys:
            left, right = right, left ^ (_mixed(right ^ k) & low)
        found[outside] = left << half | right
        outside = found >= n
    return found.astype(np.int64)


def _mixed(x: np.ndarray) -> np.ndarray:
    """Every bit of the result depends on all of x (splitmix64's last steps), uint64."""
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def window_offsets(
    length: int, block_size: int, batch_size: int, number: int, seed: int
) -> np.ndarray:
    """Where the sequences of batch `number` (0, 1, ...) begin, int64 (batch_size,).

    The windows of block_size tokens, and one more as the last target, that `length` tokens have
    follow each other epoch after epoch, each epoch in an order of its own; a batch is the next of
    them. So it is known from its number alone, and a resumed run goes on where it was.
    """
    n = (length - 1) // block_size
    places = number * batch_size + np.arange(batch_size)
    epochs = places // n
    parts = [permuted(places[epochs == e] % n, n, (seed, int(e))) for e in np.unique(epochs)]
    return np.concatenate(parts) * block_size
