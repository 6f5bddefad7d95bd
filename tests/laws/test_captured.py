"""A captured step on the CPU computes what the step itself computes, bit for bit: every op of the
table, its value and its gradients, on numbers that the recording has not seen."""

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest
from op_laws import moved, some_cases, upstream
from op_specs import SPECS

import tinygrad_lm as tg
from tinygrad_lm.autograd import grad
from tinygrad_lm.engine.arrays import dispatch
from tinygrad_lm.engine.capture.tape import Taped
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.core.tensor import Tensor, wrap

CASES = 4


class Call:
    """One call of an op and the gradients of its inputs, in memory that stays."""

    def __init__(self, name, case, dtype):
        def own(array):
            return array.astype(dtype) if array.dtype == np.float64 else array.copy()

        self.name, self.leaves = name, []
        self.inputs = [wrap(moved(x, own)) if isinstance(x, np.ndarray) else x for x in case.inputs]
        self.inputs = [moved(x, own) if isinstance(x, (tuple, list)) else x for x in self.inputs]
        self.settings = {k: moved(v, own) for k, v in case.settings.items()}
        self.held = {k: wrap(v) for k, v in self.settings.items() if isinstance(v, np.ndarray)}
        if SPECS[name].differentiable:
            self.leaves = [self.inputs[i].requires_grad_() for i in case.floats()]
        self.g = wrap(upstream(self.forward(), 3))

    def forward(self):
        held = {k: t.array for k, t in self.held.items()}
        return OPS[self.name](*self.inputs, **{**self.settings, **held})

    def __call__(self):
        out = self.forward()
        leaves = self.leaves if out.requires_grad else []
        found = grad([out], leaves, [self.g], allow_unused=True) if leaves else ()
        return [out.detach(), *found]

    def move(self):
        """Other numbers, which the op takes as well."""
        for x in self.inputs:
            if isinstance(x, Tensor) and x.is_floating_point():
                x.array[...] *= x.array.dtype.type(0.875)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "NumPy"])
def test_every_op_is_replayed_bit_for_bit(dtype, compiled, monkeypatch):
    if not compiled:  # as where there is no C compiler
        for target in dispatch.WITH_KERNELS:
            own = [
                k for k in target.kernels.get(np.ndarray, ()) if ".kernels.c." not in k.__module__
            ]
            monkeypatch.setitem(target.kernels, np.ndarray, own)
    replay_all(dtype)


def replay_all(dtype):
    calls = [Call(n, case, dtype) for n in OPS for case in some_cases(SPECS[n], CASES)]
    fast = Taped(lambda: [call() for call in calls], 1)
    fast()
    for _ in range(3):  # the recording itself, and two replays
        for call in calls:
            call.move()
        want = [[t is not None and t.array.tobytes() for t in call()] for call in calls]
        got = [[t is not None and t.array.tobytes() for t in found] for found in fast()]
        wrong = {call.name for call, a, b in zip(calls, want, got, strict=True) if a != b}
        assert not wrong


def test_a_replay_does_not_call_the_step():
    seen = []

    def step():
        seen.append(1)
        return tg.ones(2)

    fast = tg.capture(step, 1)
    for _ in range(5):
        fast()
    assert len(seen) == 2
