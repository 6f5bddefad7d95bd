"""What a training step of the GPT may cost, counted in work: large allocations, memory at the
peak, which kernels run. Seconds on a shared machine would lie; Python's calls are counted in
`test_overhead.py`.
"""

import gc
import sys
import tracemalloc

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.kernels.c import fast
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn.utils import clip_grad_norm_

B, T, C, LAYERS, V = 8, 32, 64, 2, 65
UNIT = 4 * B * T * C  # bytes of one activation (B, T, C)
# Per step: allocations of a unit and more, and the peak above what the model and its state take,
# in units. A layer keeps 14 of them: two norms' outputs, queries, keys, values, the attention's
# value, the stream twice, and 4 each around the GELU.
MOST = {"compiled": (47, 41), "numpy": (74, 55)}
NOW = "compiled" if fast is not None else "numpy"


def make_step():
    tg.manual_seed(1)
    model = GPT(GPTConfig(T, V, LAYERS, 4, C, 0.0, False))
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.95))
    x, y = tg.randint(0, V, (B, T)), tg.randint(0, V, (B, T))

    def step():
        loss = model(x, y)[1]
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    step()  # makes the optimiser's state
    optimizer.zero_grad()
    return step


def counted(step):
    """(allocations of a unit and more, peak in units) of a call: memory is looked at whenever
    Python enters or leaves a function, C's included."""
    jumps, last = [], 0

    def look(frame, event, argument):
        nonlocal last
        now = tracemalloc.get_traced_memory()[0]
        if now - last >= UNIT:
            jumps.append(now - last)
        last = now

    gc.collect()
    tracemalloc.start()
    try:
        sys.setprofile(look)
        step()
        sys.setprofile(None)
        return len(jumps), tracemalloc.get_traced_memory()[1] / UNIT
    finally:
        sys.setprofile(None)
        tracemalloc.stop()


def test_a_step_makes_few_large_arrays_and_keeps_few():
    allocations, peak = counted(make_step())
    assert allocations <= MOST[NOW][0] and peak <= MOST[NOW][1], (allocations, peak)


def test_the_compositions_would_not_pass():
    step = make_step()
    with tg.reference_only():
        allocations, peak = counted(step)
    assert allocations > MOST["numpy"][0] and peak > MOST["numpy"][1], (allocations, peak)


def test_no_fused_op_of_a_step_falls_back(monkeypatch):
    """Each runs as the first of its kernels, and never as its composition."""
    used, step = set(), make_step()

    def watched(name, kernel):
        def call(*inputs, **settings):
            found = kernel(*inputs, **settings)
            assert found is not NotImplemented, kernel
            used.add((name, kernel.__module__.split(".")[-2]))
            return found

        return call

    def composition(*inputs, **settings):
        raise AssertionError("a composition ran")

    for op in OPS.values():
        if op.fused:
            monkeypatch.setattr(op, "function", composition)
            kernels = [watched(op.name, k) for k in op.kernels.get(np.ndarray, [])]
            monkeypatch.setitem(op.kernels, np.ndarray, kernels)
    step()
    ours = "c" if fast is not None else "numpy"
    names = {"embedding", "layer_norm", "linear", "gelu", "cross_entropy"}
    names.add("scaled_dot_product_attention")
    assert used == {(name, ours) for name in names}


@pytest.mark.skipif(fast is None, reason="installed without a C compiler")
def test_a_mask_of_booleans_is_left_to_the_numpy_kernel():
    kernels = OPS["scaled_dot_product_attention"].kernels[np.ndarray]
    q = np.ones((1, 1, 2, 4), "f4")
    found = [k(q, q, q, np.ones((2, 2), bool)) is NotImplemented for k in kernels]
    assert found == [True, False]
