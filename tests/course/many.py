"""A model trained by several processes, as nanoGPT and "Let's reproduce GPT-2" train: a part of the
text for each, gradients accumulated and then averaged, the loss and the counts of all added up, and
only the first one saves. Then an epoch of shuffled data with a sharded optimizer. Without torchrun
or mpiexec it is one process."""

import os
import tempfile

import numpy as np
import torch
import torch.distributed as dist
import torch.nn as nn
from torch.distributed import destroy_process_group, init_process_group
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

ddp = int(os.environ.get("RANK", -1)) != -1
if ddp:
    init_process_group(backend="gloo")
    ddp_rank = int(os.environ["RANK"])
    ddp_local_rank = int(os.environ["LOCAL_RANK"])
    ddp_world_size = int(os.environ["WORLD_SIZE"])
    assert (dist.get_rank(), dist.get_world_size()) == (ddp_rank, ddp_world_size)
else:
    ddp_rank, ddp_local_rank, ddp_world_size = 0, 0, 1
master_process = ddp_rank == 0
torch.manual_seed(1337 + ddp_rank)  # the first one's weights are for all


class Net(nn.Module):
    def __init__(self, vocab_size=30, n_embd=24, block_size=8):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(block_size, n_embd)
        self.norm = nn.LayerNorm(n_embd)
        self.fc = nn.Linear(n_embd, 4 * n_embd)
        self.proj = nn.Linear(4 * n_embd, n_embd)
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.wte.weight = self.lm_head.weight
        self.register_buffer("mask", torch.ones(block_size))

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1))) * self.mask[:, None]
        x = x + self.proj(F.gelu(self.fc(self.norm(x)), approximate="tanh"))
        logits = self.lm_head(x)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


text = "".join(f"{i} plus {i} is {2 * i}; " for i in range(200))
chars = sorted(set(text))
tokens = torch.tensor([chars.index(c) for c in text])
total_batch_size, B, T = 256, 4, 8
assert total_batch_size % (B * T * ddp_world_size) == 0
grad_accum_steps = total_batch_size // (B * T * ddp_world_size)
position = B * T * ddp_rank


def next_batch():
    global position
    buf = tokens[position : position + B * T + 1]
    position += B * T * ddp_world_size
    if position + (B * T * ddp_world_size + 1) > len(tokens):
        position = B * T * ddp_rank
    return buf[:-1].view(B, T), buf[1:].view(B, T)


def mean_over_all(x):
    if ddp:
        dist.all_reduce(x, op=dist.ReduceOp.SUM)
    return x / ddp_world_size


model = Net(vocab_size=len(chars), block_size=T)
if ddp:
    model = DDP(model, device_ids=None)
raw_model = model.module if ddp else model
decay = [p for p in raw_model.parameters() if p.dim() >= 2]
nodecay = [p for p in raw_model.parameters() if p.dim() < 2]
optimizer = torch.optim.AdamW(
    [{"params": decay, "weight_decay": 0.1}, {"params": nodecay, "weight_decay": 0.0}],
    lr=1e-2,
    betas=(0.9, 0.95),
)
for step in range(20):
    if step % 5 == 0:  # all of them evaluate, since the model has a buffer
        model.eval()
        with torch.no_grad():
            logits, val = model(*(x[:B] for x in (tokens[: B * T].view(B, T),) * 2))
            right = (logits.argmax(-1) == tokens[: B * T].view(B, T)).sum()
        val = mean_over_all(val.detach())
        num_right = torch.tensor(right.item() * (ddp_rank + 1), dtype=torch.long)
        if ddp:
            dist.all_reduce(num_right, op=dist.ReduceOp.SUM)
        if master_process:
            print(f"val {val.item():.4f}, right {num_right.item()}")
    model.train()
    optimizer.zero_grad()
    loss_accum = 0.0
    for micro_step in range(grad_accum_steps):
        x, y = next_batch()
        if ddp:
            model.require_backward_grad_sync = micro_step == grad_accum_steps - 1
        logits, loss = model(x, y)
        loss = loss / grad_accum_steps
        loss_accum += loss.detach()
        loss.backward()
    loss_accum = mean_over_all(loss_accum)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for param_group in optimizer.param_groups:
        param_group["lr"] = 1e-2 * min(1, (step + 1) / 5)
    optimizer.step()
    if master_process:
        print(f"step {step} | loss {loss_accum.item():.5f} | norm {norm:.4f}")

if ddp:  # what the first one saved is what all have
    folder = [tempfile.mkdtemp()] if master_process else [None]
    dist.broadcast_object_list(folder, src=0)
    path = os.path.join(folder[0], "model.pt")
    if master_process:
        torch.save({"model": raw_model.state_dict(), "step": step}, path)
    dist.barrier()
    saved = torch.load(path)["model"]
    assert all(torch.equal(saved[n], x) for n, x in raw_model.state_dict().items())
    assert sorted(model.state_dict())[0] == "module.fc.bias"

    data = TensorDataset(torch.arange(50).float()[:, None])
    sampler = DistributedSampler(data, shuffle=True, seed=3)
    loader = DataLoader(data, batch_size=5, sampler=sampler)
    line = DDP(nn.Linear(1, 1))
    sharded = ZeroRedundancyOptimizer(line.parameters(), torch.optim.Adam, lr=0.05)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for (x,) in loader:
            sharded.zero_grad()
            if epoch:  # two batches, whose gradients are sent together
                with line.no_sync():
                    F.mse_loss(line(x / 50), x / 25).backward()
            F.mse_loss(line(x / 50), x / 25).backward()
            sharded.step()
    sharded.consolidate_state_dict(to=0)
    if master_process:
        state = sharded.state_dict()["state"]
        print(len(state), [f"{float(state[i]['exp_avg_sq'].sum()):.5f}" for i in (0, 1)])
        print([f"{p.item():.5f}" for p in line.parameters()])
    places = [torch.zeros(2) for _ in range(ddp_world_size)]
    dist.all_gather(places, torch.tensor([float(ddp_rank), sum(x.sum().item() for (x,) in loader)]))
    if master_process:
        print([place.tolist() for place in places])

weights = np.concatenate([p.detach().numpy().ravel() for p in raw_model.parameters()])
if master_process:
    print(" ".join(f"{x:.5f}" for x in weights[::97]))
if ddp:
    destroy_process_group()
