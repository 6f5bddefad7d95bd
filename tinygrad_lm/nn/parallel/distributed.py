"""`DistributedDataParallel`: each process trains on its own part of the data, and gradients are
means over all."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from ...engine.arrays.replay import check_not_taping
from ...engine.core.tensor import Tensor, wrap
from ...engine.pytorch.common import Device
from ...engine.pytorch.grad_mode import is_grad_enabled, no_grad
from ...ranks.gradients import BUCKET_BYTES, Gradients
from ...ranks.group import Group, Work, World
from ..module import Module


class _Mean(Gradients):
    """The mean over ranks of what each has, ready when a walk back ends."""

    def expect_all(self) -> None:
        self.begin(self.group.size, 1 / self.group.size)
        self.expect(self.group.rank)

    def finished(self) -> None:
        super().finished()
        self.finish()
        self.group.step += 1  # a script's own number is not known


class DistributedDataParallel(Module):
    """Calls `module`; its parameters are named `module.…`. All ranks begin with the parameters and
    buffers of the first. When `backward` ends, `.grad` is the mean over ranks, added in the order
    of a binary tree, the same bits on all; it travels in buckets of bucket_cap_mb MB while the walk
    back goes on (Li et al., 2020, arXiv 2006.15704), on one machine's CPUs after it. A parameter
    that no rank uses keeps what it has.

    process_group: from `new_group` (all ranks). broadcast_buffers: before each forward pass, those
    of the first rank. RuntimeError: modules differ between ranks, or nothing is to be trained.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence | None = None,
        output_device: Device = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        **settings: Any,
    ):
        super().__init__()
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError(
                "[DistributedDataParallel] a parameter must require a gradient, got a module "
                "without one; it needs no wrapper"
            )
        self.module, self.broadcast_buffers = module, broadcast_buffers
        self.require_backward_grad_sync = True
        group = process_group or World.group or Group()
        size = BUCKET_BYTES if bucket_cap_mb is None else int(bucket_cap_mb * 2**20)
        self._gradients = _Mean(module.parameters(), group, size)
        if group.size > 1 and init_sync:
            self._check_alike(group)
            self._copy_first([*module.parameters(), *module.buffers()])

    def _check_alike(self, group: Group) -> None:
        mine = [(n, tuple(p.shape), str(p.dtype)) for n, p in self.module.named_parameters()]
        mine += [(n, tuple(b.shape), str(b.dtype)) for n, b in self.module.named_buffers()]
        first, *others = group.gather(mine)
        for rank, theirs in enumerate(others, 1):
            for a, b in itertools.zip_longest(first, theirs):
                if a != b:
                    raise RuntimeError(
                        "[DistributedDataParallel] all ranks must have the same parameters and "
                        f"buffers, got {a} on rank 0 and {b} on rank {rank}"
                    )

    def _copy_first(self, tensors: list[Tensor]) -> None:
        """The first rank's numbers for all."""
        for tensor in tensors:
            flat = tensor.array.reshape(-1).copy()
            Work(self._gradients.group, _broadcast(self._gradients.group, flat)).wait()
            if self._gradients.group.rank:
                with no_grad():
                    tensor.copy_(wrap(flat.reshape(tensor.array.shape)))

    def forward(self, *inputs: Any, **named: Any) -> Any:
        if self._gradients.group.size > 1 and self.require_backward_grad_sync:
            check_not_taping("exchange gradients between ranks", "call it without capture")
            if self.broadcast_buffers:
                self._copy_first([*self.module.buffers()])
            if is_grad_enabled():
                self._gradients.expect_all()
        return self.module(*inputs, **named)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, gradients are added up on each rank; the first `backward` after it takes them
        along."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before


def _broadcast(group: Group, flat: Any) -> Generator:
    yield group.broadcast(flat, 0)
