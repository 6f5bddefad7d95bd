"""A .cu file of this folder, and what it is compiled for. The tests walk `Source.every` and compile
all of it without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import cupy

FOLDER = Path(__file__).parent
# NumPy's name of a dtype -> its name in CUDA C++.
C_NAMES = {"float32": "float", "bfloat16": "__nv_bfloat16", "float16": "__half"}
FLOATS = tuple(C_NAMES.values())


class Source:
    """`Source("gelu", T=FLOATS)`: gelu.cu, compiled once for each T that is asked for. A choice
    becomes a #define before the text, after which come common.cuh, `headers` and then the file."""

    every: list[Source] = []

    def __init__(self, name: str, headers: tuple = (), **choices: tuple):
        self.name, self.choices = name, choices
        self.files = ("common.cuh", *headers, f"{name}.cu")
        Source.every.append(self)

    def text(self, **chosen: Any) -> str:
        parts = [f"#define {name} {value}\n" for name, value in chosen.items()]
        parts += [(FOLDER / file).read_text() for file in self.files]
        return "".join(parts)

    def texts(self) -> Iterator[str]:
        """What may be compiled: one text for each combination of choices."""
        for values in product(*self.choices.values()):
            yield self.text(**dict(zip(self.choices, values)))

    def kernel(self, function: str, **chosen: Any) -> Any:
        """CuPy's kernel: called as kernel(grid, block, arguments), where Python's int arrives as
        `long long` and its float as `double`."""
        return _function(self, function, tuple(chosen.items()))


@cache
def _module(source: Source, chosen: tuple) -> Any:
    return cupy.RawModule(code=source.text(**dict(chosen)), options=("-std=c++17",))


@cache  # CuPy makes a new one each time, which takes as long as a launch
def _function(source: Source, name: str, chosen: tuple) -> Any:
    return _module(source, chosen).get_function(name)


@cache  # NumPy takes longer to say a dtype's name than CuPy to launch a kernel
def _c_name(dtype: Any) -> str | None:
    return C_NAMES.get(dtype.name)


def c_name(x: Any) -> str | None:
    """What CUDA C++ calls the elements of x; None if the kernels do not know them."""
    return _c_name(x.dtype)


def takes(x: Any, *others: Any) -> bool:
    """Whether all that are given are arrays of one float type that the kernels know."""
    return (
        isinstance(x, cupy.ndarray)
        and c_name(x) is not None
        and all(y is None or (isinstance(y, cupy.ndarray) and y.dtype == x.dtype) for y in others)
    )


def like(x: Any) -> Any:
    """A new array of the shape and dtype of x, without gaps."""
    return cupy.ndarray(x.shape, x.dtype)


def is_packed(x: Any) -> bool:
    """Whether x has no gaps, and an address that 16-byte accesses may start at."""
    return x.flags.c_contiguous and x.data.ptr % 16 == 0


def packed(x: Any) -> Any:
    """x so that `is_packed` holds: itself or a copy."""
    return x if is_packed(x) else x.copy(order="C")


def blocks(work: int, each: int) -> int:
    """How many blocks of a grid `work` takes, if one does `each`."""
    return -(-work // each)
