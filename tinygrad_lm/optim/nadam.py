"""NAdam and ASGD, which keep numbers of each tensor's own. `per_tensor.py` applies them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.arrays import Array
from .optimizer import settings
from .per_tensor import PerTensor


class NAdam(PerTensor):
    """Adam with Nesterov's momentum: p -= lr ((1 - mu) / (1 - M) g + mu' / (1 - M mu') m) /
    (sqrt(v) + eps), mu = beta1 (1 - 0.96^(step momentum_decay) / 2) and M their product so far, mu'
    the next (Dozat, ICLR workshop 2016). ValueError: out of range.
    """

    numbers = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        super().__init__(params, settings(locals()))

    def start(self, lib: Any, p: Array, group: dict[str, Any]) -> dict[str, Any]:
        moments = {"exp_avg": lib.zeros_like(p), "exp_avg_sq": lib.zeros_like(p)}
        return {"step": 0.0, "mu_product": 1.0, **moments}

    def change(self, lib: Any, p: Array, g: Array, kept: dict[str, Any], group: dict) -> None:
        m, v, product = kept["exp_avg"], kept["exp_avg_sq"], kept["mu_product"]
        (beta1, beta2), lr, decay = group["betas"], float(group["lr"]), group["weight_decay"]
        kept["step"] += 1
        step = float(kept["step"])
        mu, after = (
            beta1 * (1 - 0.5 * 0.96 ** (i * group["momentum_decay"])) for i in (step, step + 1)
        )
        product *= mu
        if decay and group["decoupled_weight_decay"]:
            p *= 1 - lr * decay
        elif decay:
            g = g + decay * p
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * (g * g)
        root = lib.sqrt(v / (1 - beta2**step)) + group["eps"]
        p -= lr * (1 - mu) / (1 - float(product)) * (g / root)
        p -= lr * after / (1 - float(product) * after) * (m / root)


class ASGD(PerTensor):
    """SGD whose rate eta = lr / (1 + lambd lr step)^alpha falls, and the average `ax` of what p was
    since step t0 (Polyak and Juditsky, 1992). ValueError: out of range.
    """

    numbers = ("step", "eta", "mu")

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        super().__init__(params, settings(locals()))

    def start(self, lib: Any, p: Array, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0.0, "eta": float(group["lr"]), "mu": 1.0, "ax": lib.zeros_like(p)}

    def change(self, lib: Any, p: Array, g: Array, kept: dict[str, Any], group: dict) -> None:
        lr, lambd, ax = float(group["lr"]), group["lambd"], kept["ax"]
        eta, mu = float(kept["eta"]), float(kept["mu"])
        kept["step"] += 1
        step = float(kept["step"])
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p
        p *= 1 - lambd * eta
        p -= eta * g
        if mu == 1:
            ax[...] = p
        else:
            ax += (p - ax) * mu
        kept["eta"][...] = lr / (1 + lambd * lr * step) ** group["alpha"]
        kept["mu"][...] = 1 / max(1.0, step - group["t0"])
