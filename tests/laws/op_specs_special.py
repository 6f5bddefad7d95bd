"""Records of special functions, in the same form as those of `op_specs`. An inverse is searched for
with the function itself, by bisection."""

import math

import numpy as np
from op_specs import ERF, INF, NAN, SPECS, Case, Spec, known, text


def bisected(x):
    low, high = np.full_like(x, -6.0), np.full_like(x, 6.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = ERF(middle) < x
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found = np.where(np.abs(x) == 1, x * INF, (low + high) / 2)
    return np.where(np.abs(x) <= 1, found, NAN)


def within(pick):
    return Case((np.asarray(pick.rng.uniform(-0.95, 0.95, pick.shape())),))


SPECS["erfinv"] = Spec(
    within,
    bisected,
    wrong=(text(),),
    known=(
        known([[0.0, 1e-30]], [0, 1e-30 * math.sqrt(math.pi) / 2], [math.sqrt(math.pi) / 2] * 2),
        known([[1.0, -1.0, 2.0, NAN]], [INF, -INF, NAN, NAN], [INF, INF, NAN, NAN]),
    ),
)
