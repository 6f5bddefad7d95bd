"""What a training run is: every number that decides it, with the help text the command line shows.

The numbers are checked against each other before any work starts.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..optim.lr_scheduler import warmup_cosine


def option(default: Any, help: str, kind: type | None = None, free: bool = False) -> Any:
    """A field with its help. kind: its type where the default is None. free: it decides nothing
    that has already been computed, so a resumed run may change it (the text is compared itself)."""
    details = {"help": help, "kind": kind or type(default), "free": free}
    return dataclasses.field(default=default, metadata=details)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One run. The defaults train on text that every Python carries, in about a minute on 2 cores.

    ValueError: a number is out of its range; the message names the field.
    """

    data: str = option(
        "builtin",
        "text: a UTF-8 file, or shakespeare, names, builtin; or a token file, or a folder of them",
        free=True,
    )
    out: str = option("out", "folder for checkpoints, metrics and the loss curve", free=True)
    init_from: str | None = option(
        None,
        "what to fine-tune: a run's folder, one with GPT-2's files, or gpt2, gpt2-medium, ...",
        str,
    )
    tokenizer: str = option(
        "char", "char, byte, bpe (made from the text), or a file or folder with one"
    )
    vocab_size: int = option(1024, "how many tokens bpe makes")
    device: str | None = option(None, "where to compute: cpu, cuda, cuda:1, ...", str, True)
    dtype: str = option("float32", "of the weights: float32, or bfloat16 with masters", free=True)
    threads: int | None = option(None, "threads for the arithmetic (else all cores)", int, True)
    timeout: float = option(
        600.0, "seconds until a rank that the others wait for is said to hang", free=True
    )
    zero: bool = option(
        False, "keep the optimizer's state once over all ranks, not on each: less memory", free=True
    )
    seed: int = option(1337, "all random numbers follow from it")
    val_fraction: float = option(0.1, "share of the text, its end, kept for validation")

    n_layer: int = option(4, "blocks")
    n_head: int = option(4, "attention heads per block; must divide n_embd")
    n_embd: int = option(128, "width: numbers per position")
    block_size: int = option(64, "longest context, in tokens")
    dropout: float = option(0.0, "share of activations dropped in training")
    bias: bool = option(False, "biases in linear layers and layer norms")
    lora_rank: int = option(0, "train low-rank additions of this rank to attention alone; 0: all")
    lora_alpha: float = option(16.0, "weight of the additions, over their rank")

    max_iters: int = option(1200, "steps", free=True)
    batch_size: int = option(12, "sequences per forward pass")
    shuffle: bool = option(
        False, "each window of the text once per epoch, in an order of the seed; else any place"
    )
    gradient_accumulation_steps: int = option(1, "forward passes per step")
    gradient_checkpointing: bool = option(
        False, "keep one activation per block and compute the rest again: less memory", free=True
    )
    learning_rate: float = option(2e-3, "highest rate, reached after the warm-up")
    min_lr: float = option(1e-4, "rate at the end of the decay")
    warmup_iters: int = option(100, "steps of rising rate")
    lr_decay_iters: int | None = option(
        None, "step at which min_lr is reached (else max_iters)", int
    )
    weight_decay: float = option(0.1, "AdamW's decay of matrices")
    beta1: float = option(0.9, "AdamW's memory of gradients")
    beta2: float = option(0.99, "AdamW's memory of their squares")
    grad_clip: float = option(1.0, "longest gradient, as a norm over all parameters; 0: any")

    eval_interval: int = option(300, "steps between evaluations, samples and checkpoints")
    eval_iters: int = option(20, "batches per evaluation and split")
    log_interval: int = option(10, "steps between lines of metrics", free=True)
    sample_tokens: int = option(200, "length of the sample at each evaluation; 0: none", free=True)
    sample_prompt: str = option("", "how the sample begins (else with a new line)", free=True)

    def __post_init__(self) -> None:
        if self.lr_decay_iters is None:
            object.__setattr__(self, "lr_decay_iters", self.max_iters)
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), field.metadata["kind"]
            if kind is float and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            elif type(value) is not kind and not (value is None and field.default is None):
                message = f"[TrainConfig] {field.name} must be {kind.__name__}, got {value!r}"
                raise TypeError(f"{message}; it is: {field.metadata['help']}")
        for rule, (low, high, names) in RANGES.items():
            for name in names.split():
                value = getattr(self, name)
                if value is not None and not low <= value < high:
                    raise ValueError(f"[TrainConfig] {name} must be {rule}, got {value!r}")
        if self.dtype not in DTYPES:
            known = " or ".join(DTYPES)
            raise ValueError(f"[TrainConfig] dtype must be {known}, got {self.dtype!r}")
        if not self.out:
            raise ValueError("[TrainConfig] out must name a folder, got ''; . is this one")
        if self.min_lr > self.learning_rate:
            message = "[TrainConfig] min_lr must not be above learning_rate"
            raise ValueError(f"{message}, got {self.min_lr} and {self.learning_rate}; swap them?")

    def rate(self, step: int) -> float:
        """The learning rate of a step: a linear rise that is above 0 from the first step on, half a
        cosine down to min_lr (Loshchilov and Hutter, 2016, arXiv 1608.03983), then min_lr."""
        total = self.lr_decay_iters or 0
        lr, low = self.learning_rate, self.min_lr
        return warmup_cosine(step, lr=lr, warmup=self.warmup_iters, total=total, min_lr=low)


DTYPES = ("float32", "bfloat16")

# What is allowed, in words and as low <= value < high.
RANGES: dict[str, tuple[float, float, str]] = {
    "in 1 ... 2**31 - 1": (
        1,
        2**31,
        "n_layer n_head n_embd block_size batch_size gradient_accumulation_steps max_iters "
        "lr_decay_iters eval_interval eval_iters log_interval threads vocab_size",
    ),
    "in 0 ... 2**31 - 1": (0, 2**31, "warmup_iters sample_tokens lora_rank"),
    ">= 0 and finite": (
        0,
        math.inf,
        "min_lr weight_decay grad_clip",
    ),
    "above 0 and finite": (math.ulp(0.0), math.inf, "learning_rate lora_alpha timeout"),
    "in [0, 1)": (0, 1, "dropout beta1 beta2"),
    "above 0 and below 1": (math.ulp(0.0), 1, "val_fraction"),
    "in [0, 2**64)": (0, 2**64, "seed"),
}

MODEL_FIELDS = ("block_size", "n_layer", "n_head", "n_embd", "dropout", "bias")

# Configurations with a name, as far as they differ from the defaults.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"learning_rate": 4e-3},  # a small model and a short run take a high rate
    "shakespeare-cpu": {  # nanoGPT's configuration for a computer without a GPU
        "data": "shakespeare",
        "max_iters": 2000,
        "learning_rate": 1e-3,
        "eval_interval": 250,
    },
    "baby-gpt": {  # nanoGPT's configuration for one GPU
        "data": "shakespeare",
        "n_layer": 6,
        "n_head": 6,
        "n_embd": 384,
        "block_size": 256,
        "dropout": 0.2,
        "batch_size": 64,
        "max_iters": 5000,
        "learning_rate": 1e-3,
        "eval_interval": 250,
        "eval_iters": 200,
    },
}
