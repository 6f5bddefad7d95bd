"""Stochastic gradient descent with momentum, in PyTorch's variant of it: the rate is outside the
momentum (Sutskever et al., 2013, put it inside). Walking through the tensors is `flat.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.arrays import Array
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
