"""Optimisers with a rate of its own for each element, a formula each: Adagrad, Adadelta, Adamax,
RAdam, Rprop. `flat.py` applies the formula to one block after another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.arrays import Array, float32
from ..engine.pytorch.creation import full_like, tensor
from .flat import Number, Update
from .optimizer import Optimizer, regularised, settings


def decay_of(group: dict[str, Any]) -> float | None:
    return group["weight_decay"] or None


class Adagrad(Optimizer):
    """s += g g; p -= lr / (1 + (step - 1) lr_decay) * g / (sqrt(s) + eps); s starts at
    initial_accumulator_value (Duchi et al., JMLR 12, 2011). ValueError: out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(params, settings(locals()))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            kind = float32 if p.dtype.itemsize == 2 else p.dtype
            first = full_like(p, group["initial_accumulator_value"], dtype=kind)
            self.state[p] = {"step": tensor(0.0), "sum": first}

    def kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        rate, eps = float(group["lr"]) / (1 + (step - 1) * group["lr_decay"]), group["eps"]

        def block(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
            (s,) = kept
            g = regularised(lib, p, g, decay_of(group), group["maximize"], scratch)
            s += g * g
            p -= rate * (g / (lib.sqrt(s) + eps))

        return block


class Adadelta(Optimizer):
    """v = rho v + (1 - rho) g g; d = sqrt(u + eps) / sqrt(v + eps) g; u = rho u + (1 - rho) d d;
    p -= lr d (Zeiler, arXiv 1212.5701). ValueError: out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        super().__init__(params, settings(locals()))

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not 0 <= group["rho"] <= 1:
            raise ValueError(f"[Adadelta] rho must be in [0, 1], got {group['rho']}")

    def kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        lr, rho, eps = float(group["lr"]), group["rho"], group["eps"]

        def block(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
            v, u = kept
            g = regularised(lib, p, g, decay_of(group), group["maximize"], scratch)
            v *= rho
            v += (1 - rho) * (g * g)
            d = lib.sqrt(u + eps) / lib.sqrt(v + eps) * g
            u *= rho
            u += (1 - rho) * (d * d)
            p -= lr * d

        return block


class Adamax(Optimizer):
    """m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + eps); p -= lr / (1 - beta1^step) * m / u:
    Adam with the maximum norm (Kingma and Ba, arXiv 1412.6980, 7.1). ValueError: out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        super().__init__(params, settings(locals()))

    def kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        (beta1, beta2), eps = group["betas"], group["eps"]
        rate = float(group["lr"]) / (1 - beta1**step)

        def block(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
            m, u = kept
            g = regularised(lib, p, g, decay_of(group), group["maximize"], scratch)
            m += (1 - beta1) * (g - m)
            lib.maximum(u * beta2, lib.abs(g) + eps, out=u)
            p -= rate * (m / u)

        return block


class RAdam(Optimizer):
    """Adam whose rate is rectified while v is known from few steps: m alone as long as its variance
    has no bound, then r m / (sqrt(v) + eps) (Liu et al., arXiv 1908.03265). ValueError: out of
    range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        super().__init__(params, settings(locals()))

    def kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        (beta1, beta2), eps, lr = group["betas"], group["eps"], float(group["lr"])
        decoupled = group["decoupled_weight_decay"]
        pulled = None if decoupled else decay_of(group)
        shrunk = 1 - lr * group["weight_decay"] if decoupled else 1.0
        rate, correction = lr / (1 - beta1**step), 1 - beta2**step
        most = 2 / (1 - beta2) - 1  # the length of the average that v is, at last and now
        length = most - 2 * step * beta2**step / correction
        rectified = length > 5
        if rectified:
            ratio = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
            rate *= (ratio * correction) ** 0.5

        def block(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
            m, v = kept
            p *= shrunk
            g = regularised(lib, p, g, pulled, group["maximize"], scratch)
            m += (1 - beta1) * (g - m)
            v *= beta2
            v += (1 - beta2) * (g * g)
            p -= rate * (m / (lib.sqrt(v) + eps) if rectified else m)

        return block


class Rprop(Optimizer):
    """p -= sign(g) * s: the step s grows by etas[1] where g keeps its sign, shrinks by etas[0]
    where it changes (there p rests), within step_sizes (Riedmiller and Braun, 1993). ValueError:
    out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        super().__init__(params, settings(locals()))

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        less, more = group["etas"]
        if not 0 < less < 1 < more:
            raise ValueError(f"[Rprop] etas must be below and above 1, got {group['etas']}")

    def kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("prev", "step_size")

    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        (less, more), (least, most) = group["etas"], group["step_sizes"]

        def block(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
            before, size = kept
            g = regularised(lib, p, g, None, group["maximize"], scratch)
            if step == 1:
                size[...] = float(group["lr"])
            turned = g * before
            size *= lib.where(turned > 0, number(more), number(1.0))
            size *= lib.where(turned < 0, number(less), number(1.0))
            lib.clip(size, least, most, out=size)
            g = lib.where(turned < 0, number(0.0), g)
            p -= lib.sign(g) * size
            before[...] = g

        return block


class SparseAdam:
    """Refused: it needs sparse gradients."""

    def __init__(self, *args: Any, **kwargs: Any):
        raise NotImplementedError(
            "[SparseAdam] gradients must be sparse tensors, which this engine does not have; "
            "use Adam, whose gradients of an Embedding are as cheap"
        )
