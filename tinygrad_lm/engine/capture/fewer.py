"""What a recording of a step on the CPU calls on small arrays, in fewer and shorter calls of our C:
the same numbers, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy

from ..arrays import get_num_threads
from ..kernels.c import fast

MINUS = {numpy.add: False, numpy.subtract: True}


def fewer(calls: list) -> list:
    """x + s y, which are two calls, and rows plus one row."""
    done: list[tuple[Any, tuple]] = []
    for function, args in calls:
        call = function, args
        if fast is not None and function in MINUS and are_plain(args):
            (x, y, out), minus, threads = args, MINUS[function], get_num_threads()
            before, given = done[-1] if done else (None, ())
            if x is not out and not apart(out, x):
                pass
            elif before is numpy.multiply and are_plain(given) and given[2] is y:
                s, factor = sorted(given[:2], key=numpy.ndim)
                if not s.ndim and factor.shape == y.shape == x.shape and apart(out, y, factor, s):
                    done.pop()
                    call = fast.add_to_rows, (1, x.size, threads, x, s, factor, y, minus, out)
            elif x.ndim == 2 and y.shape == x.shape[1:] and apart(out, y):
                call = fast.add_to_rows, (*x.shape, threads, x, None, y, None, minus, out)
        done.append(call)
    return done


def are_plain(args: tuple) -> bool:
    """Whether these are three arrays of float32 without gaps."""
    return len(args) == 3 and all(
        isinstance(x, numpy.ndarray) and x.dtype.char == "f" and x.flags.c_contiguous for x in args
    )


def apart(x: numpy.ndarray, *others: numpy.ndarray) -> bool:
    return not any(numpy.may_share_memory(x, y) for y in others)
