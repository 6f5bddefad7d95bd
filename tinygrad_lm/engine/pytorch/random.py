"""Random tensors, with PyTorch's signatures. The numbers come from a `Generator`; on the
CPU its stream is PyTorch's, draw for draw, and so is the order in which it fills memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from .. import arrays
from ..arrays import Array, as_dtype
from ..core.tensor import Tensor, wrap
from ..ops.elementwise import where
from ..random import philox
from ..random.generator import Generator, default_generator
from .common import Device, Dtype, Sizes, to_tensor
from .creation import empty_like, finish, kind_of, shape_of
from .names import named


def _generator(generator: Generator | None, device: Device = None) -> Generator:
    """The generator to draw from, for a tensor on a device (None: the default one). One of the CPU
    is right for all: its numbers are uploaded."""
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"[generator] must be a Generator, got {type(generator).__name__}")
    if generator.device.type != "cpu":
        target = arrays.get_default_device() if device is None else arrays.device(device)
        if target.type != generator.device.type or target.index not in (
            None,
            generator.device.index,
        ):
            raise RuntimeError(
                f"[generator] must be on the tensor's device, {target}, got one on "
                f"{generator.device}; device={str(generator.device)!r}?"
            )
    return generator


def _floating(name: str, dtype: Dtype) -> numpy.dtype:
    """NumPy's dtype for a floating-point one of ours."""
    kind = kind_of(dtype)
    if kind.kind in "biu":
        raise NotImplementedError(f"[{name}] the dtype must be floating-point, got {kind}")
    return kind


