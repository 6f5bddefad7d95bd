"""The GPT beside the same model in PyTorch: first weights, steps, a whole run, sampled text.

PyTorch's model is written here from its layers; its training script makes the draws in the order of
nanoGPT's. Dropout is compared where PyTorch's stream for it is the documented one (not on Intel).
"""

import math
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.training import TrainConfig, Trainer, split_tokens

torch = pytest.importorskip("torch")
F = torch.nn.functional

CPUINFO = Path("/proc/cpuinfo")
INTEL = CPUINFO.exists() and "GenuineIntel" in CPUINFO.read_text()
SHAPE = {"block_size": 16, "vocab_size": 29, "n_layer": 2, "n_head": 2, "n_embd": 32}


class Norm(torch.nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.bias = torch.nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c_attn = torch.nn.Linear(c.n_embd, 3 * c.n_embd, bias=c.bias)
        self.c_proj = torch.nn.Linear(c.n_embd, c.n_embd, bias=c.bias)
        self.c = c

    def forward(self, x):
        parts = [p.unflatten(2, (self.c.n_head, -1)) for p in self.c_attn(x).chunk(3, dim=2)]
        q, k, v = (p.transpose(1, 2) for p in parts)
        p = self.c.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return F.dropout(self.c_proj(y.transpose(1, 2).flatten(2)), p, self.training)


class Wide(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c_fc = torch.nn.Linear(c.n_embd, 4 * c.n_embd, bias=c.bias)
        self.c_proj = torch.nn.Linear(4 * c.n_embd, c.n_embd, bias=c.bias)
        self.p = c.dropout

    def forward(self, x):
        return F.dropout(self.c_proj(F.gelu(self.c_fc(x))), self.p, self.training)


class Layer(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.ln_1, self.attn = Norm(c.n_embd, c.bias), Attention(c)
        self.ln_2, self.mlp = Norm(c.n_embd, c.bias), Wide(c)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class TorchGPT(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.transformer = torch.nn.ModuleDict(
            {
                "wte": torch.nn.Embedding(c.vocab_size, c.n_embd),
                "wpe": torch.nn.Embedding(c.block_size, c.n_embd),
                "h": torch.nn.ModuleList(Layer(c) for _ in range(c.n_layer)),
                "ln_f": Norm(c.n_embd, c.bias),
            }
        )
        self.lm_head = torch.nn.Linear(c.n_embd, c.vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        for module in (m for m in self.modules() if isinstance(m, torch.nn.Linear)):
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        # in nanoGPT's order: modules depth first, the tied matrix twice, the projections again
        for module in self.modules():
            if isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
                torch.nn.init.normal_(module.weight, std=0.02)
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):
                torch.nn.init.normal_(p, std=0.02 / math.sqrt(2 * c.n_layer))

    def forward(self, idx, targets=None):
        x = self.transformer.wte(idx) + self.transformer.wpe(torch.arange(idx.shape[1]))
        x = F.dropout(x, self.c.dropout, self.training)
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(self.transformer.ln_f(x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)

    def optimizer(self, decay, lr, betas):
        groups = [[p for p in self.parameters() if (p.dim() >= 2) == big] for big in (True, False)]
        return torch.optim.AdamW(
            [{"params": g, "weight_decay": d} for g, d in zip(groups, (decay, 0.0))],
            lr=lr,
            betas=betas,
        )


def pair(seed=1337, **changes):
    """Ours and PyTorch's from one seed: the streams stand at the same place afterwards."""
    config = GPTConfig(**{**SHAPE, **changes})
    tg.manual_seed(seed)
    torch.manual_seed(seed)
    return GPT(config), TorchGPT(config)


def give(theirs, ours):
    """PyTorch's model takes our weights, exactly."""
    state = {k: torch.from_numpy(v.detach().numpy().copy()) for k, v in ours.state_dict().items()}
    theirs.load_state_dict(state)


@pytest.mark.parametrize("bias", [False, True])
def test_a_seed_gives_the_same_names_and_weights(bias):
    ours, theirs = pair(bias=bias)
    mine = {name: p.detach().numpy() for name, p in ours.named_parameters()}
    other = {name: p.detach().numpy() for name, p in theirs.named_parameters()}
    assert list(mine) == list(other)
    for name, value in mine.items():
        np.testing.assert_allclose(value, other[name], rtol=0, atol=3e-7, err_msg=name)
    assert tg.rand(3).tolist() == torch.rand(3).tolist()
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("bias", [False, True])
def test_logits_losses_and_gradients_from_identical_weights(bias):
    ours, theirs = pair(bias=bias)
    give(theirs, ours)
    ids = np.random.default_rng(0).integers(0, 29, (2, 3, 16))
    ids[1, 0, :5] = -1  # targets that do not count
    ours_logits, ours_loss = ours(*map(tg.tensor, ids))
    logits, loss = theirs(*map(torch.tensor, ids))
    np.testing.assert_allclose(ours_logits.detach().numpy(), logits.detach().numpy(), atol=2e-6)
    assert ours_loss.item() == pytest.approx(loss.item(), abs=1e-6)
    ours_loss.backward()
    loss.backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-6, err_msg=name)
    last = ours(tg.tensor(ids[0]))[0]
    assert last.shape == (3, 1, 29)
    np.testing.assert_allclose(last[:, 0].detach().numpy(), logits[:, -1].detach(), atol=2e-6)


def text_tokens(count=4000):
    """Something with structure to learn: words of a random vocabulary in a random order."""
    rng = np.random.default_rng(5)
    words = [rng.integers(1, 29, rng.integers(2, 6)).tolist() + [0] for _ in range(12)]
    return np.array([i for w in rng.integers(0, 12, count // 3) for i in words[w]][:count])


def torch_run(model, tokens, c):
    """The losses of a run in nanoGPT's order of draws, from where torch's stream stands."""
    found = []
    optimizer = model.optimizer(c.weight_decay, c.learning_rate, (c.beta1, c.beta2))

    def batch(split):
        data = tokens[split]
        ix = torch.randint(len(data) - c.block_size, (c.batch_size,))
        rows = torch.stack([torch.from_numpy(data[i : i + c.block_size + 1]) for i in ix.tolist()])
        return rows[:, :-1], rows[:, 1:]

    x, y = batch("train")
    for step in range(c.max_iters):
        if step % c.eval_interval == 0:
            model.eval()
            for split in tokens:
                with torch.no_grad():
                    losses = [model(*batch(split))[1].item() for _ in range(c.eval_iters)]
                found.append(sum(losses) / len(losses))
            model.train()
        for group in optimizer.param_groups:
            group["lr"] = c.rate(step)
        total = 0.0
        for _ in range(c.gradient_accumulation_steps):
            loss = model(x, y)[1] / c.gradient_accumulation_steps
            x, y = batch("train")
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), c.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        found += [total, norm.item()]
    return found


def our_run(model, tokens, c):
    trainer, found = Trainer(model, tokens, c), []
    while trainer.step < c.max_iters:
        if trainer.step % c.eval_interval == 0:
            found += trainer.evaluate().values()
        event = trainer.update()
        found += [event["loss"], event["grad_norm"]]
    return found


@pytest.mark.parametrize("dropout, accumulate", [(0.0, 1), (0.0, 3), (0.2, 2)])
def test_a_run_of_thirty_steps_has_the_losses_of_pytorch(dropout, accumulate):
    """Batches, evaluations, dropout, clipping, warm-up, decay and AdamW in one. Chance and rounding
    are the only things that could differ, and float32's rounding stays below 1e-4."""
    if dropout and INTEL:
        dropout = 0.0
    c = TrainConfig(
        **{k: v for k, v in SHAPE.items() if k != "vocab_size"},
        dropout=dropout,
        gradient_accumulation_steps=accumulate,
        batch_size=5,
        max_iters=30,
        warmup_iters=5,
        eval_interval=8,
        eval_iters=2,
        learning_rate=1e-2,
    )
    ours, theirs = pair(dropout=dropout)
    give(theirs, ours)
    tokens = split_tokens(text_tokens(), c)
    mine, other = our_run(ours, tokens, c), torch_run(theirs, tokens, c)
    np.testing.assert_allclose(mine, other, atol=1e-4)
    assert mine[0] - mine[-2] > 0.5  # it learned: the later losses are not those of the start


def torch_generate(model, idx, count, temperature, top_k, top_p, generator):
    """nanoGPT's way to draw, and the nucleus of the paper, one row and one token at a time."""
    for _ in range(count):
        logits = model(idx[:, -model.c.block_size :])[0][:, -1, :] / temperature
        if top_k is not None:
            kth = torch.topk(logits, min(top_k, logits.shape[-1])).values[:, [-1]]
            logits[logits < kth] = -math.inf
        probs = F.softmax(logits, dim=-1)
        if top_p is not None:
            for row in probs:
                held = 0.0
                for i in row.argsort(descending=True).tolist():
                    row[i], held = row[i] * (held < top_p), held + row[i].item()
        idx = torch.cat([idx, torch.multinomial(probs, 1, generator=generator)], dim=1)
    return idx


@pytest.mark.parametrize(
    "temperature, top_k, top_p",
    [(1.0, None, None), (0.7, 5, None), (1.3, None, 0.6), (1.0, 9, 0.8)],
)
def test_sampled_ids_are_those_of_pytorch(temperature, top_k, top_p):
    ours, theirs = pair()
    for p in ours.parameters():  # livelier than the initial weights, which prefer nothing
        p.data = p.data * 6
    give(theirs, ours)
    start = np.random.default_rng(1).integers(0, 29, (2, 3))
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    with torch.no_grad():
        wanted = torch_generate(
            theirs.eval(), torch.tensor(start), 40, **options, generator=torch.Generator()
        )
    mine = ours.generate(tg.tensor(start), 40, **options, generator=tg.Generator())
    assert mine.tolist() == wanted.tolist()
