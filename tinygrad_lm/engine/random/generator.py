"""Random numbers on the CPU, in exactly the order in which PyTorch 2.13 draws them.

One `Generator` turns a Mersenne Twister (Matsumoto and Nishimura 1998, NumPy's `RandomState`) into
uniform, normal, integer and other draws; after every call the stream is where PyTorch's would
be. The results are plain NumPy arrays.
"""

from __future__ import annotations

import math
import operator
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..arrays import Array, library, quietly, with_kernels
from ..arrays import device as Device
from ..arrays.replay import ONE_CALL
from .recipes import box_muller, check_probs, fill, look_up, swap_forward

FRESH_SEED = 67280421310721  # what a PyTorch generator starts from
MASK24, MASK53 = np.uint32(2**24 - 1), np.uint64(2**53 - 1)
HALF_WORD = np.uint64(32)
STATE = np.dtype([("seed", "<u8"), ("half", "<f8"), ("position", "<u4"), ("key", "<u4", 624)])

SKIPPED = 2**20  # words of 64 bits that are drawn at once only to be forgotten

Shape = tuple[int, ...]


@with_kernels
def keep_below(keep: np.ndarray, bound: np.uint64, generator: Generator) -> np.ndarray:
    """Fill `keep`: whether the 53 bits of the generator's next 64-bit words are below `bound`."""
    return fill(keep, lambda n: generator._words(n, np.uint64) & MASK53 < bound)


@with_kernels
def remainders(out: np.ndarray, width: int, low: int, generator: Generator) -> np.ndarray:
    """Fill `out`: the generator's next words mod width, plus low."""
    word = np.uint32 if width < 2**28 else np.uint64

    def draw(n: int) -> np.ndarray:
        drawn = generator._words(n, word) % word(width)
        return drawn.astype(np.int64) + low if low else drawn  # may wrap around

    return fill(out, draw)


def check_seed(seed: int) -> int:
    seed = operator.index(seed)
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"[manual_seed] seed must be in [-2**63, 2**64), got {seed}; % 2**64?")
    return seed % 2**64


