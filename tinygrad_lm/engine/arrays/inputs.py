"""What an op may be given beside Tensors, what a walk back may start with, and what an error inside
an op means in terms of its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .devices import device_of
from .dtypes import dtype_of
from .libraries import LIBRARIES, ON_CUDA, Array, OutOfMemoryError, cupy, library, to_numpy


def plain(name: str, x: Any) -> Any:
    """An input that is no Tensor: as an array, a Python number or None."""
    if x is None or type(x) is float or type(x) is int:
        return x
    if type(x) in LIBRARIES:
        dtype_of(x)  # an error for a dtype that is none of ours
        return x
    if isinstance(x, numpy.generic):
        return x.item()
    if isinstance(x, (int, float)):
        return x
    if isinstance(x, numpy.ndarray):
        return to_numpy(x)
    raise TypeError(
        f"[{name}] inputs must be Tensors, arrays or numbers, got {type(x).__name__}; "
        "make a Tensor of it with tensor(...)"
    )


def explained(
    name: str, error: Exception, inputs: Sequence, settings: dict | None = None
) -> Exception:
    """The error that NumPy or CuPy raised inside an op, as one that says what must hold and what
    came. inputs: arrays, numbers and None; settings may hold arrays too, such as masks and ids."""
    arrays = [x for x in inputs if type(x) in LIBRARIES]
    if isinstance(error, MemoryError):
        return out_of_memory(name, error)
    everything = [*arrays, *(x for x in (settings or {}).values() if type(x) in LIBRARIES)]
    if len({type(x) for x in everything}) > 1:
        where = " and ".join(dict.fromkeys(str(device_of(x)) for x in everything))
        return RuntimeError(
            f"[{name}] all inputs must be on the same device, got {where}; move with .to()"
        )
    if str(error).startswith("["):
        return error
    if isinstance(error, TypeError):
        found = [dtype_of(x) if type(x) in LIBRARIES else type(x).__name__ for x in inputs]
        kind = RuntimeError if arrays and all(x.dtype == bool for x in arrays) else TypeError
        return kind(
            f"[{name}] inputs must have types it is defined for, "
            f"got {' and '.join(map(str, found))}: {error}"
        )
    shapes = " and ".join(str(tuple(x.shape)) for x in arrays)
    if isinstance(error, IndexError):
        return IndexError(f"[{name}] positions must exist, got {shapes}: {error}")
    return RuntimeError(f"[{name}] shapes must fit together, got {shapes}: {error}")


def upstream_gradient(value: Array, g: Any) -> Any:
    """The gradient to start from at `value`: g in its dtype, or 1 for a single element."""
    if g is None:
        if value.size != 1:
            raise RuntimeError(
                "[backward] without a gradient the tensor must be a scalar (grad can be "
                f"implicitly created only for scalar outputs), got shape {tuple(value.shape)}; "
                "pass gradient= or reduce it with sum() or mean()"
            )
        one = library(value).empty(value.shape, value.dtype)
        one.fill(1)  # NumPy's `ones` is written in Python
        return one
    if tuple(g.shape) != tuple(value.shape):
        raise RuntimeError(
            f"[backward] gradient must have the tensor's shape {tuple(value.shape)}, "
            f"got {tuple(g.shape)}"
        )
    if device_of(getattr(g, "array", g)) != device_of(value):
        raise RuntimeError(
            f"[backward] gradient must be on the tensor's device {device_of(value)}, got one on "
            f"{device_of(getattr(g, 'array', g))}; move with .to()"
        )
    return g if getattr(g, "array", g).dtype == value.dtype else g.astype(value.dtype)


def out_of_memory(name: str, error: Exception) -> OutOfMemoryError:
    """Says what did not fit, and what to lower; CuPy and NumPy say how much it was."""
    if isinstance(error, OutOfMemoryError):
        if not str(error).startswith("[memory]") or error.__cause__ is None:
            return error  # which has a name already
        error = error.__cause__  # type: ignore[assignment]
    return OutOfMemoryError(
        f"[{name}] what it makes must fit into memory, got: {error}; try a smaller batch, a "
        "shorter context or bfloat16, or free what is no longer needed"
    )


def _tell_of_memory() -> None:
    """What asks CuPy for memory outside an op, such as `zeros` and an optimizer, gets this error,
    too. In a recorded step, which has memory of its own, the ops tell."""
    cuda = cupy().cuda
    plain_way, full = cuda.get_allocator(), cuda.memory.OutOfMemoryError

    def allocate(size: int) -> Any:
        try:
            return plain_way(size)
        except full as error:
            raise out_of_memory("memory", error) from error

    cuda.set_allocator(allocate)


ON_CUDA.append(_tell_of_memory)
