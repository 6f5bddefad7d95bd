"""Functions that make tensors from data or from a rule, with PyTorch's signatures. Random ones
are in `random.py`."""

from __future__ import annotations

import math
from typing import Any

import numpy

from .. import arrays
from ..arrays import as_dtype, get_default_dtype, library_on
from ..core.tensor import Tensor, wrap
from .common import as_tensor as _as_tensor
from .common import raw, sizes, to_array


def finish(array: Any, device: Any, requires_grad: bool = False) -> Tensor:
    """A Tensor of an array, on a device (None: the default one)."""
    made = wrap(arrays.to_device(array, device))
    return made.requires_grad_() if requires_grad else made


def shape_of(name: str, given: tuple, size: Any = None) -> tuple:
    """The shape from f(2, 3), f((2, 3)) or f(size=(2, 3))."""
    shape = sizes(given if size is None else (size,))
    if min(shape, default=0) < 0:
        raise RuntimeError(f"[{name}] sizes must not be negative, got {shape}")
    return shape


def kind_of(dtype: Any) -> Any:
    """NumPy's dtype for one of ours, None meaning the default."""
    return (get_default_dtype() if dtype is None else as_dtype(dtype)).np


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor with a copy of the data: numbers, nested lists, arrays, tensors."""
    kind = None if dtype is None else as_dtype(dtype)
    if device is None and isinstance(data, Tensor):
        device = data.device
    array = to_array(data, kind)
    if isinstance(data, (Tensor, numpy.ndarray)):
        array = array.copy(order="K")
    return finish(array, device, requires_grad)


def as_tensor(data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor that shares memory with the data where it can."""
    if isinstance(data, (Tensor, numpy.ndarray)):
        return _as_tensor(data).to(dtype=dtype, device=device)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: numpy.ndarray) -> Tensor:
    """A tensor on the array's own memory: writes to one show in the other."""
    if not isinstance(array, numpy.ndarray):
        raise TypeError(f"[from_numpy] expected a NumPy array, got {type(array).__name__}")
    arrays.dtype_of(array)
    return wrap(numpy.asarray(array))


def _constant(name: str, doc: str) -> tuple[Any, Any]:
    def make(
        *shape: Any,
        size: Any = None,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
    ) -> Tensor:
        shape = shape_of(name, shape, size)
        made = wrap(getattr(library_on(device), name)(shape, kind_of(dtype)))
        return made.requires_grad_() if requires_grad else made

    def like(
        input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        if not isinstance(input, Tensor):
            raise TypeError(f"[{name}_like] input must be a Tensor, got {type(input).__name__}")
        array = input.array if device is None else arrays.to_device(input.array, device)
        kind = (input.dtype if dtype is None else as_dtype(dtype)).np
        made = wrap(getattr(arrays.library(array), f"{name}_like")(array, kind))
        return made.requires_grad_() if requires_grad else made

    make.__name__, make.__doc__ = name, doc
    like.__name__ = f"{name}_like"
    like.__doc__ = f"{doc[:-1]}, like input in shape, layout, dtype and device."
    return make, like


zeros, zeros_like = _constant("zeros", "Zeros.")
ones, ones_like = _constant("ones", "Ones.")
empty, empty_like = _constant("empty", "Uninitialised memory.")


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """One value everywhere; its Python type decides the dtype."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"[full] size must be a tuple, got {size!r:.60}; write ({size!r:.60},)?")
    kind = kind_of(dtype) if dtype is not None else to_array(raw(fill_value)).dtype
    made = library_on(device).full(shape_of("full", (size,)), raw(fill_value), kind)
    return finish(made, device, requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """One value everywhere, like input in shape, layout, dtype and device."""
    made = empty_like(input, dtype=dtype, device=device).fill_(fill_value)
    return made.requires_grad_() if requires_grad else made


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal of (n, n) or (n, m)."""
    rows, columns = shape_of("eye", (n, n if m is None else m))
    made = library_on(device).eye(rows, columns, dtype=kind_of(dtype))
    return finish(made, device, requires_grad)


def arange(
    *bounds: Any,
    start: Any = None,
    end: Any = None,
    step: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """arange(end), arange(start, end) or arange(start, end, step): start, start + step, ... below
    end. Integers give int64, a float among them the default dtype."""
    named = (start, end, step)
    bounds = (None, *bounds) if len(bounds) == 1 and end is None else bounds
    given = [*bounds, *named[len(bounds) :]]
    first, last, by = (raw(x).item() if hasattr(raw(x), "item") else x for x in given)
    first, by = 0 if first is None else first, 1 if by is None else by
    if not all(isinstance(x, (int, float)) for x in (first, last, by)):
        raise TypeError(f"[arange] bounds must be numbers, got {first!r}, {last!r}, {by!r}")
    if not all(math.isfinite(x) for x in (first, last, by)):
        raise RuntimeError(f"[arange] bounds must be finite, got {first}, {last}, {by}")
    if by == 0 or (last - first) * by < 0:
        raise RuntimeError(f"[arange] step must lead from {first} to {last}, got {by}")
    whole = all(isinstance(x, int) for x in (first, last, by))
    kind = kind_of(dtype) if dtype is not None or not whole else arrays.int64.np
    count = math.ceil((last - first) / by)
    array = (first + numpy.arange(count) * by).astype(kind)
    return finish(array, device, requires_grad)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` evenly spaced values from start to end, both included."""
    if steps < 0:
        raise RuntimeError(f"[linspace] steps must not be negative, got {steps}")
    kind = kind_of(dtype)
    unit = kind if kind.kind != "i" else numpy.dtype("float64")
    # PyTorch counts from both ends, so that the middle is symmetric
    i, step = numpy.arange(steps), unit.type((end - start) / max(steps - 1, 1))
    low = unit.type(start) + i.astype(unit) * step
    high = unit.type(end) - (steps - 1 - i).astype(unit) * step
    array = numpy.where(i < steps / 2, low, high).astype(kind)
    return finish(array, device, requires_grad)


# ---------------------------------------------------------------- like a tensor that is there


def _like(input: Tensor, how: dict) -> dict:
    return {"dtype": input.dtype, "device": input.device, **how}


def new_zeros(input: Tensor, *size: Any, **how: Any) -> Tensor:
    return zeros(*size, **_like(input, how))


def new_ones(input: Tensor, *size: Any, **how: Any) -> Tensor:
    return ones(*size, **_like(input, how))


def new_full(input: Tensor, size: Any, fill_value: Any, **how: Any) -> Tensor:
    return full(size, fill_value, **_like(input, how))


def new_empty(input: Tensor, *size: Any, **how: Any) -> Tensor:
    return empty(*size, **_like(input, how))


def new_tensor(input: Tensor, data: Any, **how: Any) -> Tensor:
    return tensor(data, **_like(input, how))
