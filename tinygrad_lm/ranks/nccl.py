"""Arrays on GPUs from rank to rank: by NCCL where each rank has a GPU of its own, else through the
host, where MPI carries them (which need know nothing of CUDA).

NCCL only carries bytes here. Its own all-reduce adds in an order that depends on the number of
ranks, so no gradient goes through it: they are added in the order of `tree.py`, as on the CPU, and
N ranks equal one process bit for bit. That is also what `init_process_group("nccl")` gives.

NCCL knows no tags: what two ranks send each other meets in the order of the calls. Ranks come to
their transfers in any order, so that of rank 0 is everybody's, and it tells the others.
"""

from __future__ import annotations

import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine.arrays import ON_CUDA, cupy, to_numpy
from .environment import place

NAP = 1e-3
Arrays = Sequence[Sequence[Any]]  # CuPy's, for each rank, in the order of ranks


def own_gpu() -> None:
    """A rank's GPU is cuda:LOCAL_RANK, or what there is, if ranks outnumber GPUs."""
    if here := place():
        runtime = cupy().cuda.runtime
        runtime.setDevice(here.local_rank % runtime.getDeviceCount())


ON_CUDA.append(own_gpu)


def through_host(exchange: Callable, sends: Arrays, receives: Arrays) -> Callable[[], bool]:
    """exchange(sends, receives) with arrays on the host; what is sent waits for the GPU."""
    hosts = {id(a): to_numpy(a) for there in sends for a in there}  # often one array for all
    arrived = [[np.empty(a.shape, a.dtype) for a in there] for there in receives]
    complete = exchange([[hosts[id(a)] for a in there] for there in sends], arrived)

    def done() -> bool:
        if not complete():
            return False
        for there, values in zip(receives, arrived):
            for a, value in zip(there, values):
                a.set(value)
        return True

    return done


class Transfer:
    """calls: (a method of NCCL's communicator, array, rank). ready: when the GPU may begin.
    finished: when it has ended, None before it is given to NCCL."""

    def __init__(self, calls: list[tuple[str, Any, int]], ready: Any):
        self.calls, self.ready, self.finished = calls, ready, None


class Channel:
    """The connection of this rank's GPU to those of the others. comm: NcclCommunicator."""

    def __init__(self, group: Any, orders: Any, nccl: Any, comm: Any, gpu: Any):
        self.group, self.nccl, self.comm, self.gpu = group, nccl, comm, gpu
        self.cuda = cupy().cuda
        self.stream = self.cuda.Stream(non_blocking=True)
        self._orders = orders  # MPI's communicator, for tags in the order of rank 0
        self._told: list = []  # messages that may not have left yet
        self._turns = deque[int]()  # tags of transfers that come next
        self._here: dict[int, deque[Transfer]] = {}  # tag -> those that this rank has come to

    def exchange(self, sends: Arrays, receives: Arrays, tag: int) -> Callable[[], bool]:
        """As `Group.exchange`. The GPU begins after what the current stream has to do now."""
        with self.gpu:
            transfer = Transfer(self.calls(sends, receives), self.event(self.current()))
        self._here.setdefault(tag, deque()).append(transfer)
        if self.group.rank == 0:
            self._turns.append(tag)
            message = np.array([tag])
            self._told = [each for each in self._told if not each[1].Test()]
            self._told += [(message, self._orders.Isend(message, r)) for r in self.others()]
        return lambda: self._done(transfer)

    def others(self) -> list[int]:
        return [rank for rank in range(self.group.size) if rank != self.group.rank]

    def calls(self, sends: Arrays, receives: Arrays) -> list[tuple[str, Any, int]]:
        both = (("recv", receives), ("send", sends))
        return [(m, a, r) for m, of in both for r in self.others() for a in of[r] if a.nbytes]

    def current(self) -> Any:
        return self.cuda.get_current_stream()

    def event(self, stream: Any) -> Any:
        found = self.cuda.Event(disable_timing=True)
        found.record(stream)
        return found

    def begin(self, transfer: Transfer) -> None:
        """Give it to NCCL, as one group: in any other way two ranks that send wait for ever."""
        self.stream.wait_event(transfer.ready)
        self.nccl.groupStart()
        try:
            for method, a, rank in transfer.calls:
                where = a.data.ptr, a.nbytes, self.nccl.NCCL_UINT8, rank, self.stream.ptr
                getattr(self.comm, method)(*where)
        finally:
            self.nccl.groupEnd()
        transfer.finished = self.event(self.stream)

    def _done(self, transfer: Transfer) -> bool:
        if self.comm is None:
            raise RuntimeError(f"{self._where()} uses NCCL, which was stopped before")
        while self.group.rank and self._orders.Iprobe(0):
            message = np.empty(1, np.int64)
            self._orders.Recv(message, 0)
            self._turns.append(int(message[0]))
        with self.gpu:
            try:
                while self._turns and self._here.get(self._turns[0]):
                    self.begin(self._here[self._turns.popleft()].popleft())
                if transfer.finished is None or not transfer.finished.done:
                    self.comm.check_async_error()
                    return False
            except Exception as error:
                self.abort()
                raise RuntimeError(f"{self._where()} could not go on: {error}") from error
            self.current().wait_event(transfer.finished)
        transfer.calls.clear()
        return True

    def _where(self) -> str:
        return f"[ranks] rank {self.group.rank} of {self.group.size}, step {self.group.step},"

    def abort(self) -> None:
        """Stop what is under way, which may wait for a rank that does not come."""
        if self.comm is not None:
            comm, self.comm = self.comm, None
            comm.abort()


