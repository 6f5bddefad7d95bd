"""What all distributions have in common: shapes of a batch and of one event, checked parameters and
values, and parameters in probabilities or in logits, one of which makes the other."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ...engine import arrays
from ...engine.core.tensor import Tensor
from ...engine.pytorch.creation import arange, empty, full, tensor
from ...engine.pytorch.grad_mode import enable_grad, no_grad
from ...engine.pytorch.reductions import softmax
from ...engine.pytorch.shapes import broadcast_tensors
from ...engine.pytorch.tensor_extras import Size


def broadcast_all(*values: Tensor | float) -> tuple[Tensor, ...]:
    """Tensors and numbers in the shape they broadcast to; numbers in the dtype of the tensors."""
    like = next((x for x in values if isinstance(x, Tensor)), None)
    if not all(isinstance(x, (Tensor, int, float, numpy.number)) for x in values):
        raise ValueError(f"[distributions] parameters must be Tensors or numbers, got {values}")
    how: dict[str, Any] = {"dtype": arrays.get_default_dtype()}
    if like is not None:
        how = {"dtype": like.dtype, "device": like.device}
    made = [x if isinstance(x, Tensor) else tensor(x, **how) for x in values]
    return broadcast_tensors(*made)


class lazy_property:
    """An attribute that is computed, with its gradient, when it is first asked for."""

    def __init__(self, function: Callable):
        self.function, self.name = function, function.__name__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = instance.__dict__[self.name] = self.function(instance)
        return value


class Distribution:
    """A batch of distributions: `batch_shape` of them, whose samples have `event_shape` each.

    A subclass sets its parameters as attributes, names them in `arg_constraints` and calls
    `super().__init__(batch_shape, event_shape, validate_args)`, which checks them: ValueError.
    """

    arg_constraints: Any = {}
    support: Any = None
    has_rsample: Any = False
    has_enumerate_support: Any = False
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        if value not in (True, False):
            raise ValueError(f"[distributions] validation must be True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(
        self,
        batch_shape: Sequence[int] = (),
        event_shape: Sequence[int] = (),
        validate_args: bool | None = None,
    ):
        self.batch_shape, self.event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args:
            return
        for name, constraint in self.arg_constraints.items():
            if name in self.__dict__ and not bool(constraint.check(self.__dict__[name]).all()):
                raise ValueError(
                    f"[{type(self).__name__}] parameter {name} must satisfy the constraint "
                    f"{constraint}, got invalid values:\n{self.__dict__[name]}"
                )

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        """The same for a larger batch, sharing memory."""
        new = copy.copy(self) if _instance is None else _instance
        new.batch_shape = Size(batch_shape)
        for name, constraint in self.arg_constraints.items():
            if name in self.__dict__:
                kept = self.__dict__[name]
                inner = kept.shape[kept.ndim - constraint.event_dim :]
                setattr(new, name, kept.expand(*new.batch_shape, *inner))
        return new

    # ------------------------------------------------------------ to be defined by subclasses

    def _missing(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"[{type(self).__name__}] it must define {what}, and does not")

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """A sample through which gradients reach the parameters."""
        raise self._missing("rsample; has_rsample says so")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, of a value."""
        raise self._missing("log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most `value`."""
        raise self._missing("cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of `cdf`."""
        raise self._missing("icdf")

    def entropy(self) -> Tensor:
        raise self._missing("entropy")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, along a new first axis."""
        raise self._missing("enumerate_support")

    @property
    def mean(self) -> Tensor:
        raise self._missing("mean")

    @property
    def mode(self) -> Tensor:
        raise self._missing("mode")

    @property
    def variance(self) -> Tensor:
        raise self._missing("variance")

    # ------------------------------------------------------------ what follows from that

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """A tensor of sample_shape + batch_shape + event_shape, outside the graph."""
        with no_grad():
            return self.rsample(sample_shape)

    def sample_n(self, n: int) -> Tensor:
        return self.sample((n,))

    def perplexity(self) -> Tensor:
        return self.entropy().exp()

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Size:
        return Size(sample_shape) + self.batch_shape + self.event_shape

    def _validate_sample(self, value: Tensor) -> None:
        """ValueError unless the value has the right shape and lies within the support."""
        name, whole = type(self).__name__, self.batch_shape + self.event_shape
        if not isinstance(value, Tensor):
            raise ValueError(f"[{name}] the value must be a Tensor, got {type(value).__name__}")
        own = value.shape[value.ndim - len(self.event_shape) :]
        pairs = zip(reversed(value.shape), reversed(whole))
        if own != self.event_shape or any(m != n and 1 not in (m, n) for m, n in pairs):
            raise ValueError(
                f"[{name}] the value must fit batch_shape + event_shape {tuple(whole)}, got "
                f"{tuple(value.shape)}"
            )
        if self.support is not None and not bool(self.support.check(value).all()):
            raise ValueError(
                f"[{name}] the value must be within the support {self.support}, got invalid "
                f"values:\n{value}"
            )

    def _checked(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return value

    def __repr__(self) -> str:
        held = {k: self.__dict__[k] for k in self.arg_constraints if k in self.__dict__}
        shown = [f"{k}: {x if x.numel() == 1 else x.size()}" for k, x in held.items()]
        return f"{type(self).__name__}({', '.join(shown)})"


class OfNumbers(Distribution):
    """One whose parameters broadcast, each a tensor or a number, and whose events are numbers."""

    def __init__(self, validate_args: bool | None, **parameters: Tensor | float):
        for name, value in zip(parameters, broadcast_all(*parameters.values())):
            setattr(self, name, value)
        shape = getattr(self, next(iter(parameters))).shape
        super().__init__(shape, validate_args=validate_args)

    def _fresh(self, sample_shape: Sequence[int], like: Tensor) -> Tensor:
        """Memory for a sample."""
        return empty(self._extended_shape(sample_shape), dtype=like.dtype, device=like.device)


class OfProbabilities(Distribution):
    """One that takes probabilities or logits: the odds' logarithm where `binary`, else unnormalised
    logarithms of the probabilities along the last axis."""

    binary = True

    def _given(self, probs: Any, logits: Any) -> None:
        if (probs is None) == (logits is None):
            raise ValueError(
                f"[{type(self).__name__}] either probs or logits must be given, got "
                f"{'none' if probs is None else 'both'}"
            )
        (given,) = broadcast_all(logits if probs is None else probs)
        if not self.binary:
            if given.ndim < 1:
                raise ValueError(
                    f"[{type(self).__name__}] probs and logits must have an axis or more, got none"
                )
            total = given.logsumexp(-1, True) if probs is None else given.sum(-1, keepdim=True)
            given = given - total if probs is None else given / total
        setattr(self, "logits" if probs is None else "probs", given)

    @lazy_property
    def probs(self) -> Tensor:
        return self.logits.sigmoid() if self.binary else softmax(self.logits, -1)

    @lazy_property
    def logits(self) -> Tensor:
        tiny = numpy.finfo(self.probs.array.dtype).eps
        clamped = self.probs.clamp(float(tiny), float(1 - tiny))
        return clamped.log() - (-clamped).log1p() if self.binary else clamped.log()

    @property
    def _param(self) -> Tensor:
        return self.__dict__["logits" if "logits" in self.__dict__ else "probs"]

    @property
    def param_shape(self) -> Size:
        return self._param.shape

    def _counted(self, n: int, expand: bool, **how: Any) -> Tensor:
        """0 ... n - 1 along a new first axis of the batch."""
        values = arange(n, device=self._param.device, **how)
        values = values.reshape(-1, *[1] * len(self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values

    def _unknown(self) -> Tensor:
        shape, like = self._extended_shape(), self._param
        return full(shape, math.nan, dtype=like.dtype, device=like.device)


def sum_rightmost(value: Tensor, ndims: int) -> Tensor:
    """The sum over the last `ndims` axes."""
    return value.reshape(*value.shape[: value.ndim - ndims], -1).sum(-1) if ndims else value
