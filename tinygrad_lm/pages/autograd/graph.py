"""PyTorch's page `torch.autograd.graph`: its name for a node, and a refusal to move what a node
keeps, which is in the closures of its pullbacks and nowhere else."""

from __future__ import annotations

from typing import Any

from ...engine.pytorch.grad_fn import GradFn as Node

__all__ = ["Node", "save_on_cpu", "saved_tensors_hooks"]


class saved_tensors_hooks:
    """Refused: what a node keeps stays as it is."""

    def __init__(self, *args: Any, **settings: Any):
        raise NotImplementedError(
            f"[{type(self).__name__}] what a node keeps for backward must stay where it is; to "
            "save memory compute a part again, with utils.checkpoint"
        )


class save_on_cpu(saved_tensors_hooks):
    """Refused, too."""
