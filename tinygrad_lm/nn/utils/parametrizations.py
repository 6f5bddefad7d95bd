"""Parametrizations to use: weight normalization and spectral normalization."""

from __future__ import annotations

from typing import Any, TypeVar

from ...engine.core.tensor import Tensor
from ...engine.pytorch.grad_mode import no_grad
from ..functional.layers import normalize
from ..module import Module
from .parametrize import register_parametrization
from .reweighting import normed, norms_except

M = TypeVar("M", bound=Module)


class _WeightNorm(Module):
    """weight = g v / |v|, with the norm of each slice along dim; of all of v for None."""

    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normed(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norms_except(weight, self.dim), weight


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Train the length g (`original0`) and the direction v (`original1`) of a weight apart
    (Salimans and Kingma, 2016, arXiv 1602.07868). Loads states of the former `weight_norm`."""
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state: dict, prefix: str, *report: Any) -> None:
        for old, new in ((f"{name}_g", "original0"), (f"{name}_v", "original1")):
            if prefix + old in state:
                state[f"{prefix}parametrizations.{name}.{new}"] = state.pop(prefix + old)

    module._register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """weight over its largest singular value, which power iterations find."""

    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ):
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(f"[spectral_norm] dim must be below {weight.ndim}, got {dim}")
        if n_power_iterations < 1:
            raise ValueError(
                f"[spectral_norm] n_power_iterations must be at least 1, got {n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim % weight.ndim, eps, n_power_iterations
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach())
            for name, n in zip(("_u", "_v"), matrix.shape):
                drawn = matrix.new_empty(n).normal_(0, 1)
                self.register_buffer(name, normalize(drawn, dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    @no_grad()
    def _iterate(self, matrix: Tensor, times: int) -> None:
        for _ in range(times):
            self._u.copy_(normalize(matrix.mv(self._v), dim=0, eps=self.eps))
            self._v.copy_(normalize(matrix.T.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the next iteration writes into them
        return weight / u.dot(matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> M:
    """Keep the largest singular value of a weight, a matrix of rows along dim, at 1 (Miyato et al.,
    2018, arXiv 1802.05957); each reading in training makes its estimate better."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"[spectral_norm] {type(module).__name__} must have a tensor {name!r}")
    if dim is None:  # transposed convolutions have their outputs second
        dim = int(type(module).__name__.startswith("ConvTranspose"))
    norm = _SpectralNorm(weight, n_power_iterations, dim, eps)
    register_parametrization(module, name, norm)
    return module


def orthogonal(module: Module, *args: Any, **kwargs: Any) -> Module:
    raise NotImplementedError(
        "[orthogonal] a weight must be kept orthogonal by its training here; draw it by "
        "nn.init.orthogonal_, and again from time to time"
    )
