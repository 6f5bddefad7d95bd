"""What dropout keeps, drawn by the loop of `mersenne.h` from the generator's own state, which is
taken out of it and put back; and integers. The words are those that NumPy would have drawn.
"""

import threading
from typing import Any

import numpy

from ...arrays import kernel
from ...random import generator
from . import fast

_ONE_AT_A_TIME = threading.Lock()  # between taking the state out and putting it back
MANY = 4096  # draws from which that is worth it


@kernel(generator.keep_below, numpy.ndarray)
def keep_below(keep, bound, source):
    if keep.size < MANY:
        return NotImplemented
    with _ONE_AT_A_TIME:
        _, key, position, *_ = source._twister.get_state()
        position = fast.keep_below(keep.size, int(bound), keep, key, position)
        drawn: Any = ("MT19937", key, position, 0, 0.0)
        source._twister.set_state(drawn)
    return keep


@kernel(generator.remainders, numpy.ndarray)
def remainders(out, width, low, source):
    if out.dtype != numpy.int64 or width >= 2**28 or type(source) is not generator.Generator:
        return NotImplemented
    bits = source._bits
    with bits.lock:
        fast.integers(out.size, width, low, bits.capsule, out)
    return out
