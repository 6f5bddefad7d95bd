"""A trainer with callbacks that teaches a transformer to add two digits, as minGPT does it: random
samplers and workers, masked targets, decay groups by module type. Prints what it learns."""

import random
from collections import defaultdict

import numpy as np
import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.data.dataloader import DataLoader


def set_seed(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


class AdditionDataset(Dataset):
    def __init__(self, split):
        self.split = split
        perm = torch.randperm(100, generator=torch.Generator().manual_seed(1337))
        self.ixes = perm[:20] if split == "test" else perm[20:]

    def __len__(self):
        return self.ixes.nelement()

    def __getitem__(self, idx):
        nd = self.ixes[idx].item()
        a, b = nd // 10, nd % 10
        render = f"{a}{b}" + f"{a + b:02d}"[::-1]
        dix = [int(s) for s in render]
        x = torch.tensor(dix[:-1], dtype=torch.long)
        y = torch.tensor(dix[1:], dtype=torch.long)
        y[:1] = -1
        return x, y


class Attention(nn.Module):
    def __init__(self, n_embd, n_head, block_size, drop=0.0):
        super().__init__()
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.attn_dropout = nn.Dropout(drop)
        mask = torch.tril(torch.ones(block_size, block_size))
        self.register_buffer("bias", mask.view(1, 1, block_size, block_size))
        self.n_head, self.n_embd = n_head, n_embd

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = (
            t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
            for t in self.c_attn(x).split(self.n_embd, dim=2)
        )
        att = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        y = self.attn_dropout(F.softmax(att, dim=-1)) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class NewGELU(nn.Module):
    def forward(self, x):
        c = (2.0 / torch.pi) ** 0.5
        return 0.5 * x * (1.0 + torch.tanh(c * (x + 0.044715 * torch.pow(x, 3.0))))


class Block(nn.Module):
    def __init__(self, n_embd, n_head, block_size):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn = Attention(n_embd, n_head, block_size)
        self.mlp = nn.ModuleDict(
            {
                "fc": nn.Linear(n_embd, 4 * n_embd),
                "act": NewGELU(),
                "proj": nn.Linear(4 * n_embd, n_embd),
            }
        )
        m = self.mlp
        self.mlpf = lambda x: m.proj(m.act(m.fc(x)))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlpf(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, vocab, block_size, n_embd=24, n_head=3, n_layer=2):
        super().__init__()
        self.block_size = block_size
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocab, n_embd),
                "wpe": nn.Embedding(block_size, n_embd),
                "h": nn.ModuleList([Block(n_embd, n_head, block_size) for _ in range(n_layer)]),
                "ln_f": nn.LayerNorm(n_embd),
            }
        )
        self.lm_head = nn.Linear(n_embd, vocab, bias=False)
        self.apply(self._init_weights)

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.1)
        elif isinstance(module, nn.LayerNorm):
            torch.nn.init.zeros_(module.bias)
            torch.nn.init.ones_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            torch.nn.init.zeros_(module.bias)

    def configure_optimizers(self):
        decay, no_decay = set(), set()
        for mn, m in self.named_modules():
            for pn, _ in m.named_parameters():
                fpn = f"{mn}.{pn}" if mn else pn
                if pn.endswith("bias"):
                    no_decay.add(fpn)
                elif pn.endswith("weight") and isinstance(m, nn.Linear):
                    decay.add(fpn)
                elif pn.endswith("weight") and isinstance(m, (nn.LayerNorm, nn.Embedding)):
                    no_decay.add(fpn)
        param_dict = dict(self.named_parameters())
        assert not decay & no_decay and not param_dict.keys() - (decay | no_decay)
        groups = [
            {"params": [param_dict[pn] for pn in sorted(decay)], "weight_decay": 0.1},
            {"params": [param_dict[pn] for pn in sorted(no_decay)], "weight_decay": 0.0},
        ]
        print(len(decay), len(no_decay), sorted(decay)[:3])
        return torch.optim.AdamW(groups, lr=5e-3, betas=(0.9, 0.95))

    def forward(self, idx, targets=None):
        b, t = idx.size()
        pos = torch.arange(0, t, dtype=torch.long, device=idx.device).unsqueeze(0)
        x = self.transformer.wte(idx) + self.transformer.wpe(pos)
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(self.transformer.ln_f(x))
        loss = None
        if targets is not None:
            flat = logits.view(-1, logits.size(-1))
            loss = F.cross_entropy(flat, targets.view(-1), ignore_index=-1)
        return logits, loss

    @torch.no_grad()
    def generate(self, idx, max_new_tokens, do_sample=False):
        for _ in range(max_new_tokens):
            logits, _ = self(idx[:, -self.block_size :])
            probs = F.softmax(logits[:, -1, :], dim=-1)
            if do_sample:
                idx_next = torch.multinomial(probs, num_samples=1)
            else:
                _, idx_next = torch.topk(probs, k=1, dim=-1)
            idx = torch.cat((idx, idx_next), dim=1)
        return idx


