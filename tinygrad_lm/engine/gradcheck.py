"""Is a gradient right? `gradcheck` compares it with central differences, `gradgradcheck` that of
the gradient. Functions from Tensors to Tensors can be checked, a user's `@primitive` included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy

from .arrays import float64, to_device, to_numpy
from .core.tensor import Tensor, wrap
from .pytorch.grad import grad
from .pytorch.grad_mode import enable_grad, higher_order
from .pytorch.joining import cat

EVERY_ELEMENT = 32  # larger inputs are checked along random directions instead
DIRECTIONS = 4


class GradcheckError(RuntimeError):
    """A gradient is not what finite differences say."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float | None = None,
    atol: float = 1e-8,
    rtol: float = 1e-6,
    raise_exception: bool = True,
    seed: int = 0,
    **unused: Any,
) -> bool:
    """True if the gradients of func(*inputs) agree with central finite differences, else an error
    (False with raise_exception=False). What func returns is a Tensor or a tuple of them.

    inputs: Tensors, or anything else func takes; those of dtype float64 that require a gradient are
    checked, element by element up to 32 elements, along four random directions above. The upstream
    gradient is random, because a sum hides errors that cancel (softmax, layer norm). The step is
    eps * max(1, |x|), by default the cube root of the float64 rounding unit: 6e-6. A pair (a, n)
    agrees if |a - n| <= atol + rtol * s, s the sum of the absolute terms that n is made of. That is
    stricter than PyTorch's, whose other settings are taken and change nothing; those for what does
    not exist here (check_forward_ad, check_batched_grad) must be off.

        @primitive
        def cube(x):
            return x**3, (lambda g: g * 3 * x**2,)

        gradcheck(cube, [tensor([1.0, -2.0], dtype=float64, requires_grad=True)])   # True

    Errors: TypeError for inputs that cannot be checked in float64, ValueError where none requires a
    gradient, GradcheckError (a RuntimeError) naming func, input and element and giving both numbers
    where they differ.
    """
    _check_settings("gradcheck", unused)
    name = getattr(func, "__name__", type(func).__name__)
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    chosen = _checked_inputs(name, given)
    try:
        _compare(name, func, given, chosen, (eps, atol, rtol, seed))
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Any] | None = None,
    *,
    seed: int = 0,
    **settings: Any,
) -> bool:
    """`gradcheck` of the gradient that func(*inputs) has for grad_outputs (random ones by default),
    as a function of inputs and grad_outputs."""
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    chosen = _checked_inputs("gradgradcheck", given)
    if grad_outputs is None:
        rng = numpy.random.default_rng(seed)
        outs = [x for x in _listed(func(*given)) if x.requires_grad]
        ups: tuple = tuple(_like(x, rng.standard_normal(x.shape)).requires_grad_() for x in outs)
    else:
        ups = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs)

    def gradient(*values: Any) -> tuple:
        xs = values[: len(given)]
        with higher_order():
            outs = [x for x in _listed(func(*xs)) if x.requires_grad]
            wanted = [xs[i] for i in chosen]
            found = grad(outs, wanted, values[len(given) :], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(gradient, (*given, *ups), seed=seed, **settings)


# PyTorch's settings that change nothing here.
UNUSED = {
    "nondet_tol", "check_undefined_grad", "check_grad_dtypes", "check_backward_ad", "fast_mode",
    "masked", "gen_non_contig_grad_outputs", "check_rev_over_rev",
}  # fmt: skip
OFF = {"check_batched_grad", "check_batched_forward_grad", "check_forward_ad", "check_fwd_over_rev"}


def _check_settings(name: str, settings: dict) -> None:
    for setting, value in settings.items():
        if setting not in UNUSED | OFF:
            raise TypeError(f"[{name}] settings must be those of PyTorch, got {setting!r}")
        if setting in OFF and value:
            raise NotImplementedError(f"[{name}] {setting} must be False; gradients go backward")


def _listed(out: Any) -> list[Tensor]:
    return [x for x in (out if isinstance(out, (tuple, list)) else (out,)) if _is_float(x)]


def _is_float(x: Any) -> bool:
    return not isinstance(x, Tensor) or x.is_floating_point()


def _compare(name: str, func: Callable, given: tuple, chosen: list[int], settings: tuple) -> None:
    eps, atol, rtol, seed = settings
    rng = numpy.random.default_rng(seed)
    values = [to_numpy(x.array).copy() if isinstance(x, Tensor) else x for x in given]

    def call(changed: dict[int, numpy.ndarray]) -> Tensor:
        fresh = [_like(x, changed.get(i, v)) for i, (x, v) in enumerate(zip(given, values))]
        return _joined(name, func(*fresh))

    with enable_grad():
        leaves = [_like(x, v) for x, v in zip(given, values)]
        out = _joined(name, func(*leaves))
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


def _joined(name: str, out: Any) -> Tensor:
    """What func returned as one Tensor; several of them one after the other."""
    parts = _listed(out)
    for x in parts or [out]:
        _check_output(name, x)
    return parts[0] if len(parts) == 1 else cat([x.reshape(-1) for x in parts])


def _disagreement(name: str, where: str, along: float, numeric: float) -> GradcheckError:
    return GradcheckError(
        f"[gradcheck] the gradient of {name} must agree with finite differences: for {where}, "
        f"backward gives {along!r}, differences give {numeric!r}; a term missing in its pullback, "
        "or a kink nearby?"
    )


def _checked_inputs(name: str, given: tuple) -> list[int]:
    """Positions of the inputs to check, with an error for what float64 cannot check."""
    chosen = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not chosen:
        raise ValueError(
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
        raise TypeError(f"[gradcheck] {name} must return float64 Tensors, got {what}")


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
