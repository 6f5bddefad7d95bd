"""Several character models behind one interface, chosen by a flag, trained from an endless loader
and logged, as makemore.py does it. Prints losses and samples; `--type` is one of the models."""

import argparse
import os
import tempfile
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.data.dataloader import DataLoader
from words import make_words

try:
    from torch.utils.tensorboard import SummaryWriter
except ModuleNotFoundError:  # PyTorch's needs the package tensorboard
    SummaryWriter = None


@dataclass
class ModelConfig:
    block_size: int = None
    vocab_size: int = None
    n_layer: int = 2
    n_embd: int = 16
    n_embd2: int = 16
    n_head: int = 2


class Bigram(nn.Module):
    def __init__(self, config):
        super().__init__()
        n = config.vocab_size
        self.logits = nn.Parameter(torch.zeros((n, n)))

    def get_block_size(self):
        return 1

    def forward(self, idx, targets=None):
        logits = self.logits[idx]
        loss = None
        if targets is not None:
            flat = logits.view(-1, logits.size(-1))
            loss = F.cross_entropy(flat, targets.view(-1), ignore_index=-1)
        return logits, loss


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.block_size, self.vocab_size = config.block_size, config.vocab_size
        self.wte = nn.Embedding(config.vocab_size + 1, config.n_embd)
        self.mlp = nn.Sequential(
            nn.Linear(self.block_size * config.n_embd, config.n_embd2),
            nn.Tanh(),
            nn.Linear(config.n_embd2, self.vocab_size),
        )

    def get_block_size(self):
        return self.block_size

    def forward(self, idx, targets=None):
        embs = []
        for _ in range(self.block_size):
            embs.append(self.wte(idx))
            idx = torch.roll(idx, 1, 1)
            idx[:, 0] = self.vocab_size
        logits = self.mlp(torch.cat(embs, -1))
        loss = None
        if targets is not None:
            flat = logits.view(-1, logits.size(-1))
            loss = F.cross_entropy(flat, targets.view(-1), ignore_index=-1)
        return logits, loss


class GRUCell(nn.Module):
    def __init__(self, config):
        super().__init__()
        n_in, n_out = config.n_embd + config.n_embd2, config.n_embd2
        self.xh_to_z = nn.Linear(n_in, n_out)
        self.xh_to_r = nn.Linear(n_in, n_out)
        self.xh_to_hbar = nn.Linear(n_in, n_out)

    def forward(self, xt, hprev):
        xh = torch.cat([xt, hprev], dim=1)
        r = F.sigmoid(self.xh_to_r(xh))
        hbar = F.tanh(self.xh_to_hbar(torch.cat([xt, r * hprev], dim=1)))
        z = F.sigmoid(self.xh_to_z(xh))
        return (1 - z) * hprev + z * hbar


class RNN(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.block_size = config.block_size
        self.start = nn.Parameter(torch.zeros(1, config.n_embd2))
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.cell = GRUCell(config)
        self.lm_head = nn.Linear(config.n_embd2, config.vocab_size)

    def get_block_size(self):
        return self.block_size

    def forward(self, idx, targets=None):
        b, t = idx.size()
        emb = self.wte(idx)
        hprev = self.start.expand((b, -1))
        hiddens = []
        for i in range(t):
            hprev = self.cell(emb[:, i, :], hprev)
            hiddens.append(hprev)
        logits = self.lm_head(torch.stack(hiddens, 1))
        loss = None
        if targets is not None:
            flat = logits.view(-1, logits.size(-1))
            loss = F.cross_entropy(flat, targets.view(-1), ignore_index=-1)
        return logits, loss


class BoW(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.block_size = config.block_size
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        size = config.block_size
        self.register_buffer("bias", torch.tril(torch.ones(size, size)).view(1, size, size))
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size)

    def get_block_size(self):
        return self.block_size

    def forward(self, idx, targets=None):
        b, t = idx.size()
        pos = torch.arange(0, t, dtype=torch.long).unsqueeze(0)
        x = self.wte(idx) + self.wpe(pos)
        att = torch.zeros((b, t, t))
        att = att.masked_fill(self.bias[:, :t, :t] == 0, float("-inf"))
        x = x + F.softmax(att, dim=-1) @ x
        logits = self.lm_head(x)
        loss = None
        if targets is not None:
            flat = logits.view(-1, logits.size(-1))
            loss = F.cross_entropy(flat, targets.view(-1), ignore_index=-1)
        return logits, loss


class CharDataset(Dataset):
    def __init__(self, words, chars, max_word_length):
        self.words, self.chars, self.max_word_length = words, chars, max_word_length
        self.stoi = {ch: i + 1 for i, ch in enumerate(chars)}
        self.itos = {i: s for s, i in self.stoi.items()}

    def __len__(self):
        return len(self.words)

    def get_vocab_size(self):
        return len(self.chars) + 1

    def get_output_length(self):
        return self.max_word_length + 1

    def encode(self, word):
        return torch.tensor([self.stoi[w] for w in word], dtype=torch.long)

    def decode(self, ix):
        return "".join(self.itos[i] for i in ix)

    def __getitem__(self, idx):
        ix = self.encode(self.words[idx])
        x = torch.zeros(self.max_word_length + 1, dtype=torch.long)
        y = torch.zeros(self.max_word_length + 1, dtype=torch.long)
        x[1 : 1 + len(ix)] = ix
        y[: len(ix)] = ix
        y[len(ix) + 1 :] = -1
        return x, y


class InfiniteDataLoader:
    def __init__(self, dataset, **kwargs):
        sampler = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=int(1e10))
        self.train_loader = DataLoader(dataset, sampler=sampler, **kwargs)
        self.data_iter = iter(self.train_loader)

    def next(self):
        try:
            return next(self.data_iter)
        except StopIteration:
            self.data_iter = iter(self.train_loader)
            return next(self.data_iter)


