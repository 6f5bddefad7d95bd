"""Functions that make tensors from data, from a rule or from chance, with PyTorch's signatures.
Random ones draw from a `Generator`; on the CPU its stream is PyTorch's, draw for draw."""

from __future__ import annotations

import math
from typing import Any

import numpy

from . import backend, random
from .backend import as_dtype, get_default_dtype, library_on
from .functions.common import as_tensor as _as_tensor
from .functions.common import raw, sizes, to_array
from .tensor import Tensor, wrap


def _finish(array: Any, device: Any, requires_grad: bool) -> Tensor:
    made = wrap(backend.to_device(array, device))
    return made.requires_grad_() if requires_grad else made


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor with a copy of the data: numbers, nested lists, arrays, tensors."""
    kind = None if dtype is None else as_dtype(dtype)
    if device is None and isinstance(data, Tensor):
        device = data.device
    array = to_array(data, kind)
    if isinstance(data, (Tensor, numpy.ndarray)):
        array = array.copy()
    return _finish(array, device, requires_grad)


def as_tensor(data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor that shares memory with the data where it can."""
    made = (
        _as_tensor(data)
        if isinstance(data, (Tensor, numpy.ndarray))
        else tensor(data, device=device)
    )
    return made.to(dtype=dtype, device=device)


def from_numpy(array: numpy.ndarray) -> Tensor:
    """A tensor on the array's own memory: writes to one show in the other."""
    if not isinstance(array, numpy.ndarray):
        raise TypeError(f"[from_numpy] expected a NumPy array, got {type(array).__name__}")
    backend.dtype_of(array)
    return wrap(numpy.asarray(array))


def _kind(dtype: Any) -> Any:
    return (get_default_dtype() if dtype is None else as_dtype(dtype)).np


