"""Distributions over classes and counts. They are sampled with `multinomial`, `bernoulli` and
`uniform_`, so that after the same seed the draws are PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy

from ...engine.core.tensor import Tensor
from ...engine.pytorch.creation import eye, zeros_like
from ...engine.pytorch.grad_mode import no_grad
from ...engine.pytorch.indexing import one_hot
from ...engine.pytorch.random import bernoulli, multinomial
from ...engine.pytorch.shapes import broadcast_tensors
from ...engine.pytorch.tensor_extras import Size
from ...nn.functional import binary_cross_entropy_with_logits
from . import constraints
from .distribution import Distribution, OfProbabilities, broadcast_all

BINARY = {"probs": constraints.unit_interval, "logits": constraints.real}
CLASSES = {"probs": constraints.simplex, "logits": constraints.real_vector}


class Categorical(OfProbabilities):
    """Classes 0 ... K - 1 with probabilities, or logits, (..., K) that need not be normalised."""

    arg_constraints = CLASSES
    has_enumerate_support = True
    binary = False

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ):
        self._given(probs, logits)
        super().__init__(self._param.shape[:-1], validate_args=validate_args)

    @property
    def _num_events(self) -> int:
        return self._param.shape[-1]

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return self._unknown()

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return self._unknown()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        rows = self.probs.detach().reshape(-1, self._num_events)
        drawn = multinomial(rows, Size(sample_shape).numel(), True).t()
        return drawn.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        ids = self._checked(value).long().unsqueeze(-1)
        ids, logs = broadcast_tensors(ids, self.logits)
        return logs.gather(-1, ids[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        least = float(numpy.finfo(self.logits.array.dtype).min)
        return -(self.logits.clamp(least) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._counted(self._num_events, expand)


class OneHotCategorical(Distribution):
    """`Categorical`, whose events are one-hot vectors (K,)."""

    arg_constraints = CLASSES
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ):
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical.batch_shape, self._categorical.param_shape[-1:]
        super().__init__(*shape, validate_args=validate_args)

    def expand(
        self, batch_shape: Sequence[int], _instance: Distribution | None = None
    ) -> Distribution:
        new = super().expand(batch_shape, _instance)
        new._categorical = self._categorical.expand(batch_shape)
        return new

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def param_shape(self) -> Size:
        return self._categorical.param_shape

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return one_hot(self._categorical.mode, self.event_shape[0]).to(self.probs.dtype)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        drawn = self._categorical.sample(sample_shape)
        return one_hot(drawn, self.event_shape[0]).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._categorical.log_prob(self._checked(value).argmax(-1))

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n, like = self.event_shape[0], self._categorical._param
        values = eye(n, dtype=like.dtype, device=like.device)
        values = values.reshape(n, *[1] * len(self.batch_shape), n)
        return values.expand(n, *self.batch_shape, n) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """With the gradient of the probabilities in place of the sample's (Bengio et al., 2013, arXiv
    1308.3432)."""

    has_rsample = True

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


class Bernoulli(OfProbabilities):
    """1 with a probability, given itself or as the logarithm of its odds, else 0."""

    arg_constraints = BINARY
    support = constraints.boolean
    has_enumerate_support = True

    def __init__(
        self,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ):
        self._given(probs, logits)
        super().__init__(self._param.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        likelier = (self.probs >= 0.5).to(self.probs.dtype)
        return likelier.masked_fill(self.probs == 0.5, math.nan)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        logits, value = broadcast_all(self.logits, self._checked(value))
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._counted(2, expand, dtype=self._param.dtype)


class Geometric(OfProbabilities):
    """How many trials fail, 0, 1, ..., before the first that succeeds with a probability."""

    arg_constraints = BINARY
    support = constraints.nonnegative_integer

    def __init__(
        self,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ):
        self._given(probs, logits)
        super().__init__(self._param.shape, validate_args=validate_args)
        if self._validate_args and probs is not None and not bool((self.probs > 0).all()):
            raise ValueError(f"[Geometric] probs must be above 0, got invalid values:\n{probs}")

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            tiny = float(numpy.finfo(self.probs.array.dtype).tiny)
            u = self.probs.new_empty(self._extended_shape(sample_shape)).uniform_(tiny, 1)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        value, probs = broadcast_all(self._checked(value), self.probs)
        certain = probs.masked_fill((probs == 1) & (value == 0), 0.0)
        return value * (-certain).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        losses = binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")
        return losses / self.probs
