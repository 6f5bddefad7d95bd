"""Is a gradient right? `gradcheck` compares it with central differences. Any function from Tensors
to a Tensor can be checked, a user's `@primitive` included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy

from .arrays import float64, to_device, to_numpy
from .core.tensor import Tensor, wrap
from .pytorch.grad import grad
from .pytorch.grad_mode import enable_grad

EVERY_ELEMENT = 32  # larger inputs are checked along random directions instead
DIRECTIONS = 4


def gradcheck(
    fn: Callable[..., Tensor],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
) -> bool:
    """True if the gradients of fn(*inputs) agree with central finite differences, else an error.

    inputs: Tensors, or anything else fn takes; those of dtype float64 that require a gradient are
    checked, element by element up to 32 elements, along four random directions above. The upstream
    gradient is random, because a sum hides errors that cancel (softmax, layer norm). The step is
    eps * max(1, |x|), by default the cube root of the float64 rounding unit: 6e-6. A pair (a, n)
    agrees if |a - n| <= atol + rtol * s, s the sum of the absolute terms that n is made of.

        @primitive
        def cube(x):
            return x**3, (lambda g: g * 3 * x**2,)

        gradcheck(cube, [tensor([1.0, -2.0], dtype=float64, requires_grad=True)])   # True

    Errors: TypeError for inputs that cannot be checked in float64, RuntimeError naming fn, input
    and element and giving both numbers where they differ.
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    chosen = _checked_inputs(name, given)
    rng = numpy.random.default_rng(seed)
    values = [to_numpy(x.array).copy() if isinstance(x, Tensor) else x for x in given]

    def call(changed: dict[int, numpy.ndarray]) -> Tensor:
        fresh = [_like(x, changed.get(i, v)) for i, (x, v) in enumerate(zip(given, values))]
        return fn(*fresh)

    with enable_grad():
        leaves = [_like(x, v) for x, v in zip(given, values)]
        out = fn(*leaves)
        _check_output(name, out)
        upstream = rng.standard_normal(out.shape)
        start = wrap(to_device(numpy.asarray(upstream), out.device))
        wanted = [leaves[i] for i in chosen]
        found = grad([out], wanted, [start], allow_unused=True) if out.requires_grad else ()
    step = 6e-6 if eps is None else eps
    for i, analytic in zip(chosen, found or (None,) * len(chosen)):
        shape = values[i].shape
        ours = numpy.zeros(shape) if analytic is None else to_numpy(analytic.array)
        for direction, where in _directions(shape, rng):
            h = step * max(1.0, float(abs(values[i][direction != 0]).max(initial=0.0)))
            up = to_numpy(call({i: values[i] + h * direction}).array)
            down = to_numpy(call({i: values[i] - h * direction}).array)
            moved = numpy.subtract(up, down, out=numpy.zeros_like(up), where=up != down)
            terms = upstream * moved / (2 * h)
            numeric, size = float(terms.sum()), float(abs(terms).sum())
            along = float((ours * direction).sum())
            if not abs(along - numeric) <= atol + rtol * size:  # NaN fails too
                raise _disagreement(name, f"input {i} of shape {shape}, {where}", along, numeric)
    return True


def _disagreement(name: str, where: str, along: float, numeric: float) -> RuntimeError:
    return RuntimeError(
        f"[gradcheck] the gradient of {name} must agree with finite differences: for {where}, "
        f"backward gives {along!r}, differences give {numeric!r}; a term missing in its pullback, "
        "or a kink nearby?"
    )


def _checked_inputs(name: str, given: tuple) -> list[int]:
    """Positions of the inputs to check, with an error for what float64 cannot check."""
    chosen = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not chosen:
        raise TypeError(
            f"[gradcheck] {name} must have an input that requires a gradient, got none; "
            "pass tensors made with dtype=float64, requires_grad=True"
        )
    for i in chosen:
        if given[i].dtype is not float64:
            raise TypeError(
                f"[gradcheck] inputs must be float64, input {i} of {name} is {given[i].dtype}; "
                "differences drown in the rounding of smaller types: use x.double()"
            )
    return chosen


def _check_output(name: str, out: object) -> None:
    if not isinstance(out, Tensor) or out.dtype is not float64:
        what = out.dtype if isinstance(out, Tensor) else type(out).__name__
        raise TypeError(f"[gradcheck] {name} must return one float64 Tensor, got {what}")


def _like(given: Any, value: Any) -> Any:
    """A leaf with these values wherever the input was a Tensor."""
    if not isinstance(given, Tensor):
        return value
    array = numpy.array(value, given.dtype.np)
    return wrap(to_device(array, given.device)).requires_grad_(given.requires_grad)


def _directions(shape: tuple, rng: numpy.random.Generator) -> Iterator[tuple[numpy.ndarray, str]]:
    """(direction, its name): one per element of small inputs, some random ones of large inputs."""
    count = int(numpy.prod(shape, dtype=int))
    if count > EVERY_ELEMENT:
        for i in range(DIRECTIONS):
            yield rng.standard_normal(shape), f"along random direction {i}"
        return
    for i in range(count):
        direction = numpy.zeros(shape)
        direction.reshape(-1)[i] = 1.0
        where = tuple(map(int, numpy.unravel_index(i, shape)))
        yield direction, f"element {where}"
