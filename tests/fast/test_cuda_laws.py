"""What a GPU has to do and what it may not: nothing waits and nothing is sent in a training step
beyond its batch, two runs are the same bit for bit, an op takes the launches it is said to, the
memory kept for the way back has a bound. Counted where the GPU is emulated."""

import os
from pathlib import Path

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest
from op_laws import moved, pull, some_cases
from op_specs import SPECS, Case

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.core.tensor import wrap
from tinygrad_lm.models.gpt import GPT, GPTConfig

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


def counted(emulated_gpu, action):
    """(what the action did, by the counters' names; its result)."""
    before = emulated_gpu.counts()
    result = action()
    after = emulated_gpu.counts()
    return {name: after[name] - before[name] for name in after}, result


# ---------------------------------------------------------------- a training step


B, T, C, V = 4, 16, 64, 24


class Step:
    """A training step of a small GPT in its four phases."""

    def __init__(self, layers=2, dropout=0.0):
        tg.manual_seed(1)
        self.model = GPT(GPTConfig(T, V, layers, 2, C, dropout, False)).to("cuda")
        self.optimizer = self.model.configure_optimizers(0.1, 1e-2, (0.9, 0.95), "cuda")
        ids = tg.randint(V, (B, T + 1), device="cpu")
        self.x = ids[:, :-1].contiguous().to("cuda")
        self.y = ids[:, 1:].contiguous().to("cuda")

    def forward(self):
        self.loss = self.model(self.x, self.y)[1]

    def backward(self):
        self.optimizer.zero_grad()
        self.loss.backward()

    def clip(self):
        tg.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)

    def update(self):
        self.optimizer.step()

    def __call__(self):
        for phase in PHASES:
            getattr(self, phase)()


PHASES = ("forward", "backward", "clip", "update")


def losses(steps=4, **options):
    step, found = Step(**options), []
    for _ in range(steps):
        step()
        found.append(step.loss)
    return [x.item() for x in found], [arrays.to_numpy(p.array) for p in step.model.parameters()]


@pytest.fixture(scope="module")
def phases(emulated_gpu):
    """What each phase of a third step does."""
    step, found = Step(), {}
    step()
    step()
    for name in PHASES:
        found[name] = counted(emulated_gpu, getattr(step, name))[0]
    return found


@pytest.mark.parametrize("name", PHASES)
def test_a_training_step_does_not_wait(name, phases):
    assert phases[name]["waits"] == phases[name]["downloads"] == 0


@pytest.mark.parametrize("name", PHASES)
def test_a_training_step_sends_nothing(name, phases):
    assert phases[name]["uploads"] == 0


def test_a_step_takes_few_launches(phases):
    found = {name: did["launches"] + did["libraries"] for name, did in phases.items()}
    assert all(found[name] <= most for name, most in MOST_LAUNCHES.items()), found


# Of the step above, two layers: kernels and products by cublasLt. They may only go down.
MOST_LAUNCHES = {"forward": 31, "backward": 45, "clip": 3, "update": 2}


def test_two_runs_are_the_same_bit_for_bit(gpu):
    first, second = losses(), losses()
    assert first[0] == second[0] and len(set(first[0])) > 1
    for a, b in zip(first[1], second[1]):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_order_of_threads_changes_no_bit(dropout, emulated_gpu):
    """Where it does, a kernel adds with atomics or lacks a barrier."""
    first = losses(dropout=dropout)
    with emulated_gpu.backwards():
        second = losses(dropout=dropout)
    assert first[0] == second[0]
    for a, b in zip(first[1], second[1]):
        assert a.tobytes() == b.tobytes()


# ---------------------------------------------------------------- memory


# In activations (B, T, C) of float32; the scores are in none of them.
KEPT_PER_LAYER = 16.1


def test_a_layer_keeps_little_for_the_way_back(emulated_gpu):
    def kept(layers):
        step = Step(layers)
        step()
        step.optimizer.zero_grad()
        with emulated_gpu.without_pool():
            return counted(emulated_gpu, step.forward)[0]["bytes"] / (4 * B * T * C)

    assert kept(3) - kept(2) <= KEPT_PER_LAYER


def test_nothing_writes_behind_its_memory(emulated_gpu):
    step = Step()
    with emulated_gpu.without_pool():
        before = emulated_gpu.counts()["overruns"]
        step()
        step()
        del step
    assert emulated_gpu.counts()["overruns"] == before


# ---------------------------------------------------------------- launches of each op


# An op, its launches forward and backward: the most over a few cases in float32, every axis of 8.
# Run this file with TINYGRAD_LM_WRITE_LAUNCHES=1 and -n 0 to write it anew; it may only go down.
TABLE = Path(__file__).with_name("launches.txt")


def stated():
    lines = (line.split() for line in TABLE.read_text().splitlines())
    return {name: (int(forward), int(backward)) for name, forward, backward in lines}


def float32(x):
    return x.astype("float32") if x.dtype == np.float64 else x


def launches(name, emulated_gpu, gpu):
    """The most that any of a few cases takes, when everything is compiled and cached."""
    most = (0, 0)
    for case in some_cases(SPECS[name], 6, sizes=(8,)):
        inputs = [moved(x, lambda a: gpu.asarray(float32(a))) for x in case.inputs]
        settings = {k: moved(v, gpu.asarray) for k, v in case.settings.items()}
        tensors = [wrap(x) if type(x) in arrays.LIBRARIES else x for x in inputs]
        leaves = [tensors[i].requires_grad_() for i in Case(case.inputs).floats()]
        for _ in range(2):
            forward, out = counted(emulated_gpu, lambda t=tensors, s=settings: OPS[name](*t, **s))
            backward = {"launches": 0, "libraries": 0}
            if out.requires_grad:
                g = gpu.ones(out.shape, out.array.dtype)
                backward, _ = counted(emulated_gpu, lambda o=out, x=leaves, g=g: pull(o, x, g))
        found = (c["launches"] + c["libraries"] for c in (forward, backward))
        most = tuple(map(max, most, found))
    return most


@pytest.mark.parametrize("name", [name for name in OPS if name != "copy_to"])
def test_an_op_takes_as_few_launches_as_it_did(name, emulated_gpu, gpu):
    found = launches(name, emulated_gpu, gpu)
    if os.environ.get("TINYGRAD_LM_WRITE_LAUNCHES") == "1":
        rows = (stated() if TABLE.exists() else {}) | {name: found}
        TABLE.write_text("".join(f"{n} {f} {b}\n" for n, (f, b) in sorted(rows.items())))
    most = stated()[name]
    assert all(map(int.__le__, found, most)), f"{name}: {found} launches, stated are {most}"
    assert found == most, f"{name} takes {found} now: write it into {TABLE.name}"


def test_the_table_names_every_op():
    assert stated().keys() == OPS.keys() - {"copy_to"}


@pytest.mark.parametrize("join", [tg.cat, tg.stack])
def test_joining_many_sends_nothing(join, emulated_gpu):
    """CuPy uploads a table of addresses for more than eight, and then no RNN could be captured."""
    arrays = np.random.default_rng(0).standard_normal((70, 3, 2), np.float32)
    for axis in (0, 1, -1):
        xs = [tg.tensor(a, device="cuda") for a in arrays]
        found, out = counted(emulated_gpu, lambda xs=xs, axis=axis: join(xs, axis))
        assert found["uploads"] == found["waits"] == 0
        wanted = {tg.cat: np.concatenate, tg.stack: np.stack}[join](arrays, axis)
        assert out.cpu().numpy().tobytes() == np.ascontiguousarray(wanted).tobytes()
