"""What a parameter or a sample must be: a constraint checks each number, or each vector, and prints
what it asks for."""

from __future__ import annotations

from collections.abc import Callable

from ...engine.core.tensor import Tensor

__all__ = [
    "boolean", "Constraint", "greater_than", "greater_than_eq", "half_open_interval", "independent",
    "integer_interval", "interval", "less_than", "nonnegative", "nonnegative_integer", "one_hot",
    "positive", "positive_integer", "real", "real_vector", "simplex", "unit_interval",
]  # fmt: skip


Bound = Tensor | float


class Constraint:
    """`check(value)` is True where the value is as it must be; one answer for its last `event_dim`
    axes together."""

    def __init__(
        self,
        name: str,
        check: Callable[[Tensor], Tensor],
        event_dim: int = 0,
        is_discrete: bool = False,
    ):
        self.name, self.check = name, check
        self.event_dim, self.is_discrete = event_dim, is_discrete

    def __repr__(self) -> str:
        return self.name


def greater_than(lower_bound: Bound) -> Constraint:
    return Constraint(f"GreaterThan(lower_bound={lower_bound})", lambda x: x > lower_bound)


def greater_than_eq(lower_bound: Bound) -> Constraint:
    return Constraint(f"GreaterThanEq(lower_bound={lower_bound})", lambda x: x >= lower_bound)


def less_than(upper_bound: Bound) -> Constraint:
    return Constraint(f"LessThan(upper_bound={upper_bound})", lambda x: x < upper_bound)


def interval(lower_bound: Bound, upper_bound: Bound) -> Constraint:
    name = f"Interval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return Constraint(name, lambda x: (lower_bound <= x) & (x <= upper_bound))


def half_open_interval(lower_bound: Bound, upper_bound: Bound) -> Constraint:
    name = f"HalfOpenInterval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return Constraint(name, lambda x: (lower_bound <= x) & (x < upper_bound))


def integer_interval(lower_bound: int, upper_bound: int) -> Constraint:
    name = f"IntegerInterval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return Constraint(
        name,
        lambda x: (x % 1 == 0) & (lower_bound <= x) & (x <= upper_bound),
        is_discrete=True,
    )


def independent(base_constraint: Constraint, reinterpreted_batch_ndims: int) -> Constraint:
    """The constraint everywhere in so many of the last axes."""
    base, ndims = base_constraint, reinterpreted_batch_ndims

    def check(x: Tensor) -> Tensor:
        held = base.check(x)
        if held.ndim < ndims:
            raise ValueError(f"[constraints] needs {ndims} axes or more, got {tuple(x.shape)}")
        return held.reshape(*held.shape[: held.ndim - ndims], -1).all(-1) if ndims else held

    name = f"IndependentConstraint({base}, {ndims})"
    return Constraint(name, check, base.event_dim + ndims, base.is_discrete)


real = Constraint("Real()", lambda x: x == x)  # NaN is not
real_vector = independent(real, 1)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1), is_discrete=True)
nonnegative_integer = Constraint(
    "IntegerGreaterThan(lower_bound=0)", lambda x: (x % 1 == 0) & (x >= 0), is_discrete=True
)
positive_integer = Constraint(
    "IntegerGreaterThan(lower_bound=1)", lambda x: (x % 1 == 0) & (x >= 1), is_discrete=True
)
simplex = Constraint("Simplex()", lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6), 1)
one_hot = Constraint("OneHot()", lambda x: boolean.check(x).all(-1) & (x.sum(-1) == 1), 1, True)
