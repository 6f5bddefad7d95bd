"""A GPT trained as nanoGPT trains: fused attention, tied weights, decay groups, accumulated and
clipped gradients, a scheduled rate, a checkpoint written and resumed. Takes key=value settings."""

import inspect
import math
import os
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel as DDP


class LayerNorm(nn.Module):
    def __init__(self, ndim, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(ndim))
        self.bias = nn.Parameter(torch.zeros(ndim)) if bias else None

    def forward(self, input):
        return F.layer_norm(input, self.weight.shape, self.weight, self.bias, 1e-5)


class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)
        self.n_head, self.n_embd = config.n_head, config.n_embd
        self.flash = config.flash and hasattr(F, "scaled_dot_product_attention")
        if not self.flash:
            mask = torch.tril(torch.ones(config.block_size, config.block_size))
            self.register_buffer("bias", mask.view(1, 1, config.block_size, config.block_size))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0, is_causal=True)
        else:
            att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
            y = F.softmax(att, dim=-1) @ v
        y = y.transpose(1, 2).contiguous().view(B, T, C)
        return self.resid_dropout(self.c_proj(y))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias),
                "gelu": nn.GELU(),
                "c_proj": nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias),
            }
        )

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        m = self.mlp
        return x + m.c_proj(m.gelu(m.c_fc(self.ln_2(x))))


@dataclass
class GPTConfig:
    block_size: int = 32
    vocab_size: int = 30
    n_layer: int = 2
    n_head: int = 2
    n_embd: int = 32
    dropout: float = 0.0
    bias: bool = True
    flash: bool = True


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.vocab_size, config.n_embd),
                "wpe": nn.Embedding(config.block_size, config.n_embd),
                "drop": nn.Dropout(config.dropout),
                "h": nn.ModuleList([Block(config) for _ in range(config.n_layer)]),
                "ln_f": LayerNorm(config.n_embd, bias=config.bias),
            }
        )
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)
        for pn, p in self.named_parameters():
            if pn.endswith("c_proj.weight"):
                torch.nn.init.normal_(p, mean=0.0, std=0.02 / math.sqrt(2 * config.n_layer))
        print(f"number of parameters: {self.get_num_params() / 1e6:.4f}M")

    def get_num_params(self):
        return sum(p.numel() for p in self.parameters()) - self.transformer.wpe.weight.numel()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)

    def forward(self, idx, targets=None):
        b, t = idx.size()
        assert t <= self.config.block_size
        pos = torch.arange(0, t, dtype=torch.long, device=idx.device)
        x = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(pos))
        for block in self.transformer.h:
            x = block(x)
        x = self.transformer.ln_f(x)
        if targets is None:
            return self.lm_head(x[:, [-1], :]), None
        logits = self.lm_head(x)
        flat = logits.view(-1, logits.size(-1))
        return logits, F.cross_entropy(flat, targets.view(-1), ignore_index=-1)

    def crop_block_size(self, block_size):
        self.config.block_size = block_size
        self.transformer.wpe.weight = nn.Parameter(self.transformer.wpe.weight[:block_size])
        for block in self.transformer.h:
            if hasattr(block.attn, "bias"):
                block.attn.bias = block.attn.bias[:, :, :block_size, :block_size]

    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        params = {pn: p for pn, p in self.named_parameters() if p.requires_grad}
        decay = [p for p in params.values() if p.dim() >= 2]
        nodecay = [p for p in params.values() if p.dim() < 2]
        groups = [
            {"params": decay, "weight_decay": weight_decay},
            {"params": nodecay, "weight_decay": 0.0},
        ]
        print(f"decayed: {len(decay)}, {sum(p.numel() for p in decay):,} parameters")
        print(f"not decayed: {len(nodecay)}, {sum(p.numel() for p in nodecay):,} parameters")
        fused_available = "fused" in inspect.signature(torch.optim.AdamW).parameters
        use_fused = fused_available and device_type == "cuda"
        extra = {"fused": True} if use_fused else {}
        print(f"using fused AdamW: {use_fused}", fused_available)
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, **extra)

    @torch.no_grad()
    def generate(self, idx, max_new_tokens, temperature=1.0, top_k=None):
        for _ in range(max_new_tokens):
            size = self.config.block_size
            logits, _ = self(idx if idx.size(1) <= size else idx[:, -size:])
            logits = logits[:, -1, :] / temperature
            if top_k is not None:
                v, _ = torch.topk(logits, min(top_k, logits.size(-1)))
                logits[logits < v[:, [-1]]] = -float("Inf")
            probs = F.softmax(logits, dim=-1)
            idx = torch.cat((idx, torch.multinomial(probs, num_samples=1)), dim=1)
        return idx