@torch.no_grad()
def generate(model, idx, max_new_tokens, top_k=None):
    for _ in range(max_new_tokens):
        size = model.get_block_size()
        logits, _ = model(idx if idx.size(1) <= size else idx[:, -size:])
        logits = logits[:, -1, :]
        if top_k is not None:
            v, _ = torch.topk(logits, top_k)
            logits[logits < v[:, [-1]]] = -float("Inf")
        idx = torch.cat((idx, torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)), dim=1)
    return idx


@torch.inference_mode()
def evaluate(model, dataset, batch_size=50, max_batches=None):
    model.eval()
    loader = DataLoader(dataset, shuffle=True, batch_size=batch_size, num_workers=0)
    losses = []
    for i, batch in enumerate(loader):
        X, Y = [t.to("cpu") for t in batch]
        _, loss = model(X, Y)
        losses.append(loss.item())
        if max_batches is not None and i >= max_batches:
            break
    mean_loss = torch.tensor(losses).mean().item()
    model.train()
    return mean_loss


parser = argparse.ArgumentParser()
parser.add_argument("--type", default="gru")
parser.add_argument("--seed", type=int, default=3407)
args = parser.parse_args()
print(vars(args))
torch.manual_seed(args.seed)
torch.cuda.manual_seed_all(args.seed)
folder = tempfile.mkdtemp()
writer = SummaryWriter(log_dir=folder) if SummaryWriter else None
words = make_words(200)
chars = sorted(set("".join(words)))
rp = torch.randperm(len(words)).tolist()
train_words, test_words = [words[i] for i in rp[:-40]], [words[i] for i in rp[-40:]]
longest = max(len(w) for w in words)
train_dataset = CharDataset(train_words, chars, longest)
test_dataset = CharDataset(test_words, chars, longest)
print(
    f"{len(train_dataset)} examples, {train_dataset.get_vocab_size()} characters", train_words[:4]
)
config = ModelConfig(train_dataset.get_output_length(), train_dataset.get_vocab_size())
model = {"bigram": Bigram, "mlp": MLP, "gru": RNN, "bow": BoW}[args.type](config)
model.to("cpu")
print(f"model #params: {sum(p.numel() for p in model.parameters())}")
optimizer = torch.optim.AdamW(
    model.parameters(), lr=5e-3, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8
)
batch_loader = InfiniteDataLoader(train_dataset, batch_size=16, num_workers=0)
best_loss = None
for step in range(31):
    X, Y = [t.to("cpu") for t in batch_loader.next()]
    logits, loss = model(X, Y)
    model.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step} | loss {loss.item():.4f}", X[0].tolist())
        train_loss = evaluate(model, train_dataset, batch_size=25, max_batches=4)
        test_loss = evaluate(model, test_dataset, batch_size=25, max_batches=4)
        if writer:
            writer.add_scalar("Loss/train", train_loss, step)
            writer.add_scalar("Loss/test", test_loss, step)
            writer.flush()
        print(f"step {step} train loss: {train_loss} test loss: {test_loss}")
        if best_loss is None or test_loss < best_loss:
            torch.save(model.state_dict(), os.path.join(folder, "model.pt"))
            best_loss = test_loss
if writer:
    writer.close()
model.load_state_dict(torch.load(os.path.join(folder, "model.pt")))
X_init = torch.zeros(6, 1, dtype=torch.long)
X_samp = generate(model, X_init, train_dataset.get_output_length() - 1, top_k=10)
for i in range(X_samp.size(0)):
    row = X_samp[i, 1:].tolist()
    row = row[: row.index(0)] if 0 in row else row
    print(train_dataset.decode(row))
