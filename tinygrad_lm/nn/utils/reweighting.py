"""Weight and spectral normalization in PyTorch's former form: a hook writes the weight anew before
each forward. `parametrizations` has those of today."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from ...engine.core.tensor import Tensor
from ...engine.pytorch.grad_mode import no_grad
from ...engine.pytorch.reductions import norm
from ..functional.layers import normalize
from ..module import Module
from ..parameter import Parameter

M = TypeVar("M", bound=Module)


def norms_except(v: Tensor, dim: int) -> Tensor:
    """The norm of each slice along dim, which stays as an axis; of all of v, 0-d, for -1."""
    if dim == -1:
        return norm(v)
    return norm(v, 2, tuple(i for i in range(v.ndim) if i != dim), keepdim=True)


def normed(v: Tensor, g: Tensor, dim: int) -> Tensor:
    return v * (g / norms_except(v, dim))


class Reweighting:
    """A forward pre hook that sets the weight `name`; found again by that name."""

    def __init__(self, name: str):
        self.name = name

    def compute(self, module: Module, training: bool) -> Tensor:
        raise NotImplementedError

    def __call__(self, module: Module, inputs: Any) -> None:
        object.__setattr__(module, self.name, self.compute(module, module.training))

    @classmethod
    def on(cls, module: Module, name: str) -> Any:
        """(key, hook) of the one that is on a module, or None."""
        for key, hook in module._forward_pre_hooks.items():
            if isinstance(hook.function, cls) and hook.function.name == name:
                return key, hook.function
        return None

    def put_on(self, module: Module, **given: Tensor) -> None:
        """The weight goes, what it is computed from comes."""
        if self.on(module, self.name):
            raise RuntimeError(f"[{type(self).__name__}] {self.name!r} must not have one yet")
        delattr(module, self.name)
        for suffix, x in given.items():
            is_parameter = isinstance(x, Parameter)
            put: Any = module.register_parameter if is_parameter else module.register_buffer
            put(self.name + suffix, x)
        object.__setattr__(module, self.name, self.compute(module, False))
        module.register_forward_pre_hook(self)

    @classmethod
    def take_off(cls, module: Module, name: str, *suffixes: str) -> None:
        """A plain parameter with the present value again."""
        if (found := cls.on(module, name)) is None:
            raise ValueError(f"[{cls.__name__}] {type(module).__name__}.{name} must have one")
        key, hook = found
        with no_grad():
            value = hook.compute(module, False)
        del module._forward_pre_hooks[key]
        for suffix in ("", *suffixes):
            delattr(module, name + suffix)
        module.register_parameter(name, Parameter(value.detach()))


class WeightNorm(Reweighting):
    """weight = g v / |v|, with the norm of each slice along dim."""

    def __init__(self, name: str, dim: int):
        super().__init__(name)
        self.dim = dim

    def compute(self, module: Module, training: bool) -> Tensor:
        v, g = getattr(module, self.name + "_v"), getattr(module, self.name + "_g")
        return normed(v, g, self.dim)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """g v / |v| in place of a weight, with parameters NAME_g and NAME_v. Deprecated by PyTorch."""
    warnings.warn(
        "[weight_norm] the form of today is nn.utils.parametrizations.weight_norm",
        FutureWarning,
        stacklevel=2,
    )
    hook, weight = WeightNorm(name, -1 if dim is None else dim), getattr(module, name)
    g = Parameter(norms_except(weight.detach(), hook.dim))
    hook.put_on(module, _g=g, _v=Parameter(weight.detach()))
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    WeightNorm.take_off(module, name, "_g", "_v")
    return module


class SpectralNorm(Reweighting):
    """weight over its largest singular value, as the vectors u and v have it."""

    def __init__(self, name: str, dim: int, times: int, eps: float):
        super().__init__(name)
        self.dim, self.times, self.eps = dim, times, eps

    def matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    def compute(self, module: Module, training: bool) -> Tensor:
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = self.matrix(weight)
        if training:
            with no_grad():
                for _ in range(self.times):
                    v.copy_(normalize(matrix.T.mv(u), dim=0, eps=self.eps))
                    u.copy_(normalize(matrix.mv(v), dim=0, eps=self.eps))
            u, v = u.clone(), v.clone()  # the next iteration writes into them
        return weight / u.dot(matrix.mv(v))


def spectral_norm(
    module: M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> M:
    """A weight over its largest singular value, with a parameter NAME_orig and the estimates NAME_u
    and NAME_v, which each forward in training makes better."""
    if n_power_iterations < 1:
        raise ValueError(
            f"[spectral_norm] n_power_iterations must be at least 1, got {n_power_iterations}"
        )
    if dim is None:  # transposed convolutions have their outputs second
        dim = int(type(module).__name__.startswith("ConvTranspose"))
    hook, weight = SpectralNorm(name, dim, n_power_iterations, eps), getattr(module, name)
    sizes = hook.matrix(weight.detach()).shape
    u, v = (normalize(weight.detach().new_empty(n).normal_(0, 1), dim=0, eps=eps) for n in sizes)
    hook.put_on(module, _orig=weight, _u=u, _v=v)
    object.__setattr__(module, name, weight.data)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    SpectralNorm.take_off(module, name, "_u", "_v", "_orig")
    return module