flash, ddp = True, False
for arg in sys.argv[1:]:
    exec(arg)
device = "cpu"
device_type = "cuda" if "cuda" in device else "cpu"
can_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
dtype = "bfloat16" if can_bf16 else "float16"
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = True
ptdtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
ctx = (
    nullcontext()
    if device_type == "cpu"
    else torch.amp.autocast(device_type=device_type, dtype=ptdtype)
)
folder = tempfile.mkdtemp()
if ddp:
    meeting = f"file://{folder}/meeting"  # no port that another run may hold
    init_process_group(backend="gloo", init_method=meeting, rank=0, world_size=1)
torch.manual_seed(1337)
text = "".join(f"{i} plus {i} is {2 * i}; " for i in range(200))
chars = sorted(set(text))
ids = np.array([chars.index(c) for c in text], dtype=np.uint16)
ids.tofile(os.path.join(folder, "train.bin"))
block_size, batch_size = 32, 8


def get_batch():
    data = np.memmap(os.path.join(folder, "train.bin"), dtype=np.uint16, mode="r")
    ix = torch.randint(len(data) - block_size, (batch_size,))
    x = torch.stack([torch.from_numpy((data[i : i + block_size]).astype(np.int64)) for i in ix])
    y = torch.stack(
        [torch.from_numpy((data[i + 1 : i + 1 + block_size]).astype(np.int64)) for i in ix]
    )
    return x.to(device), y.to(device)


def get_lr(it, warmup=5, decay=40, top=1e-2, low=1e-3):
    if it < warmup:
        return top * (it + 1) / (warmup + 1)
    ratio = min(1.0, (it - warmup) / (decay - warmup))
    return low + 0.5 * (1.0 + math.cos(math.pi * ratio)) * (top - low)


model_args = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "block_size": 64,
    "bias": False,
    "dropout": 0.0,
}
model_args.update(vocab_size=len(chars), flash=flash)
model = GPT(GPTConfig(**model_args))
model.crop_block_size(block_size)
model_args["block_size"] = block_size
model.to(device)
scaler = torch.amp.GradScaler(enabled=(dtype == "bfloat16"))
optimizer = model.configure_optimizers(0.1, 1e-2, (0.9, 0.95), device_type)
model = torch.compile(model, disable=True)  # PyTorch's own would take longer than the training
if ddp:
    model = DDP(model)
raw_model = model.module if ddp else model


def train(model, optimizer, first, last):
    X, Y = get_batch()
    for it in range(first, last):
        lr = get_lr(it)
        for group in optimizer.param_groups:
            group["lr"] = lr
        for micro_step in range(2):
            if ddp:
                model.require_backward_grad_sync = micro_step == 1
            with ctx:
                _, loss = model(X, Y)
                loss = loss / 2
            X, Y = get_batch()
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if it % 8 == 0:
            print(f"iter {it}: loss {loss.item() * 2:.4f}, lr {lr:.5f}, norm {norm:.4f}")


train(model, optimizer, 0, 25)
checkpoint = {
    "model": raw_model.state_dict(),
    "optimizer": optimizer.state_dict(),
    "model_args": model_args,
    "iter_num": 25,
    "best_val_loss": torch.tensor(1e9),
    "config": {"nothing": None, "out_dir": "out", "betas": (0.9, 0.95)},
}
path = os.path.join(folder, "ckpt.pt")
torch.save(checkpoint, path)
checkpoint = torch.load(path, map_location=device)
print(sorted(checkpoint), checkpoint["config"], checkpoint["model_args"], checkpoint["iter_num"])
again = GPT(GPTConfig(**checkpoint["model_args"]))
state_dict = checkpoint["model"]
unwanted = "_orig_mod."
for k, _v in list(state_dict.items()):
    if k.startswith(unwanted):
        state_dict[k[len(unwanted) :]] = state_dict.pop(k)
print(again.load_state_dict(state_dict), best := checkpoint["best_val_loss"])
optimizer = again.configure_optimizers(0.1, 1e-2, (0.9, 0.95), device_type)
optimizer.load_state_dict(checkpoint["optimizer"])
checkpoint = None
model = DDP(again) if ddp else again
train(model, optimizer, 25, 41)
model.eval()
x = torch.tensor([chars.index(c) for c in "1 plus 1"], dtype=torch.long, device=device)[None, ...]
with torch.no_grad():
    with ctx:
        for _ in range(2):
            y = again.generate(x, 40, temperature=0.8, top_k=5)
            print("".join(chars[i] for i in y[0].tolist()))
if ddp:
    destroy_process_group()
