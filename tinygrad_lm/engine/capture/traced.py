"""The arrays of a step that is being recorded on the CPU: NumPy's, except that what is done with
them is noted on a tape. Their values cannot be read, so nothing that depends on them is missed."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy
from numpy.lib.mixins import NDArrayOperatorsMixin

# What is known of an array without its values.
FACTS = frozenset("shape dtype ndim size strides flags itemsize nbytes".split())
# Methods that are a ufunc's `reduce`, which starts sooner and writes where it is told to.
REDUCTIONS: dict[str, Any] = {"sum": numpy.add, "prod": numpy.multiply, "max": numpy.maximum}
REDUCTIONS |= {"min": numpy.minimum, "any": numpy.logical_or, "all": numpy.logical_and}


def refuse(what: str, instead: str = "return what is to be read, and read it outside") -> NoReturn:
    raise RuntimeError(f"[capture] a captured step must not {what}; {instead}")


class Traced(NDArrayOperatorsMixin):
    """An array whose memory stays where it is from one replay to the next.

    `plain` is NumPy's array of that memory, `base` the Traced that it is a view of, or None. That
    one's last reference gone, its memory, `block`, is free for what the step makes later."""

    __slots__ = ("__weakref__", "base", "block", "plain", "tape")

    def __init__(self, tape: Any, plain: numpy.ndarray, base: Traced | None = None, block=None):
        self.tape, self.plain, self.base, self.block = tape, plain, base, block

    def __del__(self) -> None:
        if self.block is not None:
            self.tape.free.setdefault(self.block.nbytes, []).append(self.block)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return self.tape.run(function, inputs, settings)

    def __array_function__(self, function: Any, types: Any, args: tuple, settings: dict) -> Any:
        return self.tape.run(function, args, settings)

    def __getattr__(self, name: str) -> Any:
        if name in FACTS:
            return getattr(self.plain, name)
        if name.startswith("__"):  # a door of NumPy's to the memory
            raise AttributeError(name)
        if name in REDUCTIONS:
            reduce = REDUCTIONS[name].reduce
            return lambda axis=None, *rest, **how: self.tape.run(reduce, (self, axis, *rest), how)
        method = getattr(numpy.ndarray, name)
        if not callable(method):  # T, real, imag: views
            return self.tape.run(getattr, (self, name), {})
        return partial(self.tape.noting, method, self)

    def __getitem__(self, key: Any) -> Any:
        for k in key if isinstance(key, tuple) else (key,):
            if type(k) is Traced and k.dtype == bool:
                refuse("select by a mask, whose number of elements may change", "use where(...)")
        return self.tape.run(numpy.ndarray.__getitem__, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tape.run(numpy.ndarray.__setitem__, (self, key, value), {})

    def __len__(self) -> int:
        return len(self.plain)

    __hash__ = object.__hash__

    @property
    def data(self) -> Any:
        """As CuPy has it: `data.ptr` is the address."""
        return SimpleNamespace(ptr=self.plain.__array_interface__["data"][0])

    def _read(self, *args: Any, **settings: Any) -> NoReturn:
        refuse("read a result (item(), float(), `if loss > 3:`)")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __complex__ = __contains__ = _read
    item = tolist = tobytes = get = dump = tofile = nonzero = _read
