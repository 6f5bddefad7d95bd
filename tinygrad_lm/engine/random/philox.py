"""Random numbers that a GPU draws by itself: Philox 4x32-10 (Salmon et al., 2011, "Parallel random
numbers: as easy as 1, 2, 3"). The k-th four words are a function of the seed and k alone, so each
thread draws its own; the state is the seed and the number of fours drawn.

`stream()` gives the stream of each GPU, from which dropout draws; `Generator(device="cuda")` is one
more. Drawn on the host or on the device, the words are the same.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays import (
    Array,
    before_each_replay,
    cupy,
    is_recording_step,
    library,
    with_kernels,
)
from ..arrays import device as Device
from .generator import ALSO_SEEDED, FRESH_SEED, Generator, Shape, check_seed

STATE = np.dtype([("seed", "<u8"), ("offset", "<u8")])  # as PyTorch's
WEYL = np.array([0x9E3779B9, 0xBB67AE85], np.uint32)


def philox(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Four words from four words, (n, 4) uint32, and a key of two: ten rounds."""
    a, b, c, d = counter.T
    low = np.uint64(0xFFFFFFFF)
    for round in range(10):
        k = (key.astype(np.uint64) + np.uint64(round) * WEYL.astype(np.uint64)) & low
        x, y = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b = (y >> np.uint64(32)) ^ b ^ k[0], y & low
        c, d = (x >> np.uint64(32)) ^ d ^ k[1], x & low
    return np.stack([a, b, c, d], axis=1).astype(np.uint32)


@with_kernels
def keep_words_below(keep: Array, bound: int, generator: Philox) -> Array:
    """Fill `keep`, in its order: whether the generator's next words are below `bound`."""
    keep[...] = library(keep).asarray((generator.words(keep.size) < bound).reshape(keep.shape))
    return keep


@with_kernels
def fill_words(out: Array, generator: Philox) -> Array:
    """Fill `out`, uint32 (n,), with the generator's next words."""
    out[...] = library(out).asarray(generator.words(out.size))
    return out


