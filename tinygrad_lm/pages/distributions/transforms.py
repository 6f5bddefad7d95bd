"""Distributions made of others: of transformed samples, and of axes of a batch that become axes of
an event. The transforms act on each number and are monotone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy

from ...engine.core.tensor import Tensor
from ...engine.pytorch.grad_mode import no_grad
from ...engine.pytorch.shapes import broadcast_tensors
from ...nn.functional import softplus
from . import constraints
from .distribution import Distribution, sum_rightmost

__all__ = [
    "AffineTransform", "ComposeTransform", "ExpTransform", "SigmoidTransform", "TanhTransform",
    "Transform",
]  # fmt: skip


class Transform:
    """`t(x)`; a subclass defines `_call`, its inverse `_inverse`, and the logarithm of its slope,
    `log_abs_det_jacobian(x, y)`. cache_size=1: the inverse of the last result is not computed."""

    bijective = True
    sign: Any = 1
    domain = codomain = constraints.real

    def __init__(self, cache_size: int = 0):
        if cache_size not in (0, 1):
            raise ValueError(f"[Transform] cache_size must be 0 or 1, got {cache_size}")
        self._cache_size = cache_size
        self._last: Any = (None, None)

    def __call__(self, x: Tensor) -> Tensor:
        if self._cache_size and x is self._last[0]:
            return self._last[1]
        y = self._call(x)
        if self._cache_size:
            self._last = x, y
        return y

    def inverse(self, y: Tensor) -> Tensor:
        return self._last[0] if self._cache_size and y is self._last[1] else self._inverse(y)

    def _call(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"[{type(self).__name__}] it must define _call, and does not")

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError(f"[{type(self).__name__}] it must define _inverse, and does not")

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError(
            f"[{type(self).__name__}] it must define log_abs_det_jacobian, and does not"
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ExpTransform(Transform):
    """e^x."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class SigmoidTransform(Transform):
    """1 / (1 + e^-x)."""

    codomain = constraints.unit_interval

    def _call(self, x: Tensor) -> Tensor:
        info = numpy.finfo(x.array.dtype)
        return x.sigmoid().clamp(float(info.tiny), 1 - float(info.eps))

    def _inverse(self, y: Tensor) -> Tensor:
        info = numpy.finfo(y.array.dtype)
        y = y.clamp(float(info.tiny), 1 - float(info.eps))
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x) - softplus(x)


class TanhTransform(Transform):
    """tanh(x)."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return 0.5 * (y.log1p() - (-y).log1p())

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * (math.log(2) - x - softplus(-2 * x))


class AffineTransform(Transform):
    """loc + scale x, with numbers or tensors."""

    def __init__(
        self, loc: Tensor | float, scale: Tensor | float, event_dim: int = 0, cache_size: int = 0
    ):
        super().__init__(cache_size)
        if event_dim:
            raise NotImplementedError("[AffineTransform] event_dim must be 0; use Independent")
        self.loc, self.scale = loc, scale

    @property
    def sign(self) -> Any:
        scale = self.scale
        return scale.sign() if isinstance(scale, Tensor) else (scale > 0) - (scale < 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AffineTransform) and all(
            bool(numpy.all(getattr(mine, "array", mine) == getattr(theirs, "array", theirs)))
            for mine, theirs in ((self.loc, other.loc), (self.scale, other.scale))
        )

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.scale, Tensor):
            return broadcast_tensors(self.scale.abs().log(), x)[0]
        return x.detach() * 0 + math.log(abs(self.scale))


class ComposeTransform(Transform):
    """Several transforms, the first one first."""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0):
        super().__init__(cache_size)
        self.parts = list(parts)
        if self.parts:
            self.codomain = self.parts[-1].codomain

    @property
    def sign(self) -> Any:
        return math.prod(part.sign for part in self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ComposeTransform) and self.parts == other.parts

    def _call(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.inverse(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        total = x.detach() * 0
        for part in self.parts:
            after = part(x)
            total, x = total + part.log_abs_det_jacobian(x, after), after
        return total


class TransformedDistribution(Distribution):
    """t(x) of x from another distribution, for one transform or several in turn."""

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | list[Transform],
        validate_args: bool | None = None,
    ):
        self.transforms = [transforms] if isinstance(transforms, Transform) else transforms
        if not isinstance(self.transforms, list) or not all(
            isinstance(t, Transform) for t in self.transforms
        ):
            raise ValueError(
                f"[TransformedDistribution] needs a Transform or a list of them, got {transforms!r}"
            )
        self.base_dist = base_distribution
        shapes = base_distribution.batch_shape, base_distribution.event_shape
        super().__init__(*shapes, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new.base_dist = self.base_dist.expand(batch_shape)
        return new

    @property
    def has_rsample(self) -> bool:
        return self.base_dist.has_rsample

    @property
    def support(self) -> constraints.Constraint:
        if not self.transforms:
            return self.base_dist.support
        return constraints.independent(self.transforms[-1].codomain, len(self.event_shape))

    def _transformed(self, x: Tensor) -> Tensor:
        return ComposeTransform(self.transforms)(x)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return self._transformed(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._transformed(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        whole, y = ComposeTransform(self.transforms), self._checked(value)
        x = whole.inverse(y)
        slopes = sum_rightmost(whole.log_abs_det_jacobian(x, y), len(self.event_shape))
        return self.base_dist.log_prob(x) - slopes

    def cdf(self, value: Tensor) -> Tensor:
        whole = ComposeTransform(self.transforms)
        return self._turned(self.base_dist.cdf(whole.inverse(self._checked(value))))

    def icdf(self, value: Tensor) -> Tensor:
        return self._transformed(self.base_dist.icdf(self._turned(value)))

    def _turned(self, share: Tensor) -> Tensor:
        """A probability of at most, or of at least where the transforms fall."""
        sign = ComposeTransform(self.transforms).sign
        return share if isinstance(sign, int) and sign == 1 else sign * (share - 0.5) + 0.5

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Independent(Distribution):
    """Another distribution, the last axes of whose batch belong to the event."""

    def __init__(
        self,
        base_distribution: Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ):
        base, ndims = base_distribution, reinterpreted_batch_ndims
        cut = len(base.batch_shape) - ndims
        if cut < 0:
            raise ValueError(
                f"[Independent] reinterpreted_batch_ndims must be at most the batch's "
                f"{len(base.batch_shape)} axes, got {ndims}"
            )
        self.base_dist, self.reinterpreted_batch_ndims = base, ndims
        event = base.batch_shape[cut:] + base.event_shape
        super().__init__(base.batch_shape[:cut], event, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        inner = self.event_shape[: self.reinterpreted_batch_ndims]
        new.base_dist = self.base_dist.expand((*batch_shape, *inner))
        return new

    @property
    def has_rsample(self) -> bool:
        return self.base_dist.has_rsample

    @property
    def has_enumerate_support(self) -> bool:
        return not self.reinterpreted_batch_ndims and self.base_dist.has_enumerate_support

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self.base_dist.support, self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Tensor:
        return sum_rightmost(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        if self.reinterpreted_batch_ndims:
            raise NotImplementedError("[Independent] only a batch without axes can be enumerated")
        return self.base_dist.enumerate_support(expand)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"
