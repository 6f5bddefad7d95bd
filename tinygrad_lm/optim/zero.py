"""An optimiser whose state is shared out over ranks: ZeRO, stage 1 (Rajbhandari et al., 2019, arXiv
1910.02054), with PyTorch's `ZeroRedundancyOptimizer` as its face."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from ..engine.arrays import Array, library
from ..engine.core.tensor import Tensor, wrap
from ..engine.pytorch.grad_mode import no_grad
from ..ranks.group import Group, Work, World
from .optimizer import Optimizer


class ZeroRedundancyOptimizer(Optimizer):
    """Each parameter has one rank that keeps its state and updates it, from gradients that are the
    same on all ranks, and sends it to the others. For rules that go element by element the result
    is, bit for bit, that of `optimizer_class` alone.

    defaults: the settings of optimizer_class. `state_dict()` needs `consolidate_state_dict(to)`
    before, on all ranks, and is that of optimizer_class, so either can load it.
    """

    def __init__(
        self,
        params: Iterable,
        optimizer_class: type[Optimizer],
        process_group: Group | None = None,
        parameters_as_bucket_view: bool = False,
        overlap_with_ddp: bool = False,
        **defaults: Any,
    ):
        if overlap_with_ddp:
            raise NotImplementedError(
                "[ZeroRedundancyOptimizer] overlap_with_ddp must be False: updates follow when all "
                "gradients are there"
            )
        self.group = process_group or World.group or Group()
        self._class, self._settings = optimizer_class, defaults
        self._whole: dict[str, Any] | None = None  # after consolidate_state_dict
        self._sizes = [0] * self.group.size
        self.owner: dict[Tensor, int] = {}  # parameter -> the rank that updates it
        self.optim: Optimizer | None = None  # of this rank's parameters, if it has any
        super().__init__(params, optimizer_class([_nothing()], **defaults).defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in sorted(group["params"], key=lambda p: -p.numel()):  # to whom has least, as PyTorch
            rank = self._sizes.index(min(self._sizes))
            self._sizes[rank] += p.numel()
            self.owner[p] = rank
        mine = {**group, "params": self._mine(group)}
        if self.optim is None and mine["params"]:
            self.optim = self._class([mine], **self._settings)
            self._places = [len(self.param_groups) - 1]
        elif mine["params"]:
            assert self.optim is not None
            self.optim.add_param_group(mine)
            self._places.append(len(self.param_groups) - 1)

    def _mine(self, group: dict[str, Any]) -> list[Tensor]:
        return [p for p in group["params"] if self.owner[p] == self.group.rank]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update this rank's parameters, and get the others from those who updated them."""
        loss = self._whole = None  # which is older now
        if self.optim is None:
            loss = closure() if closure else None
        else:
            for place, group in zip(self._places, self.optim.param_groups):
                whole = self.param_groups[place]
                group.update({k: v for k, v in whole.items() if k not in ("params", "param_names")})
            self.optim.found_inf = self.found_inf
            loss = self.optim.step(closure)
        if self.group.size > 1:
            Work(self.group, self._send()).wait()
        return loss

    def _send(self) -> Generator:
        of_rank = [self._kinds(rank) for rank in range(self.group.size)]
        arrays = [[_joined(members) for members in kinds] for kinds in of_rank]
        mine = arrays[self.group.rank]
        yield self.group.exchange([mine] * self.group.size, arrays, self.group.tag())
        for rank, (kinds, arrived) in enumerate(zip(of_rank, arrays)):
            if rank != self.group.rank:
                for members, flat in zip(kinds, arrived):
                    _cut(flat, members)

    def _kinds(self, rank: int) -> list[list[Tensor]]:
        """The parameters of a rank, those of one device and dtype together."""
        found: dict[tuple, list[Tensor]] = {}
        for p, owner in self.owner.items():
            if owner == rank:
                found.setdefault((str(p.device), p.array.dtype), []).append(p)
        return [*found.values()]

    def take_back(self) -> None:
        if self.optim is not None:
            self.optim.take_back()

    # ------------------------------------------------ the whole state, on one rank

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Bring all state to rank `to`, on whose CPU it must have room; all ranks call it."""
        mine = {}
        if self.optim is not None:
            kept = self.optim.state
            numbers = {p: i for i, p in enumerate(self._parameters())}
            mine = {
                numbers[p]: {k: v.cpu() if isinstance(v, Tensor) else v for k, v in entry.items()}
                for p, entry in kept.items()
            }
        found = self.group.gather(mine)
        self._whole = None
        if self.group.rank == to:
            self._whole = {i: entry for part in found for i, entry in part.items()}

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """As that of optimizer_class. RuntimeError: not consolidated on this rank before."""
        if self._whole is None:
            raise RuntimeError(
                "[state_dict] the whole state must be on this rank, got parts of it on all; call "
                f"consolidate_state_dict(to={self.group.rank}) on all ranks first"
            )
        found = super().state_dict()
        return {**found, "state": dict(sorted(self._whole.items()))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a whole state, the same on all ranks, of which this one keeps its part."""
        numbers = {p: i for i, p in enumerate(self._parameters())}
        mine = {numbers[p]: p for p in numbers if self.owner[p] == self.group.rank}
        state = {i: entry for i, entry in state_dict["state"].items() if int(i) in mine}
        super().load_state_dict({**state_dict, "state": state})
        if self.optim is not None:
            self.optim.state = self.state
        self.state = type(self.state)(dict)


def _joined(tensors: list[Tensor]) -> Array:
    return library(tensors[0].array).concatenate([p.array.reshape(-1) for p in tensors])


def _cut(flat: Array, tensors: list[Tensor]) -> None:
    """Into tensors what was joined of others like them."""
    start = 0
    with no_grad():
        for p in tensors:
            p.copy_(wrap(flat[start : start + p.numel()].reshape(p.array.shape)))
            start += p.numel()


def _nothing() -> Tensor:
    """A parameter for an optimizer of which only the settings are asked."""
    import numpy

    p = wrap(numpy.zeros(1, "float32"))
    p.requires_grad = True
    return p
