"""Adam (Kingma and Ba, arXiv 1412.6980) and AdamW, whose decay does not pass through the moments
(Loshchilov and Hutter, arXiv 1711.05101). The rule is a run of in-place ufuncs, as few as possible;
it knows no tensor: walking through them is `flat.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .flat import Number, Update
from .optimizer import Optimizer, regularised


class Adam(Optimizer):
    """p -= lr * m / (sqrt(v) + eps), both moments bias-corrected; weight_decay is added to g.

    amsgrad: divide by the largest v so far. foreach, fused and capturable are accepted and change
    nothing: the update always is one pass over flat blocks. ValueError: a setting out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * bool(group["amsgrad"]))

    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        maximize, decoupled = group["maximize"], group["decoupled_weight_decay"]
        correction = math.sqrt(1 - beta2**step)
        shrink = number(1 - lr * decay) if decoupled and decay else None
        pull = None if decoupled or not decay else number(decay)
        b1, c1, b2, c2 = number(beta1), number(1 - beta1), number(beta2), number(1 - beta2)
        rate = number(-lr * correction / (1 - beta1**step))
        eps = number(float(group["eps"]) * correction)

        def block(lib: Any, p: Any, g: Any, kept: list, scratch: Any) -> None:
            m, v, *largest = kept
            t = scratch[0]
            add, multiply = lib.add, lib.multiply  # the last argument receives the result
            if shrink is not None:
                multiply(p, shrink, p)
            g = regularised(lib, p, g, pull, maximize, scratch)
            # m = beta1 m + (1 - beta1) g
            multiply(g, c1, t)
            multiply(m, b1, m)
            add(m, t, m)
            # v = beta2 v + (1 - beta2) g g
            multiply(g, g, t)
            multiply(t, c2, t)
            multiply(v, b2, v)
            add(v, t, v)
            if largest:
                v = lib.maximum(largest[0], v, out=largest[0])
            # p -= lr m / (1 - beta1^step) / (sqrt(v) / correction + eps)
            lib.sqrt(v, t)
            add(t, eps, t)
            lib.divide(m, t, t)
            multiply(t, rate, t)
            add(p, t, p)

        return block


class AdamW(Adam):
    """Adam with weight_decay as p *= 1 - lr * weight_decay, before the step."""

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
