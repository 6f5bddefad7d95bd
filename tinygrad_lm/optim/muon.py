"""Muon and Adafactor, which look at a matrix as a whole. `per_tensor.py` applies them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..engine.arrays import Array, bfloat16
from .optimizer import settings
from .per_tensor import PerTensor


class Muon(PerTensor):
    """For the matrices of hidden layers: momentum b = b + (1 - momentum) (g - b), made orthogonal
    by Newton and Schulz's iteration in bfloat16, is the step (Jordan, 2024; the rate adjusted as by
    Liu et al., arXiv 2502.16982). ValueError: a parameter that is no matrix, out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        super().__init__(params, settings(locals()))

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                "[Muon] adjust_lr_fn must be None, 'original' or 'match_rms_adamw', got "
                f"{group['adjust_lr_fn']!r}"
            )
        for p in group["params"]:
            if p.ndim != 2:
                raise ValueError(
                    f"[Muon] parameters must be matrices, got shape {tuple(p.shape)}; give others "
                    "to AdamW"
                )

    def start(self, lib: Any, p: Array, group: dict[str, Any]) -> dict[str, Any]:
        return {"momentum_buffer": lib.zeros_like(p)}

    def change(self, lib: Any, p: Array, g: Array, kept: dict[str, Any], group: dict) -> None:
        b, lr, momentum = kept["momentum_buffer"], float(group["lr"]), group["momentum"]
        rows, columns = p.shape
        b += (1 - momentum) * (g - b)
        step = orthogonal(lib, g + momentum * (b - g) if group["nesterov"] else b, group)
        if group["adjust_lr_fn"] == "match_rms_adamw":
            adjusted = lr * 0.2 * math.sqrt(max(rows, columns))
        else:
            adjusted = lr * math.sqrt(max(1, rows / columns))
        p *= 1 - lr * group["weight_decay"]
        p -= adjusted * step


def orthogonal(lib: Any, g: Array, group: dict[str, Any]) -> Array:
    """U V^T of g = U S V^T, about: X = a X + (b X X^T + c (X X^T)^2) X moves all singular values
    towards 1. Every product is rounded to bfloat16, as by PyTorch."""
    a, b, c = group["ns_coefficients"]

    def short(x: Array) -> Array:
        return x.astype(bfloat16.np).astype("float32")

    x = short(g.T if g.shape[0] > g.shape[1] else g)
    x = short(x / lib.maximum(short(lib.sqrt((x * x).sum())), group["eps"]))
    for _ in range(group["ns_steps"]):
        gram = short(x @ x.T)
        x = short(a * x + short(b * gram + c * (gram @ gram)) @ x)
    return (x.T if g.shape[0] > g.shape[1] else x).astype(g.dtype)


class Adafactor(PerTensor):
    """Adam without momentum, whose second moment of a matrix is the product of a row's and a
    column's mean; steps are clipped at rms d and scaled by p's own rms (Shazeer and Stern, arXiv
    1804.04235, with PyTorch's use of lr). ValueError: out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        super().__init__(params, settings(locals()))

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        eps1, eps2 = group["eps"]
        rules = [
            (group["beta2_decay"] <= 0, "beta2_decay must be at most 0"),
            ((eps1 or 0) >= 0 and eps2 >= 0, "both eps must not be negative"),
            (group["d"] >= 1, "d must be at least 1"),
        ]
        for holds, rule in rules:
            if not holds:
                raise ValueError(f"[Adafactor] {rule}, got {group}")

    def start(self, lib: Any, p: Array, group: dict[str, Any]) -> dict[str, Any]:
        if p.ndim < 2:
            return {"step": 0.0, "variance": lib.zeros_like(p)}
        return {
            "step": 0.0,
            "row_var": lib.zeros((*p.shape[:-1], 1), p.dtype),
            "col_var": lib.zeros((*p.shape[:-2], 1, p.shape[-1]), p.dtype),
        }

    def change(self, lib: Any, p: Array, g: Array, kept: dict[str, Any], group: dict) -> None:
        kept["step"] += 1
        step, lr, (eps1, eps2) = float(kept["step"]), float(group["lr"]), group["eps"]
        eps1 = lib.finfo(p.dtype).eps if eps1 is None else eps1
        fresh = step ** group["beta2_decay"]

        def rms(x: Array) -> Array:
            return lib.sqrt((x * x).sum()) / x.size**0.5

        rate = lib.maximum(rms(p), eps2) * min(lr, step**-0.5)
        if group["weight_decay"]:
            p *= 1 - lr * group["weight_decay"]
        if p.ndim > 1:
            row, column = kept["row_var"], kept["col_var"]
            row += fresh * ((g * g).mean(-1, keepdims=True) - row)
            column += fresh * ((g * g).mean(-2, keepdims=True) - column)
            v = row @ column / lib.maximum(row.mean(-2, keepdims=True), eps1)
        else:
            v = kept["variance"]
            v += fresh * (g * g - v)
        step_ = g / lib.sqrt(lib.maximum(v, eps1 * eps1))
        p -= rate / lib.maximum(rms(step_) / group["d"], 1.0) * step_
