"""`torch.profiler`: how long each op took on the host, by wall clock. A backward pass is one line,
and what a GPU does meanwhile is not seen."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from contextlib import ContextDecorator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from ..engine.arrays.dispatch import Switches
from ..engine.core import graph
from ..engine.core.op import Op
from ..engine.core.recording import mode
from ..engine.core.tensor import Tensor

ProfilerActivity = enum.Enum("ProfilerActivity", "CPU CUDA XPU")
ProfilerAction = enum.Enum("ProfilerAction", "NONE WARMUP RECORD RECORD_AND_SAVE", start=0)
COLUMNS = "Self CPU %|Self CPU|CPU total %|CPU total|CPU time avg|# of Calls".split("|")


@dataclass
class Average:
    """All calls of one name: times in microseconds, `self_` without the calls inside."""

    key: str
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0


class Averages(list[Average]):
    """What `key_averages()` gives."""

    def table(self, sort_by: str | None = None, row_limit: int = 100, **look: Any) -> str:
        """One line a name; sort_by: an attribute of `Average`, the largest first."""
        whole = sum(row.self_cpu_time_total for row in self)
        if sort_by is not None:  # by the one clock there is
            name = sort_by.replace("cuda", "cpu").replace("device", "cpu")
            self = Averages(sorted(self, key=lambda row: -getattr(row, name)))
        width = max([4, *(len(row.key) for row in self)])
        rule = "  ".join(["-" * width, *["-" * 12] * 6])
        lines = [rule, "Name".rjust(width) + "".join(f"{x:>14}" for x in COLUMNS), rule]
        for row in self[: row_limit if row_limit > 0 else None]:
            own, total = row.self_cpu_time_total, row.cpu_time_total
            cells = [f"{own / whole:.2%}", _text(own), f"{total / whole:.2%}", _text(total)]
            cells += [_text(total / row.count), str(row.count)]
            lines.append(row.key.rjust(width) + "".join(f"{x:>14}" for x in cells))
        return "\n".join([*lines, rule, f"Self CPU time total: {_text(whole)}", ""])


def _text(microseconds: float) -> str:
    if microseconds < 1000:
        return f"{microseconds:.3f}us"
    return f"{microseconds / 1e3:.3f}ms" if microseconds < 1e6 else f"{microseconds / 1e6:.3f}s"


class record_function(ContextDecorator):
    """A line of its own for what is inside: `with record_function("forward"):`."""

    open: list[record_function] = []

    def __init__(self, name: str, args: str | None = None):
        self.name = name

    def __enter__(self) -> record_function:
        self.inside, self.start = 0.0, time.perf_counter()
        self.open.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        taken = 1e6 * (time.perf_counter() - self.start)
        self.open.pop()
        if self.open:
            self.open[-1].inside += taken
        if (running := profile.running) and running.action.value >= ProfilerAction.RECORD.value:
            row = running.seen.setdefault(self.name, Average(self.name))
            row.count += 1
            row.cpu_time_total += taken
            row.self_cpu_time_total += taken - self.inside


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """What to do at a step: of each round, skip `wait` and `warmup` steps, record `active` ones.
    Before the first come `skip_first` steps; not 0, `skip_first_wait` spares it its `wait`."""
    ahead = wait if skip_first_wait else 0

    def action(step: int) -> ProfilerAction:
        if step < skip_first:
            return ProfilerAction.NONE
        rounds, at = divmod(step - skip_first + ahead, wait + warmup + active)
        if (repeat and rounds >= repeat) or at < wait:
            return ProfilerAction.NONE
        left = wait + warmup + active - at
        return ProfilerAction(1 if left > active else 2 if left > 1 else 3)

    return action


class profile:
    """Inside, ops are timed (those of the thread that enters): `with profile() as p:`, then
    `print(p.key_averages().table(sort_by="cpu_time_total"))`. With a `schedule`, call `step()`."""

    running: profile | None = None

    def __init__(
        self, activities: Any = None, schedule: Any = None, on_trace_ready: Any = None, **how: Any
    ):
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.ready = on_trace_ready or (lambda profile: None)
        self.seen: dict[str, Average] = {}
        self.step_num, self.action = 0, self.schedule(0)

    def __enter__(self) -> profile:
        if profile.running is not None:
            raise RuntimeError("[profile] one profiler may run at a time; leave the first one?")
        profile.running, self.before = self, (Op.call, Tensor.backward, mode.autocast)
        mode.autocast = mode.autocast or (lambda name, inputs: inputs)  # C leaves ops to `Op.call`
        self._replace(
            _timed(Op.call, lambda op: op.name), _timed(Tensor.backward, lambda x: "backward")
        )
        return self

    def _replace(self, call: Any, backward: Any) -> None:
        op, tensor = Op, Tensor  # type: Any, Any
        op.call, tensor.backward = call, backward
        if type(graph.walk) is FunctionType and not Switches.several_gpus:  # C answers no op(...)
            op.__call__ = call

    def __exit__(self, *exc: object) -> None:
        profile.running, mode.autocast = None, self.before[2]
        self._replace(*self.before[:2])
        if self.action.value >= ProfilerAction.RECORD.value:
            self.ready(self)

    def step(self) -> None:
        """The end of a step of the script: what comes next is told by the schedule."""
        if self.action is ProfilerAction.RECORD_AND_SAVE:
            self.ready(self)
            self.seen = {}
        self.step_num += 1
        self.action = self.schedule(self.step_num)

    def key_averages(self, *grouped: Any, **how: Any) -> Averages:
        return Averages(self.seen.values())


def _timed(function: Callable, name: Callable[[Any], str]) -> Callable:
    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        with record_function(name(self)):
            return function(self, *args, **kwargs)

    return timed


def tensorboard_trace_handler(
    dir_name: str,
    worker_name: str | None = None,
    use_gzip: bool = False,
    use_python_export: bool = False,
) -> Callable[[profile], None]:
    """For `on_trace_ready`: prints the table, for no traces are kept."""
    return lambda p: print(p.key_averages().table(sort_by="self_cpu_time_total", row_limit=20))
