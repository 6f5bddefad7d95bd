"""Gradients of micro-batches become the gradient of a step: added in the order of `tree.py`, in one
process or over all ranks. What ranks add travels in buckets: each rank gets a piece of every other
one's (all-to-all), adds the pieces in the order of the tree, and sends the sum to all (all-gather).
A bucket leaves when the last of its gradients is there, while the walk back goes on; after it,
where all ranks share one machine's memory.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Iterable
from typing import Any

import numpy as np

from ..engine.arrays import Array, library, quietly, row_major, to_numpy
from ..engine.core.tensor import Tensor, wrap
from .backward import Listener, listen
from .group import Group, Pending, Work, progress
from .nccl import connect
from .tree import Stack, Subtree, share, subtrees

BUCKET_BYTES = 1 << 20
ALIGNED = 16  # numbers: every gradient in a bucket begins at a multiple, as kernels like it


def add(a: Array | None, b: Array | None) -> Array | None:
    """a + b, in a's memory; None is where there is no gradient."""
    if a is None or b is None:
        return b if a is None else a
    return quietly(operator.iadd, a, b)


def scaled(total: Array, scale: float) -> Array:
    if scale != 1:
        total *= scale
    return total


def aligned(count: int) -> int:
    return -(-count // ALIGNED) * ALIGNED


def reduced(
    group: Group,
    parts: list[Array],
    out: Array,
    places: list[list[Subtree]],
    tag: int,
    scale: float,
    add: Callable[[Any, Any], Any] = add,
) -> Generator[Pending, None, None]:
    """The sum over all ranks times scale, in `out`, (n,). parts: this rank's arrays, (n,), one for
    each subtree in places[rank]; they are written to, and one of them may be `out`. add: or another
    function of two arrays, which may write into the first."""
    cuts = [aligned(out.size * r // group.size) for r in range(group.size)] + [out.size]
    pieces = [slice(a, b) for a, b in zip(cuts, cuts[1:])]
    mine = pieces[group.rank]
    sent = [[part[piece] for part in parts] for piece in pieces]
    arrived = [[library(out).empty_like(out[mine]) for _ in there] for there in places]
    arrived[group.rank] = sent[group.rank]
    yield group.exchange(sent, arrived, tag)
    stack = Stack(add)
    for there, values in zip(places, arrived):
        for place, value in zip(there, values):
            stack.push(place, value)
    total = stack.total()
    out[mine] = scaled(total, scale)
    yield group.exchange([[out[mine]]] * group.size, [[out[piece]] for piece in pieces], tag)


class Bucket:
    """Parameters of one kind whose gradients travel together, with a flag behind them for each: how
    many ranks had one."""

    def __init__(self, parameters: list[Tensor], tag: int):
        self.parameters, self.tag, like = parameters, tag, parameters[0].array
        sizes = [aligned(p.array.size) for p in parameters]
        self.starts = {p: sum(sizes[:i]) for i, p in enumerate(parameters)}
        self.numbers = {p: i for i, p in enumerate(parameters)}
        self.flags = slice(sum(sizes), sum(sizes) + len(sizes))
        self.library, self.dtype, self.size = library(like), like.dtype, self.flags.stop

    def begin(self) -> None:
        """A step."""
        self.missing = {*self.parameters}
        self.work: Work | None = None
        self.parts: list[Array] = []
        self.had: Any = ()

    def fill(self, p: Tensor, values: list[Array | None]) -> None:
        """This rank's parts of p's gradient, at least one."""
        if not self.parts:
            self.parts = [self.library.empty(self.size, self.dtype) for _ in values]
            # On the host until all are known: to a GPU and from it they go at once.
            self.had = np.zeros((len(values), len(self.parameters)), bool)
        self.had[:, self.numbers[p]] = [value is not None for value in values]
        start, end = self.starts[p], self.starts[p] + p.array.size
        for part, value in zip(self.parts, values):
            # -0.0 is what changes nothing that is added to it: 0.0 would make 0.0 of a -0.0.
            part[start:end] = -0.0 if value is None else value.reshape(-1)
        self.missing.discard(p)

    def send(self, group: Group, places: list[list[Subtree]], scale: float) -> None:
        for part, had in zip(self.parts, self.had):
            part[self.flags] = self.library.asarray(had)
        self.out = self.parts[0] if self.parts else self.library.empty(self.size, self.dtype)
        self.work = Work(group, reduced(group, self.parts, self.out, places, self.tag, scale))

    def wait(self) -> None:
        assert self.work is not None
        self.work.wait()
        self.had = to_numpy(self.out[self.flags])

    def gradient(self, p: Tensor) -> Tensor | None:
        """The sum, once it is there: a view of the bucket; None if no rank had any."""
        if not self.had[self.numbers[p]]:
            return None
        start = self.starts[p]
        return wrap(self.out[start : start + p.array.size].reshape(p.array.shape))


class Gradients(Listener):
    """The gradients of parameters over the micro-batches of a step, on all ranks of a group.

        sums.begin(M)                      # micro-batches of the step, over all ranks
        for k in sums.mine:                # this rank's, which may be none
            sums.backward(loss_of(k), k)
        sums.finish()                      # now p.grad is the sum, on all ranks the same

    scale: what sums are multiplied by, as 1 / M for a mean of means. early: whether buckets leave
    while the walk back goes on; None: not where the ranks share one machine's memory, in which
    sending is copying, by the same cores."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        group: Group,
        bucket_bytes: int = BUCKET_BYTES,
        early: bool | None = None,
    ):
        self.parameters = [p for p in parameters if p.requires_grad]
        on_gpu = any(p.device.type == "cuda" for p in self.parameters)
        self.early = (on_gpu or not group.near) if early is None else early
        self.leaves, self.group = {*self.parameters}, group
        self.buckets = self._buckets(bucket_bytes) if group.size > 1 else []
        if self.buckets:
            for where in dict.fromkeys(p.device for p in self.parameters):
                if where.type == "cuda":
                    connect(group, where.index or 0)
        self.bucket_of = {p: bucket for bucket in self.buckets for p in bucket.parameters}

    def _buckets(self, most: int) -> list[Bucket]:
        """From the last parameter to the first, since the walk back comes to them in that order."""
        found: list[list[Tensor]] = []
        open_: dict[tuple, tuple[list[Tensor], int]] = {}
        for p in reversed(self.parameters):
            kind = str(p.device), p.array.dtype
            members, size = open_.get(kind, ([], most))
            if size + p.array.nbytes > most:
                members, size = [], 0
                found.append(members)
            members.append(p)
            open_[kind] = members, size + p.array.nbytes
        return [Bucket(*each) for each in zip(found, self.group.tags(len(found)))]

    def begin(self, micro_batches: int, scale: float = 1) -> None:
        size = self.group.size
        shares = [share(micro_batches, rank, size) for rank in range(size)]
        self.mine, self.places = shares[self.group.rank], [subtrees(s) for s in shares]
        self.scale, self.number = scale, -1
        self.stacks = {p: Stack(add) for p in self.parameters}
        for bucket in self.buckets:
            bucket.begin()

    def backward(self, loss: Tensor, number: int) -> None:
        """loss.backward() of one of this rank's micro-batches, in their order. Nothing may be in
        the parameters' .grad before."""
        self.expect(number)
        loss.backward()
        self.finished()

    def expect(self, number: int) -> None:
        """The next walk back is that of this micro-batch."""
        self.number, self.waiting = number, {*self.parameters}
        if self.group.size > 1 and number == self.mine[-1]:
            listen(self)

    def arrived(self, leaf: Tensor) -> None:
        """Its gradient joins those of the micro-batches before; after the last one it leaves."""
        self.waiting.discard(leaf)
        stack, g, leaf.grad = self.stacks[leaf], leaf.grad, None
        stack.push(Subtree(0, self.number), None if g is None else g.array)
        if self.number == self.mine[-1] and self.buckets:
            bucket = self.bucket_of[leaf]
            bucket.fill(leaf, [value for _, value in stack.parts])
            stack.parts.clear()
            if not bucket.missing:
                bucket.send(self.group, self.places, self.scale)

    def turn(self) -> None:
        progress()

    def finished(self) -> None:
        """The walk back has ended: what did not arrive has no gradient."""
        for p in [p for p in self.parameters if p in self.waiting]:
            self.arrived(p)

    def finish(self) -> None:
        """Wait until p.grad is the sum over all micro-batches, on all ranks the same."""
        if not self.buckets:
            for p in self.parameters:
                total = self.stacks[p].total()
                # Row by row, as in a bucket: the bits of a norm depend on the order in memory.
                p.grad = None if total is None else wrap(row_major(scaled(total, self.scale)))
            return
        for bucket in self.buckets:
            if bucket.work is None:  # this rank has no micro-batch
                bucket.send(self.group, self.places, self.scale)
        for bucket in self.buckets:
            bucket.wait()
            for p in bucket.parameters:
                p.grad = bucket.gradient(p)
            bucket.begin()  # and so nobody but gradients holds its memory
