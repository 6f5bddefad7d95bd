"""Functions that make tensors from data or from a rule, with PyTorch's signatures. Random ones
are in `random.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy

from .. import arrays
from ..arrays import LIBRARIES, Array, as_dtype, get_default_dtype, library, library_on
from ..arrays.replay import check_not_taping
from ..core.tensor import Tensor, wrap
from . import layouts
from .common import Device, Dtype, Sizes, raw, sizes, to_array, to_tensor


def finish(array: Array, device: Device, requires_grad: bool = False) -> Tensor:
    """A Tensor of an array, on a device (None: the default one)."""
    return _ready(arrays.to_device(array, device), requires_grad)


def shape_of(name: str, given: tuple, size: Sizes = None) -> tuple[int, ...]:
    """The shape from f(2, 3), f((2, 3)) or f(size=(2, 3))."""
    shape = sizes(given if size is None else (size,))
    if min(shape, default=0) < 0:
        raise RuntimeError(f"[{name}] sizes must not be negative, got {shape}")
    return shape


def kind_of(dtype: Dtype) -> numpy.dtype:
    """NumPy's dtype for one of ours, None meaning the default."""
    return (get_default_dtype() if dtype is None else as_dtype(dtype)).np


def tensor(
    data: Any, *, dtype: Dtype = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor with a copy of the data: numbers, nested lists, arrays, tensors."""
    kind = None if dtype is None else as_dtype(dtype)
    if device is None and isinstance(data, Tensor):
        device = data.device
    if type(data) in LIBRARIES and not isinstance(data, numpy.ndarray):  # stays on its device
        made = to_tensor(data.copy()).to(dtype=kind, device=device)
        return made.requires_grad_() if requires_grad else made
    array = to_array(data, kind)
    if isinstance(data, (Tensor, numpy.ndarray)):
        array = arrays.copied(array)
    return finish(array, device, requires_grad)


def as_tensor(data: Any, *, dtype: Dtype = None, device: Device = None) -> Tensor:
    """A tensor that shares memory with the data where it can."""
    if isinstance(data, (Tensor, numpy.ndarray)) or type(data) in LIBRARIES:
        return to_tensor(data).to(dtype=dtype, device=device)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: numpy.ndarray) -> Tensor:
    """A tensor on the array's own memory: writes to one show in the other. Where elements share
    memory it may not be written."""
    if not isinstance(array, numpy.ndarray):
        raise TypeError(f"[from_numpy] expected a NumPy array, got {type(array).__name__}")
    check_not_taping("make a tensor of a NumPy array", "pass a Tensor in")
    arrays.dtype_of(array)
    array = arrays.to_numpy(array)
    reach = sum((n - 1) * abs(step) for n, step in zip(array.shape, array.strides))
    if reach // array.itemsize + 1 < array.size:
        array = array.view()
        array.flags.writeable = False
    return wrap(array)


def zeros(
    *shape: Any,
    size: Sizes = None,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros."""
    made = library_on(device).zeros(shape_of("zeros", shape, size), kind_of(dtype))
    return _ready(made, requires_grad)


def zeros_like(
    input: Tensor,
    *,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Zeros, like input in shape, layout, dtype and device."""
    lib, array, kind = _pattern("zeros_like", input, dtype, device, memory_format)
    return _ready(lib.zeros_like(array, kind), requires_grad)


def ones(
    *shape: Any,
    size: Sizes = None,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones."""
    made = library_on(device).ones(shape_of("ones", shape, size), kind_of(dtype))
    return _ready(made, requires_grad)


def ones_like(
    input: Tensor,
    *,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Ones, like input in shape, layout, dtype and device."""
    lib, array, kind = _pattern("ones_like", input, dtype, device, memory_format)
    return _ready(lib.ones_like(array, kind), requires_grad)


def empty(
    *shape: Any,
    size: Sizes = None,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: Any = layouts.contiguous_format,
) -> Tensor:
    """Uninitialised memory."""
    made = library_on(device).empty(shape_of("empty", shape, size), kind_of(dtype))
    if memory_format is not layouts.contiguous_format:
        made = layouts.unwritten(wrap(made), memory_format, "empty")
    return _ready(made, requires_grad)


def empty_like(
    input: Tensor,
    *,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Uninitialised memory, like input in shape, layout, dtype and device."""
    lib, array, kind = _pattern("empty_like", input, dtype, device, memory_format)
    return _ready(lib.empty_like(array, kind), requires_grad)


def _ready(array: Array, requires_grad: bool) -> Tensor:
    made = wrap(array)
    return made.requires_grad_() if requires_grad else made


def _pattern(
    name: str, input: Tensor, dtype: Dtype, device: Device, form: Any
) -> tuple[Any, Array, Any]:
    """What makes a new tensor like input, an array to take after, and the dtype."""
    if not isinstance(input, Tensor):
        raise TypeError(f"[{name}] input must be a Tensor, got {type(input).__name__}")
    array = arrays.unstretched(input.array)
    if form is not None and form is not layouts.preserve_format:
        array = layouts.unwritten(input, form, name)
    array = array if device is None else arrays.to_device(array, device)
    lib = library(array) if device is None else library_on(device)
    return lib, array, (input.dtype if dtype is None else as_dtype(dtype)).np


def full(
    size: Sequence[int],
    fill_value: Tensor | float,
    *,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """One value everywhere; its Python type decides the dtype."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"[full] size must be a tuple, got {size!r:.60}; write ({size!r:.60},)?")
    value = fill_value.item() if hasattr(fill_value, "item") else fill_value
    kind = kind_of(dtype) if dtype is not None else to_array(value).dtype
    made = library_on(device).full(shape_of("full", (size,)), value, kind)
    return finish(made, device, requires_grad)


def full_like(
    input: Tensor,
    fill_value: Tensor | float,
    *,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """One value everywhere, like input in shape, layout, dtype and device."""
    made = empty_like(input, dtype=dtype, device=device, memory_format=memory_format)
    made = made.fill_(fill_value)
    return made.requires_grad_() if requires_grad else made


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal of (n, n) or (n, m)."""
    rows, columns = shape_of("eye", (n, n if m is None else m))
    made = library_on(device).eye(rows, columns, dtype=kind_of(dtype))
    return finish(made, device, requires_grad)


def arange(
    *bounds: Any,
    start: float | None = None,
    end: float | None = None,
    step: float | None = None,
    dtype: Dtype = None,
    device: Device = None,
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
    lib = library_on(device)
    if whole and lib is not numpy:  # made there, not sent
        return _ready(lib.arange(first, first + count * by, by, kind), requires_grad)
    array = (first + numpy.arange(count) * by).astype(kind)
    return finish(array, device, requires_grad)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: Dtype = None,
    device: Device = None,
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


def new_full(input: Tensor, size: Sequence[int], fill_value: Tensor | float, **how: Any) -> Tensor:
    return full(size, fill_value, **_like(input, how))


def new_empty(input: Tensor, *size: Any, **how: Any) -> Tensor:
    return empty(*size, **_like(input, how))


def new_tensor(input: Tensor, data: Any, **how: Any) -> Tensor:
    return tensor(data, **_like(input, how))
