"""No kernel in C reads what lies behind an array: here a page lies there that cannot be read.

Vectors are wider than what is left of a row, so its last numbers are loaded by a mask or one by
one. A load too wide goes unnoticed nearly always, and where the memory ends it kills the process.
"""

import ctypes
import mmap
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.engine.kernels.c import fast
from tinygrad_lm.nn import functional as F

KEPT = []  # the pages
pytestmark = pytest.mark.skipif(
    fast is None or sys.platform != "linux", reason="needs the kernels in C, and pages as Linux's"
)


def edge(x):
    """x, and behind its last byte a page that cannot be read."""
    page = mmap.PAGESIZE
    room = -(-x.nbytes // page) * page
    KEPT.append(mmap.mmap(-1, room + page))
    start = ctypes.addressof(ctypes.c_char.from_buffer(KEPT[-1]))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + room), page, 0) == 0
    out = np.frombuffer(KEPT[-1], x.dtype, x.size, room - x.nbytes).reshape(x.shape)
    out[...] = x
    return out


def ops(E, t, ids):
    x, g = t(5, E), t(5, E)
    yield from (F.softmax(x, -1), F.log_softmax(x, -1), F.layer_norm(x, (E,), t(E), t(E)))
    yield from (F.gelu(x), F.gelu(x, approximate="tanh"), F.silu(x), F.relu(x), F.softplus(x))
    yield from (x.exp(), x.tanh(), x.sigmoid(), x.cumsum(-1), x.amax(-1), F.rms_norm(x, (E,), t(E)))
    yield from (F.cross_entropy(x, ids), F.mse_loss(x, g), F.embedding(ids, t(E, 9)))
    yield from (F.linear(x, t(7, E), t(7)), x @ t(E, 5))
    with tg.no_grad():  # few rows go another way
        few = F.linear(x, t(7, E))
    yield few
    for causal in (True, False):
        q, k, v = (t(1, 2, 5, E) for _ in range(3))
        yield F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    yield F.batch_norm(t(5, E, 3), None, None, t(E), t(E), training=True)
    yield F.conv1d(t(2, 3, E + 2), t(4, 3, 3), t(4), padding=1)
    yield F.conv2d(t(2, 3, 5, E + 2), t(4, 3, 3, 3), t(4), padding=1)
    yield from (F.max_pool2d(t(1, 2, 6, E + 3), 2), F.avg_pool2d(t(1, 2, 6, E + 3), 2))


def main():
    rng = np.random.default_rng(3)

    def t(*shape):
        return tg.from_numpy(edge(rng.standard_normal(shape, "f4"))).requires_grad_()

    for E in (1, 3, 7, 15, 16, 17, 19, 33):
        ids = tg.from_numpy(edge(rng.integers(0, E, 5)))
        for y in ops(E, t, ids):
            assert np.isfinite(y.detach().numpy()).all()
            if y.requires_grad:
                y.backward(tg.from_numpy(edge(rng.standard_normal(y.shape, "f4"))))
    print("nothing was read behind an array")


def test_nothing_is_read_behind_an_array():
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert done.stdout == "nothing was read behind an array\n", (done.returncode, done.stderr)


if __name__ == "__main__":
    main()
