"""RMSprop (Hinton, lecture 6e of Neural Networks for Machine Learning, 2012), with the centred form
of Graves (arXiv 1308.0850). Walking through the tensors is `flat.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .flat import Update
from .optimizer import Optimizer, regularised


class RMSprop(Optimizer):
    """v = alpha * v + (1 - alpha) * g * g; p -= lr * g / (sqrt(v) + eps).

    centered: v less the square of the mean gradient. momentum: b = momentum * b + g / (...),
    p -= lr * b. capturable and foreach are accepted and change nothing. ValueError: out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        wanted = {"momentum_buffer": group["momentum"] > 0, "grad_avg": group["centered"]}
        return ("square_avg", *[name for name, used in wanted.items() if used])

    def update(self, group: dict[str, Any], step: int) -> Update:
        lr, alpha, eps = float(group["lr"]), float(group["alpha"]), float(group["eps"])
        momentum, decay = float(group["momentum"]), float(group["weight_decay"])
        maximize, names = group["maximize"], self.kept(group)

        def block(lib: Any, p: Any, g: Any, kept: list, scratch: Any) -> None:
            t, s = scratch
            arrays = dict(zip(names, kept, strict=True))
            v = arrays["square_avg"]
            g = regularised(lib, p, g, decay, maximize, s)
            lib.multiply(g, 1 - alpha, out=t)
            lib.multiply(t, g, out=t)
            lib.multiply(v, alpha, out=v)
            lib.add(v, t, out=v)
            if "grad_avg" in arrays:
                mean = arrays["grad_avg"]
                lib.subtract(g, mean, out=t)
                lib.multiply(t, 1 - alpha, out=t)
                lib.add(mean, t, out=mean)
                lib.multiply(mean, mean, out=t)
                v = lib.subtract(v, t, out=t)
            lib.sqrt(v, out=t)
            lib.add(t, eps, out=t)
            if momentum > 0:
                b = arrays["momentum_buffer"]
                lib.divide(g, t, out=t)
                lib.multiply(b, momentum, out=b)
                lib.add(b, t, out=b)
                lib.multiply(b, -lr, out=t)
            else:
                lib.multiply(g, -lr, out=s)
                lib.divide(s, t, out=t)
            lib.add(p, t, out=p)

        return block
