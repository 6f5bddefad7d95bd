"""L-BFGS: Newton's direction from the last changes of the gradient, for losses without noise. It
evaluates the loss as often as it needs, so that `step` asks for a closure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..engine.core.tensor import Tensor
from ..engine.pytorch.creation import zeros_like
from ..engine.pytorch.grad_mode import enable_grad, no_grad
from ..engine.pytorch.joining import cat
from .optimizer import Optimizer, settings

C1, C2 = 1e-4, 0.9  # how much the loss must fall, and its slope, at the end of a line search


class Point(NamedTuple):
    """A point on the line that is searched: how far, its loss, gradient, slope along the line."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


def cubic(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through both points is smallest within bounds, or halfway (Nocedal and
    Wright, Numerical Optimization, 3.59)."""
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    first, last = (a, b) if a.t <= b.t else (b, a)
    d2 = square**0.5
    along = (last.slope + d2 - d1) / (last.slope - first.slope + 2 * d2)
    return min(max(last.t - (last.t - first.t) * along, low), high)


def strong_wolfe(
    at: Callable[[float], Point], start: Point, t: float, length: float, least: float, tries: int
) -> tuple[Point, int]:
    """A point where the loss has fallen enough and is flat enough along the line, and how often it
    was evaluated (Nocedal and Wright, algorithms 3.5 and 3.6). t: the first try; length of the
    direction times a step below `least`: no more progress."""

    def too_high(p: Point) -> bool:
        return p.loss > start.loss + C1 * p.t * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -C2 * start.slope

    before, now, tried, done = start, at(t), 0, False
    ends = [start, now]
    while tried < tries:  # go on until such a point must be between two
        ends = [before, now]
        if too_high(now) or (tried > 1 and now.loss >= before.loss):
            break
        if flat(now):
            ends, done = [now], True
            break
        if now.slope >= 0:
            break
        t = cubic(before, now, (now.t + 0.01 * (now.t - before.t), now.t * 10))
        before, now, tried = now, at(t), tried + 1
        ends = [start, now]
    low = 0 if ends[0].loss <= ends[-1].loss else 1
    stuck = False
    while not done and tried < tries:  # and come closer from both sides
        a, b = sorted((ends[0].t, ends[1].t))
        if (b - a) * length < least:
            break
        t, margin = cubic(ends[0], ends[1]), 0.1 * (b - a)
        near = min(b - t, t - a) < margin
        if near and (stuck or t >= b or t <= a):
            t, near = (b - margin if abs(t - b) < abs(t - a) else a + margin), False
        stuck = near
        now, tried = at(t), tried + 1
        if too_high(now) or now.loss >= ends[low].loss:
            ends[1 - low] = now
            low = 0 if ends[0].loss <= ends[1].loss else 1
        else:
            done = flat(now)
            if not done and now.slope * (ends[1 - low].t - ends[low].t) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = now
    return ends[low], tried + 1


class LBFGS(Optimizer):
    """`step(closure)` walks at most max_iter times along the direction of the L-BFGS recursion
    (Nocedal, 1980) over history_size changes, by lr or as line_search_fn="strong_wolfe" finds.

    It stops where no gradient is above tolerance_grad, or a step or the loss changes by less than
    tolerance_change. One group of parameters; ValueError for more.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        super().__init__(params, settings(locals()))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups:
            raise ValueError("[LBFGS] there must be one group of parameters, got another one")
        super().add_param_group(param_group)

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(
                "[LBFGS] line_search_fn must be None or 'strong_wolfe', got "
                f"{group['line_search_fn']!r}"
            )

    def step(self, closure: Callable[[], Any]) -> Any:
        """closure: clears the gradients, computes the loss and its gradients, returns the loss.
        The loss of the first call is returned."""
        (group,), state = self.param_groups, self.state[self.param_groups[0]["params"][0]]
        for name in ("func_evals", "n_iter"):
            state.setdefault(name, 0)
        with no_grad():
            first, now = self._evaluate(closure)
            state["func_evals"] += 1
            evaluated, small = 1, group["tolerance_change"]
            for i in range(group["max_iter"]):
                if self._is_flat(now):
                    break
                state["n_iter"] += 1
                d = self._direction(state, now.gradient, group)
                start = now._replace(t=0.0, slope=float(now.gradient.dot(d)))
                t = float(group["lr"])
                if state["n_iter"] == 1:
                    t *= min(1.0, 1 / float(now.gradient.abs().sum()))
                state.update(d=d, t=t, prev_flat_grad=now.gradient, prev_loss=now.loss)
                if start.slope > -small:
                    break
                if group["line_search_fn"]:
                    at, tries = self._line(closure, d), group["max_eval"] - evaluated
                    length = float(d.abs().max())
                    now, calls = strong_wolfe(at, start, t, length, small, tries)
                    state["t"] = now.t
                    self._move(now.t, d)
                else:
                    self._move(t, d)
                    last = i + 1 == group["max_iter"]
                    now, calls = (now, 0) if last else (self._evaluate(closure)[1], 1)
                evaluated += calls
                state["func_evals"] += calls
                still = float((d * state["t"]).abs().max()) <= small
                if evaluated >= group["max_eval"] or still or abs(now.loss - start.loss) < small:
                    break
        return first

    def _direction(self, state: dict[str, Any], gradient: Tensor, group: dict) -> Tensor:
        """-H g, H the inverse of the Hessian as the last steps s and changes y of g tell it."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -gradient
        ys, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = gradient - state["prev_flat_grad"], state["d"] * state["t"]
        if (curvature := y.dot(s)) > 1e-10:
            for known, new in ((ys, y), (steps, s), (ro, 1 / curvature)):
                known.append(new)
                del known[: -group["history_size"]]
            state["H_diag"] = curvature / y.dot(y)
        q, shares = -gradient, []
        for y, s, r in zip(reversed(ys), reversed(steps), reversed(ro)):
            shares.append(s.dot(q) * r)
            q = q - shares[-1] * y
        d = q * state["H_diag"]
        for y, s, r, share in zip(ys, steps, ro, reversed(shares)):
            d = d + s * (share - y.dot(d) * r)
        return d

    def _evaluate(self, closure: Callable[[], Any]) -> tuple[Any, Point]:
        with enable_grad():
            loss = closure()
        params = self.param_groups[0]["params"]
        gradients = [zeros_like(p) if p.grad is None else p.grad for p in params]
        gradient = cat([g.reshape(-1) for g in gradients])
        return loss, Point(0.0, float(loss), gradient, 0.0)

    def _is_flat(self, now: Point) -> bool:
        return bool(now.gradient.abs().max() <= self.param_groups[0]["tolerance_grad"])

    def _move(self, t: float, d: Tensor) -> None:
        at = 0
        for p in self.param_groups[0]["params"]:
            p.add_(d[at : at + p.numel()].view(p.shape), alpha=t)
            at += p.numel()

    def _line(self, closure: Callable[[], Any], d: Tensor) -> Callable[[float], Point]:
        """The loss on the line along d; the parameters stay where they are."""
        params = self.param_groups[0]["params"]
        start = [p.detach().clone() for p in params]

        def at(t: float) -> Point:
            self._move(t, d)
            _, found = self._evaluate(closure)
            for p, value in zip(params, start):
                p.copy_(value)
            return found._replace(t=t, slope=float(found.gradient.dot(d)))

        return at
