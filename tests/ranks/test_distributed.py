"""`torch.distributed` on real ranks, beside what NumPy says."""

import pytest
from launch import run

pytestmark = pytest.mark.mpi

START = """
import hashlib
import numpy as np
import tinygrad_lm as torch
from tinygrad_lm import nn
import tinygrad_lm.distributed as dist
from tinygrad_lm.nn.parallel import DistributedDataParallel as DDP
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
mine = lambda r, n=5: np.random.default_rng(r).normal(size=n).astype("float32")
numbers = [mine(r) for r in range(size)]

def same(tensor, array):
    assert tensor.numpy().tobytes() == np.asarray(array).tobytes(), (rank, tensor, array)

def digest(tensors):
    return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest()
"""

COLLECTIVES = """
def tree(values, add):
    if len(values) == 1:
        return values[0]
    left = 1 << ((len(values) - 1).bit_length() - 1)
    return add(tree(values[:left], add), tree(values[left:], add))

total = tree(numbers, np.add)
for op, wanted in {
    "SUM": total, "AVG": total * np.float32(1 / size), "PRODUCT": tree(numbers, np.multiply),
    "MIN": np.min(numbers, 0), "MAX": np.max(numbers, 0),
}.items():
    x = torch.tensor(mine(rank))
    assert dist.all_reduce(x, op=getattr(dist.ReduceOp, op)) is None
    same(x, wanted)
for op, wanted in {"BAND": 0, "BOR": 2**size - 1, "BXOR": 2**size - 1}.items():
    x = torch.tensor([1 << rank])
    dist.all_reduce(x, op=getattr(dist.ReduceOp, op))
    assert x.tolist() == [wanted]
x = torch.tensor(mine(rank)).reshape(5, 1).expand(5, 2).clone().t()  # not contiguous
dist.all_reduce(x)
same(x.contiguous(), np.stack([total, total]))
x = torch.tensor(7.0, dtype=torch.bfloat16)
works = [dist.all_reduce(x, async_op=True) for x in [torch.full((3,), float(i)) for i in range(9)]]
assert all(work.wait() and work.is_completed() for work in works)
x = torch.tensor(mine(rank))
dist.reduce(x, 1)
same(x, total if rank == 1 else mine(rank))
x = torch.tensor(mine(rank))
dist.broadcast(x, src=size - 1)
same(x, mine(size - 1))
places = [torch.zeros(5) for _ in range(size)]
dist.all_gather(places, torch.tensor(mine(rank)))
for place, wanted in zip(places, numbers):
    same(place, wanted)
whole = torch.zeros(size, 5)
dist.all_gather_into_tensor(whole, torch.tensor(mine(rank)))
same(whole, np.stack(numbers))
part = torch.zeros(5)
given = np.concatenate([mine(rank) * (r + 1) for r in range(size)])
dist.reduce_scatter_tensor(part, torch.tensor(given))
same(part, tree([n * np.float32(rank + 1) for n in numbers], np.add))
dist.reduce_scatter(part, [torch.tensor(mine(rank)) for _ in range(size)])
same(part, total)
places = [torch.zeros(5) for _ in range(size)] if rank == 0 else None
dist.gather(torch.tensor(mine(rank)), places)
if rank == 0:
    same(torch.stack(places), np.stack(numbers))
part = torch.zeros(5)
dist.scatter(part, [torch.tensor(n) for n in numbers] if rank == 1 else None, src=1)
same(part, mine(rank))
out = [torch.zeros(1) for _ in range(size)]
dist.all_to_all(out, [torch.tensor([10.0 * rank + r]) for r in range(size)])
assert [x.item() for x in out] == [10 * r + rank for r in range(size)]
out = torch.zeros(size)
dist.all_to_all_single(out, torch.tensor([10.0 * rank + r for r in range(size)]))
assert out.tolist() == [10 * r + rank for r in range(size)]
found = [None] * size
dist.all_gather_object(found, {"rank": rank})
assert found == [{"rank": r} for r in range(size)]
things = [rank, "x"]
dist.broadcast_object_list(things, src=1)
assert things == [1, "x"]
got = [None]
dist.scatter_object_list(got, [*"abc"][:size] if rank == 0 else None, src=0)
assert got == ["abc"[rank]]
after, before = (rank + 1) % size, (rank - 1) % size
x = torch.zeros(5)
works = [dist.isend(torch.tensor(mine(rank)), after), dist.irecv(x, before)]
[work.wait() for work in works]
same(x, mine(before))
if rank == 0:
    assert {dist.recv(x, tag=3) for _ in range(size - 1)} == {*range(1, size)}
else:
    dist.send(torch.tensor(mine(rank)), 0, tag=3)
dist.barrier()
few = dist.new_group([1, 2])
x = torch.tensor(mine(rank))
dist.all_reduce(x, group=few)
same(x, mine(rank) if rank == 0 else mine(1) + mine(2))
dist.broadcast(x, src=2, group=few)
assert dist.get_rank(few) == rank - 1 and dist.get_world_size(few) == (2 if rank else -1)
for wrong in (
    lambda: dist.broadcast(x, src=3), lambda: dist.all_gather([x], x),
    lambda: dist.all_reduce(torch.tensor([1]), op=dist.ReduceOp.AVG),
    lambda: dist.init_process_group("gloo"),
):
    try:
        wrong()
    except (ValueError, RuntimeError):
        continue
    raise AssertionError
print("done", flush=True)
try:
    dist.all_reduce(torch.zeros(100 if rank else 50))
except RuntimeError as error:
    print(error, flush=True)
"""


def test_collectives():
    done = run(3, START + COLLECTIVES)
    assert done.out.count("done") == 3, done
    assert "as many bytes on all" in done.out, done


