"""Adam (Kingma and Ba, arXiv 1412.6980) and AdamW, whose decay does not pass through the moments
(Loshchilov and Hutter, arXiv 1711.05101). The rule is one block of ufuncs in place, in the order in
which PyTorch's single-tensor form computes; walking through the tensors is `flat.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .flat import Update
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

    def update(self, group: dict[str, Any], step: int) -> Update:
        lr, eps, decay = (float(group[name]) for name in ("lr", "eps", "weight_decay"))
        beta1, beta2 = map(float, group["betas"])
        maximize, decoupled = group["maximize"], group["decoupled_weight_decay"]
        step_size = lr / (1 - beta1**step)
        correction = math.sqrt(1 - beta2**step)

        def block(lib: Any, p: Any, g: Any, kept: list, scratch: Any) -> None:
            m, v, *largest = kept
            t, s = scratch
            if decoupled and decay:
                lib.multiply(p, 1 - lr * decay, out=p)
            g = regularised(lib, p, g, 0.0 if decoupled else decay, maximize, s)
            # m += (1 - beta1) (g - m)
            lib.subtract(g, m, out=t)
            lib.multiply(t, 1 - beta1, out=t)
            lib.add(m, t, out=m)
            # v = beta2 v + (1 - beta2) g g
            lib.multiply(g, 1 - beta2, out=t)
            lib.multiply(t, g, out=t)
            lib.multiply(v, beta2, out=v)
            lib.add(v, t, out=v)
            if largest:
                v = lib.maximum(largest[0], v, out=largest[0])
            # p -= step_size m / (sqrt(v) / correction + eps)
            lib.sqrt(v, out=t)
            lib.divide(t, correction, out=t)
            lib.add(t, eps, out=t)
            lib.multiply(m, -step_size, out=s)
            lib.divide(s, t, out=s)
            lib.add(p, s, out=p)

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
