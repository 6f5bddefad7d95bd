"""Writing text with a KV cache: tokens per second, ours against PyTorch's, and against what reading
the weights once per token would take.

    python benchmarks/generate.py                      # GPT-2 124M, random weights; 1, 8, 64 texts
    python benchmarks/generate.py --work gpt2 --device cuda --dtype bfloat16 --batch 1

A prompt is read at once, then each token costs one position: its logits give a distribution, and
one id is drawn. Ours is the library's own loop (`text.generation.steps`); PyTorch's is the same
network with keys and values in memory that is there already, eager, and compiled over a cache of
fixed size with a mask, as gpt-fast has it. The engines stay in processes of their own and take
turns, text by text. `TINYGRAD_LM_COMPILED=0` measures NumPy alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import harness
from device_works import WRITER, On
from windows import waiter
from works import Size, gpt_class

SIZES = {"gpt-cpu": Size(4, 4, 128, 64, 1), "gpt2": WRITER}
OURS_16 = f"{harness.OURS}, bfloat16 weights"
BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2}


# ---------------------------------------------------------------- inside a measuring process


def ours(torch: Any, on: On, size: Size, args: argparse.Namespace) -> Callable:
    """write(ids, n) -> seconds until the first token, and of all others."""
    from tinygrad_lm.models.gpt import GPT, GPTConfig
    from tinygrad_lm.text.generation import steps
    from tinygrad_lm.text.sampling import Sampling

    room = args.prompt + args.tokens
    config = GPTConfig(room, size.vocabulary, size.layers, size.heads, size.width)
    model, wait = on.model(GPT(config).eval()), waiter(torch, args.device)
    if args.store:
        model.store_weights(torch.bfloat16)

    def write(ids: Any, n: int) -> tuple[float, float]:
        wait()
        start = time.perf_counter()
        found = steps(model, ids, n, Sampling())
        next(found)
        wait()
        first = time.perf_counter()
        for _ in found:
            pass
        wait()
        return first - start, time.perf_counter() - first

    return write


def theirs(torch: Any, on: On, size: Size, args: argparse.Namespace) -> Callable:
    """The same with PyTorch: the network of works.py, whose attention looks into a cache."""
    F, model = torch.nn.functional, on.model(gpt_class(torch)(size)).eval()
    wait, room, D = waiter(torch, args.device), args.prompt + args.tokens, size.width // size.heads
    if args.dtype == "bfloat16":
        model = model.to(torch.bfloat16)
    kind = model.wte.weight.dtype
    model.wpe = torch.nn.Embedding(room, size.width).to(args.device, kind)
    shape = (args.batch, size.heads, room, D)
    cache = [[torch.zeros(shape, dtype=kind, device=args.device) for _ in "kv"] for _ in model.h]
    places = torch.arange(room, device=args.device)

    def attend(q: Any, k: Any, v: Any, past: Any, at: Any, end: int | None) -> Any:
        """end: how many positions there are, where that may be another number each time."""
        for memory, new in zip(past, (k, v)):
            memory.index_copy_(2, at, new)
        if end is None:
            return F.scaled_dot_product_attention(q, *past, attn_mask=(places <= at)[None])
        k, v = (memory[:, :, :end] for memory in past)
        return F.scaled_dot_product_attention(q, k, v, is_causal=len(at) > 1)

    def logits(ids: Any, at: Any, end: int | None) -> Any:
        B, T = ids.shape
        x = model.wte(ids) + model.wpe(at)
        for block, past in zip(model.h, cache):
            parts = block.attn.c_attn(block.ln_1(x)).split(size.width, dim=2)
            heads = [z.view(B, T, size.heads, D).transpose(1, 2) for z in parts]
            y = attend(*heads, past, at, end).transpose(1, 2).reshape(B, T, size.width)
            x = x + block.attn.c_proj(y)
            x = x + block.c_proj(block.gelu(block.c_fc(block.ln_2(x))))
        return model.lm_head(model.ln_f(x[:, -1:]))[:, -1]

    one = torch.compile(logits) if args.compile else logits

    def write(ids: Any, n: int) -> tuple[float, float]:
        wait()
        with torch.no_grad():
            times, chosen = [time.perf_counter()], ids
            for i in range(n):
                if i == 0:
                    found = logits(ids, places[: ids.shape[1]], ids.shape[1])
                else:
                    at = args.prompt + i - 1
                    found = one(chosen, places[at : at + 1], None if args.compile else at + 1)
                chosen = torch.multinomial(found.float().softmax(-1), 1)
                if i in (0, n - 1):
                    wait()
                    times.append(time.perf_counter())
        return times[1] - times[0], times[-1] - times[1]

    return write


def serve(args: argparse.Namespace) -> None:
    """Write a text for every line that comes in, and say how long it took."""
    if os.environ.get("REHEARSE_WITH") and args.engine == harness.OURS:
        importlib.import_module(os.environ["REHEARSE_WITH"]).install()
    torch, size = importlib.import_module(args.engine), SIZES[args.work]
    torch.set_num_threads(args.threads)
    torch.manual_seed(1337)
    make = ours if args.engine == harness.OURS else theirs
    write = make(torch, On(torch, args.device, args.dtype), size, args)
    ids = torch.randint(0, size.vocabulary, (args.batch, args.prompt)).to(args.device)
    write(ids, args.tokens)  # warm up: each length has plans and kernels of its own
    print("ready", flush=True)
    for _ in sys.stdin:
        first, rest = write(ids, args.tokens)
        found = {"first": 1e3 * first, "step": 1e3 * rest / (args.tokens - 1)}
        print(json.dumps({"ms": found, "peak_mb": harness.memory("VmHWM")}), flush=True)


# ---------------------------------------------------------------- taking turns


def rows(args: argparse.Namespace) -> harness.Runs:
    """Who writes: row -> (arguments for Python, additions to the environment)."""
    given = ["work", "device", "dtype", "prompt", "tokens", "threads"]
    command = [__file__, *[f"--{name}={getattr(args, name)}" for name in given]]
    found = harness.rows(command, compile_too=args.device == "cpu" and not args.no_compile)
    found.pop(harness.ALONE, None)
    if args.device == "cpu" and args.dtype == "float32":
        found[OURS_16] = ([*found[harness.OURS][0], "--store"], {})
        if "PyTorch" in found:
            found["PyTorch, bfloat16"] = ([*found["PyTorch"][0], "--dtype=bfloat16"], {})
    return found


def measure(args: argparse.Namespace, batch: int) -> dict[str, list[dict[str, Any]]]:
    """Each engine's texts of one batch size, in turns."""
    engines: list[harness.Engine] = []
    for name, (command, extra) in rows(args).items():
        try:
            engine = harness.Engine(name, [*command, f"--batch={batch}"], extra)
            engine.line()
            engines.append(engine)
        except SystemExit as error:  # no PyTorch for this device, say
            print(error)
    found: dict[str, list[dict[str, Any]]] = {engine.name: [] for engine in engines}
    for _ in range(args.repeats):
        for engine in engines:
            found[engine.name].append(engine.turn())
    for engine in engines:
        engine.close()
    return found


