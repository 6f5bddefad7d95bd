"""First values of parameters. Every function writes into a Tensor in place, outside the graph, and
draws what PyTorch's draws from the same generator, number for number."""

from __future__ import annotations

import contextlib
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy

from ..engine import arrays
from ..engine.core.tensor import Tensor, wrap
from ..engine.pytorch.arithmetic import where
from ..engine.pytorch.creation import empty_like
from ..engine.pytorch.grad_mode import no_grad
from ..engine.pytorch.random import randperm
from ..engine.random.generator import Generator, default_generator


class _Drawing(threading.local):
    """Of each thread: whether values are drawn at all."""

    on = True


drawing = _Drawing()


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Inside, `uniform_` and `normal_` draw nothing and leave the memory of a tensor as it is: for
    modules whose parameters come from a file, and at once."""
    before, drawing.on = drawing.on, False
    try:
        yield
    finally:
        drawing.on = before


@no_grad()
def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform on [a, b)."""
    if not drawing.on:
        return tensor
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Normal with a mean and a standard deviation."""
    if not drawing.on:
        return tensor
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 0.0)


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix in a 2-D tensor."""
    if tensor.ndim != 2:
        raise ValueError(f"[eye_] needs 2 dims, got shape {tuple(tensor.shape)}")
    tensor.zero_()
    for i in range(min(tensor.shape)):
        tensor[i, i] = 1.0
    return tensor


@no_grad()
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, drawn again where it falls outside [a, b]. Where that is most of it, uniform on
    [a, b]; each is kept with probability density / highest density."""

    def below(x: float) -> float:
        return (1.0 + math.erf((x - mean) / std / math.sqrt(2.0))) / 2.0

    def log_density(x: Any) -> Any:
        return ((x - mean) / std) ** 2 * -0.5

    outside = below(b) - below(a) <= 0.3
    highest = log_density(max(a, min(mean, b)))

    def draw() -> tuple[Tensor, Tensor]:
        """A whole tensor of values, and which of them are rejected."""
        x = empty_like(tensor)
        if not outside:
            x.normal_(mean, std, generator=generator)
            return x, (x < a) | (x > b)
        x.uniform_(a, b, generator=generator)
        level = empty_like(tensor).uniform_(generator=generator)
        return x, level.log() > log_density(x) - highest

    result, rejected = draw()
    while rejected.any():
        fresh, again = draw()
        result, rejected = where(rejected, fresh, result), rejected & again
    return tensor.copy_(result)


CONVOLUTIONS = [(kind, n) for kind in ("", "_transpose") for n in (1, 2, 3)]


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through an activation (He et al., 2015)."""
    gains = {"sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    gains |= dict.fromkeys(("linear", *(f"conv{kind}{n}d" for kind, n in CONVOLUTIONS)), 1.0)
    if nonlinearity == "leaky_relu":
        if isinstance(param, bool) or not isinstance(param, (int, float, type(None))):
            raise ValueError(f"[calculate_gain] the slope must be a number, got {param!r}")
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        known = ", ".join([*gains, "leaky_relu"])
        raise ValueError(f"[calculate_gain] must be one of {known}, got {nonlinearity!r}")
    return gains[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs and outputs a weight (out, in, ...) connects. PyTorch's name is private, and
    scripts call it all the same."""
    if tensor.ndim < 2:
        raise ValueError(
            f"[init] fan in and fan out need at least 2 dims, got shape {tuple(tensor.shape)}"
        )
    area = math.prod(tensor.shape[2:])
    return tensor.shape[1] * area, tensor.shape[0] * area


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform with variance 2 gain^2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    bound = math.sqrt(3.0) * gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with variance 2 gain^2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    return normal_(
        tensor, 0.0, gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))), generator
    )


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ValueError(f"[kaiming] mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return _calculate_fan_in_and_fan_out(tensor)[mode.lower() == "fan_out"]


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if 0 in tensor.shape:
        warnings.warn("[kaiming] a tensor without elements stays as it is", stacklevel=3)
        return 0.0
    gain = calculate_gain(nonlinearity, a)
    return gain / math.sqrt(_calculate_correct_fan(tensor, mode))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform with standard deviation gain / sqrt(fan) (He et al., 2015, arXiv 1502.01852)."""
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (He et al., 2015)."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A (semi-)orthogonal matrix times gain (Saxe et al., 2013, arXiv 1312.6120)."""
    if tensor.ndim < 2:
        raise ValueError(f"[orthogonal_] needs at least 2 dims, got shape {tuple(tensor.shape)}")
    if 0 in tensor.shape:
        return tensor
    rows, columns = tensor.shape[0], tensor.array.size // tensor.shape[0]
    made = (generator or default_generator).normal((rows, columns), dtype=tensor.array.dtype)
    q, r = numpy.linalg.qr(made.T if rows < columns else made)
    q = q * numpy.sign(numpy.diagonal(r))
    q = (q.T if rows < columns else q).reshape(tensor.shape) * gain
    return tensor.copy_(wrap(arrays.to_device(q.astype(tensor.array.dtype), tensor.device)))


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The weight (out, in, *kernel) of a convolution that passes on as many channels as there are
    on both sides, in each of `groups` groups."""
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ValueError(
            f"[dirac_] needs (out, in, *kernel) with 1 to 3 kernel sizes and out a multiple of "
            f"{groups}, got {tuple(tensor.shape)}"
        )
    tensor.zero_()
    outputs, middle = tensor.shape[0] // groups, tuple(n // 2 for n in tensor.shape[2:])
    for group in range(groups):
        for i in range(min(outputs, tensor.shape[1])):
            tensor[(group * outputs + i, i, *middle)] = 1.0
    return tensor


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Normal, with the share `sparsity` of each column 0 (Martens, 2010)."""
    if tensor.ndim != 2:
        raise ValueError(f"[sparse_] needs 2 dims, got shape {tuple(tensor.shape)}")
    rows, columns = tensor.shape
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        tensor[randperm(rows)[: math.ceil(sparsity * rows)], column] = 0
    return tensor


def _former(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function under its former name, without the underscore; warns."""
    name = function.__name__

    def former(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"[{name[:-1]}] the name is {name}, with an underscore; use that",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    return former


uniform, normal, constant, eye = map(_former, (uniform_, normal_, constant_, eye_))
xavier_uniform, xavier_normal = _former(xavier_uniform_), _former(xavier_normal_)
kaiming_uniform, kaiming_normal = _former(kaiming_uniform_), _former(kaiming_normal_)
orthogonal, sparse, dirac = map(_former, (orthogonal_, sparse_, dirac_))
