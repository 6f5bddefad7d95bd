"""Time of a training step, ours against PyTorch's: the same program, written once in PyTorch's
vocabulary, run with either module. `python benchmarks/step.py --work gpt-cpu --repeats 5`

PyTorch runs in its best form (fused AdamW, scaled_dot_product_attention, the same threads), once as
found and once with the malloc settings that we ask for ourselves; `--compile` adds torch.compile.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # from a checkout that is not installed

import harness  # noqa: E402

GPT_SIZES = {  # layers, heads, width, context, batch, vocabulary
    "gpt-cpu": (4, 4, 128, 64, 12, 65),
    "baby-gpt": (6, 6, 384, 256, 64, 65),
}
STEPS = {"mlp": (200, 1000), "gpt-cpu": (10, 40), "baby-gpt": (1, 3)}  # warm-up, timed


class Watch:
    """Seconds by phase: `watch("forward")` ends the phase that is called so."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.last = time.perf_counter()

    def __call__(self, phase: str) -> None:
        now = time.perf_counter()
        self.phases[phase], self.last = now - self.last, now


def mlp(torch: Any) -> Any:
    """The network of makemore's second lecture (27 characters, 3 of context, 10 numbers each, 200
    hidden, batch 32), with its own loop: gradients set to None, `.data` moved by the slope."""
    g = torch.Generator().manual_seed(2147483647)
    X = torch.randint(0, 27, (200_000, 3), generator=g)
    Y = torch.randint(0, 27, (200_000,), generator=g)
    C = torch.randn((27, 10), generator=g)
    W1, b1 = torch.randn((30, 200), generator=g), torch.randn(200, generator=g)
    W2, b2 = torch.randn((200, 27), generator=g), torch.randn(27, generator=g)
    parameters = [C, W1, b1, W2, b2]
    for p in parameters:
        p.requires_grad = True

    def step() -> tuple[Any, dict[str, float]]:
        watch = Watch()
        ix = torch.randint(0, X.shape[0], (32,), generator=g)
        emb = C[X[ix]]
        h = torch.tanh(emb.view(-1, 30) @ W1 + b1)
        logits = h @ W2 + b2
        loss = torch.nn.functional.cross_entropy(logits, Y[ix])
        watch("forward")
        for p in parameters:
            p.grad = None
        loss.backward()
        watch("backward")
        for p in parameters:
            p.data += -0.1 * p.grad
        watch("update")
        return loss.item(), watch.phases

    return step


def gpt_classes(torch: Any) -> Any:
    """A GPT in nanoGPT's form: no bias, no dropout, tied head."""
    nn, F = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self, width: int, heads: int):
            super().__init__()
            self.heads, self.width = heads, width
            self.c_attn = nn.Linear(width, 3 * width, bias=False)
            self.c_proj = nn.Linear(width, width, bias=False)

        def forward(self, x: Any) -> Any:
            B, T, C = x.size()
            parts = self.c_attn(x).split(self.width, dim=2)
            q, k, v = (z.view(B, T, self.heads, C // self.heads).transpose(1, 2) for z in parts)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))

    class Block(nn.Module):
        def __init__(self, width: int, heads: int):
            super().__init__()
            self.ln_1 = nn.LayerNorm(width, bias=False)
            self.attn = Attention(width, heads)
            self.ln_2 = nn.LayerNorm(width, bias=False)
            self.c_fc = nn.Linear(width, 4 * width, bias=False)
            self.gelu = nn.GELU()
            self.c_proj = nn.Linear(4 * width, width, bias=False)

        def forward(self, x: Any) -> Any:
            x = x + self.attn(self.ln_1(x))
            return x + self.c_proj(self.gelu(self.c_fc(self.ln_2(x))))

    class GPT(nn.Module):
        def __init__(self, layers: int, heads: int, width: int, context: int, vocabulary: int):
            super().__init__()
            self.wte = nn.Embedding(vocabulary, width)
            self.wpe = nn.Embedding(context, width)
            self.h = nn.ModuleList([Block(width, heads) for _ in range(layers)])
            self.ln_f = nn.LayerNorm(width, bias=False)
            self.lm_head = nn.Linear(width, vocabulary, bias=False)
            self.wte.weight = self.lm_head.weight

        def forward(self, ids: Any, targets: Any) -> Any:
            x = self.wte(ids) + self.wpe(torch.arange(ids.size(1)))
            for block in self.h:
                x = block(x)
            logits = self.lm_head(self.ln_f(x))
            return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    return GPT


def gpt(torch: Any, size: tuple, compiled: bool) -> Any:
    layers, heads, width, context, batch, vocabulary = size
    torch.manual_seed(1337)
    model = gpt_classes(torch)(layers, heads, width, context, vocabulary)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), fused=True)
    text = torch.randint(0, vocabulary, (100_000,))
    run = torch.compile(model) if compiled else model

    def step() -> tuple[Any, dict[str, float]]:
        starts = torch.randint(0, len(text) - context - 1, (batch,)).tolist()
        ids = torch.stack([text[i : i + context] for i in starts])
        targets = torch.stack([text[i + 1 : i + 1 + context] for i in starts])
        watch = Watch()
        loss = run(ids, targets)
        watch("forward")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        watch("backward")
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        watch("update")
        return loss.item(), watch.phases

    return step


def measure(engine: str, work: str, threads: int, steps: int, compiled: bool) -> dict[str, Any]:
    """In a process of its own: one engine, one work."""
    torch = importlib.import_module(engine)
    torch.set_num_threads(threads)
    before = harness.memory("VmRSS")
    step = mlp(torch) if work == "mlp" else gpt(torch, GPT_SIZES[work], compiled)
    warm_up, usual = STEPS[work]
    found = harness.timed(step, warm_up, steps or usual)
    return {**found, "peak_mb": harness.memory("VmHWM") - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", choices=list(STEPS), default="gpt-cpu")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each engine")
    parser.add_argument("--steps", type=int, default=0, help="timed steps of a run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="torch.compile as well (C++ needed)")
    parser.add_argument("--engine", help="measure this module here and print JSON")
    args = parser.parse_args()
    if args.engine:
        print(json.dumps(measure(args.engine, args.work, args.threads, args.steps, args.compile)))
        return
    command = [__file__, "--work", args.work, "--threads", str(args.threads)]
    command += ["--steps", str(args.steps), "--engine"]
    runs = {
        "tinygrad_lm": ([*command, "tinygrad_lm"], {}),
        "PyTorch": ([*command, "torch"], {}),
        "PyTorch, malloc settings": ([*command, "torch"], harness.MALLOC),
    }
    if args.compile and args.work != "mlp":
        runs["PyTorch, compiled"] = ([*command, "torch", "--compile"], {})
    machine = harness.machine()
    results = harness.alternate(runs, args.repeats)
    print(harness.table(results, "tinygrad_lm"))
    record = {"work": args.work, "settings": vars(args), "machine": machine, "results": results}
    print(f"\nwritten to {harness.save('step-' + args.work, record).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
