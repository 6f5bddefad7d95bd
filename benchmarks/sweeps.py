"""What cpu_vs_gpu.py measures: each program over sizes, in which forms, and in which order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from device_ops import TRANSFERS, attention, matmul, model, op, reading, transfer
from device_works import COMPILED, Built, On, gpt, mlp, moons, rnn
from works import BABY, GPT2, Size
from writers import GPT2_124M, generation

OURS, THEIRS = "tinygrad_lm", "torch"
SINGLE = ("float32", "bfloat16", "tf32")
HALF = ("bfloat16", "float32", "tf32")
BEST = (("bfloat16", "reduced"), ("bfloat16", "compiled"))

Form = tuple[str, str]  # dtype, mode


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A program over sizes; `build(on, size)`. axis: what a size is called."""

    build: Callable[[On, int], Built]
    sizes: tuple[int, ...]
    axis: str
    title: str
    kind: str = "steps"  # steps, ops, transfers
    cpu: int = 1 << 40  # the largest size that a CPU is asked for
    random: bool = False  # its losses depend on draws
    dtypes: tuple[str, ...] = SINGLE  # on a GPU, in order of value
    modes: tuple[str, ...] = ("captured", "eager")  # of ours on a GPU
    compiled: Mapping[str, tuple[Form, ...]] = dataclasses.field(default_factory=dict)  # by device
    compiled_at: tuple[int, ...] = ()  # compiling takes half a minute: at these sizes alone


class Case(NamedTuple):
    work: str
    size: int
    dtype: str
    mode: str


def at(size: Size) -> Callable[[On, int], Built]:
    return lambda on, batch: gpt(on, dataclasses.replace(size, batch=batch))


def wide(on: On, width: int) -> Built:
    """Four layers, 1,024 tokens, heads of 64."""
    return gpt(on, Size(4, max(1, width // 64), width, 256, 4))


TINY = Size(1, 2, 16, 16, 1, 65, bias=True)
ELEMENTS = tuple(1 << k for k in range(10, 27, 4))
SWEEPS = {
    "gpt2": Sweep(
        at(Size(12, 12, 768, 1024, 64, vocabulary=50304, bias=True)), (16,), "batch",
        "GPT-2 124M, T 1024", cpu=0, dtypes=("bfloat16", "tf32"),
        compiled={"cuda": BEST[1:]}, compiled_at=(1, 16, 64),
    ),
    "baby": Sweep(
        at(Size(*BABY, dropout=0.2)), (64,), "batch", "baby GPT, T 256, dropout 0.2",
        random=True, cpu=0, dtypes=HALF, compiled={"cuda": BEST}, compiled_at=(64,),
    ),
    "mlp": Sweep(
        mlp, (32, 512, 4096, 65536), "batch", "the MLP of makemore",
        compiled={
            "cuda": (("float32", "reduced"), *BEST, ("float32", "compiled")),
            "cpu": (("float32", "compiled"),),
        },
        compiled_at=(32,),
    ),
    "gpt-cpu": Sweep(
        at(Size(4, 4, 128, 64, 12)), (12, 1, 64, 256), "batch", "nanoGPT's CPU configuration",
        compiled={"cpu": (("float32", "compiled"),)}, compiled_at=(12,),
    ),
    "matmul": Sweep(matmul, (2048, 32, 128, 512, 8192), "n", "a matrix product", "ops", 4096),
    "attention": Sweep(
        attention, (1024, 64, 256, 2048), "T", "causal attention", "ops", 1024, dtypes=HALF,
    ),
    "width": Sweep(
        wide, (256, 64, 128, 512, 1024), "width", "a GPT of 4 layers, 1,024 tokens", cpu=512,
    ),
    "rnn": Sweep(rnn, (32, 1024), "batch", "the RNN of makemore"),
    "moons": Sweep(moons, (100, 10_000), "points", "two moons on tensors"),
    "generation": Sweep(
        generation, (1, 64), "texts", "GPT-2 124M writes, with a cache", cpu=1,
        dtypes=HALF, modes=("eager",), compiled={"cuda": BEST[:1]}, compiled_at=(1,),
    ),
    "gpt2-short": Sweep(
        at(Size(12, 12, 768, 256, 1, **GPT2)), (1, 4), "batch", "GPT-2 124M, T 256", dtypes=HALF,
    ),
    **{
        name: Sweep(lambda on, n, name=name: op(on, name, n), ELEMENTS, "elements", name, "ops",
                    dtypes=SINGLE[:2])
        for name in ("gelu", "softmax", "layer_norm", "add", "exp", "sum")
    },
    "transfer": Sweep(
        transfer, (1 << 16, 1 << 20, 1 << 26), "bytes", "host to GPU and back", "transfers",
        cpu=0, modes=TRANSFERS,
    ),
    "reading": Sweep(
        reading, (1,), "numbers", "a loss is read", "transfers", cpu=0, modes=("download",)
    ),
    "upload": Sweep(
        lambda on, batch: model(on, batch, GPT2_124M), (1,), "models",
        "GPT-2 124M is brought to the GPU", "transfers", cpu=0, modes=("pageable",),
    ),
}  # fmt: skip
SMALL = {
    **{name: at(TINY) for name in ("gpt2", "baby", "gpt-cpu", "gpt2-short", "width")},
    "generation": lambda on, batch: generation(on, batch, TINY, 4),
    "attention": lambda on, T: attention(on, T + 1, 1, 1),  # of one key dq is rounding alone
    "upload": lambda on, batch: model(on, batch, TINY),
}


def build(case: Case, on: On, quick: bool) -> Built:
    found = SMALL.get(case.work) if quick else None
    return (found or SWEEPS[case.work].build)(on, case.size)


def forms(module: str, device: str, sweep: Sweep) -> list[Form]:
    """In order of value. Of PyTorch the compiled forms come after the first that is not."""
    if sweep.kind == "transfers":
        return [("float32", mode) for mode in sweep.modes]
    if device == "cpu":
        found = [("float32", "eager")]
    else:
        modes = sweep.modes if module == OURS and sweep.kind == "steps" else ("eager",)
        found = [(dtype, mode) for mode in modes for dtype in sweep.dtypes[:2]]
        found += [("tf32", mode) for mode in modes if "tf32" in sweep.dtypes[2:]]
    if module == THEIRS:
        found[1:1] = sweep.compiled.get(device, ())
    return found


def cases(
    module: str,
    device: str,
    only: Sequence[str] = (),
    sizes: Sequence[int] = (),
    dtypes: Sequence[str] = (),
    quick: bool = False,
) -> list[Case]:
    """Every work in its best form at its first size, then in other forms and at other sizes by
    turns, so that little time still means breadth. only: names of works or kinds."""
    found = []
    for name, sweep in SWEEPS.items():
        if only and name not in only and sweep.kind not in only:
            continue
        asked = tuple(sizes) or sweep.sizes
        if quick:
            asked = tuple(sorted({max(1, size // 64) for size in asked}))[:2]
        for place, size in enumerate(asked):
            if device == "cpu" and size > sweep.cpu:
                continue
            for rank, (dtype, mode) in enumerate(forms(module, device, sweep)):
                if mode in COMPILED and (quick or size not in sweep.compiled_at):
                    continue
                if quick and rank > (0 if place else 1) and sweep.kind != "transfers":
                    continue
                if not dtypes or dtype in dtypes:
                    found.append((2 * rank + place, Case(name, size, dtype, mode)))
    found.sort(key=lambda ranked: ranked[0])
    return [case for _, case in found]
