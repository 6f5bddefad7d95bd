"""The table of sample inputs: for every op how to draw a call, an independent NumPy definition of
its value, and examples of wrong input. The laws, the mutants and the fake device all read it.

A record says what an op computes, not how it is written; gradients are differences of that.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

INF, NAN = math.inf, math.nan
SIN = math.sqrt(0.5)


@dataclass(frozen=True)
class Case:
    """One call: arrays, numbers and None by position, everything else by keyword."""

    inputs: tuple
    settings: dict = field(default_factory=dict)

    def floats(self) -> list[int]:
        """Positions of the inputs that can have a gradient."""
        return [i for i, x in enumerate(self.inputs) if getattr(x, "dtype", None) == np.float64]


@dataclass(frozen=True)
class Wrong:
    """A call that must fail, with what, and what the message must contain."""

    inputs: tuple
    settings: dict
    error: type[Exception]
    says: str


@dataclass(frozen=True)
class Known:
    """A convention: this call has this value and, for an upstream of ones, these gradients."""

    case: Case
    value: Any
    gradients: tuple = ()


@dataclass(frozen=True)
class Spec:
    make: Callable[["Pick"], Case]
    value: Callable
    wrong: tuple[Wrong, ...] = ()
    known: tuple[Known, ...] = ()
    differentiable: bool = True
    empty: bool = True  # defined for inputs without elements
    special: bool = True  # defined for constants, zeros and NaN
    eps: float | None = None  # a larger step where the op is linear in each input


class Pick:
    """Where a record's choices come from: Hypothesis in the laws, a seeded generator elsewhere.

    Values come from `default_rng(seed)`: strategies that fill arrays mostly repeat one value.
    """

    def __init__(self, choose: Callable, seed: int, sizes: tuple = (1, 2, 3, 4)):
        self.choose, self.sizes = choose, sizes
        self.rng = np.random.default_rng(seed)

    def of(self, *options):
        return options[self.choose(len(options))]

    def shape(self, least=0, most=3):
        return tuple(self.of(*self.sizes) for _ in range(self.of(*range(least, most + 1))))

    def pair(self):
        """Two shapes that broadcast."""
        full = self.shape()
        cut = full[self.of(*range(len(full) + 1)) :]
        ones = tuple(self.of(n, 1) for n in cut)
        return (full, ones) if self.of(True, False) else (ones, full)

    def axis(self, ndim):
        return self.of(*range(-ndim, ndim))

    def axes(self, ndim):
        """None, one axis or several of them, some counted from the end."""
        options = [None, *range(-ndim, ndim)] + [(0, -1)] * (ndim > 1) + [(0, 1, 2)] * (ndim > 2)
        return self.of(*options)

    def reduced(self, least=0):
        shape = self.shape(least)
        return shape, {"axis": self.axes(len(shape)), "keepdims": self.of(False, True)}

    # Domains: away from kinks and poles by much more than a difference step.

    def real(self, *shape):
        return np.asarray(self.rng.normal(0, 1.5, shape))

    def positive(self, *shape):
        return np.asarray(self.rng.uniform(0.3, 3, shape))

    def apart(self, *shape):
        """Of either sign, at least 0.2 from 0."""
        return np.asarray(self.rng.choice([-1.0, 1.0], shape) * self.rng.uniform(0.2, 2.5, shape))

    def between(self, *shape):
        """At least 0.1 from the nearest integer and half."""
        return np.asarray(self.rng.integers(-3, 3, shape) + self.rng.uniform(0.1, 0.4, shape))

    def distinct(self, *shape):
        n = math.prod(shape)
        steps = self.rng.permutation(n) - n // 2 + self.rng.uniform(0.1, 0.4, n)
        return np.asarray(steps.reshape(shape) * 0.5)

    def integers(self, high, *shape):
        return np.asarray(self.rng.integers(0, max(high, 1), shape))

    def mask(self, *shape):
        return np.asarray(self.rng.random(shape) < 0.6)


def text(*rest, **settings):
    """Every op refuses what is not a number, and says so."""
    return Wrong(("text", *rest), settings, TypeError, "inputs must be Tensors, arrays or numbers")


X23, X45 = np.ones((2, 3)), np.ones((4, 5))
SPECS: dict[str, Spec] = {}

# ---------------------------------------------------------------- one input, element by element

ERF = np.vectorize(math.erf, otypes=[float])
UNARY = {
    "neg": (lambda x: 0 - x, "real"),
    "square": (lambda x: x**2, "real"),
    "reciprocal": (lambda x: x**-1.0, "apart"),
    "abs": (lambda x: np.maximum(x, -x), "apart"),
    "exp": (lambda x: np.e**x, "real"),
    "expm1": (lambda x: np.exp(x) - 1, "real"),
    "log": (np.log, "positive"),
    "log2": (np.log2, "positive"),
    "log10": (np.log10, "positive"),
    "log1p": (lambda x: np.log(1 + x), "positive"),
    "sqrt": (lambda x: x**0.5, "positive"),
    "rsqrt": (lambda x: x**-0.5, "positive"),
    "sin": (np.sin, "real"),
    "cos": (np.cos, "real"),
    "tanh": (lambda x: np.sinh(x) / np.cosh(x), "real"),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), "real"),
    "relu": (lambda x: x * (x > 0), "apart"),
    "erf": (ERF, "real"),
    "sign": (lambda x: (x > 0) * 1.0 - (x < 0), "apart"),
    "floor": (np.floor, "between"),
    "ceil": (np.ceil, "between"),
    "round": (np.round, "between"),
    "clone": (lambda x: x + 0, "real"),
    "contiguous": (lambda x: x + 0, "real"),
    "silu": (lambda x: x / (1 + np.exp(-x)), "real"),
}


def known(inputs, value, *gradients, **settings):
    arrays = tuple(np.float64(x) if isinstance(x, list) else x for x in inputs)
    arrays = tuple(np.asarray(x) if isinstance(x, np.generic) else x for x in arrays)
    return Known(Case(arrays, settings), np.asarray(value), tuple(map(np.asarray, gradients)))


# At kinks, ties and limits the gradients are PyTorch's.
UNARY_KNOWN = {
    "relu": (known([[0.0, -1.0, 2.0]], [0, 0, 2], [0, 0, 1]), known([[NAN]], [NAN], [1])),
    "abs": (known([[0.0, -0.5, 0.5, NAN]], [0, 0.5, 0.5, NAN], [0, -1, 1, 0]),),
    "sign": (known([[0.0, -5.0, 5.0, NAN]], [0, -1, 1, 0], [0, 0, 0, 0]),),
    "sigmoid": (known([[1000.0, -1000.0, 0.0]], [1, 0, 0.5], [0, 0, 0.25]),),
    "tanh": (known([[1000.0, -1000.0, 0.0]], [1, -1, 0], [0, 0, 1]),),
    "silu": (known([[1000.0, -1000.0, 0.0]], [1000, 0, 0], [1, 0, 0.5]),),
    "erf": (
        known([[0.0, 40.0, -40.0]], [0, 1, -1], [2 / math.sqrt(math.pi), 0, 0]),
        known([[2.4, 2.6, 3.5, 5.5]], [math.erf(v) for v in (2.4, 2.6, 3.5, 5.5)]),
        known([[1e-30, INF, NAN]], [math.erf(1e-30), 1, NAN]),
    ),
    "log1p": (known([[1e-20]], [1e-20], [1]),),
    "expm1": (known([[1e-20]], [1e-20], [1]),),
    "log": (known([[0.0]], [-INF], [INF]),),
    "sqrt": (known([[0.0]], [0], [INF]),),
    "round": (known([[0.5, 1.5, 2.5]], [0, 2, 2], [0, 0, 0]),),
    "floor": (known([[-0.5, 2.0]], [-1, 2], [0, 0]),),
    "ceil": (known([[-0.5, 2.0]], [0, 2], [0, 0]),),
}


def unary(reference, domain, **more):
    def make(pick):
        return Case((getattr(pick, domain)(*pick.shape()),))

    return Spec(make, reference, wrong=(text(),), **more)


for name, (reference, domain) in UNARY.items():
    SPECS[name] = unary(reference, domain, known=UNARY_KNOWN.get(name, ()))


def with_settings(domain, choices, reference, **more):
    """An elementwise op of one input whose settings are drawn from a list."""

    def make(pick):
        return Case((getattr(pick, domain)(*pick.shape()),), dict(pick.of(*choices)))

    return Spec(make, reference, **{"wrong": (text(**choices[0]),), **more})


SPECS |= {
    "leaky_relu": with_settings(
        "apart",
        [{}, {"negative_slope": 0.3}],
        lambda x, negative_slope=0.01: np.where(x > 0, x, x * negative_slope),
        known=(known([[0.0, -2.0, 2.0]], [0, -0.02, 2], [0.01, 0.01, 1]),),
    ),
    "softplus": with_settings(
        "real",
        [{}, {"beta": 2.0}, {"beta": 0.5, "threshold": 40.0}],
        lambda x, beta=1.0, threshold=20.0: np.log(1 + np.exp(beta * x)) / beta,
        known=(
            known([[1000.0, -1000.0, 0.0]], [1000, 0, math.log(2)], [1, 0, 0.5]),
            known(
                [[2.0, 3.0]], [math.log(1 + math.e**2), 3], [1 / (1 + math.e**-2), 1], threshold=2.0
            ),
        ),
    ),
    "gelu": with_settings(
        "real",
        [{}, {"approximate": "tanh"}],
        lambda x, approximate="none": (
            0.5 * x * (1 + ERF(x / 2**0.5))
            if approximate == "none"
            else 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
        ),
        known=(known([[1000.0, -1000.0, 0.0]], [1000, 0, 0], [1, 0, 0.5]),),
        wrong=(text(), Wrong((X23,), {"approximate": "no"}, RuntimeError, "'none' or 'tanh'")),
    ),
    "clamp": with_settings(
        "between",
        [{"min": -1.0, "max": 1.0}, {"min": -1.0}, {"max": 0.5}, {"min": 0, "max": 1}],
        lambda x, min=-INF, max=INF: np.where(x < min, min, np.where(x > max, max, x)),
        known=(known([[1.0, -1.0, 2.0]], [1, -1, 1], [1, 1, 0], min=-1.0, max=1.0),),
    ),
    "astype": with_settings("real", [{"dtype": np.dtype("float64")}], lambda x, dtype: x),
    "copy_to": with_settings(
        "real",
        [{"device": "cpu"}],
        lambda x, device: x,
        wrong=(
            text(device="cpu"),
            Wrong((X23,), {"device": "moon"}, RuntimeError, "must be 'cpu', 'cuda'"),
        ),
    ),
}

# ---------------------------------------------------------------- two inputs that broadcast


def binary(reference, x_from="real", y_from="real", **more):
    def make(pick):
        left, right = pick.pair()
        return Case((getattr(pick, x_from)(*left), getattr(pick, y_from)(*right)))

    misfit = Wrong((X23, X45), {}, RuntimeError, "shapes must fit together, got (2, 3) and (4, 5)")
    return Spec(make, reference, wrong=(text(X23), misfit), **more)


def split_apart(reference, **more):
    """For ops with a kink at x = y: no two elements are near each other."""

    def make(pick):
        left, right = pick.pair()
        return Case((pick.distinct(*left), np.asarray(pick.distinct(*right) + 0.19)))

    base = binary(reference, **more)
    return Spec(make, base.value, base.wrong, base.known)


def pow_case(pick):
    left, right = pick.pair()
    kind = pick.of("both", "number", "integer", "base")
    if kind == "both":
        return Case((pick.positive(*left), pick.real(*right)))
    if kind == "base":
        return Case((pick.of(2.0, 3), pick.real(*right)))
    if kind == "integer":
        return Case((pick.apart(*left), pick.of(0, 1, 2, 3, -1)))
    return Case((pick.positive(*left), pick.of(0.5, -0.5, 1.5)))


TIE = [0.5, 1.0, 0.0]
SPECS |= {
    "add": binary(lambda x, y: y + x, known=(known(([1.0], 2), [3], [1]),), eps=1e-3),
    "sub": binary(lambda x, y: -(y - x), eps=1e-3),
    "mul": binary(lambda x, y: y * x, eps=1e-3),
    "div": binary(
        lambda x, y: x * y**-1.0, "real", "apart", known=(known((1, [2.0]), [0.5], [-0.25]),)
    ),
    "pow": Spec(
        pow_case,
        lambda x, y: np.float64(x) ** y,
        wrong=(text(X23), Wrong((X23, X45), {}, RuntimeError, "got (2, 3) and (4, 5)")),
        known=(
            known(([0.0, 0.0], [0.0, 2.0]), [1, 0], [0, 0], [0, 0]),
            known(([0.0, -2.0], 2), [0, 4], [0, -4]),
            known(([0.0, -2.0], 0), [1, 1], [0, 0]),
            known((0.0, [2.0, 1.0]), [0, 0], [0, 0]),
            known(([0.0], [1.0]), [0], [1], [0]),
            known(([0.0], [-1.0]), [INF], [-INF], [-INF]),
        ),
    ),
    "remainder": binary(
        lambda x, y: x - y * np.floor(x / y),
        "between",
        "apart",
        known=(known(([5.5, -5.5], 3), [2.5, 0.5], [1, 1]),),
    ),
    "maximum": split_apart(
        lambda x, y: np.where(x > y, x, y),
        known=(
            known(([1.0, 3.0, 1.0], [1.0, 2.0, 2.0]), [1, 3, 2], TIE, [0.5, 0, 1]),
            known(([NAN, 1.0, NAN], [1.0, NAN, NAN]), [NAN, NAN, NAN], [1, 1, 1], [1, 1, 1]),
        ),
    ),
    "minimum": split_apart(
        lambda x, y: np.where(x < y, x, y),
        known=(
            known(([1.0, 1.0, 3.0], [1.0, 2.0, 2.0]), [1, 1, 2], TIE, [0.5, 0, 1]),
            known(([NAN, 1.0, NAN], [1.0, NAN, NAN]), [NAN, NAN, NAN], [1, 1, 1], [1, 1, 1]),
        ),
    ),
}


def questions(op, domain="ties"):
    def make(pick):
        left, right = pick.pair()
        if domain == "bits":
            kind = pick.of("bool", "int64")
            return Case(
                tuple(
                    np.asarray(pick.integers(9 if kind == "int64" else 2, *s).astype(kind))
                    for s in (left, right)
                )
            )
        return Case(
            (np.asarray(pick.integers(3, *left) * 1.0), np.asarray(pick.integers(3, *right) * 1.0))
        )

    wrong = binary(op).wrong
    if domain == "bits":
        misfit = Wrong((X23 > 0, X45 > 0), {}, RuntimeError, "got (2, 3) and (4, 5)")
        wrong = (
            text(X23),
            misfit,
            Wrong((X23, X23), {}, TypeError, "got torch.float64 and torch.float64"),
        )
    return Spec(make, op, wrong, differentiable=False)


SPECS |= {
    "eq": questions(lambda x, y: ~((x < y) | (x > y))),
    "ne": questions(lambda x, y: (x < y) | (x > y)),
    "lt": questions(lambda x, y: y > x),
    "le": questions(lambda x, y: ~(x > y)),
    "gt": questions(lambda x, y: y < x),
    "ge": questions(lambda x, y: ~(x < y)),
    "floor_divide": questions(lambda x, y: np.floor(x / y)),
    "logical_and": questions(lambda x, y: (x != 0) & (y != 0)),
    "logical_or": questions(lambda x, y: (x != 0) | (y != 0)),
    "logical_xor": questions(lambda x, y: (x != 0) != (y != 0)),
    "bitwise_and": questions(lambda x, y: x & y, "bits"),
    "bitwise_or": questions(lambda x, y: x | y, "bits"),
    "bitwise_xor": questions(lambda x, y: x ^ y, "bits"),
}


def special(pick):
    return Case((np.asarray(pick.rng.choice([0.0, 1.0, -2.5, INF, -INF, NAN], pick.shape())),))


def bits(pick):
    return Case((np.asarray(pick.integers(9, *pick.shape()).astype(pick.of("int64", "bool"))),))


SPECS |= {
    "isnan": Spec(special, lambda x: x != x, (text(),), differentiable=False),
    "isinf": Spec(special, lambda x: (x == INF) | (x == -INF), (text(),), differentiable=False),
    "isfinite": Spec(special, lambda x: (x < INF) & (x > -INF), (text(),), differentiable=False),
    "logical_not": Spec(special, lambda x: x == 0, (text(),), differentiable=False),
    "bitwise_not": Spec(bits, np.invert, (text(),), differentiable=False),
}


def where_case(pick):
    left, right = pick.pair()
    condition = pick.mask(*pick.of(left, right, np.broadcast_shapes(left, right)))
    return Case((pick.real(*left), pick.real(*right)), {"condition": condition})


def masked_fill_case(pick):
    shape = pick.shape()
    mask = pick.mask(*pick.of(shape, shape[1:]))
    return Case((pick.real(*shape),), {"mask": mask, "value": pick.of(0.0, -2.5, -INF, 3)})


SPECS |= {
    "where": Spec(
        where_case,
        lambda x, y, condition: np.choose(condition.astype(int), [y, x]),
        (
            text(X23, condition=X23 > 0),
            Wrong((X23, X45), {"condition": X23 > 0}, RuntimeError, "shapes must fit together"),
        ),
        known=(known(([NAN], [1.0]), [1], [0], [1], condition=np.array([False])),),
    ),
    "masked_fill": Spec(
        masked_fill_case,
        lambda x, mask, value: np.choose(mask.astype(int), [x, value]),
        (
            text(mask=X23 > 0, value=0.0),
            Wrong(
                (X23,),
                {"mask": X23, "value": 0.0},
                RuntimeError,
                "mask must be boolean, got float64",
            ),
            Wrong(
                (X23,), {"mask": X45 > 0, "value": 0.0}, RuntimeError, "shapes must fit together"
            ),
        ),
    ),
}

# ---------------------------------------------------------------- reductions

AXIS = Wrong((X23,), {"axis": 5}, IndexError, "axis 5 is out of bounds")


def reduction(reference, domain="real", least=0, **more):
    def make(pick):
        shape, settings = pick.reduced(least)
        return Case((getattr(pick, domain)(*shape),), settings)

    return Spec(make, reference, **{"wrong": (text(), AXIS), **more})


def var_case(pick):
    shape, settings = pick.reduced()
    x = pick.real(*shape)
    few = x.size <= x.sum(axis=settings["axis"]).size  # one element each: 0 / 0 with correction
    return Case((x,), {**settings, "correction": 0 if few else pick.of(0, 1)})


def var_value(x, axis=None, keepdims=False, correction=1):
    n = x.size / max(x.sum(axis=axis).size, 1)
    mean = x.mean(axis=axis, keepdims=True)
    if n <= correction:
        return x.sum(axis=axis, keepdims=keepdims) * NAN
    return ((x - mean) ** 2).sum(axis=axis, keepdims=keepdims) / (n - correction)


def norm_case(pick):
    shape, settings = pick.reduced()
    return Case((pick.distinct(*shape),), {**settings, "ord": pick.of(2.0, 1.0, 3.0, INF)})


def norm_value(x, axis=None, keepdims=False, ord=2.0):
    if ord == INF:
        return np.abs(x).max(axis=axis, keepdims=keepdims)
    return (np.abs(x) ** ord).sum(axis=axis, keepdims=keepdims) ** (1 / ord)


def spread_out(pick):
    shape, settings = pick.reduced()
    return Case((pick.distinct(*shape),), settings)


def along(domain="distinct", least=1, **settings):
    """A case with one axis."""

    def make(pick):
        shape = pick.shape(least)
        chosen = {k: pick.of(*v) for k, v in settings.items()}
        return Case((getattr(pick, domain)(*shape),), {"axis": pick.axis(len(shape)), **chosen})

    return make


def maybe_along(pick):
    case = along(keepdims=(False, True))(pick)
    return Case(case.inputs, {**case.settings, "axis": pick.of(None, case.settings["axis"])})


def argsort_value(x, axis=-1, descending=False, first=None):
    order = np.argsort(-x if descending else x, axis=axis, kind="stable")
    return np.moveaxis(np.moveaxis(order, axis, 0)[:first], 0, axis)


THIRD = 1 / 3
SPECS |= {
    "sum": reduction(
        lambda x, axis=None, keepdims=False: np.add.reduce(x, axis=axis, keepdims=keepdims),
        eps=1e-3,
        known=(
            known([X23 > 0], 6),
            known([np.uint8([[200, 100]])], 300),
            known([np.uint8([[200, 100]])], [[300]], axis=1, keepdims=True),
        ),
    ),
    "mean": reduction(
        lambda x, axis=None, keepdims=False: np.mean(x, axis=axis, keepdims=keepdims),
        known=(known([[1.0, 3.0]], 2, [0.5, 0.5]),),
    ),
    "var": Spec(
        var_case,
        var_value,
        (text(), AXIS),
        known=(
            known([[2.0, 2.0, 2.0]], 0, [0, 0, 0]),
            known([[1.0, 3.0]], 2, [-2, 2]),
            known([[1.0, 3.0]], INF, correction=2),
            known([[2.0]], NAN, [NAN]),
            known([[2.0]], 0, [0], correction=0),
        ),
    ),
    "std": Spec(
        var_case,
        lambda x, **settings: np.sqrt(var_value(x, **settings)),
        (text(), AXIS),
        known=(
            known([[2.0, 2.0, 2.0]], 0, [0, 0, 0]),
            known([np.float64([[1, 1], [1, 3]])], [0, 2**0.5], [[0, 0], [-SIN, SIN]], axis=1),
            known([[2.0]], NAN, [NAN]),
            known([[2.0]], 0, [0], correction=0),
        ),
    ),
    "prod": reduction(
        lambda x, axis=None, keepdims=False: np.multiply.reduce(x, axis=axis, keepdims=keepdims),
        "apart",
        known=(
            known([[2.0, 0.0, 3.0]], 0, [0, 6, 0]),
            known([[2.0, 0.0, 0.0]], 0, [0, 0, 0]),
            known([np.float64([[0, 2], [0, 3]])], [0, 0], [[2, 0], [3, 0]], axis=1),
            known([np.uint8([[20, 20]])], 400),
            known([np.uint8([[20, 20]])], [[400]], axis=1, keepdims=True),
        ),
    ),
    "amax": Spec(
        spread_out,
        lambda x, axis=None, keepdims=False: np.maximum.reduce(x, axis=axis, keepdims=keepdims),
        (text(), AXIS),
        known=(
            known([[1.0, 3.0, 3.0, 3.0]], 3, [0, THIRD, THIRD, THIRD]),
            known([[1.0, NAN]], NAN, [0, 1]),
            known([[NAN, 1.0, NAN]], NAN, [0.5, 0, 0.5]),
        ),
        empty=False,
    ),
    "amin": Spec(
        spread_out,
        lambda x, axis=None, keepdims=False: np.minimum.reduce(x, axis=axis, keepdims=keepdims),
        (text(), AXIS),
        known=(
            known([[3.0, 1.0, 1.0]], 1, [0, 0.5, 0.5]),
            known([[NAN, -1.0, NAN]], NAN, [0.5, 0, 0.5]),
        ),
        empty=False,
    ),
    "logsumexp": Spec(
        spread_out,
        lambda x, axis=None, keepdims=False: np.log(
            np.sum(np.exp(x), axis=axis, keepdims=keepdims)
        ),
        (text(axis=0), Wrong((X23,), {"axis": 5}, IndexError, "axis 5 is out of bounds")),
        known=(
            known([[1000.0, 1000.0]], 1000 + math.log(2), [0.5, 0.5], axis=0),
            known([[-INF, -INF]], -INF, axis=0),
            known([[INF, 0.0]], INF, axis=0),
        ),
        empty=False,
    ),
    "norm": Spec(
        norm_case,
        norm_value,
        (text(), AXIS),
        known=(
            known([[0.0, 0.0]], 0, [0, 0]),
            known([[0.0, 0.0]], 0, [0, 0], ord=1.0),
            known([[3.0, 0.0]], 3, [1, 0]),
            known([[3.0, 4.0]], 5, [0.6, 0.8]),
            known([[1.0, 0.75]], 1.25, [0.8, 0.6]),
            known([[2.0, -2.0]], 2, [0.5, -0.5], ord=INF),
            known([[2.0, NAN]], NAN, [0, 0], ord=INF),
            known([[2.0, NAN]], NAN, [1, 0], ord=1.0),
        ),
        empty=False,
    ),
    "cumsum": Spec(
        along("real"),
        lambda x, axis: np.add.accumulate(x, axis=axis),
        (text(axis=0), AXIS),
        known=(
            known([np.array([True, True])], [1, 2], axis=0),
            known([np.uint8([[200, 100]])], [[200, 300]], axis=1),
        ),
        eps=1e-3,
    ),
    "argmax": Spec(
        maybe_along,
        lambda x, axis=None, keepdims=False: np.argmin(-x, axis=axis, keepdims=keepdims),
        (text(), AXIS),
        known=(known([[1.0, 2.0, 2.0]], 1),),
        differentiable=False,
        empty=False,
    ),
    "argmin": Spec(
        maybe_along,
        lambda x, axis=None, keepdims=False: np.argmax(-x, axis=axis, keepdims=keepdims),
        (text(), AXIS),
        known=(known([[2.0, 1.0, 1.0]], 1),),
        differentiable=False,
        empty=False,
    ),
    "argsort": Spec(
        along(descending=(False, True), first=(None, 0, 1, 2)),
        argsort_value,
        (text(), AXIS),
        known=(
            known([[2.0, 1.0, 2.0, 1.0]], [1, 3, 0, 2]),
            known([[2.0, 1.0, 2.0, 1.0]], [0, 2, 1, 3], descending=True),
            known([[1.0, NAN, 2.0]], [0, 2, 1]),
            known([[1.0, NAN, 2.0]], [1, 2, 0], descending=True),
            known([[-1.0, 0.0, -0.0, -INF, INF, -2.0]], [3, 5, 0, 1, 2, 4]),
            known([[1.0, 3.0, 3.0, 2.0, 3.0] * 2], [1, 2], descending=True, first=2),
            known([[[1.0, 3.0, 2.0], [6.0, 5.0, 4.0]]], [[0], [2]], axis=-1, first=1),
        ),
        differentiable=False,
    ),
    "any": Spec(
        lambda p: (lambda s: Case((np.asarray(p.mask(*s[0]) & p.mask(*s[0])),), s[1]))(p.reduced()),
        lambda x, axis=None, keepdims=False: (
            np.add.reduce(x, axis=axis, keepdims=keepdims, dtype=int) > 0
        ),
        (text(), AXIS),
        known=(known([[0.0, -2.0]], True),),
        differentiable=False,
    ),
    "all": Spec(
        lambda p: (lambda s: Case((np.asarray(p.mask(*s[0]) | p.mask(*s[0])),), s[1]))(p.reduced()),
        lambda x, axis=None, keepdims=False: (
            np.add.reduce(~x, axis=axis, keepdims=keepdims, dtype=int) == 0
        ),
        (text(), AXIS),
        known=(known([[0.5, -2.0]], True),),
        differentiable=False,
    ),
}

# ---------------------------------------------------------------- shapes


def reshape_case(pick):
    shape = pick.shape()
    n = math.prod(shape)
    return Case((pick.real(*shape),), {"shape": pick.of((n,), (1, n), shape[::-1], (*shape, 1))})


def transpose_case(pick):
    shape = pick.shape()
    axes = tuple(int(a) for a in pick.rng.permutation(len(shape)))
    return Case((pick.real(*shape),), {"axes": axes})


def swapaxes_case(pick):
    shape = pick.shape(1)
    n = len(shape)
    return Case((pick.real(*shape),), {"first": pick.axis(n), "second": pick.axis(n)})


def broadcast_case(pick):
    small, full = pick.pair()
    full = np.broadcast_shapes(small, full)
    return Case((pick.real(*small),), {"shape": full})


def joined(pick, name):
    shape = pick.shape(1)
    axis = pick.axis(len(shape))
    parts = []
    for _ in range(pick.of(1, 2, 3)):
        sizes = list(shape)
        if name == "concatenate":
            sizes[axis] = pick.of(*pick.sizes)
        parts.append(pick.real(*sizes))
    return Case(tuple(parts), {"axis": axis})


def concatenate_value(*xs, axis):
    rows = [row for x in xs for row in np.moveaxis(x, axis, 0)]
    rest = np.moveaxis(xs[0], axis, 0).shape[1:]
    return np.moveaxis(np.array(rows).reshape(len(rows), *rest), 0, axis)


def roll_case(pick):
    shape = pick.shape(2)
    shift, axis = pick.of((1, 0), (-2, -1), ((1, -1), (0, 1)), (5, None))
    return Case((pick.real(*shape),), {"shift": shift, "axis": axis})


def tile_case(pick):
    shape = pick.shape()
    counts = tuple(pick.of(1, 2, 3) for _ in range(len(shape) + pick.of(0, 1)))
    return Case((pick.real(*shape),), {"counts": counts})


def tile_value(x, counts):
    for _ in range(len(counts) - x.ndim):
        x = x[None]
    for axis, n in enumerate(counts):
        x = np.concatenate([x] * n, axis=axis)
    return x


def pad_case(pick):
    shape = pick.shape(1)
    befores = [pick.of(0, 1, 2) for _ in shape]
    widths = [(a, pick.of(0, 1, -1) if n + a else 0) for n, a in zip(shape, befores)]
    return Case((pick.real(*shape),), {"widths": widths, "value": pick.of(0.0, 1.5)})


def pad_value(x, widths, value=0.0):
    for axis, (before, after) in enumerate(widths):
        shape = list(x.shape)
        shape[axis] = before
        front = np.full(shape, value)
        shape[axis] = max(after, 0)
        x = np.concatenate([front, x, np.full(shape, value)], axis=axis)
        x = np.take(x, range(x.shape[axis] + min(after, 0)), axis=axis)
    return x


def triangle_case(pick):
    return Case((pick.real(*pick.shape(2)),), {"diagonal": pick.of(-1, 0, 1, 2)})


def triangle(keep):
    def value(x, diagonal=0):
        row, column = np.indices(x.shape)[-2:]
        return x * keep(column - row, diagonal)

    return value


def diagonal_case(pick):
    shape = pick.shape(2)
    axis1, axis2 = pick.of((0, 1), (1, 0), (-2, -1), (0, -1))
    offset = pick.of(-1, 0, 1) if min(shape[axis1], shape[axis2]) > 1 else 0
    return Case((pick.real(*shape),), {"offset": offset, "axis1": axis1, "axis2": axis2})


def on_diagonal_case(pick):
    case = diagonal_case(pick)
    x, where = case.inputs[0], tuple(case.settings.values())
    return Case((pick.real(*x.diagonal(*where).shape),), {"shape": x.shape, "where": where})


def on_diagonal_value(g, shape, where):
    out = np.zeros(shape)
    for i in range(math.prod(shape)):  # one at a time: where the diagonal of a one is, there is g
        one = np.zeros(shape)
        one.flat[i] = 1
        out.flat[i] = (one.diagonal(*where) * g).sum()
    return out


def diagonal_value(x, offset=0, axis1=0, axis2=1):
    x = np.moveaxis(x, (axis1, axis2), (-2, -1))
    n, m = x.shape[-2:]
    pairs = [(i, i + offset) for i in range(n) if 0 <= i + offset < m]
    columns = [x[..., i, j] for i, j in pairs]
    return np.stack(columns, axis=-1) if columns else np.zeros((*x.shape[:-2], 0))


def flip_case(pick):
    shape = pick.shape(1)
    return Case((pick.real(*shape),), {"axis": pick.axes(len(shape))})


def misshapen(says="shapes must fit together, got (2, 3)", **settings):
    return (text(**settings), Wrong((X23,), settings, RuntimeError, says))


def flip_value(x, axis=None):
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        x = np.take(x, range(x.shape[a] - 1, -1, -1), axis=a)
    return x


def roll_value(x, shift, axis):
    if axis is None:
        return roll_value(x.reshape(-1), shift, 0).reshape(x.shape)
    pairs = zip(shift, axis, strict=True) if isinstance(shift, tuple) else [(shift, axis)]
    for s, a in pairs:
        n = x.shape[a]
        x = np.take(x, [(i - s) % n for i in range(n)], axis=a)
    return x


def repeat_value(x, count, axis):
    return np.take(x, [i for i in range(x.shape[axis]) for _ in range(count)], axis=axis)


SQUARE = np.float64([[1, 2], [3, 4]])
LOWER = known([SQUARE], [[1, 0], [3, 4]], [[1, 0], [1, 1]])
UPPER = known([SQUARE], [[1, 2], [0, 4]], [[1, 1], [0, 1]])
SPECS |= {
    "reshape": Spec(
        reshape_case, lambda x, shape: np.ravel(x).reshape(shape), misshapen(shape=(4, 4))
    ),
    "view": Spec(
        reshape_case,
        lambda x, shape: np.ravel(x).reshape(shape),
        (
            *misshapen(shape=(4, 4)),
            Wrong((X23.T,), {"shape": (6,)}, RuntimeError, "must be possible without copying"),
        ),
    ),
    "transpose": Spec(
        transpose_case,
        lambda x, axes: np.einsum(x, list(range(x.ndim)), list(axes)),
        misshapen(axes=(0, 0)),
    ),
    "swapaxes": Spec(
        swapaxes_case,
        lambda x, first, second: np.swapaxes(x, second, first),
        (
            text(first=0, second=1),
            Wrong((X23,), {"first": 0, "second": 2}, IndexError, "out of bounds"),
        ),
    ),
    "broadcast_to": Spec(
        broadcast_case, lambda x, shape: x + np.zeros(shape), misshapen(shape=(4, 5))
    ),
    "concatenate": Spec(
        lambda pick: joined(pick, "concatenate"),
        concatenate_value,
        (text(X23, axis=0), Wrong((X23, X45), {"axis": 0}, RuntimeError, "got (2, 3) and (4, 5)")),
    ),
    "stack": Spec(
        lambda pick: joined(pick, "stack"),
        lambda *xs, axis: np.moveaxis(np.array(xs), 0, axis),
        (text(X23, axis=0), Wrong((X23, X45), {"axis": 0}, RuntimeError, "got (2, 3) and (4, 5)")),
    ),
    "flip": Spec(flip_case, flip_value, (text(axis=0), AXIS)),
    "roll": Spec(
        roll_case,
        roll_value,
        (
            text(shift=1, axis=0),
            Wrong((X23,), {"shift": 1, "axis": 5}, IndexError, "out of bounds"),
        ),
    ),
    "tile": Spec(tile_case, tile_value, misshapen("one count per axis", counts=(2,))),
    "repeat": Spec(
        lambda p: (lambda c: Case(c.inputs, {**c.settings, "count": p.of(1, 2, 3)}))(
            along("real")(p)
        ),
        repeat_value,
        (
            text(count=2, axis=0),
            Wrong((X23,), {"count": 2, "axis": 5}, IndexError, "axis 5 is out of bounds"),
        ),
    ),
    "pad": Spec(
        pad_case,
        pad_value,
        (
            *misshapen("one pair per axis", widths=[(1, 1)]),
            *misshapen("must not cut off more", widths=[(0, -3), (0, 0)]),
        ),
        known=(
            known([[1.0, 2.0, 3.0]], [2], [0, 1, 0], widths=[(-1, -1)]),
            known([[1.0, 2.0]], [2, 0], [0, 1], widths=[(-1, 1)]),
        ),
    ),
    "tril": Spec(triangle_case, triangle(lambda d, k: d <= k), (text(),), known=(LOWER,)),
    "triu": Spec(triangle_case, triangle(lambda d, k: d >= k), (text(),), known=(UPPER,)),
    "on_diagonal": Spec(
        on_diagonal_case,
        on_diagonal_value,
        (text(shape=(2, 2), where=(0, 0, 1)),),
        known=(known([[1.0, 4.0]], [[1, 0], [0, 4]], [1, 1], shape=(2, 2), where=(0, 0, 1)),),
    ),
    "diagonal": Spec(
        diagonal_case,
        diagonal_value,
        (text(), Wrong((X23,), {"axis1": 0, "axis2": 0}, RuntimeError, "cannot be the same")),
        known=(known([SQUARE], [1, 4], np.eye(2)),),
    ),
}

# ---------------------------------------------------------------- positions


def getitem_case(pick):
    """A key of each kind, and mixtures, for a tensor (4, 3, 2)."""
    rows, columns = pick.rng.integers(-4, 4, 5), pick.rng.integers(-3, 3, 5)
    key = pick.of(
        (1,),
        (-1, 0),
        (slice(None, None, 2),),
        (slice(0, 3, 2), 1),
        (Ellipsis, None, 0),
        (rows,),
        (rows, columns),
        (slice(None), columns),
        (rows[:, None], columns[None, :3]),
        (rows, slice(None), 1),
        (2, columns),
        (pick.rng.random((4, 3)) < 0.5,),
        (slice(None), np.array([True, False, True])),
        (slice(4, 2),),
        (),
        (1, 1, 1),
    )
    return Case((pick.real(4, 3, 2),), {"key": key})


def getitem_value(x, key):
    positions = np.arange(x.size).reshape(x.shape)[key]
    return np.ravel(x)[positions]


def taking(pick):
    shape = pick.shape(1)
    axis = pick.axis(len(shape))
    n = shape[axis]
    return shape, axis, n


def take_case(pick):
    shape, axis, n = taking(pick)
    ids = pick.rng.integers(0, n, pick.of(1, 3, 6)) if n else np.zeros(0, int)
    return Case((pick.real(*shape),), {"indices": ids, "axis": axis})


def gather_case(pick):
    shape, axis, n = taking(pick)
    sizes = [max(m - pick.of(0, 1), min(m, 1)) for m in shape]
    sizes[axis] = pick.of(1, 3, 6) if n else 0
    return Case((pick.real(*shape),), {"indices": pick.integers(n, *sizes), "axis": axis})


def along_axis_case(pick):
    shape, axis, n = taking(pick)
    sizes = list(shape)
    sizes[axis] = pick.of(1, 3, 6) if n else 0
    return Case((pick.real(*shape),), {"indices": pick.integers(n, *sizes), "axis": axis})


def gather_value(x, indices, axis):
    out = np.zeros(indices.shape)
    for at in np.ndindex(*indices.shape):
        source = list(at)
        source[axis] = indices[at]
        out[at] = x[tuple(source)]
    return out


def scatter_case(pick):
    case = gather_case(pick)
    indices = case.settings["indices"]
    grown = [n + pick.of(0, 1) for n in indices.shape]
    return Case((*case.inputs, pick.real(*grown)), case.settings)


def scatter_value(x, source, indices, axis):
    out = x.copy()
    for at in np.ndindex(*indices.shape):
        target = list(at)
        target[axis] = indices[at]
        out[tuple(target)] += source[at]
    return out


def written_case(pick):
    """Positions that do not meet: which of several stays is not said."""
    case = scatter_case(pick)
    (x, source), axis = case.inputs, case.settings["axis"]
    shape = list(case.settings["indices"].shape)
    shape[axis] = min(shape[axis], x.shape[axis])
    order = np.argsort(pick.rng.random(x.shape), axis=axis)
    return Case((x, source), {"indices": order[tuple(map(slice, shape))], "axis": axis})


def written_value(x, source, indices, axis):
    out = x.copy()
    for at in np.ndindex(*indices.shape):
        target = list(at)
        target[axis] = indices[at]
        out[tuple(target)] = source[at]
    return out


def place_case(pick):
    case = getitem_case(pick)
    x, key = case.inputs[0], case.settings["key"]
    return Case((pick.real(*x[key].shape),), {"shape": x.shape, "key": key})


def place_value(g, shape, key):
    out = np.zeros(math.prod(shape))
    for at, value in zip(np.ravel(np.arange(out.size).reshape(shape)[key]), np.ravel(g)):
        out[at] += value
    return out.reshape(shape)


FAR = np.array([[0, 7]])
SPECS |= {
    "getitem": Spec(
        getitem_case,
        getitem_value,
        (
            text(key=(0,)),
            Wrong((X23,), {"key": (5,)}, IndexError, "index 5 is out of bounds"),
            Wrong((X23,), {"key": (np.array([0, 5]),)}, IndexError, "index 5 is out of bounds"),
        ),
        known=(known([[1.0, 2.0]], [2, 2, 1], [1, 2], key=(np.array([1, -1, 0]),)),),
    ),
    "place": Spec(
        place_case,
        place_value,
        (
            text(shape=(2,), key=(0,)),
            Wrong((X23,), {"shape": (2,), "key": (5,)}, IndexError, "index 5"),
        ),
    ),
    "take": Spec(
        take_case,
        lambda x, indices, axis: np.moveaxis(np.moveaxis(x, axis, 0)[indices], 0, axis),
        (
            text(indices=FAR[0], axis=0),
            Wrong((X23,), {"indices": FAR[0], "axis": 0}, IndexError, "must be in 0 ... 1, got 7"),
        ),
    ),
    "gather": Spec(
        gather_case,
        gather_value,
        (
            text(indices=FAR, axis=0),
            Wrong((X23,), {"indices": FAR, "axis": 0}, IndexError, "must be in 0 ... 1, got 7"),
        ),
    ),
    "take_along_axis": Spec(
        along_axis_case,
        gather_value,
        (
            text(indices=FAR, axis=0),
            Wrong((X23,), {"indices": np.array([[0, 1, 7]]), "axis": 0}, IndexError, "got 7"),
        ),
    ),
    "scatter": Spec(
        written_case,
        written_value,
        (
            text(X23, indices=FAR, axis=0),
            Wrong((X23, X23), {"indices": FAR, "axis": 0}, IndexError, "must be in 0 ... 1, got 7"),
        ),
        known=(
            known(
                ([4.0, 1.0], [2.0, 3.0]),
                [4, 2],
                [1, 0],
                [1, 0],
                indices=np.array([1]),
                axis=0,
            ),
        ),
    ),
    "scatter_add": Spec(
        scatter_case,
        scatter_value,
        (
            text(X23, indices=FAR, axis=0),
            Wrong((X23, X23), {"indices": FAR, "axis": 0}, IndexError, "must be in 0 ... 1, got 7"),
        ),
        known=(
            known(
                ([0.0, 1.0], [1.0, 2.0, 3.0]),
                [2, 5],
                [1, 1],
                [1, 1, 1],
                indices=np.array([1, 0, 1]),
                axis=0,
            ),
        ),
    ),
}

# ---------------------------------------------------------------- products


def matmul_case(pick):
    n, k, m, batch = (pick.of(*pick.sizes) for _ in range(4))
    left, right = pick.of(
        ((), ()), ((batch,), ()), ((batch, 2), ()), ((batch,), (batch,)), ((batch,), (1,)),
        ((2, 1), (batch,)), ((), (batch,)),
    )  # fmt: skip
    return Case((pick.real(*left, n, k), pick.real(*right, k, m)))


def matmul_value(x, y):
    return (x[..., :, :, None] * y[..., None, :, :]).sum(axis=-2)


EINSUMS = {
    "ij,jk->ik": ("ij", "jk"),
    "bij,bjk->bik": ("bij", "bjk"),
    "i,j->ji": ("i", "j"),
    "ij->i": ("ij",),
    "ij,ij->": ("ij", "ij"),
    "ij,j,jk->ik": ("ij", "j", "jk"),
    "bi,ij->b": ("bi", "ij"),
    "ijk->kij": ("ijk",),
}


def einsum_case(pick):
    equation = pick.of(*EINSUMS)
    size = {c: pick.of(*pick.sizes) for c in "bijk"}
    arrays = [pick.real(*(pick.of(size[c], 1) for c in term)) for term in EINSUMS[equation]]
    return Case(tuple(arrays), {"equation": equation})


def einsum_value(*xs, equation):
    """By the definition: multiply on a grid with one axis per letter, sum the letters not kept."""
    inputs, output = equation.split("->")
    letters = sorted(set(inputs) - {","})
    product = np.ones(())
    for x, term in zip(xs, inputs.split(","), strict=True):
        order = sorted(range(len(term)), key=lambda i: term[i])
        x = x.transpose(order)
        product = product * x[tuple(slice(None) if c in term else None for c in letters)]
    gone = tuple(i for i, c in enumerate(letters) if c not in output)
    kept = [c for c in letters if c in output]
    return product.sum(axis=gone).transpose([kept.index(c) for c in output])


SPECS |= {
    "matmul": Spec(
        matmul_case,
        matmul_value,
        (
            text(X23),
            Wrong((X23, X45), {}, RuntimeError, "inner sizes must agree, got (2, 3) @ (4, 5)"),
            Wrong((X23, np.ones((3, 2), "float32")), {}, RuntimeError, "dtypes must be equal"),
            Wrong((np.ones(3), X23), {}, RuntimeError, "at least two axes"),
        ),
        eps=1e-3,
    ),
    "einsum": Spec(
        einsum_case,
        einsum_value,
        (
            text(X23, equation="ij,jk->ik"),
            Wrong((X23,), {"equation": "ij,jk->ik"}, RuntimeError, "names 2 operands, got 1"),
            Wrong((X23,), {"equation": "ii->i"}, RuntimeError, "once per operand"),
            Wrong((X23, X45), {"equation": "ij,jk->ik"}, RuntimeError, "got (2, 3) and (4, 5)"),
        ),
    ),
}
