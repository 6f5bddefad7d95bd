"""What a replay of a step on the CPU does: the calls of its recording one after another, as calls
that start sooner, and on small arrays in fewer of them: the same numbers, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from ..arrays import get_num_threads, leaves, look_at
from ..kernels.c import fast
from ..kernels.numpy.blocks import blas_in_one_thread, blocks_begun
from .traced import refuse

BY_KEYWORD = {numpy.maximum, numpy.minimum}  # NumPy's rule for their `out`
MINUS = {numpy.add: False, numpy.subtract: True}


def replay(calls: list[tuple[Callable, tuple]]) -> None:
    """All of them; where one raises, BLAS has as many threads as before."""
    begun = blocks_begun()
    try:
        for function, args in calls:
            function(*args)
    except BaseException:
        while blocks_begun() > begun:
            blas_in_one_thread(False)
        raise


def store(outs: list, function: Callable, args: tuple, settings: dict) -> None:
    found = function(*args, **settings)
    for out, x in zip(outs, found if isinstance(found, (tuple, list)) else (found,)):
        if out.shape != x.shape:
            refuse(f"make arrays whose shape depends on values, {out.shape} then {x.shape}", "pad")
        out[...] = x


def with_gradients(made: list, function: Callable, args: tuple, **settings: Any) -> None:
    """A method that looks at gradients, when those of some tensors are the given ones."""
    for t, grad in made:
        t._grad = grad
    function(*args, **settings)


def fewer(calls: list[tuple[Callable, tuple, dict]]) -> list[tuple[Callable, tuple]]:
    """Calls (function, args, settings) as (function, args)."""
    done: list[tuple[Callable, tuple]] = []
    for function, args, settings in calls:
        if isinstance(function, numpy.ufunc) and "out" in settings and function not in BY_KEYWORD:
            outs = list(leaves(settings["out"]))
            settings = {name: x for name, x in settings.items() if name != "out"}
            args = (*numbers_as_arrays(args, outs[-1].dtype), *outs)  # by position
        elif (
            function is numpy.ndarray.take and len(args) == 2 and settings.keys() == {"axis", "out"}
        ):
            size = args[0].shape[settings["axis"]]
            done.append((look_at, (args[1], "getitem", "index", -size, size)))
            args = (*args, settings["axis"], settings["out"], "wrap")  # which needs no copy
            settings = {}
        if fast is not None and function in MINUS and not settings and are_plain(args):
            done.append(joined(function, args, done))
        else:
            done.append((partial(function, **settings) if settings else function, args))
    return done


def numbers_as_arrays(args: tuple, dtype: numpy.dtype) -> tuple:
    """Numbers as arrays of no axes, where that is what a ufunc makes of them."""
    arrays = [x for x in args if isinstance(x, numpy.ndarray)]
    if dtype.kind != "f" or any(x.dtype != dtype for x in arrays):
        return args
    return tuple(numpy.array(x, dtype) if type(x) is float else x for x in args)


def joined(function: Any, args: tuple, done: list) -> tuple[Callable, tuple]:
    """Rows plus one row, or x + s y after s y, which is taken away."""
    (x, y, out), minus, threads = args, MINUS[function], get_num_threads()
    before, given = done[-1] if done else (None, args)
    if x is not out and not apart(out, x):
        return function, args
    if before is numpy.multiply and are_plain(given) and given[2] is y:
        s, factor = sorted(given[:2], key=numpy.ndim)
        alike = not s.ndim and factor.shape == y.shape == x.shape
        if alike and apart(y, x, out) and apart(out, factor, s):  # the loop reads x before it has y
            done.pop()
            return fast.add_to_rows, (1, x.size, threads, x, s, factor, y, minus, out)
    elif x.ndim == 2 and y.shape == x.shape[1:] and apart(out, y):
        return fast.add_to_rows, (*x.shape, threads, x, None, y, None, minus, out)
    return function, args


def are_plain(args: tuple) -> bool:
    """Whether these are three arrays of float32 without gaps."""
    return len(args) == 3 and all(
        isinstance(x, numpy.ndarray) and x.dtype.char == "f" and x.flags.c_contiguous for x in args
    )


def apart(x: numpy.ndarray, *others: numpy.ndarray) -> bool:
    return not any(numpy.may_share_memory(x, y) for y in others)