class Trainer:
    def __init__(self, model, train_dataset, max_iters):
        self.model, self.train_dataset, self.max_iters = model, train_dataset, max_iters
        self.callbacks = defaultdict(list)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = self.model.to(self.device)
        print("running on device", self.device)

    def add_callback(self, onevent, callback):
        self.callbacks[onevent].append(callback)

    def run(self):
        model = self.model
        self.optimizer = model.configure_optimizers()
        sampler = torch.utils.data.RandomSampler(
            self.train_dataset, replacement=True, num_samples=int(1e10)
        )
        loader = DataLoader(self.train_dataset, sampler=sampler, shuffle=False, batch_size=16)
        model.train()
        self.iter_num = 0
        data_iter = iter(loader)
        while self.iter_num < self.max_iters:
            try:
                batch = next(data_iter)
            except StopIteration:
                data_iter = iter(loader)
                batch = next(data_iter)
            x, y = [t.to(self.device) for t in batch]
            logits, self.loss = model(x, y)
            model.zero_grad(set_to_none=True)
            self.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            self.optimizer.step()
            for callback in self.callbacks["on_batch_end"]:
                callback(self)
            self.iter_num += 1


def eval_split(trainer, split):
    factors = torch.tensor([[10**i for i in range(2)][::-1]])
    results = []
    loader = DataLoader(AdditionDataset(split), batch_size=20, num_workers=0, drop_last=False)
    for x, _ in loader:
        d1d2 = x[:, :2]
        d1d2d3 = model.generate(d1d2, 2, do_sample=False)
        d3i = (d1d2d3[:, -2:].flip(1) * factors).sum(1)
        correct = (d3i == d1d2[:, 0] + d1d2[:, 1]).cpu()
        results += correct.int().tolist()
    rt = torch.tensor(results, dtype=torch.float)
    text = "%s: %d/%d = %.2f%% correct"
    print(text % (split, rt.sum(), len(results), 100 * rt.mean()))
    return rt.sum()


set_seed(3407)
train_dataset, test_dataset = AdditionDataset("train"), AdditionDataset("test")
print(len(train_dataset), train_dataset[0], test_dataset.ixes[:5])
model = GPT(10, 3)
trainer = Trainer(model, train_dataset, max_iters=81)


def batch_end_callback(trainer):
    if trainer.iter_num % 20 == 0:
        print(f"iter {trainer.iter_num}: train loss {trainer.loss.item():.5f}")
    if trainer.iter_num % 40 == 0:
        model.eval()
        with torch.no_grad():
            eval_split(trainer, "train")
            eval_split(trainer, "test")
        model.train()


trainer.add_callback("on_batch_end", batch_end_callback)
trainer.run()
for batch in DataLoader(test_dataset, shuffle=True, batch_size=6, drop_last=True):
    print(batch[0].shape, batch[1][0])
