"""A stand-in for NCCL between emulated GPUs of several ranks: it moves the memory behind pointers
by MPI, some time after groupEnd, in the order of the calls, and is strict where NCCL would hang or
write where it must not. `install()` puts it in the place of `cupy.cuda.nccl`, as CuPy 14 has it.

What two ranks send each other must be in the same group on both, counted since the start, and as
long. Environment: EMULATED_NCCL_FAILS=start, =third (transfer, on rank 1), =unique.
"""

from __future__ import annotations

import ctypes
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np

NCCL_UINT8, VERSION = 1, 22803
available = True
FAILS = os.environ.get("EMULATED_NCCL_FAILS")
_group: list | None = None  # calls of the group that is open
log: list[str] = []  # what was called, for tests


class NcclError(RuntimeError):
    pass


def get_version() -> int:
    return VERSION


def get_unique_id() -> bytes:
    if FAILS == "unique":
        raise NcclError("NCCL_ERROR_SYSTEM_ERROR: unhandled system error")
    return os.urandom(128)


def groupStart() -> None:
    global _group
    assert _group is None, "groups are not nested here"
    _group = []


def groupEnd() -> None:
    global _group
    assert _group is not None, "groupEnd without groupStart"
    calls, _group = _group, None
    assert len({id(call[0]) for call in calls}) <= 1, "one communicator in a group"
    assert len({call[-1] for call in calls}) <= 1, "one stream in a group"
    if calls:
        calls[0][0].launch(calls)
    log.append(f"group of {len(calls)}")


class NcclCommunicator:
    def __init__(self, ndev: int, commId: bytes, rank: int):
        import cupy
        from mpi4py import MPI

        assert MPI.Query_thread() == MPI.THREAD_MULTIPLE
        assert type(commId) is bytes and len(commId) == 128, commId
        if FAILS == "start":
            raise NcclError("NCCL_ERROR_SYSTEM_ERROR: unhandled system error")
        assert (ndev, rank) == (MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank), "a group of all ranks"
        self.comm = MPI.COMM_WORLD.Dup()
        assert len({*self.comm.allgather(commId)}) == 1, "one id for all"
        where = self.comm.allgather(cupy.cuda.Device().pci_bus_id)
        assert len({*where}) == ndev, f"NCCL refuses one GPU for several ranks, got {where}"
        self.device, self.rank, self.groups, self.aborted = cupy.cuda.Device().id, rank, 0, False
        self.under_way: list[Flight] = []
        log.append(f"communicator of {ndev}")

    def _call(self, kind: str, pointer: int, count: int, datatype: int, peer: int, stream: int):
        import cupy

        assert not self.aborted, "it was aborted"
        assert _group is not None, "a send and a receive outside a group may wait for each other"
        assert all(type(x) is int for x in (pointer, count, datatype, peer, stream))
        assert pointer and count > 0 and datatype == NCCL_UINT8, (pointer, count, datatype)
        assert 0 <= peer < self.comm.size and peer != self.rank, peer
        assert cupy.cuda.runtime.getDevice() == self.device, "the communicator's GPU is current"
        assert stream not in (0, 1, 2), "a stream of its own"
        _group.append((self, kind, pointer, count, peer, stream))

    def send(self, sendbuf, count, datatype, peer, stream):
        self._call("send", sendbuf, count, datatype, peer, stream)

    def recv(self, recvbuf, count, datatype, peer, stream):
        self._call("recv", recvbuf, count, datatype, peer, stream)

    def launch(self, calls: list) -> None:
        self.groups += 1
        self.under_way.append(Flight(self, calls, self.groups))

    def check_async_error(self) -> None:
        assert not self.aborted
        if FAILS == "third" and self.groups == 3 and self.rank == 1:
            raise NcclError("NCCL_ERROR_REMOTE_ERROR: remote process exited or network error")

    def abort(self) -> None:
        assert not self.aborted, "aborted twice"
        self.aborted = True
        log.append("abort")
        print(f"rank {self.rank} aborted NCCL", flush=True)


class Flight:
    """A group that was launched. It begins when somebody asks for the second time, if those before
    it have ended, as on one stream."""

    def __init__(self, comm: NcclCommunicator, calls: list, number: int):
        self.comm, self.calls, self.number, self.asked = comm, calls, number, 0
        self.before = comm.under_way[-1] if comm.under_way else None
        self.requests: list[Any] = []
        self.heads: list[tuple[np.ndarray, int]] = []
        self.ended = False

    def done(self) -> bool:
        from mpi4py import MPI

        if self.ended:
            return True
        self.asked += 1
        if self.asked < 2 or (self.before and not self.before.done()):
            return False
        if not self.requests:
            for _, kind, pointer, count, peer, _ in self.calls:
                memory = np.frombuffer((ctypes.c_char * count).from_address(pointer), np.uint8)
                head = np.array([self.number, count])
                if kind == "send":
                    post = self.comm.comm.Isend
                else:
                    post, head = self.comm.comm.Irecv, np.zeros(2, np.int64)
                    self.heads.append((head, count))
                self.requests += [post(head, peer), post(memory, peer)]
        if not MPI.Request.Testall(self.requests):
            return False
        for head, count in self.heads:
            if head.tolist() != [self.number, count]:
                print(f"group {self.number} of {count} bytes met {head.tolist()}", file=sys.stderr)
                os._exit(9)
        self.ended, self.before, self.comm.under_way = True, None, self.comm.under_way[-1:]
        return True


communicators: list[NcclCommunicator] = []


def install() -> None:
    """After `cupy_on_cpu.install()`."""
    import cupy

    here: Any = sys.modules[__name__]
    whole, make = cupy.cuda, cupy.cuda.Event

    class Event(make):  # type: ignore[misc, valid-type]
        """It also waits for NCCL, where that was given something on its stream before."""

        flights: tuple = ()

        def record(self, stream=None):
            super().record(stream)
            pointer = (stream or whole.get_current_stream()).ptr
            self.flights = tuple(
                flight
                for comm in communicators
                for flight in comm.under_way
                if flight.calls[0][-1] == pointer
            )

        @property
        def done(self):
            return super().done and all(flight.done() for flight in self.flights)

    remember = NcclCommunicator.__init__

    def init(self, *args):
        remember(self, *args)
        communicators.append(self)

    here.NcclCommunicator.__init__ = init
    whole.Event = Event
    module: ModuleType = here
    sys.modules["cupy.cuda.nccl"] = whole.nccl = module
