"""PyTorch's page of probability distributions: sampled, scored, compared. After the same seed the
samples are PyTorch's."""

from typing import TYPE_CHECKING, Any

from . import constraints, distribution, kl, transforms
from .continuous import Exponential, Laplace, LogNormal, Normal, Uniform
from .discrete import (
    Bernoulli,
    Categorical,
    Geometric,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from .distribution import Distribution
from .kl import kl_divergence, register_kl
from .transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    Independent,
    SigmoidTransform,
    TanhTransform,
    Transform,
    TransformedDistribution,
)

__all__ = [
    "AffineTransform", "Bernoulli", "Categorical", "ComposeTransform", "Distribution",
    "ExpTransform", "Exponential", "Geometric", "Independent", "Laplace", "LogNormal", "Normal",
    "OneHotCategorical", "OneHotCategoricalStraightThrough", "SigmoidTransform", "TanhTransform",
    "Transform", "TransformedDistribution", "Uniform", "constraints", "distribution", "kl",
    "kl_divergence", "register_kl", "transforms",
]  # fmt: skip

GAMMA = "Beta Chi2 Dirichlet FisherSnedecor Gamma InverseGamma StudentT Wishart LKJCholesky".split()

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        why = "is not among them"
        if name in GAMMA:
            why = "needs draws of the gamma distribution in PyTorch's order, which are not here"
        raise AttributeError(f"[distributions] {name!r} {why}; there are {', '.join(__all__[:19])}")
