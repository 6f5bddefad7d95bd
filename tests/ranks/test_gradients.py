"""Gradients over ranks are, bit for bit, those of one process; and who does not come is named."""

import os
import subprocess
import sys

import pytest
from launch import ROOT, run

pytestmark = pytest.mark.mpi

# Steps of a small model for each M, with buckets of a few hundred bytes, in three dtypes: a line
# for each, "M dtype sha256", which must be the same on all ranks.
STEPS = """
import hashlib
import numpy as np
import tinygrad_lm as torch
from tinygrad_lm import nn
from tinygrad_lm.ranks.gradients import Gradients
from tinygrad_lm.ranks.group import world

def steps(count, dtype, bucket_bytes, early=None):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(7, 33), nn.Tanh(), nn.Linear(33, 7), nn.LayerNorm(7))
    model.append(model[0])  # its parameters are used at both ends
    model.to(dtype)
    unused = nn.Parameter(torch.ones(5, dtype=dtype))
    parameters = [*model.parameters(), unused]
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    sums = Gradients(parameters, world(), bucket_bytes, early)
    numbers = np.random.default_rng(count)
    for step in range(3):
        xs = numbers.normal(size=(count, 5, 7))
        sums.begin(count, 1 / count)
        for k in sums.mine:
            sums.backward(model(torch.tensor(xs[k], dtype=dtype)).square().mean(), k)
        sums.finish()
        assert unused.grad is None
        optimizer.step()
        optimizer.zero_grad()
    whole = b"".join(p.detach().float().numpy().tobytes() for p in parameters)
    return hashlib.sha256(whole).hexdigest()

lines = [
    f"{count} {dtype} {steps(count, dtype, 600, early)}"
    for early in (True, False)
    for count in (1, 2, 3, 4, 6, 7)
    for dtype in (torch.float32, torch.float64, torch.bfloat16)
]
lines.append(f"2 float32 {steps(2, torch.float32, 1 << 20)}")
found = world().gather(lines)
if world().rank == 0:
    assert all(each == lines for each in found), found
    print("\\n".join(lines))
"""


@pytest.fixture(scope="module")
def alone():
    """What one process without MPI prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", STEPS]
    lines = subprocess.check_output(command, env=environment, text=True).splitlines()
    assert len({line.split()[2] for line in lines}) == len(lines) // 2  # how, changes no bits
    return lines


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_any_number_of_ranks_has_the_bits_of_one_process(alone, size):
    done = run(size, STEPS)
    assert done.code == 0, done
    assert done.out.splitlines() == alone


WAITS = """
import sys, time
from tinygrad_lm.ranks.group import world
group = world(timeout=2)
group.step = 17
group.gather(0)
if group.rank == 1:
    {does}
begun = time.monotonic()
try:
    group.gather(0)
except RuntimeError as error:
    print(f"{{time.monotonic() - begun:.2f}} s: {{error}}", flush=True)
    group.abort(5)
"""


def waited(done):
    return float(done.out.partition(" s: ")[0])


def test_a_rank_that_hangs_is_named_after_the_deadline():
    done = run(3, WAITS.format(does="time.sleep(1000)"))
    assert done.code != 0 and 2 <= waited(done) < 3, done
    assert "waits at step 17 for rank 1, which did not come for 2 s" in done.out, done


def test_a_rank_that_leaves_is_named_at_once():
    done = run(3, WAITS.format(does="sys.exit()"))
    assert done.code != 0 and waited(done) < 1, done
    assert "waits at step 17 for rank 1, which ended" in done.out, done


LATE = """
import time
import tinygrad_lm as torch
import tinygrad_lm.distributed as dist

dist.init_process_group("gloo")
rank = dist.get_rank()
time.sleep(1.0 if rank == 2 else 0)
places = [torch.zeros(1) for _ in range(3)] if rank == 0 else None
dist.gather(torch.tensor([float(rank)]), places)
if rank == 0:
    print([place.item() for place in places])
"""


def test_a_rank_that_has_done_its_part_may_leave():
    """Rank 1 sends and ends, while the first one still waits for rank 2."""
    done = run(3, LATE)
    assert done.code == 0 and done.out == "[0.0, 1.0, 2.0]\n", done


CHECKPOINTS = """
import tinygrad_lm as torch
from tinygrad_lm import nn
from tinygrad_lm.ranks.gradients import Gradients
from tinygrad_lm.ranks.group import world
from tinygrad_lm.utils.checkpoint import checkpoint

torch.manual_seed(0)
layer, xs = nn.Linear(3, 3), torch.randn(2, 4, 3)

def gradient(call):
    sums = Gradients(layer.parameters(), world())
    sums.begin(2)
    for k in sums.mine:
        sums.backward(call(call(xs[k])).square().sum(), k)
    sums.finish()
    found, layer.weight.grad, layer.bias.grad = layer.weight.grad.numpy(), None, None
    return found.tobytes()

same = gradient(layer) == gradient(lambda x: checkpoint(layer, x))
assert all(world().gather(same))
"""


def test_a_layer_in_two_checkpoints_sends_its_whole_gradient():
    done = run(2, CHECKPOINTS, timeout=20)
    assert done.code == 0, done


MINUS_ZERO = """
import tinygrad_lm as torch
from tinygrad_lm.ranks.gradients import Gradients
from tinygrad_lm.ranks.group import world

p = torch.nn.Parameter(torch.ones(3))
sums = Gradients([p], world())
sums.begin(2)
for k in sums.mine:  # the first does without it
    used = p if k else torch.ones(3, requires_grad=True)
    sums.backward((used * torch.tensor([-0.0, 0.0, 2.0])).sum(), k)
sums.finish()
found = p.grad.tolist(), p.grad.signbit().tolist()
assert all(world().gather(found == ([0.0, 0.0, 2.0], [True, False, False]))), found
"""


def test_no_gradient_on_one_rank_leaves_the_signs_of_zeros_of_another():
    done = run(2, MINUS_ZERO, timeout=20)
    assert done.code == 0, done