def _constant(name: str, doc: str) -> tuple[Any, Any]:
    def make(
        *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        made = getattr(library_on(device), name)(sizes(size), _kind(dtype))
        return made_tensor(made, requires_grad)

    def like(
        input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        return make(
            input.shape,
            dtype=input.dtype if dtype is None else dtype,
            device=input.device if device is None else device,
            requires_grad=requires_grad,
        )

    make.__name__, make.__doc__ = name, doc
    like.__name__, like.__doc__ = f"{name}_like", f"{doc[:-1]}, like input in shape, dtype, device."
    return make, like


def made_tensor(array: Any, requires_grad: bool) -> Tensor:
    return wrap(array).requires_grad_() if requires_grad else wrap(array)


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
    kind = _kind(dtype) if dtype is not None else to_array(raw(fill_value)).dtype
    size = (size,) if isinstance(size, int) else tuple(size)
    return made_tensor(library_on(device).full(size, raw(fill_value), kind), requires_grad)


def full_like(input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return full(input.shape, fill_value, dtype=dtype or input.dtype, device=device or input.device)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones on the diagonal."""
    return wrap(library_on(device).eye(n, m, dtype=_kind(dtype)))


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end; integers give int64, a float among them the default."""
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(f"[arange] step must lead from {start} to {end}, got {step}")
    whole = all(isinstance(x, (int, numpy.integer)) for x in (start, end, step))
    kind = _kind(dtype) if dtype is not None or not whole else backend.int64.np
    count = math.ceil((end - start) / step)
    array = (start + numpy.arange(count) * step).astype(kind)
    return _finish(array, device, requires_grad)


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
    kind = _kind(dtype)
    # PyTorch counts from both ends, so that the middle is symmetric
    i, step = numpy.arange(steps), kind.type((end - start) / max(steps - 1, 1))
    low, high = kind.type(start) + i.astype(kind) * step, kind.type(end) - (steps - 1 - i).astype(kind) * step  # fmt: skip
    array = numpy.where(i < steps / 2, low, high).astype(kind)
    return _finish(array, device, requires_grad)


# ---------------------------------------------------------------- chance


def _generator(generator: Any) -> random.Generator:
    return random.default_generator if generator is None else generator


def rand(*size: Any, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Uniform on [0, 1)."""
    array = _generator(generator).uniform(sizes(size), dtype=_kind(dtype))
    return _finish(array, device, requires_grad)


def randn(*size: Any, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Standard normal."""
    array = _generator(generator).normal(sizes(size), dtype=_kind(dtype))
    return _finish(array, device, requires_grad)


def randint(low: int, high: Any = None, size: Any = None, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Integers from low (0 where left out) to high - 1: randint(high, size) or randint(low, high, size)."""
    if size is None:
        low, high, size = 0, low, high
    if high <= low:
        raise RuntimeError(f"[randint] low must be below high, got {low} and {high}")
    kind = backend.int64.np if dtype is None else as_dtype(dtype).np
    array = _generator(generator).integers(int(low), int(high), sizes((size,)), dtype=kind)
    return _finish(array, device, requires_grad)


def randperm(n: int, *, generator: Any = None, dtype: Any = None, device: Any = None) -> Tensor:
    """0 ... n - 1 in random order."""
    array = _generator(generator).permutation(int(n))
    return _finish(array if dtype is None else array.astype(as_dtype(dtype).np), device, False)


def rand_like(input: Tensor, *, generator: Any = None, dtype: Any = None) -> Tensor:
    return rand(input.shape, generator=generator, dtype=dtype or input.dtype, device=input.device)


def randn_like(input: Tensor, *, generator: Any = None, dtype: Any = None) -> Tensor:
    return randn(input.shape, generator=generator, dtype=dtype or input.dtype, device=input.device)


def randint_like(input: Tensor, low: int, high: Any = None, *, generator: Any = None) -> Tensor:
    low, high = (0, low) if high is None else (low, high)
    return randint(
        low, high, input.shape, generator=generator, dtype=input.dtype, device=input.device
    )


def normal(mean: Any, std: Any, size: Any = None, *, generator: Any = None) -> Tensor:
    """Normal with a mean and a standard deviation: numbers with a size, or tensors."""
    if size is None:
        size = (_as_tensor(mean) + _as_tensor(std)).shape
    return randn(size, generator=generator) * std + mean


def bernoulli(input: Tensor, *, generator: Any = None) -> Tensor:
    """1 with the probability given by each element, else 0."""
    array = _generator(generator).bernoulli_each(backend.to_numpy(input.array))
    return _finish(array, input.device, False)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Positions drawn with probabilities proportional to the last axis: (V,) or (N, V) gives
    (num_samples,) or (N, num_samples)."""
    probs = backend.to_numpy(input.array)
    drawn = _generator(generator).multinomial(probs, num_samples, replacement)
    return _finish(drawn, input.device, False)


# In-place forms, bound to Tensor as methods.


def _drawn(input: Tensor, array: Any) -> Tensor:
    return input.copy_(wrap(backend.to_device(array, input.device)))


def uniform_(input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None, **named: Any) -> Tensor:  # fmt: skip
    """Uniform on [from, to)."""
    low = named.get("from", from_)
    kind = input.array.dtype
    return _drawn(input, _generator(generator).uniform(input.shape, low, to, dtype=kind))


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    if std < 0:
        raise RuntimeError(f"[normal_] std must not be negative, got {std}")
    array = _generator(generator).normal(
        input.shape, mean, std, dtype=input.array.dtype, contiguous=input.is_contiguous()
    )
    return _drawn(input, array)


def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    if isinstance(p, Tensor):
        return input.copy_(bernoulli(p, generator=generator))
    return _drawn(input, _generator(generator).bernoulli(p, tuple(input.shape)))


def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    kind = input.array.dtype
    return _drawn(input, _generator(generator).exponential(input.shape, lambd, dtype=kind))


def random_(
    input: Tensor, low: int = 0, high: int | None = None, *, generator: Any = None
) -> Tensor:
    """Integers from low to high - 1."""
    if high is None:
        low, high = 0, low or 2**24
    return _drawn(input, _generator(generator).integers(low, high, tuple(input.shape)))
