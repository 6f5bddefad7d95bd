"""Stochastic gradient descent with momentum, in PyTorch's variant of it: the rate is outside the
momentum (Sutskever et al., 2013, put it inside). `flat.py` applies it to the tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.arrays import Array, with_kernels
from .flat import Number, Update
from .optimizer import Optimizer, regularised


class SGD(Optimizer):
    """b = momentum * b + (1 - dampening) * g, the first b being g; p -= lr * b.

    nesterov: p -= lr * (g + momentum * b). weight_decay * p is added to g, maximize turns g round.
    foreach and fused are accepted and change nothing. ValueError: a setting out of range.
    """

    counts = False

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "[SGD] nesterov needs momentum above zero and dampening zero, got momentum "
                f"{group['momentum']} and dampening {group['dampening']}"
            )

    def kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def constants(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        """(pull, sign, momentum, damped, ahead, rate), momentum -1 where there is none: g = sign g
        + pull p, b = momentum b + damped g, p += rate (g + ahead b), or rate b if ahead is 0."""
        momentum, sign = float(group["momentum"]), -1.0 if group["maximize"] else 1.0
        ahead = momentum if group["nesterov"] else 0.0
        damped = 1 - float(group["dampening"])
        if step == 1 or not momentum:
            momentum, damped = (0.0, 1.0) if momentum else (-1.0, 1.0)
        rate = -float(group["lr"])
        return float(group["weight_decay"]), sign, momentum, damped, ahead, rate

    @with_kernels  # a subclass that has its own `update` does without them
    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        maximize, nesterov = group["maximize"], group["nesterov"]
        decay = number(group["weight_decay"]) if group["weight_decay"] else None
        damped = number(1 - group["dampening"]) if group["dampening"] else None
        rate, momentum = number(-float(group["lr"])), number(group["momentum"])

        def block(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
            t, s = scratch
            add, multiply = lib.add, lib.multiply  # the last argument receives the result
            g = regularised(lib, p, g, decay, maximize, scratch)
            if kept:
                (b,) = kept
                if step == 1:
                    b[...] = g
                else:
                    multiply(b, momentum, b)
                    add(b, g if damped is None else multiply(g, damped, t), b)
                g = add(g, multiply(b, momentum, t), s) if nesterov else b
            add(p, multiply(g, rate, t), p)

        return block
