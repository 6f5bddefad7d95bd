"""Writing text, token by token: milliseconds for each, ours against PyTorch's, on a CPU or a GPU.

    python benchmarks/generate.py                      # nanoGPT's CPU configuration
    python benchmarks/generate.py --work gpt2 --device cuda --dtype bfloat16

The loop is nanoGPT's `generate`: the whole context goes through the model for every token (there is
no cache of keys and values), the last logits give a distribution, one id is drawn and appended.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import harness
from crossover import PEAK
from device_works import WRITER, On
from windows import waiter
from works import Size, gpt_class

SIZES = {"gpt-cpu": Size(4, 4, 128, 64, 1), "gpt2": WRITER}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One module, in this process: milliseconds per token of each text."""
    if os.environ.get("REHEARSE_WITH") and args.engine == harness.OURS:
        importlib.import_module(os.environ["REHEARSE_WITH"]).install()
    torch, size = importlib.import_module(args.engine), SIZES[args.work]
    torch.set_num_threads(args.threads)
    on, wait = On(torch, args.device, args.dtype), waiter(torch, args.device)
    torch.manual_seed(1337)
    model = on.model(gpt_class(torch)(size))
    logits_of = on.function(model.logits_of)

    def text() -> float:
        ids = torch.zeros((args.batch, 1), dtype=torch.int64, device=args.device)
        wait()
        start = time.perf_counter()
        with torch.no_grad():
            for _ in range(args.tokens):
                probs = logits_of(ids[:, -size.context :])[:, -1, :].float().softmax(-1)
                ids = torch.cat((ids, torch.multinomial(probs, 1)), dim=1)
        wait()
        return 1e3 * (time.perf_counter() - start) / args.tokens

    text()  # warm up: each length has plans and kernels of its own
    read = sum(min(t + 1, size.context) for t in range(args.tokens)) / args.tokens  # positions
    flops = args.batch * size.flops / 3 * read / size.context
    return {"ms": [text() for _ in range(args.repeats)], "flops": flops}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", choices=list(SIZES), default="gpt-cpu")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "tf32", "bfloat16"], default="float32")
    parser.add_argument("--batch", type=int, default=1, help="texts at a time")
    parser.add_argument("--tokens", type=int, default=64, help="of each text")
    parser.add_argument("--repeats", type=int, default=5, help="texts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", help="measure this module here and print JSON")
    args = parser.parse_args(arguments)
    if args.engine:
        print(json.dumps(measure(args)))
        return
    lines = []
    for module in [harness.OURS, *["torch"] * harness.has("torch")]:
        given = [f"--{name}={value}" for name, value in vars(args).items() if value is not None]
        command = [sys.executable, __file__, *given, f"--engine={module}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            print(f"{module} could not be measured: {last}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        ms = median(found["ms"])
        mfu = f"{found['flops'] / ms * 1e3 / PEAK:.2%}" if args.device == "cuda" else ""
        lines.append([module, harness.spread(found["ms"]), f"{1e3 * args.batch / ms:,.0f}", mfu])
    head = ["engine", "ms per token", "tokens/s", f"MFU, of {PEAK / 1e12:.0f} TFLOP/s"]
    print(harness.markdown(head, lines))


if __name__ == "__main__":
    main()