MEAN = """
from tinygrad_lm.distributed.optim import ZeroRedundancyOptimizer

def model_of(seed):
    torch.manual_seed(seed)
    used = nn.Sequential(nn.Linear(6, 40), nn.BatchNorm1d(40), nn.Tanh(), nn.Linear(40, 6))
    made = nn.ModuleDict({"used": used, "unused": nn.Linear(3, 3)})
    made.forward = lambda x: used(x)
    return made

def losses(model, r, step, micro):
    x = torch.tensor(np.random.default_rng([r, step, micro]).normal(size=(8, 6)).astype("float32"))
    return (model(x) - x).square().mean()

def alone(steps, micros):
    '''What N processes compute, one after the other: the mean of their gradients.'''
    model = model_of(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(steps):
        parts, buffers = [], [b.clone() for b in model.buffers()]
        for r in range(size):
            for b, was in zip(model.buffers(), buffers):
                b.copy_(was)
            for micro in range(micros):
                losses(model, r, step, micro).backward()
            grads = [p.grad for p in model.parameters()]
            parts.append([g if g is None else g.numpy().copy() for g in grads])
            optimizer.zero_grad()
            if r == 0:
                kept = [b.clone() for b in model.buffers()]
        for b, was in zip(model.buffers(), kept):
            b.copy_(was)
        for p, gs in zip(model.parameters(), zip(*parts)):
            if gs[0] is not None:
                left = gs[0] + gs[1] if size > 1 else gs[0]
                right = None if size < 3 else gs[2] if size == 3 else gs[2] + gs[3]
                whole = left if right is None else left + right
                p.grad = torch.tensor(whole * np.float32(1 / size))
        optimizer.step()
        optimizer.zero_grad()
    return model

for micros in (1, 3):
    wanted = alone(4, micros)
    for zero in (False, True):
        ddp = DDP(model_of(rank), bucket_cap_mb=0.0005)
        if zero:
            optimizer = ZeroRedundancyOptimizer(ddp.parameters(), torch.optim.AdamW, lr=1.0)
            optimizer.param_groups[0]["lr"] = 0.1
        else:
            optimizer = torch.optim.AdamW(ddp.parameters(), lr=0.1)
        for step in range(4):
            for micro in range(micros):
                ddp.require_backward_grad_sync = micro == micros - 1
                losses(ddp, rank, step, micro).backward()
            grads = [p.grad for p in ddp.parameters()]
            assert [g is None for g in grads] == [False] * 6 + [True] * 2
            assert len({*dist_gather(digest(grads[:6]))}) == 1
            optimizer.step()
            optimizer.zero_grad()
            if zero and step == 1:  # saved, and loaded by another one
                optimizer.consolidate_state_dict(to=0)
                saved = [optimizer.state_dict() if rank == 0 else None]
                dist.broadcast_object_list(saved)
                optimizer = ZeroRedundancyOptimizer(ddp.parameters(), torch.optim.AdamW, lr=1.0)
                optimizer.load_state_dict(saved[0])
                plain = torch.optim.AdamW(ddp.parameters(), lr=1.0)
                plain.load_state_dict(saved[0])
                assert plain.param_groups[0]["lr"] == 0.1
        assert digest(ddp.module.parameters()) == digest(wanted.parameters()), (rank, micros, zero)
        if zero and size > 1:
            assert len(optimizer.optim.state) < 6 and not optimizer.state
    with torch.no_grad():
        ddp.eval()(torch.ones(2, 6))
    assert [*ddp.state_dict()][0] == "module.used.0.weight"
print("done")
"""


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_data_parallel_is_the_mean_of_runs_in_the_order_of_ranks(size):
    gather = (
        "def dist_gather(x):\n    found = [None] * size\n    dist.all_gather_object(found, x)\n"
    )
    done = run(size, START + gather + "    return found\n" + MEAN)
    assert done.code == 0 and done.out.count("done") == size, done


UNLIKE = """
def refused(what):
    try:
        what()
    except RuntimeError as error:
        print(error, flush=True)

ddp, x = DDP(nn.Linear(4, 4)), torch.ones(2, 4)
step = torch.capture(lambda x: ddp(x).sum().backward())

def captured():
    for _ in range(4):
        step(x)

refused(captured)
x = torch.ones(4) if rank else torch.ones(4, dtype=torch.int32)
refused(lambda: dist.all_reduce(x))
refused(lambda: dist.broadcast(x, 0) if rank else dist.all_reduce(x))
refused(lambda: DDP(nn.Linear(4, 4 + (rank == 1))))
"""


def test_what_differs_between_ranks_is_refused():
    done = run(2, START + UNLIKE, TORCH_DISTRIBUTED_DEBUG="DETAIL")
    for part in (
        "must not exchange gradients between ranks; call it without capture",
        "(4,), 'torch.int32') on rank 0 and ('all_reduce', (4,), 'torch.float32')",
        "(4,), 'torch.int32') on rank 0 and ('broadcast', (4,), 'torch.float32')",
        "got ('weight', (4, 4), 'torch.float32') on rank 0 and",
    ):
        assert done.out.count(part) == 2, (part, done)


def test_a_script_that_leaves_is_named_with_how_many_gradients_were_shared():
    program = """
import sys
import tinygrad_lm as torch
import tinygrad_lm.distributed as dist
dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 3))
for i in range(9):
    if i == 5 and dist.get_rank():
        sys.exit()
    model(torch.ones(2, 3)).sum().backward()
"""
    done = run(2, program, timeout=20)
    assert done.code == 1 and "rank 0 waits at step 5 for rank 1, which ended" in done.err, done
