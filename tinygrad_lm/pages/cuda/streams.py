"""Streams, in each of which a GPU does its work in order, and events, which mark a place in one:
PyTorch's names over CuPy's. An event with timing is how a step is timed without waiting in it."""

from __future__ import annotations

from typing import Any

from ...engine import arrays
from .devices import Where, number_of


class Event:
    """A mark in a stream: `record` it, `wait` for it, or measure from one to another."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ):
        if interprocess:
            raise RuntimeError("[Event] must stay in this process, got interprocess=True")
        self._timing, self._recorded = enable_timing, False
        self._event = arrays.cupy().cuda.Event(block=blocking, disable_timing=not enable_timing)

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark after what a stream (None: the current one) was asked for so far."""
        self._event.record(None if stream is None else stream._stream)
        self._recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """What a stream is asked for from now on begins after the mark; the host goes on."""
        if self._recorded:
            _cupys(stream).wait_event(self._event)

    def query(self) -> bool:
        """Whether all before the mark is done."""
        return not self._recorded or bool(self._event.done)

    def synchronize(self) -> None:
        """Wait until all before the mark is done."""
        if self._recorded:
            self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds of the GPU from this mark to another; both must have been reached."""
        if not (self._timing and end_event._timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if not (self._recorded and end_event._recorded):
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            raise ValueError("Both events must be completed before calculating elapsed time.")
        return float(arrays.cupy().cuda.get_elapsed_time(self._event, end_event._event))


class Stream:
    """Work in order, beside that of other streams; also `with stream:`."""

    def __init__(self, device: Where = None, priority: int = 0, **made: Any):
        cp, self._inside = arrays.cupy(), []  # type: ignore[var-annotated]
        number = number_of(device)
        self.device = arrays.device("cuda", number)
        if "of" in made:
            self._stream = made["of"]
        else:
            with cp.cuda.Device(number):
                self._stream = cp.cuda.Stream(non_blocking=True, priority=priority)

    @property
    def cuda_stream(self) -> int:
        return int(self._stream.ptr)

    def record_event(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """What this stream is asked for from now on begins after all that the other one was."""
        self.wait_event(stream.record_event())

    def query(self) -> bool:
        """Whether all it was asked for is done."""
        return bool(self._stream.done)

    def synchronize(self) -> None:
        self._stream.synchronize()

    def __enter__(self) -> Stream:
        cuda = arrays.cupy().cuda
        device = cuda.Device(self.device.index)
        device.__enter__()
        self._inside.append((device, cuda.get_current_stream()))
        self._stream.use()
        return self

    def __exit__(self, *exc: object) -> None:
        device, before = self._inside.pop()
        before.use()
        device.__exit__(*exc)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.device, self.cuda_stream) == (
            other.device,
            other.cuda_stream,
        )

    def __hash__(self) -> int:
        return hash((self.device, self.cuda_stream))


class stream:
    """Inside, work goes to this stream: `with cuda.stream(s):`. None changes nothing."""

    def __init__(self, stream: Stream | None):
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            self.stream.__enter__()

    def __exit__(self, *exc: object) -> None:
        if self.stream is not None:
            self.stream.__exit__(*exc)


def current_stream(device: Where = None) -> Stream:
    """The stream that work goes to now."""
    cuda, number = arrays.cupy().cuda, number_of(device)
    return Stream(number, of=cuda.get_current_stream(number))


def default_stream(device: Where = None) -> Stream:
    """The stream that work goes to at first."""
    return Stream(number_of(device), of=arrays.cupy().cuda.Stream.null)


def set_stream(stream: Stream) -> None:
    stream._stream.use()


def _cupys(stream: Stream | None) -> Any:
    return arrays.cupy().cuda.get_current_stream() if stream is None else stream._stream
