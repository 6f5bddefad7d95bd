"""Records of the ops that the course does not use, in the form of those of `op_specs`: angles and
hyperbolas by their exponentials, running products element by element, bits by Python's integers."""

import cmath
import math

import numpy as np
from op_specs import (
    INF,
    NAN,
    SPECS,
    X23,
    Case,
    Pick,
    Spec,
    Wrong,
    binary,
    known,
    text,
    unary,
)


def inside(pick, *shape):
    """Well within -1 ... 1."""
    return np.asarray(pick.rng.uniform(-0.9, 0.9, shape))


def above_one(pick, *shape):
    return np.asarray(pick.rng.uniform(1.2, 4, shape))


Pick.inside, Pick.above_one = inside, above_one  # two more domains

ERFC = np.vectorize(math.erfc, otypes=[float])
ANGLES = {
    "tan": (
        lambda x: np.sin(x) / np.cos(x),
        "inside",
        known([[0.0, 1.0]], np.tan([0, 1]), [1, 1 + math.tan(1) ** 2]),
    ),
    "asin": (
        lambda x: np.arctan2(x, np.sqrt(1 - x**2)),
        "inside",
        known([[0.0, 1.0, 2.0]], [0, math.pi / 2, NAN], [1, INF, NAN]),
    ),
    "acos": (
        lambda x: math.pi / 2 - np.arctan2(x, np.sqrt(1 - x**2)),
        "inside",
        known([[0.0, 1.0, 2.0]], [math.pi / 2, 0, NAN], [-1, -INF, NAN]),
    ),
    "atan": (
        lambda x: np.arcsin(x / np.sqrt(1 + x**2)),
        "real",
        known([[0.0, INF]], [0, math.pi / 2], [1, 0]),
    ),
    "sinh": (
        lambda x: (np.exp(x) - np.exp(-x)) / 2,
        "real",
        known([[1e-20, INF]], [1e-20, INF], [1, INF]),
    ),
    "cosh": (
        lambda x: (np.exp(x) + np.exp(-x)) / 2,
        "real",
        known([[0.0, -INF]], [1, INF], [0, -INF]),
    ),
    "asinh": (
        lambda x: np.log(x + np.sqrt(x**2 + 1)),
        "real",
        known([[1e-20, -INF]], [1e-20, -INF], [1, 0]),
    ),
    "acosh": (
        lambda x: np.log(x + np.sqrt(x**2 - 1)),
        "above_one",
        known([[1.0, 0.5]], [0, NAN], [INF, NAN]),
    ),
    "atanh": (
        lambda x: np.log((1 + x) / (1 - x)) / 2,
        "inside",
        known([[1e-20, 1.0, 2.0]], [1e-20, INF, NAN], [1, INF, -1 / 3]),
    ),
    "erfc": (
        ERFC,
        "real",
        known([[0.0, 9.0, -9.0, 26.0, 40.0, NAN]], [1, math.erfc(9), 2, math.erfc(26), 0, NAN]),
    ),
}
for name, (reference, domain, answer) in ANGLES.items():
    SPECS[name] = unary(reference, domain, known=(answer,))


ANGLE = np.vectorize(lambda y, x: cmath.phase(complex(x, y)), otypes=[float])
ROOT = math.sqrt(0.5)
SPECS |= {
    "atan2": binary(
        ANGLE,
        "apart",
        "apart",
        known=(
            known(
                ([0.0, 1.0, 0.0], [0.0, 0.0, -1.0]),
                [0, math.pi / 2, math.pi],
                [0, 0, -1],
                [0, -1, 0],
            ),
            known(([1.0, -1.0], 1.0), [math.pi / 4, -math.pi / 4], [0.5, 0.5]),
            known((1.0, [1.0, -1.0]), [math.pi / 4, 3 * math.pi / 4], [-0.5, -0.5]),
        ),
    ),
    "hypot": binary(
        lambda x, y: (x * x + y * y) ** 0.5,
        "apart",
        "apart",
        known=(
            known(([3e200, -1.0], [4e200, 1.0]), [5e200, 2**0.5], [0.6, -ROOT], [0.8, ROOT]),
            known(([0.0], [0.0]), [0], [NAN], [NAN]),
            known((3.0, [4.0]), [5], [0.8]),
        ),
    ),
    "logaddexp": binary(
        lambda x, y: np.log(np.exp(x) + np.exp(y)),
        known=(
            known(
                ([1000.0, 0.0, -INF, -INF, INF, 0.0, NAN], [0.0, 0.0, 1.0, -INF, 0.0, INF, INF]),
                [1000, math.log(2), 1, -INF, INF, INF, NAN],
                [1, 0.5, 0, 0, 1, 0, NAN],
                [0, 0.5, 1, 0, 0, 1, NAN],
            ),
            known((0.0, [0.0]), [math.log(2)], [0.5]),
        ),
    ),
    "fmod": binary(
        lambda x, y: x - y * np.trunc(x / y),
        "between",
        "apart",
        known=(
            known(([5.5, -5.5, 5.5], [3, 3, -3]), [2.5, -2.5, 2.5], [1, 1, 1], [-1, 1, 1]),
            known(([1e10, 0.0], [3.7, INF]), [math.fmod(1e10, 3.7), 0], [1, 1], [-2702702702, 0]),
            known((7.0, [INF]), [7], [0]),
        ),
    ),
}

