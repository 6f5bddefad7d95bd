"""How much Python runs per op: calls of the package's own functions in a training step of a small
network, counted and not timed, so that the guard says the same on every machine.

The network is that of makemore's second lecture in small. What NumPy does inside is not counted.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_lm as torch
from tinygrad_lm.engine import inplace
from tinygrad_lm.engine.core import graph, op
from tinygrad_lm.engine.kernels.c import fast
from tinygrad_lm.engine.kernels.c.recorder import recorder
from tinygrad_lm.engine.pytorch import shapes

PACKAGE = str(Path(torch.__file__).parent)
INLINED = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
# (forward, backward, update) of the step below, by whether the recorder and the kernels in C are
# there; 9 ops are recorded and 4 parameters moved. The recorder in Python is written to be read, an
# op in named steps. Without the kernels products are NumPy's: fewer calls forward, eight less back.
MOST = {
    (False, False): (161, 118, 88),
    (False, True): (166, 126, 88),  # in an interpreter without a lock
    (True, False): (36, 34, 8),
    (True, True): (38, 42, 8),
}[recorder is not None, fast is not None]


def calls(function):
    """How many functions of the package run; comprehensions, which newer Pythons inline, apart."""
    count = 0

    def notice(frame, event, _):
        nonlocal count
        code = frame.f_code
        ours = code.co_filename.startswith(PACKAGE) and code.co_name not in INLINED
        count += event == "call" and ours

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        found = function()
    finally:
        sys.setprofile(before)
    return count, found


def counted_step():
    g = torch.Generator().manual_seed(2147483647)
    x = torch.randint(0, 27, (8, 3), generator=g)
    C, W = torch.randn((27, 2), generator=g), torch.randn((6, 10), generator=g)
    b, V = torch.randn(10, generator=g), torch.randn((10, 27), generator=g)
    parameters = [p.requires_grad_() for p in (C, W, b, V)]

    def forward():
        h = torch.tanh(C[x].view(-1, 6) @ W + b)
        return ((h @ V - 1.0) * 0.5).sum()

    def update():
        for p in parameters:
            p.data += -0.1 * p.grad

    for _ in range(2):  # the first one fills caches
        for p in parameters:
            p.grad = None
        first, loss = calls(forward)
        second, _ = calls(loss.backward)
        third, _ = calls(update)
    return first, second, third


def test_a_step_takes_few_calls():
    assert all(n <= most for n, most in zip(counted_step(), MOST)), counted_step()


@pytest.mark.parametrize(
    "module, name, phase",
    [
        (op, "wrap", 0),
        (op, "Node", 0),
        (graph, "pull", 1),
        (inplace, "mark_written", 2),
    ]
    if recorder is None
    else [(shapes, "sizes", 0)],
)
def test_one_more_call_per_op_is_noticed(monkeypatch, module, name, phase):
    detour = compile("lambda *args: straight(*args)", PACKAGE, "eval")  # a file of the package
    monkeypatch.setattr(module, name, eval(detour, {"straight": getattr(module, name)}))
    assert counted_step()[phase] > MOST[phase]


@pytest.mark.skipif(recorder is None, reason="the tests above have counted it")
def test_the_form_in_python_takes_few_calls_too():
    environment = {**os.environ, "TINYGRAD_LM_COMPILED": "0"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "skipped" in done.stdout.splitlines()[-1]  # this test, so it was that form
