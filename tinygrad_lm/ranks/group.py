"""The processes that train together: the ranks of an MPI program (`mpiexec -n 4 ...`), or this one
alone. MPI carries bytes; waiting for them is ours, so that a rank that hangs or has left is named.

Nothing here runs in a thread: what is under way goes on whenever somebody polls, as the walk back
does after each node (`backward.py`)."""

from __future__ import annotations

import atexit
import os
import pickle
import sys
import time
from collections.abc import Callable, Collection, Generator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..engine.arrays import Array, device_of, is_numpy
from ..engine.arrays.replay import check_not_taping
from . import faults, nccl, starting, witness

TIMEOUT = 600.0  # seconds until a rank that does not come is said to hang
SPIN, LOOK = 0.002, 0.25  # seconds of waiting without a nap, and until others are asked about
NAP = 50e-6
# Tags up to here are of buckets; that of broadcasts, then of calls in turn, of a script's own.
BROADCAST, CALLS, OWN = (1 << 14) - 1, 1 << 14, 3 << 13
WAITING, GOODBYE = 0, 1  # what ranks tell each other beside the data: (what, count, step)

Pending = Callable[[], bool]  # moves a transfer on, and says whether it is complete


class Work:
    """Something that ranks do together, one step after another: a generator that yields what has to
    arrive before it goes on. `poll` moves it on as far as it goes without waiting."""

    def __init__(self, group: Group, steps: Generator[Pending, None, Any]):
        check_not_taping("exchange anything between ranks", "capture what is before and after it")
        self.group, self._steps, self.result = group, steps, None
        self._pending: Pending | None = lambda: True
        group.begun += 1
        under_way.append(self)
        self.poll()

    def poll(self) -> bool:
        """Whether it is done."""
        while self._pending is not None and self._pending():
            try:
                self._pending = next(self._steps)
            except StopIteration as end:
                self.result, self._pending = end.value, None
                self.group.done += 1
                under_way.remove(self)
        return self._pending is None

    def wait(self) -> Any:
        """Its result. RuntimeError: a rank does not come."""
        self.group.wait(self.poll)
        return self.result


under_way: list[Work] = []  # of all groups: who waits in one must not hold up another


def progress() -> None:
    """Move on what is under way."""
    for work in [*under_way]:
        work.poll()