# ---------------------------------------------------------------- along an axis


def along_case(pick, domain="apart", **more):
    shape = pick.shape(1)
    return Case((getattr(pick, domain)(*shape),), {"axis": pick.axis(len(shape)), **more})


def one_by_one(step):
    """A running value, row by row."""

    def along(row):
        return np.array([step(row[: i + 1]) for i in range(len(row))]).reshape(len(row))

    return lambda x, axis: np.apply_along_axis(along, axis, x) if x.size else np.zeros(x.shape)


def products_case(pick):
    case = along_case(pick)
    with_zeros = case.inputs[0] * pick.mask(*case.inputs[0].shape)
    return Case((pick.of(case.inputs[0], with_zeros),), case.settings)


def last_best(better):
    def find(row):
        if np.isnan(row[-1]):
            return len(row) - 1
        if np.isnan(row).any():
            return np.flatnonzero(np.isnan(row))[-1]
        return np.flatnonzero(row == better(row))[-1]

    return find


def extreme_case(pick):
    case = along_case(pick, "real", sign=pick.of(1, -1))
    values = np.where(pick.mask(*case.inputs[0].shape), np.round(case.inputs[0]), NAN)
    return Case((pick.of(np.round(case.inputs[0]), values),), case.settings)


def extreme_value(x, axis, sign=1):
    return one_by_one(last_best(np.max if sign == 1 else np.min))(x, axis).astype("int64")


LINE = Wrong((X23,), {"axis": 5}, IndexError, "positions must exist, got (2, 3)")
SPECS |= {
    "cumprod": Spec(
        products_case,
        lambda x, axis: one_by_one(np.prod)(x, axis).astype(x.dtype),
        (text(axis=0), LINE),
        known=(
            known([[1.0, 0.0, 2.0, 0.0, 3.0]], [1, 0, 0, 0, 0], [1, 3, 0, 0, 0], axis=0),
            known([np.array([[2, 3], [4, 5]])], [[2, 6], [4, 20]], axis=1),
            known([np.uint8([200, 100])], [200, 20000], axis=0),
        ),
    ),
    "argcummax": Spec(
        extreme_case,
        extreme_value,
        (text(axis=0),),
        known=(known([[1.0, 3.0, 3.0, 2.0, NAN, 1.0]], [0, 1, 2, 2, 4, 4], axis=0),),
        differentiable=False,
    ),
}

# ---------------------------------------------------------------- bits


def bits_case(pick):
    left, right = pick.pair()
    return Case(
        (np.asarray(pick.integers(200, *left) - 100), np.asarray(pick.integers(64, *right)))
    )


def of_integers(function):
    return np.vectorize(lambda x, y: function(int(x), int(y)), otypes=["int64"])


def shifted_left(x, y):
    kept = (x << y) % 2**64
    return kept - 2**64 if kept >= 2**63 else kept


def whole(function, *answers):
    floats = Wrong((X23, X23), {}, NotImplementedError, "needs integers, got float64")
    wrong = (text(X23 > 0), floats, Wrong((X23 > 0, X23), {}, NotImplementedError, "got float64"))
    return Spec(bits_case, of_integers(function), wrong, answers, differentiable=False)


SPECS |= {
    "bitwise_left_shift": whole(
        shifted_left,
        known((np.array([3, 3, 3, 3]), np.array([63, 62, 1, 0])), [-(2**63), -(2**62), 6, 3]),
    ),
    "bitwise_right_shift": whole(
        lambda x, y: x >> y,
        known((np.array([-9, 9, -9, 9]), np.array([63, 63, 1, 1])), [-1, 0, -5, 4]),
    ),
    "gcd": whole(math.gcd, known((np.array([0, 0, -4]), np.array([0, 5, 6])), [0, 5, 2])),
    "lcm": whole(math.lcm, known((np.array([0, 4, -4]), np.array([5, 6, 6])), [0, 12, 12])),
}
