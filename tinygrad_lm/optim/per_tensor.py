"""Applying a rule to one tensor after another, for those that keep numbers of each tensor's own
(nadam.py) or look at whole matrices (muon.py). What is kept for 16-bit parameters is float32, and
so is a `master` copy of them, as in `flat.py`.
"""

from __future__ import annotations

from typing import Any

from ..engine.arrays import Array, is_recording_step, library, mark_written, quietly
from ..engine.core.tensor import Tensor, wrap
from ..engine.pytorch.creation import tensor
from .optimizer import Optimizer


class PerTensor(Optimizer):
    """Base class. A subclass gives `start` and `change`."""

    def start(self, lib: Any, p: Array, group: dict[str, Any]) -> dict[str, Any]:
        """What is kept for a tensor: arrays like p, and `numbers`, before the first step."""
        raise NotImplementedError

    def change(self, lib: Any, p: Array, g: Array, kept: dict[str, Any], group: dict) -> None:
        """One step of one tensor: writes p and the arrays that are kept, never the gradient."""
        raise NotImplementedError

    def run(self, number: int, group: dict[str, Any]) -> None:
        if is_recording_step():
            raise RuntimeError(
                f"[step] a captured optimizer must be SGD, Adam or AdamW, got {self._name}"
            )
        if self.found_inf is not None and bool(self.found_inf):
            return
        for p in group["params"]:
            if p._grad is not None:
                if p._grad.shape != p.shape:
                    raise RuntimeError(
                        f"[step] a gradient must have its parameter's shape, {tuple(p.shape)}, "
                        f"got {tuple(p._grad.shape)}; was .data replaced after backward?"
                    )
                quietly(self._one, p, group)
                mark_written(p.array)

    def _one(self, p: Tensor, group: dict[str, Any]) -> None:
        now, g, state = p.array, p._grad.array, self.state[p]  # type: ignore[union-attr]
        lib = library(now)
        whole, short = now, now.dtype.itemsize == 2
        if short:
            g, wide = g.astype("float32"), now.astype("float32")
            whole = state.setdefault("master", wrap(wide)).array
            lib.copyto(whole, wide, where=whole.astype(now.dtype).astype("float32") != wide)
        if state.keys() <= {"master"}:
            first = self.start(lib, whole, group)
            state.update(
                {k: wrap(v) if k not in self.numbers else tensor(v) for k, v in first.items()}
            )
        kept = {name: value.array for name, value in state.items()}
        self.change(lib, whole, -g if group.get("maximize") else g, kept, group)
        if short:
            now[...] = whole.astype(now.dtype)
