"""Functions that make tensors from a rule, beyond those of the course, with PyTorch's signatures:
evenly spaced exponents, a chosen layout, windows for spectra."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy

from .. import arrays
from ..arrays import LIBRARIES, address, library_on
from ..core.tensor import Tensor
from .common import Device, Dtype, raw
from .conversions import cast
from .creation import arange, as_tensor, finish, full, kind_of, linspace, tensor


def logspace(
    start: float,
    end: float,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` values from base^start to base^end, their exponents evenly spaced."""
    first, last = (float(raw(x)) for x in (start, end))
    exponents = linspace(first, last, steps, dtype=arrays.float64, device=device)
    made = cast(base**exponents, kind_of(dtype))
    return made.requires_grad_() if requires_grad else made


def scalar_tensor(
    s: float, *, dtype: Dtype = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of no dims, in the default dtype."""
    return full((), s, dtype=kind_of(dtype), device=device, requires_grad=requires_grad)


def asarray(
    obj: Any,
    *,
    dtype: Dtype = None,
    device: Device = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of anything, on the same memory where that can be; `copy`: never, or always."""
    made = (tensor if copy else as_tensor)(obj, dtype=dtype, device=device)
    given = raw(obj)
    if copy is False and (type(given) not in LIBRARIES or address(given) != address(made.array)):
        raise ValueError(
            f"[asarray] copy=False must find memory to share, got {type(obj).__name__}; copy=None?"
        )
    return made.requires_grad_() if requires_grad else made


def frombuffer(
    buffer: Any, *, dtype: Dtype, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector on the memory of bytes, from byte `offset` on; ValueError where they do not fit."""
    try:
        found = numpy.frombuffer(buffer, kind_of(dtype), count, offset)
    except ValueError as error:
        raise ValueError(f"[frombuffer] elements must fit: {error}") from error
    return finish(found, "cpu", requires_grad)


def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uninitialised memory with steps of so many elements along each dim."""
    if len(size) != len(stride) or min([*size, *stride], default=0) < 0:
        raise RuntimeError(
            f"[empty_strided] each size must have its stride, none negative, got {tuple(size)} and "
            f"{tuple(stride)}"
        )
    lib, kind = library_on(device), kind_of(dtype)
    reach = 1 + sum((n - 1) * step for n, step in zip(size, stride)) if 0 not in size else 0
    steps = [step * kind.itemsize for step in stride]
    memory = lib.empty(reach, kind)
    return finish(lib.lib.stride_tricks.as_strided(memory, size, steps), device, requires_grad)


def range(start: float = 0, end: float | None = None, step: float = 1, **how: Any) -> Tensor:
    """start, start + step, ... up to end, which is included; PyTorch has deprecated it."""
    warnings.warn("[range] it includes its end; use arange, which does not", stacklevel=2)
    if end is None:
        raise TypeError("[range] start and end must be given, got start alone")
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(f"[range] step must lead from {start} to {end}, got {step}")
    count = math.floor((end - start) / step) + 1
    places = arange(count, dtype=arrays.float64, device=how.pop("device", None))
    flag = how.pop("requires_grad", False)
    made = cast(start + places * step, kind_of(how.pop("dtype", None)))
    if how:
        raise TypeError(f"[range] takes dtype, device and requires_grad, got {sorted(how)}")
    return made.requires_grad_() if flag else made


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """alpha - beta cos(2 pi i / n) for i = 0 ... n - 1; without `periodic` n - 1 divides."""
    n = window_length if periodic else window_length - 1
    values = alpha - beta * numpy.cos(2 * math.pi * numpy.arange(window_length) / max(n, 1))
    values = values if window_length != 1 else numpy.ones(1)
    return finish(values.astype(kind_of(dtype)), device, requires_grad)


def hann_window(window_length: int, periodic: bool = True, **how: Any) -> Tensor:
    """The square of the sine over half a turn: `hamming_window` with alpha = beta = 1/2."""
    return hamming_window(window_length, periodic, 0.5, 0.5, **how)
