"""SyncBatchNorm over real ranks is batch normalization of all their rows in one process."""

import pytest
from launch import run

pytestmark = pytest.mark.mpi

PROGRAM = """
import datetime
import numpy as np
import tinygrad_lm as torch
import tinygrad_lm.distributed as dist
from tinygrad_lm import nn
from tinygrad_lm.nn.parallel import DistributedDataParallel as DDP

dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=5))
rank, size = dist.get_rank(), dist.get_world_size()

class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        norms = nn.BatchNorm2d(5), nn.BatchNorm1d(4, momentum=None)
        self.inner = nn.Sequential(
            nn.Conv2d(3, 5, 3), norms[0], nn.Flatten(), nn.Linear(80, 4), norms[1], nn.Linear(4, 2)
        )
        self.last = nn.Linear(2, 2)
        if kind == "sync":
            self.inner = nn.SyncBatchNorm.convert_sync_batchnorm(self.inner)
            assert all(type(self.inner[i]) is nn.SyncBatchNorm for i in (1, 4))

    def forward(self, x, use_last=True):
        x = self.inner(x)
        return self.last(x) if use_last else x

def close(found, wanted):
    np.testing.assert_allclose(
        found.detach().numpy(), wanted.detach().numpy(), rtol=3e-4, atol=3e-6
    )

counts = [3, 1, 4][:size]
mine = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
numbers = np.random.default_rng(0)
xs = torch.tensor(numbers.normal(size=(sum(counts), 3, 6, 6)).astype("float32"))
weights = torch.tensor(numbers.normal(size=(sum(counts), 2)).astype("float32"))
one, many = Net("plain"), Net("sync")
ddp = DDP(many, bucket_cap_mb=0.0001)
for step in range(2):
    whole, part = xs.clone().requires_grad_(), xs[mine].clone().requires_grad_()
    (one(whole) * weights).sum().backward()
    (ddp(part) * weights[mine]).sum().backward()
    close(part.grad, whole.grad[mine])
    for p, q in zip(many.parameters(), one.parameters()):
        close(p.grad * size, q.grad)
        p.grad = q.grad = None
    for p, q in zip(many.buffers(), one.buffers()):
        close(p, q)
for step in range(3):  # on one rank buckets leave later than on the others
    ddp(xs[mine], use_last=rank != 0).sum().backward()
close(many.eval()(xs[mine]), many(xs)[mine])
try:
    nn.SyncBatchNorm(2)(torch.ones(3))
except ValueError as error:
    assert "at least 2D" in str(error)
print("done")
"""


@pytest.mark.parametrize("size", [1, 3])
def test_as_if_all_rows_were_in_one_process(size):
    done = run(size, PROGRAM)
    assert done.code == 0 and done.out.count("done") == size, done