def rand(
    *shape: Any,
    size: Sizes = None,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [0, 1)."""
    source, wanted = _generator(generator, device), shape_of("rand", shape, size)
    return finish(source.uniform(wanted, dtype=_floating("rand", dtype)), device, requires_grad)


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Uniform on [0, 1), like input in shape and layout."""
    made = empty_like(input, dtype=dtype, device=device, memory_format=memory_format)
    made = uniform_(made, generator=generator)
    return made.requires_grad_() if requires_grad else made


def randn(
    *shape: Any,
    size: Sizes = None,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal."""
    source, wanted = _generator(generator, device), shape_of("randn", shape, size)
    return finish(source.normal(wanted, dtype=_floating("randn", dtype)), device, requires_grad)


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Standard normal, like input in shape and layout."""
    made = empty_like(input, dtype=dtype, device=device, memory_format=memory_format)
    made = normal_(made, generator=generator)
    return made.requires_grad_() if requires_grad else made


def randint(
    *bounds: Any,
    low: int = 0,
    high: int | None = None,
    size: Sizes = None,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers from low (0 where left out) to high - 1: randint(high, size) or
    randint(low, high, size)."""
    given = list(bounds)
    if given and isinstance(given[-1], (tuple, list)):
        size = given.pop()
    if len(given) == 2:
        low, high = given
    elif given:
        low, high = (low, given[0]) if high is None else (given[0], high)
    if high is None or size is None or len(given) > 2:
        raise TypeError(f"[randint] needs high and a size, got {bounds}; e.g. randint(0, 10, (3,))")
    if high <= low:
        raise RuntimeError(f"[randint] low must be below high, got {low} and {high}")
    kind = arrays.int64.np if dtype is None else as_dtype(dtype).np
    shape = shape_of("randint", (size,))
    array = _generator(generator, device).integers(int(low), int(high), shape, dtype=kind)
    return finish(array, device, requires_grad)


def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    requires_grad: bool = False,
    **how: Any,
) -> Tensor:
    """Integers from low (0 where left out) to high - 1, like input in shape and dtype; with dtype,
    device and memory_format of `empty_like`."""
    low, high = (0, low) if high is None else (low, high)
    made = empty_like(input, **how).random_(low, high, generator=generator)
    return made.requires_grad_() if requires_grad else made


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """0 ... n - 1 in random order."""
    array = _generator(generator, device).permutation(int(n))
    array = array if dtype is None else array.astype(as_dtype(dtype).np)
    return finish(array, device, requires_grad)


def normal(
    mean: Tensor | float,
    std: Tensor | float = 1.0,
    size: Sizes = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    **how: Any,
) -> Tensor:
    """Normal with a mean and a standard deviation, of which one is a tensor; or both numbers, with
    a size (and dtype, device, requires_grad). As in PyTorch the gradients of both are zeros."""
    given = [x for x in (mean, std) if isinstance(x, Tensor)]
    if bool(given) == (size is not None) or (given and how):
        raise TypeError(
            "[normal] needs a tensor among mean and std, or a size and what else rand takes, got "
            f"{type(mean).__name__}, {type(std).__name__}, size {size} and {sorted(how)}"
        )
    if std.numel() and bool((std < 0).any()) if isinstance(std, Tensor) else std < 0:
        raise RuntimeError(f"[normal] std must not be negative, got {std}")
    if size is not None:
        made = randn(size, generator=generator, **how | {"requires_grad": False}) * std + mean
        made.requires_grad_(how.get("requires_grad", False))
    else:
        how = {"dtype": given[0].dtype, "device": given[0].device}  # the mean's go before
        both = [x.detach() if isinstance(x, Tensor) else x for x in (mean, std)]
        drawn = randn((to_tensor(mean) + to_tensor(std)).shape, generator=generator, **how)
        made = (drawn * both[1] + both[0]).to(given[0].dtype)
        never = arrays.library(made.array).zeros((), bool)
        for x in given:
            made = where(x.to(made.dtype), made, condition=never)
        named(made, f"NormalBackward{isinstance(mean, Tensor) + 2 * isinstance(std, Tensor)}")
    return made if out is None else out.copy_(made)


def bernoulli(
    input: Tensor, p: Tensor | float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """1 with the probability given by each element (with p: by p), else 0."""
    if p is not None:
        return empty_like(input).bernoulli_(p, generator=generator)
    source, probs = _generator(generator, input.device), input.array
    if source.device.type == "cpu":
        probs = arrays.on_host(probs)
    return finish(arrays.as_array(source.bernoulli_each(probs)), input.device)


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Positions drawn with probabilities proportional to the last axis: (V,) or (N, V) gives
    (num_samples,) or (N, num_samples). RuntimeError: a row that is no probabilities. Of a tensor on
    a GPU the draws are from that GPU's stream, unless a generator is given; a single sample is
    drawn there without waiting, and the error then comes when something is next read."""
    probs, device = input.array, input.device
    if generator is None and device.type == "cuda":
        generator = philox.stream(device.index)
    if num_samples != 1:
        probs = arrays.on_host(probs)
    drawn = _generator(generator, device).multinomial(probs, num_samples, replacement)
    return finish(arrays.library(drawn).ascontiguousarray(drawn), device)


# ---------------------------------------------------------------- in place, bound to Tensor


def _filled(input: Tensor, name: str, draw: Callable[[tuple], Array]) -> Tensor:
    """Write draw(shape) into input in the order of its memory: widest stride first."""
    strides = input.array.strides
    order = sorted(range(input.ndim), key=lambda axis: -abs(strides[axis]))
    array = draw(tuple(input.array.shape[axis] for axis in order))
    back = sorted(range(input.ndim), key=order.__getitem__)
    input.copy_(wrap(arrays.to_device(array.transpose(back), input.device)))
    if input.node is not None and input.base is None:
        input.node.name = name
    return input


def uniform_(
    input: Tensor,
    from_: float = 0.0,
    to: float = 1.0,
    *,
    generator: Generator | None = None,
    **named: Any,
) -> Tensor:
    """Uniform on [from, to)."""
    low, kind = named.get("from", from_), _floating("uniform_", input.dtype)
    source = _generator(generator, input.device)
    return _filled(input, "uniform", lambda shape: source.uniform(shape, low, to, dtype=kind))


def normal_(
    input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Normal with a mean and a standard deviation."""
    source, kind, dense = (
        _generator(generator, input.device),
        _floating("normal_", input.dtype),
        input.is_contiguous(),
    )

    def draw(shape: tuple) -> Array:
        return source.normal(shape, mean, std, dtype=kind, contiguous=dense)

    return _filled(input, "normal", draw)


def bernoulli_(
    input: Tensor, p: Tensor | float = 0.5, *, generator: Generator | None = None
) -> Tensor:
    """1 with probability p (a number, or a tensor of them), else 0."""
    if isinstance(p, Tensor):
        return input.copy_(bernoulli(p, generator=generator))
    source, share = _generator(generator, input.device), float(p)
    return _filled(input, "bernoulli", lambda shape: source.bernoulli(share, shape))


def exponential_(
    input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Exponential with mean 1 / lambd."""
    source, kind = _generator(generator, input.device), input.array.dtype
    return _filled(input, "exponential", lambda shape: source.exponential(shape, lambd, dtype=kind))


# How many integers, from 0 on, each dtype holds exactly.
WHOLE = {"float64": 2**53 + 1, "float32": 2**24 + 1, "float16": 2**11 + 1, "bfloat16": 2**8 + 1}
WHOLE |= {"int64": 2**63, "int32": 2**31, "int16": 2**15, "int8": 2**7}
WHOLE |= {"uint8": 2**8, "bool": 2}


def random_(
    input: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Integers from low to high - 1; without bounds, all that the dtype holds from 0 on."""
    if high is None:
        low, high = 0, low or WHOLE[input.dtype.name]
    return _filled(
        input,
        "random",
        lambda shape: _generator(generator, input.device).integers(low, high, shape),
    )


def get_rng_state() -> Tensor:
    """Everything the next draw of the default generator depends on, as uint8."""
    return wrap(default_generator.get_state())


def set_rng_state(new_state: Tensor) -> None:
    """Continue from what `get_rng_state` returned."""
    if getattr(new_state, "dtype", None) is not arrays.uint8:
        raise TypeError(
            f"[set_rng_state] needs a uint8 Tensor from get_rng_state, got {new_state!r:.60}"
        )
    default_generator.set_state(new_state.numpy())