def bandwidth(threads: int, size: int = 1 << 29) -> float:
    """Bytes per second that the threads read together from memory: the best of seven."""
    import numpy as np

    parts, best = np.array_split(np.ones(size // 4, np.float32), threads), 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(7):
            start = time.perf_counter()
            list(pool.map(np.add.reduce, parts))
            best = max(best, size / (time.perf_counter() - start))
    return best


def table(record: dict[str, Any]) -> str:
    """One line per batch size and engine."""
    head = ["texts", "engine", "ms per token", "tokens/s", "its time / ours"]
    head += ["of the memory's limit", "ms until the first token", "peak MB"]
    lines = []
    for batch, results in record["batches"].items():
        mine = harness.step_times(results[harness.OURS])
        for name in reversed(results):  # ours last
            found = results[name]
            times = harness.step_times(found)
            half = "bfloat16" in name or record["settings"]["dtype"] == "bfloat16"
            least = 1e3 * record["parameters"] * (2 if half else 4) / (record["bandwidth"] or 1)
            lines.append(
                [batch, name, harness.spread(times, 1), f"{1e3 * int(batch) / median(times):,.0f}"]
                + [harness.spread(harness.ratios(times, mine))]
                + [f"{least / median(times):.0%}" if record["bandwidth"] else ""]
                + [f"{median(r['ms']['first'] for r in found):.0f}"]
                + [f"{median(r['peak_mb'] for r in found):.0f}"]
            )
    return harness.markdown(head, lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", choices=list(SIZES), default="gpt2")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=list(BYTES), default="float32")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64], help="texts at a time")
    parser.add_argument("--prompt", type=int, default=64, help="tokens before the first")
    parser.add_argument("--tokens", type=int, default=64, help="of each text")
    parser.add_argument("--repeats", type=int, default=15, help="texts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--engine", help="write with this module when told to, on standard input")
    parser.add_argument("--compile", action="store_true", help="with --engine: torch.compile")
    parser.add_argument("--store", action="store_true", help="with --engine: 16-bit weights")
    args = parser.parse_args(arguments)
    if args.engine:
        args.batch = args.batch[0]
        return serve(args)
    size = SIZES[args.work]
    parameters = 12 * size.layers * size.width**2 + size.vocabulary * size.width
    record = {
        "work": args.work,
        "settings": {n: getattr(args, n) for n in ("prompt", "tokens", "threads", "dtype")},
        "machine": harness.machine(),
        "parameters": parameters,  # those that are read for each token
        "bandwidth": bandwidth(args.threads) if args.device == "cpu" else 0,
        "batches": {str(batch): measure(args, batch) for batch in args.batch},
    }
    if args.device == "cpu":
        rate, one = record["bandwidth"], record["parameters"] * 4 / record["bandwidth"]
        print(f"Memory gives {rate / 1e9:.1f} GB/s: float32 weights once in {1e3 * one:.1f} ms.")
        harness.save(f"generate-{args.work}", record)
    print(table(record))


if __name__ == "__main__":
    main()