class Group:
    """rank: this process's number, 0 <= rank < size. comm: mpi4py's communicator, None for a
    process alone. timeout: seconds after which a rank that does not come is said to hang.
    near: whether all ranks are on one machine. step: where this rank is, for messages."""

    def __init__(self, comm: Any = None, timeout: float = TIMEOUT, near: bool = False):
        self.near = near
        self.timeout, self.step, self.sent = timeout, 0, 0
        self.begun = self.done = 0  # of what ranks do together
        self.rank: int = comm.rank if comm else 0
        self.size: int = comm.size if comm else 1
        self._tags = self._calls = 0
        self._seen: dict[int, tuple[int, int]] = {}  # rank -> exchange it waits for, step
        self._left: dict[int, int] = {}  # rank that ended -> how much it has done with the others
        self._told: list = []  # messages that may not have left yet
        self.channels: dict[int, nccl.Channel | None] = {}  # GPU -> NCCL, None: through the host
        if comm:
            self._comm, self._status = comm.Dup(), comm.Dup()

    @property
    def step(self) -> int:
        return self._step

    @step.setter
    def step(self, number: int) -> None:
        self._step = number
        witness.at_step(number)

    # ------------------------------------------------------------ arrays from rank to rank

    def tags(self, count: int) -> range:
        """Numbers for transfers that may overtake each other; asked for by all ranks alike."""
        self._tags += count
        return range(self._tags - count, self._tags)

    def tag(self) -> int:
        """For all transfers of a call that ranks make in one order; buckets do not count, which
        leave in the order in which gradients are complete."""
        self._calls += 1
        return CALLS + self._calls % (OWN - CALLS)

    def exchange(
        self, sends: Sequence[Sequence[Array]], receives: Sequence[Sequence[Array]], tag: int
    ) -> Pending:
        """Contiguous arrays for and from each rank, in the order of ranks; this one's own are not
        looked at. Until it is complete they must not change. What is on a GPU goes by NCCL, if
        `nccl.connect` was called, with `tag` in the order of rank 0."""
        others = [r for r in range(self.size) if r != self.rank]
        array = next((a for r in others for a in (*sends[r], *receives[r])), None)
        if array is not None and not is_numpy(array):
            sends = [there if r != self.rank else [] for r, there in enumerate(sends)]
            receives = [there if r != self.rank else [] for r, there in enumerate(receives)]
            if channel := self.channels.get(device_of(array).index or 0):
                self.sent += sum(a.nbytes for there in sends for a in there)
                return channel.exchange(sends, receives, tag)
            return nccl.through_host(partial(self.exchange, tag=tag), sends, receives)
        requests, arriving = [], []
        for rank in range(self.size):
            if rank != self.rank:
                requests += [self._comm.Irecv(_bytes(a), rank, tag) for a in receives[rank]]
                arriving += [(rank, a.nbytes) for a in receives[rank]]
        for rank in range(self.size):
            if rank != self.rank:
                requests += [self._comm.Isend(_bytes(a), rank, tag) for a in sends[rank]]
                self.sent += sum(a.nbytes for a in sends[rank])
        return _complete(requests, arriving)

    def broadcast(self, array: Array, source: int) -> Pending:
        """A contiguous array of one rank for all, in the order of calls."""
        if self.size == 1:
            return _complete([], [])
        if not is_numpy(array):
            there = [array] if self.rank == source else []
            here = [[array] if r == source else [] for r in range(self.size)]
            return self.exchange([there] * self.size, here, BROADCAST)
        self.sent += array.nbytes if self.rank == source else 0
        return _complete([self._comm.Ibcast(_bytes(array), source)], [])

    def gather(self, value: Any) -> list:
        """What each rank gives, in the order of ranks, at all of them."""
        if self.size == 1:
            return [value]
        mine = np.frombuffer(pickle.dumps(value), np.uint8)
        return Work(self, self._gathered(mine)).wait()

    def _gathered(self, mine: np.ndarray) -> Generator[Pending, None, list]:
        others, tag = range(self.size), self.tag()
        sizes = [np.array([mine.size]) for _ in others]
        yield self.exchange([[sizes[self.rank]]] * self.size, [[n] for n in sizes], tag)
        found = [mine if r == self.rank else np.empty(int(sizes[r][0]), np.uint8) for r in others]
        yield self.exchange([[mine]] * self.size, [[a] for a in found], tag)
        return [pickle.loads(a.data) for a in found]

    def senders(self, tag: int) -> list[int]:
        """A rank from which something with this tag has come, if there is any."""
        from mpi4py import MPI

        status = MPI.Status()
        came = self._comm.Iprobe(MPI.ANY_SOURCE, tag, status)
        return [status.source] if came else []

    def subgroup(self, ranks: Collection[int]) -> Group | None:
        """The group of some ranks, None on the others; all must ask for it."""
        if self.size == 1:
            return Group() if 0 in ranks else None
        from mpi4py import MPI

        color = 0 if self.rank in ranks else MPI.UNDEFINED
        comm = self._comm.Split(color, self.rank)
        return Group(comm, self.timeout, self.near) if comm else None

    def duplicate(self) -> Any:
        """A communicator of MPI whose messages meet no others; all ask for it."""
        return self._comm.Dup()

    # ------------------------------------------------------------ waiting, and for whom

    def wait(self, done: Callable[[], bool]) -> None:
        """Until done(), while everything under way moves on."""
        try:
            self._wait(done)
        except BaseException:  # what is under way on a GPU would wait on
            for channel in filter(None, self.channels.values()):
                channel.abort()
            raise

    def _wait(self, done: Callable[[], bool]) -> None:
        begun, looked = time.monotonic(), 0.0
        while not done():
            progress()
            waited = time.monotonic() - begun
            time.sleep(0 if waited < SPIN else NAP)
            if waited - looked > LOOK:
                self._look(waited, first=not looked)
                looked = waited

    def _look(self, waited: float, first: bool) -> None:
        """Say that this rank waits, hear who else does; RuntimeError: a rank left, or hangs."""
        if self.size == 1:
            return
        if first:
            self._tell(WAITING)
        self._hear()
        where = f"[ranks] rank {self.rank} waits at step {self.step}"
        if gone := {r for r, done in self._left.items() if done < self.begun}:
            hint = "did all do the same steps?"
            raise RuntimeError(f"{where} for {named(gone)}, which ended; {hint}")
        if waited > self.timeout:
            here = {r for r, (begun, _) in self._seen.items() if begun >= self.begun}
            missing = set(range(self.size)) - here - {self.rank}
            raise RuntimeError(
                f"{where} for {named(missing)}, which did not come for {self.timeout:g} s; does it "
                "hang? A longer timeout if it only takes long"
                if missing
                else f"{where}, and all others wait as well, for {self.timeout:g} s; {ALIKE}"
            )

    def _tell(self, what: int) -> None:
        message = np.array([what, self.begun if what == WAITING else self.done, self.step])
        others = [r for r in range(self.size) if r != self.rank]
        self._told = [each for each in self._told if not each[1].Test()]
        self._told += [(message, self._status.Isend(message, r)) for r in others]

    def _hear(self) -> None:
        from mpi4py import MPI

        status, message = MPI.Status(), np.empty(3, np.int64)
        while self._status.Iprobe(status=status):
            self._status.Recv(message, status.source)
            what, count, step = message.tolist()
            if what == GOODBYE:
                self._left[status.source] = count
            else:
                self._seen[status.source] = count, step

    def goodbye(self) -> None:
        """At the end of the process: wait for the others, who learn that this rank has left."""
        if self.size == 1:
            return
        self._tell(GOODBYE)
        begun = time.monotonic()
        while len(self._left) < self.size - 1:
            self._hear()
            time.sleep(NAP)
            if time.monotonic() - begun > self.timeout:
                missing = set(range(self.size)) - {*self._left, self.rank}
                said = f"[ranks] rank {self.rank} has ended, {named(missing)} did not"
                print(said, file=sys.stderr)
                self.abort()

    def abort(self, code: int = 1) -> None:
        """End all ranks at once."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if self.size > 1:
            self._comm.Abort(code)
        os._exit(code)


def named(ranks: set[int]) -> str:
    numbers = ", ".join(map(str, sorted(ranks)))
    return f"rank {numbers}" if len(ranks) == 1 else f"ranks {numbers}"


def _bytes(array: Array) -> np.ndarray:
    """The memory of a contiguous array; MPI knows no bfloat16."""
    return array.reshape(-1).view(np.uint8)


def _complete(requests: list, arriving: list[tuple[int, int]]) -> Pending:
    """Whether all are done. arriving: who sends how many bytes, of the first requests."""
    if not requests:
        return lambda: True
    from mpi4py import MPI

    statuses = [MPI.Status() for _ in requests]

    def done() -> bool:
        try:
            if not MPI.Request.Testall(requests, statuses):
                return False
        except MPI.Exception as error:
            raise RuntimeError(f"{UNEQUAL}, got more than there is room for; {ALIKE}") from error
        for (rank, wanted), status in zip(arriving, statuses):
            if (came := status.Get_count(MPI.BYTE)) != wanted:
                raise RuntimeError(f"{UNEQUAL}, got {came} for {wanted} from rank {rank}; {ALIKE}")
        return True

    return done


UNEQUAL = "[ranks] what ranks exchange must have as many bytes on all of them"
ALIKE = "do all call the same in the same order, with the same shapes and dtypes?"


class World:
    """The group of all ranks, once it is there."""

    group: Group | None = None


def world(timeout: float = TIMEOUT) -> Group:
    """All processes that mpiexec started; this one alone where it was not used."""
    if World.group is None:
        World.group = _start(timeout)
    return World.group


def _start(timeout: float) -> Group:
    here = starting.begin()
    if here is None:
        return Group()
    near = here.local_size == here.size
    group = Group(starting.mpi(here).COMM_WORLD, timeout, near)
    atexit.register(group.goodbye)  # before MPI's own end, which waits without looking
    if group.size > 1:
        faults.install(lambda: f"rank {group.rank} of {group.size}, step {group.step}", group.abort)
    return group
