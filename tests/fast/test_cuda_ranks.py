"""Ranks on emulated GPUs have the bits of one process, through the host and through NCCL, for which
there is a strict stand-in. No real NCCL was run here."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "ranks"))
from launch import ROOT, run

pytestmark = [pytest.mark.cuda, pytest.mark.mpi]

BEGIN = f"""
import sys, warnings
sys.path.insert(0, {str(ROOT / "tests")!r})
import cupy_on_cpu
from tinygrad_lm.ranks.group import world
group = world(timeout=float(sys.argv[1]) if len(sys.argv) > 1 else 30)
cupy_on_cpu.install()
from cupy_on_cpu import nccl
warnings.showwarning = lambda message, *rest: print("WARNED", message, flush=True)
import hashlib
import numpy as np
import tinygrad_lm as torch
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.ranks.gradients import Gradients

def shows(model, arrays=()):
    whole = b"".join(p.detach().float().cpu().numpy().tobytes() for p in model.parameters())
    return hashlib.sha256(whole).hexdigest()
"""

# Steps of a tiny GPT with 6 micro-batches, buckets of 2 kB: a line for each dtype, "dtype sha256",
# which must be the same on all ranks. One parameter is used by the even micro-batches only, in the
# second step by none; ranks walk back at their own pace.
LAW = (
    BEGIN
    + """
if "nccl" in sys.argv:
    nccl.install()

def steps(dtype, count=6):
    torch.manual_seed(3)
    model = GPT(GPTConfig(block_size=8, vocab_size=17, n_layer=2, n_head=2, n_embd=16, dropout=0.0))
    sometimes = torch.nn.Parameter(torch.ones(5))
    model.sometimes = sometimes
    model.to("cuda").to(dtype)
    sometimes = model.sometimes
    if group.size > 1:  # the first rank's parameters are everybody's
        from tinygrad_lm.ranks.group import Work
        if group.rank:
            with torch.no_grad():
                for p in model.parameters():
                    p.fill_(7)
        def sent():
            for p in model.parameters():
                yield group.broadcast(p.array, 0)
        Work(group, sent()).wait()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    sums = Gradients(model.parameters(), group, 2000)
    numbers = np.random.default_rng(count)
    for step in range(3):
        group.step = step
        ids = numbers.integers(17, size=(count, 2, 9))
        sums.begin(count, 1 / count)
        for k in sums.mine:
            x, y = (torch.tensor(a, device="cuda") for a in (ids[k, :, :-1], ids[k, :, 1:]))
            loss = model(x, y)[1]
            if k % 2 == 0 and step != 1:
                loss = loss + sometimes.square().sum().to(loss.dtype)
            sums.backward(loss, k)
        sums.finish()
        assert (sometimes.grad is None) == (step == 1)
        optimizer.step()
        optimizer.zero_grad()
    if group.size > 1:  # now by the way that gradients took
        one = torch.full((5,), float(group.rank), device="cuda")
        def from_the_last():
            yield group.broadcast(one.array, group.size - 1)
        Work(group, from_the_last()).wait()
        assert (one == group.size - 1).all()
    return shows(model)

lines = [f"{dtype} {steps(dtype)}" for dtype in (torch.float32, torch.bfloat16)]
found = group.gather(lines)
assert all(each == lines for each in found), found
where = group.gather((torch.cuda.current_device(), len([x for x in nccl.log if x[0] == "g"])))
gpus = torch.cuda.device_count()
assert [index for index, _ in where] == [rank % gpus for rank in range(group.size)], where
if group.rank == 0:
    print("\\n".join(lines))
    print("NCCL", nccl.log[0] if nccl.log else None, len({n for _, n in where}) == 1, where)
"""
)


def steps(size, *arguments, gpus=1, **more):
    done = run(size, ["-c", LAW, *arguments], CUPY_ON_CPU_DEVICES=str(gpus), **more)
    assert done.code == 0 and not done.left, done
    lines = done.out.splitlines()
    warned = [line.partition(" ")[2] for line in lines if line.startswith("WARNED")]
    return [line for line in lines if line.startswith("torch.")], warned, lines[-1]


@pytest.fixture(scope="module")
def alone(emulated_gpu):
    bits, warned, _ = steps(1)
    assert len(bits) == 2 and not warned
    return bits


@pytest.mark.parametrize("size", [2, 3])
def test_through_the_host_ranks_have_the_bits_of_one_process(alone, size):
    bits, warned, last = steps(size, gpus=size)
    assert bits == alone and "NCCL None" in last
    assert len(warned) == 1 and "tried NCCL" in warned[0] and "it is not there" in warned[0]


@pytest.mark.parametrize("size", [2, 3])
def test_through_nccl_ranks_have_the_bits_of_one_process(alone, size):
    bits, warned, last = steps(size, "30", "nccl", gpus=size)
    assert bits == alone and not warned
    assert f"NCCL communicator of {size} True" in last, last


def test_ranks_that_share_a_gpu_go_through_the_host(alone):
    bits, warned, last = steps(2, "30", "nccl")
    assert bits == alone and "NCCL None" in last
    assert len(warned) == 1 and "several ranks share a GPU, which it refuses" in warned[0]


# What fails is said by all ranks, each on a line of its own.
FAILS = (
    BEGIN
    + """
nccl.install()
import time
from tinygrad_lm.ranks.group import Work
p = torch.nn.Parameter(torch.ones(5000, device="cuda"))
sums = Gradients([p], group)
begun = time.monotonic()
try:
    for group.step in range(4):
        if group.step == 2 and group.rank == 1 and "hangs" in sys.argv:
            time.sleep(1000)
        sums.begin(2)
        for k in sums.mine:
            sums.backward((p * (k + 1)).sum(), k)
        sums.finish()
        assert (p.grad == 3).all()
        p.grad = None
    logs = group.gather(nccl.log)
    if group.rank == 0:
        print("carried", logs)
except RuntimeError as error:
    took = time.monotonic() - begun
    print(f"rank {group.rank} {took:.1f} s {nccl.log[-1]}: {error}", flush=True)
    time.sleep(0.5)  # let the other say it as well
    group.abort(5)
"""
)


def fails(*arguments, **more):
    return run(2, ["-c", FAILS, *arguments], CUPY_ON_CPU_DEVICES="2", **more)


@pytest.mark.parametrize("where", ["start", "unique"])
def test_where_nccl_fails_at_its_start_the_host_is_used(emulated_gpu, where):
    done = fails(EMULATED_NCCL_FAILS=where)
    assert done.code == 0 and "carried [[], []]" in done.out, done
    assert done.out.count("WARNED") == 1
    assert "the GPUs of 2 ranks, and it failed: NcclError: NCCL_ERROR_SYSTEM_ERROR" in done.out


def test_where_nccl_fails_later_rank_and_step_are_named(emulated_gpu):
    done = fails(EMULATED_NCCL_FAILS="third")  # the meeting, then two in each step
    assert done.code != 0 and not done.left, done
    assert (
        "abort: [ranks] rank 1 of 2, step 0, could not go on: NCCL_ERROR_REMOTE_ERROR" in done.out
    )


def test_a_rank_that_hangs_is_named_and_what_waits_for_it_stopped(emulated_gpu):
    done = fails("2", "hangs")
    assert done.code != 0 and not done.left, done
    assert (
        "abort: [ranks] rank 0 waits at step 2 for rank 1, which did not come for 2 s" in done.out
    )
