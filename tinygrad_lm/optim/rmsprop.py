"""RMSprop (Hinton, lecture 6e of Neural Networks for Machine Learning, 2012), with the centred form
of Graves (arXiv 1308.0850). Walking through the tensors is `flat.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.arrays import Array
from .flat import Number, Update
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

    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        maximize, names = group["maximize"], self.kept(group)
        decay = number(group["weight_decay"]) if group["weight_decay"] else None
        alpha, rest = number(group["alpha"]), number(1 - group["alpha"])
        rate, momentum = number(-float(group["lr"])), number(group["momentum"])
        eps = number(group["eps"])

        def block(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
            t, s = scratch
            arrays = dict(zip(names, kept))
            v, mean, b = map(arrays.get, ("square_avg", "grad_avg", "momentum_buffer"))
            add, multiply = lib.add, lib.multiply  # the last argument receives the result
            g = regularised(lib, p, g, decay, maximize, scratch)
            # v = alpha v + (1 - alpha) g g
            multiply(g, g, t)
            multiply(t, rest, t)
            multiply(v, alpha, v)
            add(v, t, v)
            if mean is not None:  # mean += (1 - alpha) (g - mean); v - mean mean is a variance
                lib.subtract(g, mean, t)
                multiply(t, rest, t)
                add(mean, t, mean)
                v = lib.subtract(v, multiply(mean, mean, t), t)
            add(lib.sqrt(v, t), eps, t)
            lib.divide(g, t, t)
            if b is not None:
                multiply(b, momentum, b)
                t = multiply(add(b, t, b), rate, t)
            else:
                multiply(t, rate, t)
            add(p, t, p)

        return block
