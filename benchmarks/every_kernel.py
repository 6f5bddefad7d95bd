"""Every kernel of a GPU once, at the smallest shapes that reach it. For compute-sanitizer:

compute-sanitizer --tool memcheck python benchmarks/every_kernel.py
"""

from __future__ import annotations

import argparse
import importlib
import os
from typing import Any

from device_ops import attention, op
from device_works import Built, On, gpt, mlp, moons, rnn
from works import Size
from writers import generation


def train(on: On, captured: bool) -> float:
    """A GPT with everything in it: embedding, dropout, attention, GELU, norms, loss, AdamW."""
    built = gpt(on, Size(1, 2, 64, 32, 2, 96, bias=True, dropout=0.1))
    step = on.torch.capture(built.step) if captured else built.step
    loss: Any = None
    for i in range(4):
        loss = step(*built.batches[i % len(built.batches)])
    return float(loss.item())


def scaled(on: On) -> None:
    """What no GPT here uses: softmax by itself and its logarithm, a loss that is scaled, SGD."""
    torch = on.torch
    x = on.put(torch.randn(33, 70)).requires_grad_()
    optimizer, scaler = torch.optim.SGD([x], lr=0.1, momentum=0.9), torch.amp.GradScaler()
    for _ in range(2):
        optimizer.zero_grad()
        loss = (x.softmax(-1) * x.log_softmax(-1)).sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def writing(on: On, batch: int) -> Built:
    return generation(on, batch, Size(1, 2, 64, 8, batch, 96), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if os.environ.get("REHEARSE_WITH"):
        importlib.import_module(os.environ["REHEARSE_WITH"]).install()
    torch = importlib.import_module("tinygrad_lm")
    torch.set_num_threads(args.threads)
    for dtype in ("float32", "bfloat16"):
        on = On(torch, "cuda", dtype)
        for captured in (False, True):
            print(f"GPT, {dtype}, captured {captured}: loss {train(on, captured):.4f}", flush=True)
        for build, size in ((mlp, 8), (moons, 10), (rnn, 2), (attention, 40), (writing, 2)):
            built = build(on, size)
            built.step(*built.batches[0])
        scaled(on)
        torch.rand(50, device="cuda", generator=torch.Generator("cuda"))
        for name in ("add", "exp", "sum", "softmax", "layer_norm", "gelu"):
            for n in (96, 100, 2048):
                built = op(on, name, n)
                built.step(*built.batches[0])
    torch.cuda.synchronize()
    print("every kernel has run")


if __name__ == "__main__":
    main()
