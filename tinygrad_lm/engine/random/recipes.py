"""What turns raw draws into samples: pure functions of arrays, used by the generator.

They follow the arithmetic and the order of PyTorch's CPU generator, and hold no state.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Array, hold

BLOCK = 1 << 16  # values made at a time: scratch arrays stay in the cache; a multiple of 16


def fill(out: np.ndarray, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """Write draw(n) after draw(n) into a fresh array, in blocks, so that scratch stays small; on a
    GPU at once."""
    if 0 < out.size <= BLOCK:
        out[...] = draw(out.size).reshape(out.shape)
        return out
    flat = out.reshape(-1)
    step = BLOCK if type(out) is np.ndarray else flat.size or 1
    for start in range(0, flat.size, step):
        part = flat[start : start + step]
        part[...] = draw(part.size)
    return out


def box_muller(u: np.ndarray) -> None:
    """Turn uniforms to normals in place: of each 16, eight give the radius and eight the angle."""
    u1, u2 = u.reshape(-1, 2, 8).transpose(1, 0, 2)
    radius = np.sqrt(-2 * np.log(1 - u1))
    angle = u.dtype.type(2 * np.pi) * u2
    np.multiply(radius, np.cos(angle), out=u1)
    np.multiply(radius, np.sin(angle), out=u2)


def swap_forward(target: np.ndarray) -> np.ndarray:
    """What 0..n-1 becomes when step i = 0, 1, ... swaps places i and target[i] >= i.

    A loop is five times slower at n = 1e6. Step i moves what is at place i to target[i], and no
    later step touches place i. So place t ends with what was at place i just before step i, the
    last step with target t. The same rule gives what that was, back to a place that was no target.
    """
    steps = np.arange(len(target))
    origin = steps.copy()  # origin[i]: the number at place i just before step i
    moves = target != steps
    origin[target[moves]] = steps[moves]  # of equal targets the last one stays
    while not np.array_equal(origin, further := origin[origin]):
        origin = further
    ordered = np.sort(target << 32 | steps)  # by place, then by step
    place, step = ordered >> 32, ordered & 0xFFFFFFFF
    again = place[1:] == place[:-1]
    out = target.copy()
    out[step[1:][again]] = origin[step[:-1][again]]
    return out


def look_up(probs: np.ndarray, u: np.ndarray) -> np.ndarray:
    """For each u the category whose stretch of the row's cumulative sum it falls in (int64)."""
    widened = probs if probs.dtype == np.float64 else probs.astype(np.float32)
    ends = np.cumsum(widened.reshape(len(u), probs.shape[-1]), axis=-1, dtype=widened.dtype)
    ends = (ends / ends[:, -1:]).astype(np.float64)
    found = [np.searchsorted(row[:-1], samples) for row, samples in zip(ends, u)]
    return np.array(found, np.int64)


def _can_be_drawn_from(probs: Array) -> bool:
    """Whether all rows are probabilities, or it was left to a GPU to find one that is not."""
    if not probs.size:
        return False
    top = probs.max(-1)
    rows = (probs.min(-1) >= 0) & (top > 0) & (top < np.inf)
    return hold(rows, NO_PROBABILITIES) or bool(rows.all())


NO_PROBABILITIES = (
    "[multinomial] the probabilities of a row must be numbers >= 0, one of them above 0 and none "
    "infinite, got others; are the logits NaN?"
)


def check_probs(probs: Array, num_samples: int, replacement: bool) -> None:
    """Refuse what PyTorch's `multinomial` refuses, in its words."""
    if probs.dtype.kind in "iub":
        problem = f"multinomial only supports floating-point dtypes for input, got: {probs.dtype}"
    elif probs.ndim not in (1, 2):
        problem = f"prob_dist must be 1 or 2 dim, got {probs.shape}"
    elif num_samples <= 0:
        problem = f"cannot sample n_sample <= 0 samples, got {num_samples}"
    elif probs.size == 0 and probs.shape[-1] == 0:
        problem = f"needs at least one category, got {probs.shape}"
    elif not replacement and num_samples > probs.shape[-1]:
        problem = (
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement, got "
            f"{num_samples} > {probs.shape[-1]}; try replacement=True"
        )
    elif _can_be_drawn_from(probs):
        return
    elif not ((probs >= 0) & (probs < np.inf)).all():
        problem = "probability tensor contains either `inf`, `nan` or element < 0; logits? softmax"
    elif probs.size:
        problem = "invalid multinomial distribution (sum of probabilities <= 0)"
    else:
        return
    raise RuntimeError(f"[multinomial] {problem}")