class Generator:
    """PyTorch's CPU generator: the same seed gives the same numbers, call for call.

    Two kinds of raw draw feed everything: a 32-bit word r, and a 64-bit word made of two of them,
    high half first. The unit interval is (r mod 2^24) / 2^24 in float32 and narrower types, and
    (r mod 2^53) / 2^53 from a 64-bit word in float64. A shape without elements draws nothing.
    """

    kinds: dict[str, type[Generator]] = {}  # of other devices, by their type

    def __new__(cls, device: Device | str = "cpu") -> Generator:
        return object.__new__(cls.kinds.get(str(device).partition(":")[0], cls))

    def __init__(self, device: Device | str = "cpu") -> None:
        self.device = Device(device)
        if self.device.type != "cpu":
            raise RuntimeError(f"[Generator] device must be 'cpu' or 'cuda', got {str(device)!r}")
        self.manual_seed(FRESH_SEED)

    def __repr__(self) -> str:
        return f"<torch._C.Generator object at {id(self):#x}>"

    def manual_seed(self, seed: int) -> Generator:
        """Restart from `seed`, -2^63 <= seed < 2^64; a negative one counts from 2^64 down."""
        self._seed = check_seed(seed)
        self._bits: Any = np.random.MT19937()
        self._twister = np.random.RandomState(self._bits)
        self._twister.seed(self._seed & 0xFFFFFFFF)
        self._half = math.nan  # the sine half of a normal pair that waits for the next call
        return self

    def initial_seed(self) -> int:
        """The seed this stream was last started from, in [0, 2^64)."""
        return self._seed

    def seed(self) -> int:
        """Restart from a seed of the operating system's entropy, and return it."""
        return self.manual_seed(secrets.randbits(64)).initial_seed()

    def get_state(self) -> np.ndarray:
        """Everything the next draw depends on, as uint8 (our own format, not PyTorch's)."""
        _, key, position, *_ = self._twister.get_state()
        return np.array([(self._seed, self._half, position, key)], STATE).view(np.uint8)

    def set_state(self, state: np.ndarray) -> None:
        """Continue from what `get_state` returned, bit for bit."""
        state = np.ascontiguousarray(state)
        if state.dtype != np.uint8 or state.shape != (STATE.itemsize,):
            raise RuntimeError(
                f"[set_state] the state must be {STATE.itemsize} bytes (uint8) from get_state, got "
                f"{state.dtype} of shape {state.shape}; was it saved by PyTorch, or cut short?"
            )
        saved = state.view(STATE)[0]
        if saved["position"] > 624 or math.isinf(saved["half"]) or not saved["key"].any():
            raise RuntimeError(
                "[set_state] the state must be one from get_state, got other bytes: a position of "
                f"{saved['position']}, at most 624; is it damaged?"
            )
        self._twister.set_state(("MT19937", saved["key"], int(saved["position"]), 0, 0.0))
        self._seed, self._half = int(saved["seed"]), float(saved["half"])

    def skip(self, words: int) -> None:
        """Draw so many raw words of 32 bits, and forget them."""
        for first in range(0, words // 2, SKIPPED):
            keep_below(np.empty(min(SKIPPED, words // 2 - first), bool), np.uint64(0), self)
        self._bits.random_raw(words % 2, output=False)

    def drawn_since(self, state: np.ndarray) -> int:
        """How many words were drawn since `get_state` returned this, which is found by drawing them
        once more."""
        again, ahead = Generator(), Generator()
        again.set_state(state)
        ahead.set_state(self.get_state())
        following, count = ahead._bits.random_raw(16), 0
        words = again._bits.random_raw(16)
        while True:
            words = np.concatenate([words, again._bits.random_raw(SKIPPED)])
            for at in np.flatnonzero(words[:-16] == following[0]).tolist():
                if np.array_equal(words[at : at + 16], following):
                    return count + at
            count, words = count + SKIPPED, words[-16:]

    def uniform(
        self, shape: Shape, low: float = 0.0, high: float = 1.0, dtype: DTypeLike = np.float32
    ) -> np.ndarray:
        """Values in [low, high): u * (high - low) + low."""
        if not 0 <= high - low < math.inf:
            raise RuntimeError(f"[uniform] needs finite low <= high, got {low}, {high}; swap them?")
        out = self._empty(shape, dtype)
        unit = np.float64 if out.dtype == np.float64 else np.float32
        start, width = unit(low), unit(high) - unit(low)

        def draw(n: int) -> np.ndarray:
            u = self._unit(n, dtype)
            if (low, high) != (0, 1):  # float64 on the way: one rounding, as a fused multiply-add
                u = (u.astype(np.float64) * width + start).astype(unit)
            u = u.astype(out.dtype, copy=False)
            scalar = out.dtype.type  # rounded up to the bound that is excluded?
            np.copyto(u, scalar(low), where=u == scalar(high))
            return u

        return fill(out, draw)

    def normal(
        self,
        shape: Shape,
        mean: float = 0.0,
        std: float = 1.0,
        dtype: DTypeLike = np.float32,
        contiguous: bool = True,
    ) -> np.ndarray:
        """Gaussian values (Box and Muller 1958), in two orders as PyTorch has them.

        16 values and more go in blocks of 16, and when their number is no multiple of 16 the last
        16 are drawn afresh. Fewer, or those for a target that is not `contiguous`, go one by one
        from float64 pairs, the unused half of the last pair being kept for the next call.
        """
        if not std >= 0:
            raise RuntimeError(f"[normal] std must be >= 0, got {std}; pass its absolute value?")
        out = self._empty(shape, dtype)
        if out.size < 16 or not contiguous:
            out[...] = (self._normal_pairs(out.size) * std + mean).reshape(shape)
            return out

        def draw(n: int) -> np.ndarray:
            u = self._unit(n, dtype)
            box_muller(u[: n // 16 * 16])
            u *= std
            u += mean
            return u

        flat, surplus = out.reshape(-1), out.size % 16
        # float32 and float64 draw the surplus uniforms before dropping them; narrower types do not
        fill(flat if out.itemsize >= 4 else flat[: out.size - surplus], draw)
        if surplus:
            flat[-16:] = draw(16)
        return out

    def integers(
        self, low: int, high: int, shape: Shape, dtype: DTypeLike = np.int64
    ) -> np.ndarray:
        """Integers in [low, high): r mod (high - low) + low; 64-bit words from a width of 2^28."""
        if not low < high:
            raise RuntimeError(f"[randint] needs low < high, got {low} and {high}; swap them?")
        kind, width = np.dtype(dtype), high - low
        if kind.kind in "iu":
            signed, bits = kind.kind == "i", 8 * kind.itemsize
            if low < -signed << (bits - 1) or high > 1 << (bits - signed):
                raise RuntimeError(
                    f"[randint] {kind} must hold all of [{low}, {high}); use a wider dtype"
                )
        return remainders(self._empty(shape, kind), width, low, self)

    def permutation(self, n: int) -> np.ndarray:
        """The numbers 0..n-1 shuffled (int64): step i swaps places i and i + r mod (n - i)."""
        if not 0 <= n < (2**32 - 1) // 20:
            raise RuntimeError(f"[randperm] n must be in [0, 214748364), got {n}; draw in parts?")
        target = np.arange(n)
        if n > 1:
            target[:-1] += self._words(n - 1, np.uint32) % np.arange(n, 1, -1, dtype=np.uint32)
        return swap_forward(target)

    def exponential(
        self, shape: Shape, rate: float = 1.0, dtype: DTypeLike = np.float32
    ) -> np.ndarray:
        """Exponential values of mean 1 / rate: -log1p(-u) / rate, u in float64."""
        if not rate > 0:
            raise RuntimeError(f"[exponential] rate must be > 0, got {rate}; the mean is 1 / rate")

        def draw(n: int) -> np.ndarray:
            u = self._unit(n, np.float64)
            return np.log1p(np.negative(u, out=u), out=u) * (-1.0 / rate)

        return fill(self._empty(shape, dtype), draw)

    def bernoulli(self, p: float, shape: Shape) -> np.ndarray:
        """True with probability p (bool), from 64-bit words: what dropout keeps, p = 1 - rate."""
        if not 0 <= p <= 1:
            raise RuntimeError(f"[bernoulli] p must be in [0, 1], got {p}; a logit? use sigmoid")
        bound = np.uint64(math.ceil(p * 2**53))  # u < p without leaving the integers
        return keep_below(np.empty(shape, bool), bound, self)

    def bernoulli_each(self, probs: np.ndarray) -> np.ndarray:
        """1 with probability probs[i], else 0, in the dtype of `probs`."""
        if probs.dtype.kind in "iub":
            raise RuntimeError(f"[bernoulli] probs must be floating, got {probs.dtype}; .float()?")
        if not ((probs >= 0) & (probs <= 1)).all():
            raise RuntimeError("[bernoulli] every p must be in [0, 1], got others; use sigmoid?")
        u = self._unit(probs.size, probs.dtype).reshape(probs.shape)
        return (u < probs.astype(u.dtype, copy=False)).astype(probs.dtype)

    def multinomial(self, probs: Array, num_samples: int, replacement: bool = False) -> Array:
        """Categories drawn from each row of probs, (V,) or (B, V), unnormalised: (..., samples).

        One sample, or several that differ, are the largest of p / exponential (a race of clocks);
        several with replacement look u up in the cumulative sum.
        """
        check_probs(probs, num_samples, replacement)
        if num_samples == 1 or not replacement:
            clocks = self.exponential(probs.shape, dtype=probs.dtype)
            score = quietly(np.divide, probs, library(probs).asarray(clocks))
            if num_samples == 1:
                return score.argmax(-1)[..., None]
            return np.argsort(-score, axis=-1, kind="stable")[..., :num_samples]
        rows = math.prod(probs.shape[:-1])
        u = self._unit(rows * num_samples, np.float64).reshape(rows, num_samples)
        return look_up(probs, u).reshape(*probs.shape[:-1], num_samples)

    def _empty(self, shape: Shape, dtype: DTypeLike) -> Any:
        """What draws are written into."""
        return np.empty(shape, dtype)

    def _words(self, n: int, word: type[np.uint32 | np.uint64]) -> np.ndarray:
        """n raw words of 32 or 64 bits. `randint` over a full range skips and keeps back none, but
        is slow to start."""
        if n < 1000:
            if word is np.uint32:
                return self._bits.random_raw(n).astype(word)
            raw = self._bits.random_raw(2 * n)
            return raw[::2] << HALF_WORD | raw[1::2]
        return self._twister.randint(0, int(np.iinfo(word).max) + 1, size=n, dtype=word)

    def _unit(self, n: int, dtype: DTypeLike) -> np.ndarray:
        """n values of [0, 1): float64 for float64, float32 for everything narrower."""
        if dtype is np.float64 or np.dtype(dtype) == np.float64:
            return (self._words(n, np.uint64) & MASK53) * 2.0**-53
        words = self._words(n, np.uint32)
        words &= MASK24
        u = words.view(np.int32).astype(np.float32)  # NumPy converts signed words faster
        u *= np.float32(2.0**-24)
        return u

    def _fresh_pairs(self, pairs: int) -> np.ndarray:
        """Standard normal values in float64, two and two from two uniforms."""
        turn, u = self._unit(2 * pairs, np.float64).reshape(pairs, 2).T
        radius, angle = np.sqrt(-2 * np.log1p(-u)), 2 * np.pi * turn
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)

    def _normal_pairs(self, n: int) -> np.ndarray:
        """n standard normal values in float64: the cosine half of a pair first, then the sine."""
        waiting = [] if math.isnan(self._half) else [self._half]
        pairs = (n - len(waiting) + 1) // 2
        values = np.concatenate([waiting, self._fresh_pairs(pairs)])
        if n:
            self._half = float(values[n]) if len(values) > n else math.nan
        return values[:n]


DRAWS = "uniform normal integers permutation exponential bernoulli bernoulli_each multinomial"
ONE_CALL.append((Generator, DRAWS + " manual_seed seed get_state set_state", False))

default_generator = Generator()
# Called with each seed of the default generator: the streams of other devices.
ALSO_SEEDED: list[Callable[[int], object]] = []


def manual_seed(seed: int) -> Generator:
    """Restart the generators that draws use when they are given none, those of GPUs as well;
    return the CPU's."""
    started = default_generator.manual_seed(int(seed))
    for start in ALSO_SEEDED:
        start(started.initial_seed())
    return started


def initial_seed() -> int:
    """The seed the default generator was last started from."""
    return default_generator.initial_seed()


def seed() -> int:
    """Restart the default generators from the operating system's entropy; returns the seed."""
    return manual_seed(secrets.randbits(64)).initial_seed()