class Philox(Generator):
    """PyTorch's `Generator(device="cuda")`: Philox in the place of the Mersenne Twister. The state
    is kept twice, here and, once a kernel has drawn, in the memory of the device, where the
    kernels move it on: so a recorded step draws new numbers at each replay. What is drawn are
    arrays there; `permutation`, and several choices at once, are made here."""

    def __init__(self, device: Device | str = "cuda") -> None:
        cp = cupy()
        index = Device(device).index
        self.device = Device("cuda", cp.cuda.Device().id if index is None else index)
        self._memory: Any = None  # seed, offset, and the blocks of a launch that are done
        self._here = False
        self.manual_seed(FRESH_SEED)

    def manual_seed(self, seed: int) -> Philox:
        """Restart from `seed`, -2^63 <= seed < 2^64; a negative one counts from 2^64 down."""
        self._start(check_seed(seed), 0)
        return self

    def _start(self, seed: int, offset: int) -> None:
        self._seed, self._offset, self._half = seed, offset, math.nan
        self._sent = False  # the device's copy is older

    def get_state(self) -> np.ndarray:
        """Seed and offset as uint8."""
        return np.array([(self._seed, self._offset)], STATE).view(np.uint8)

    def set_state(self, state: np.ndarray) -> None:
        """Continue from what `get_state` returned, bit for bit."""
        state = np.ascontiguousarray(state)
        if state.dtype != np.uint8 or state.shape != (STATE.itemsize,):
            raise RuntimeError(
                f"[set_state] the state must be {STATE.itemsize} bytes (uint8) from get_state of a "
                f"GPU's generator, got {state.dtype} of shape {state.shape}"
            )
        saved = state.view(STATE)[0]
        self._start(int(saved["seed"]), int(saved["offset"]))

    def skip(self, words: int) -> None:
        """Draw so many words, a multiple of four, and forget them."""
        self._start(self._seed, self._offset + words // 4)

    def drawn_since(self, state: np.ndarray) -> int:
        """How many words were drawn since `get_state` returned this."""
        return 4 * (self._offset - int(state.view(STATE)[0]["offset"]))

    def words(self, n: int) -> np.ndarray:
        """The next n words, drawn on the host; the next draw begins with a four of its own."""
        fours = -(-n // 4)
        counter = np.zeros((fours, 4), np.uint64)
        at = np.uint64(self._offset) + np.arange(fours, dtype=np.uint64)
        counter[:, 0], counter[:, 1] = at & np.uint64(0xFFFFFFFF), at >> np.uint64(32)
        key = np.array([self._seed & 0xFFFFFFFF, self._seed >> 32], np.uint64)
        self._start(self._seed, self._offset + fours)
        return philox(counter, key).reshape(-1)[:n]

    def random_raw(self, n: int) -> Array:
        """The next n words as an array to which `_empty` belongs."""
        return fill_words(self._empty((n,), np.uint32), self)

    def _empty(self, shape: Shape, dtype: Any) -> Any:
        if self._here:
            return np.empty(shape, dtype)
        cp = cupy()
        with cp.cuda.Device(self.device.index):
            return cp.empty(shape, dtype)

    def _words(self, n: int, word: Any) -> Any:
        if word is np.uint32:
            return self.random_raw(n)
        high, low = self.random_raw(2 * n).astype(np.uint64).reshape(n, 2).T
        return high << np.uint64(32) | low

    def _normal_pairs(self, n: int) -> Any:
        return self._fresh_pairs(-(-n // 2))[:n]  # the state has no place for the half of a pair

    @contextmanager
    def _on_host(self) -> Iterator[None]:
        """Inside, draws are NumPy arrays."""
        self._here = True
        try:
            yield
        finally:
            self._here = False

    def permutation(self, n: int) -> np.ndarray:
        with self._on_host():
            return super().permutation(n)

    def multinomial(self, probs: Array, num_samples: int, replacement: bool = False) -> Array:
        if type(probs) is not np.ndarray:
            return super().multinomial(probs, num_samples, replacement)
        with self._on_host():
            return super().multinomial(probs, num_samples, replacement)

    def bernoulli(self, p: float, shape: Shape) -> Array:
        """True with probability p (bool)."""
        return self.keep(p, self._empty(shape, bool))

    def bernoulli_each(self, probs: Array) -> Array:
        """1 with probability probs[i], else 0. Whether those are probabilities is not looked at."""
        u = self._unit(probs.size, probs.dtype).reshape(probs.shape)
        return (u < probs.astype(u.dtype, copy=False)).astype(probs.dtype)

    def keep(self, p: float, out: Array) -> Array:
        """Fill booleans of any library: True with probability p, a word of 32 bits for each."""
        if not 0 <= p <= 1:
            raise RuntimeError(f"[bernoulli] p must be in [0, 1], got {p}; a logit? use sigmoid")
        return keep_words_below(out, math.ceil(p * 2**32), self)

    def on_device(self, fours: int) -> Array:
        """The state in the device's memory, for a kernel that takes so many fours and moves it
        on. The host's copy moves on with it, and with each replay of a recorded step."""
        if not is_recording_step():
            self._take(fours)
        elif self._memory is None:
            raise RuntimeError(
                "[capture] a generator must have drawn before the step is recorded; warm up first"
            )
        else:
            before_each_replay(lambda: self._take(fours))
        return self._memory

    def _take(self, fours: int) -> None:
        if not self._sent:
            cp = cupy()
            with cp.cuda.Device(self.device.index):
                if self._memory is None:
                    self._memory = cp.zeros(3, np.uint64)
                self._memory.set(np.array([self._seed, self._offset, 0], np.uint64))
            self._sent = True
        self._offset += fours

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_memory": None, "_sent": False}


Generator.kinds["cuda"] = Philox


class _State:
    """Process-wide: the stream of each GPU, and the seed of those that have not drawn yet."""

    streams: dict[int, Philox] = {}
    seed = FRESH_SEED


def stream(index: int | None) -> Philox:
    """The stream that draws on a GPU use when they are given none."""
    index = index or 0
    found = _State.streams.get(index)
    if found is None:
        found = _State.streams[index] = Philox(Device("cuda", index))
        found.manual_seed(_State.seed)
    return found


def seed_all(seed: int) -> None:
    """Restart the streams of all GPUs, also of those that have not been used yet."""
    _State.seed = operator.index(seed)
    for each in _State.streams.values():
        each.manual_seed(seed)


def streams() -> dict[int, Philox]:
    """The streams that have been drawn from or seeded, by the number of their GPU."""
    return dict(_State.streams)


ALSO_SEEDED.append(seed_all)
