"""Which op made a gradient NaN? While it is switched on, every pullback's result is looked at, and
the first bad one is an error that names the op and where in the script it was called."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..arrays import LIBRARIES, clock, library
from ..core import graph
from ..core.graph import Node
from ..core.recording import mode
from .names import grad_fn_name

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
REMEMBERED = 10_000  # calls of ops, each with the lines of the script that led to it
calls: deque[tuple[int, Any]] = deque(maxlen=REMEMBERED)  # (time, stack)


class Anomaly:
    """What is on, in all threads but for the places of calls, which are those of one thread."""

    enabled, check_nan = False, True
    walk: Callable = graph.walk  # the one that is used when this is off


def _note_call(name: str, inputs: tuple) -> tuple:
    """Where in the script an op is called; it takes the place of autocast, and casts nothing."""
    frames = (f for f in traceback.walk_stack(sys._getframe(1)) if _is_of_script(f[0]))
    calls.append((next(clock), traceback.StackSummary.extract(frames, limit=8, lookup_lines=False)))
    return inputs


def _is_of_script(frame: Any) -> bool:
    return not frame.f_code.co_filename.startswith(PACKAGE)


def _place_of(node: Node) -> str:
    for time, stack in reversed(calls):
        if time < node.birth:
            return "".join(reversed(stack.format()))
    return "  (a place that is not known: it was called before this was on, or inside autocast)\n"


def checked_walk(roots: Iterable, retain_graph: bool = False, wanted: Any = None) -> dict:
    roots = list(roots)
    nodes = _reached([root for root, _ in roots])
    before = [node.pullbacks for node in nodes]
    for node in nodes:
        node.pullbacks = _checked(node)
    ours = [node.pullbacks for node in nodes]
    try:
        return Anomaly.walk(roots, retain_graph, wanted)
    finally:
        for node, own, pullbacks in zip(nodes, ours, before):
            if node.pullbacks is own:  # and not freed by the walk
                node.pullbacks = pullbacks


def _reached(roots: list) -> list[Node]:
    found: dict[Node, None] = {}
    pending = [root for root in roots if isinstance(root, Node)]
    while pending:
        node = pending.pop()
        if node not in found:
            found[node] = None
            pending += [p for p in node.parents if isinstance(p, Node)]
    return list(found)


def _checked(node: Node) -> Callable:
    def pull(g: Any, pullbacks: Any = node.pullbacks) -> Sequence:
        each = type(pullbacks) is tuple
        found = [p and p(g) for p in pullbacks] if each else pullbacks(g)
        for i, d in enumerate(found if isinstance(found, (tuple, list)) else (found,)):
            array = getattr(d, "array", d)
            if type(array) in LIBRARIES and bool(library(array).isnan(array).any()):
                raise RuntimeError(
                    f"[detect_anomaly] gradients must be numbers, but Function "
                    f"{grad_fn_name(node.name)!r} returned nan values in its {i}th output; its "
                    f"forward call was\n{_place_of(node)}"
                )
        return found

    return pull


class set_detect_anomaly:
    """On or off at once, as a context manager until its end. While it is on a `backward` that meets
    NaN raises RuntimeError with the op's name and the lines that called it; training is slower.
    check_nan=False: nothing is looked at."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self.before = Anomaly.enabled, Anomaly.check_nan
        _switch(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        _switch(*self.before)


class detect_anomaly:
    """`with detect_anomaly():` is `with set_detect_anomaly(True):` with a warning of its cost."""

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        warnings.warn(
            "[detect_anomaly] it is on and takes time; use it to find an error, not to train",
            UserWarning,
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self.inner = set_detect_anomaly(True, self.check_nan)

    def __exit__(self, *exc: Any) -> None:
        self.inner.__exit__()


def _switch(enabled: bool, check_nan: bool) -> None:
    was, Anomaly.enabled, Anomaly.check_nan = Anomaly.enabled, bool(enabled), bool(check_nan)
    if Anomaly.enabled and not was:
        Anomaly.walk = graph.walk
    on = Anomaly.enabled and Anomaly.check_nan
    graph.walk = checked_walk if on else Anomaly.walk
    calls.clear()
    if mode.autocast in (None, _note_call):
        mode.autocast = _note_call if on else None


def is_anomaly_enabled() -> bool:
    return Anomaly.enabled


def is_anomaly_check_nan_enabled() -> bool:
    return Anomaly.check_nan
