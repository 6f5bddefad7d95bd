"""Adam (Kingma and Ba, arXiv 1412.6980) and AdamW, whose decay does not pass through the moments
(Loshchilov and Hutter, arXiv 1711.05101). The rule is a run of in-place ufuncs, as few as possible,
on one block of memory; `flat.py` goes from block to block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..engine.arrays import Array, with_kernels
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

    def constants(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        """(shrink, pull, sign, b1, c1, b2, c2, rate, eps) of the step-th step: p *= shrink,
        g = sign g + pull p, m = b1 m + c1 g, v = b2 v + c2 g g, p += rate m / (sqrt(v) + eps)."""
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        correction = math.sqrt(1 - beta2**step)
        decoupled = group["decoupled_weight_decay"]
        shrink, pull = (1 - lr * decay, 0.0) if decoupled else (1.0, decay)
        rate = -lr * correction / (1 - beta1**step)
        sign, eps = -1.0 if group["maximize"] else 1.0, float(group["eps"]) * correction
        return shrink, pull, sign, beta1, 1 - beta1, beta2, 1 - beta2, rate, eps

    @with_kernels  # a subclass that has its own `update` does without them
    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        shrink, pull, sign, *rest = self.constants(group, step)
        b1, c1, b2, c2, rate, eps = map(number, rest)
        shrunk = None if shrink == 1 else number(shrink)
        pulled = number(pull) if pull else None

        def block(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
            m, v, *largest = kept
            t = scratch[0]
            add, multiply = lib.add, lib.multiply  # the last argument receives the result
            if shrunk is not None:
                multiply(p, shrunk, p)
            g = regularised(lib, p, g, pulled, sign < 0, scratch)
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
            # p += rate m / (sqrt(v) + eps), both corrected for their start at 0
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