def connect(group: Any, index: int) -> None:
    """Let NCCL carry what is exchanged from cuda:index of this rank from now on; called by all
    ranks of the group together. Where that cannot be, rank 0 warns once, and the host does it.

    RuntimeError: a rank does not come."""
    if index in group.channels or group.size == 1:
        return
    found, channel = _channel(group, cupy().cuda.Device(index))
    group.channels[index] = channel
    if found and group.rank == 0:
        warnings.warn(
            f"[ranks] tried NCCL between the GPUs of {group.size} ranks, and {found}; what ranks "
            "exchange goes through the host, which is slower",
            stacklevel=3,
        )


def _channel(group: Any, gpu: Any) -> tuple[str, Channel | None]:
    """Why not, or the channel."""
    nccl, why, unique = _library(), "it is not there (pip install nvidia-nccl-cu13, or -cu12?)", b""
    if nccl is not None:
        why, unique = _tried(lambda: nccl.get_unique_id() if group.rank == 0 else b"")
    card = socket.gethostname(), gpu.pci_bus_id
    said = group.gather((why, unique, card))
    whys, uniques, cards = zip(*said)
    if len({*cards}) < group.size:
        whys = ("several ranks share a GPU, which it refuses",)
    if any(whys):
        return next(filter(None, whys)), None
    orders, made = group.duplicate(), list[tuple]()

    def introduce() -> Channel:
        with gpu:
            comm = nccl.NcclCommunicator(group.size, uniques[0], group.rank)
            channel = Channel(group, orders, nccl, comm, gpu)
            _meet(channel)
        return channel

    # It waits for all ranks, where nobody looks for those that do not come: so it has a thread.
    threading.Thread(target=lambda: made.append(_tried(introduce)), daemon=True).start()
    group.wait(lambda: bool(made))
    why, channel = made[0]
    whys = group.gather(why)
    if any(whys) and channel:
        channel.abort()
    why = next(filter(None, whys), "")
    return why, None if why else channel


def _library() -> Any:
    with warnings.catch_warnings():  # CuPy warns on every rank
        warnings.simplefilter("ignore")
        from cupy.cuda import nccl
    return nccl if nccl.available else None


def _tried(work: Callable[[], Any]) -> tuple[str, Any]:
    """Why it failed, and the result."""
    try:
        return "", work()
    except Exception as error:
        return f"it failed: {type(error).__name__}: {error}", None


def _meet(channel: Channel) -> None:
    """Send each its number: NCCL connects two ranks when they first talk, and waits for both."""
    cp, group = cupy(), channel.group
    sent, came = cp.arange(group.size, dtype=np.uint8), cp.empty(group.size, np.uint8)
    pieces = [came[r : r + 1] for r in range(group.size)]
    pieces[group.rank][:] = group.rank
    mine = [[sent[group.rank :][:1]]] * group.size
    meeting = Transfer(channel.calls(mine, [[p] for p in pieces]), channel.event(channel.current()))
    channel.begin(meeting)
    finished: Any = meeting.finished
    while not finished.done:
        channel.comm.check_async_error()
        time.sleep(NAP)
    if not (sent == came).all():
        raise RuntimeError("what arrived is not what was sent")
