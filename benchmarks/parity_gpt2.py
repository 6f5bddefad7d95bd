"""Whether our GPT and transformers' GPT2LMHeadModel compute the same from one folder of weights, in
both directions: small models of five shapes, made by either and read by the other.

    python benchmarks/parity_gpt2.py

prints a table in markdown, of the largest differences in float32. It measures no time.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
import numpy as np

import tinygrad_lm as tl
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.models.gpt2_files import is_matrix

if not harness.has("transformers"):
    raise SystemExit("[parity_gpt2] transformers must be installed; pip install '.[parity]'")

import torch
import transformers

SHAPES = {
    "GPT-2's own settings": {
        "block_size": 24, "vocab_size": 257, "n_layer": 3, "n_head": 4, "n_embd": 64,
        "activation": "gelu_new",
    },
    "an exact GELU, an odd vocabulary": {
        "block_size": 16, "vocab_size": 97, "n_layer": 2, "n_head": 2, "n_embd": 32,
        "activation": "gelu",
    },
    "ReLU, an MLP of 1.5 widths": {
        "block_size": 20, "vocab_size": 53, "n_layer": 2, "n_head": 3, "n_embd": 24,
        "activation": "relu", "n_inner": 36,
    },
    "SiLU, five heads, an epsilon of 0.01": {
        "block_size": 12, "vocab_size": 31, "n_layer": 4, "n_head": 5, "n_embd": 20,
        "activation": "silu", "layer_norm_epsilon": 1e-2,
    },
    "one head, an MLP of one width": {
        "block_size": 7, "vocab_size": 11, "n_layer": 1, "n_head": 1, "n_embd": 10,
        "activation": "gelu_new", "n_inner": 10, "layer_norm_epsilon": 1e-12,
    },
}  # fmt: skip
INTO, OUT = "theirs, read by us", "ours, read by them"
STEPS, RATE, BATCH = 10, 1e-2, 3


def quiet() -> None:
    """No progress bars from transformers."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def made_by_transformers(shape: dict[str, Any]) -> Any:
    """Their model, of the weights that they begin with, each a little changed: none is 0 or 1."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=shape["vocab_size"],
        n_positions=shape["block_size"],
        **{name: shape[name] for name in ("n_layer", "n_head", "n_embd")},
        n_inner=shape.get("n_inner"),
        activation_function=shape["activation"],
        layer_norm_epsilon=shape.get("layer_norm_epsilon", 1e-5),
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        **dict.fromkeys(("bos_token_id", "eos_token_id")),
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p) / 5
    return model


def made_by_us(shape: dict[str, Any]) -> GPT:
    tl.manual_seed(0)
    model = GPT(GPTConfig(**shape))
    with tl.no_grad():
        for p in model.parameters():
            p += tl.randn_like(p) / 5
    return model


def both(shape: dict[str, Any], direction: str, folder: Path) -> tuple[GPT, Any]:
    """Our model and theirs, with the same weights."""
    if direction == INTO:
        theirs = made_by_transformers(shape)
        theirs.save_pretrained(folder)
        return GPT.from_pretrained(folder), theirs
    ours = made_by_us(shape)
    ours.save_pretrained(folder)
    return ours, transformers.GPT2LMHeadModel.from_pretrained(folder).eval()


def batch(shape: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets (B, T), T = block_size."""
    size = (BATCH, shape["block_size"] + 1)
    ids = np.random.default_rng(0).integers(0, shape["vocab_size"], size)
    return ids[:, :-1], ids[:, 1:]


def their_loss(model: Any, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
    logits = model(torch.tensor(x)).logits
    return logits, torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.tensor(y).flatten()
    )


def gradients(ours: GPT, theirs: Any) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Of every tensor, by name: ours, and theirs in our orientation."""
    other = dict(theirs.named_parameters())
    mine = dict(ours.named_parameters())
    assert mine.keys() == other.keys()
    for name, p in mine.items():
        theirs_too = other[name].grad.numpy()
        yield name, p.grad.numpy(), theirs_too.T if is_matrix(name) else theirs_too


def text_perplexities(ours: GPT, theirs: Any, shape: dict[str, Any]) -> tuple[float, float]:
    """Of ids that follow one another by a rule, in windows of block_size."""
    T, V = shape["block_size"], shape["vocab_size"]
    ids = np.cumsum(np.arange(5 * T + 3) % 7) % V
    nats = [0.0, 0.0]
    with torch.no_grad(), tl.no_grad():
        for a in range(0, len(ids) - 1, T):
            x, y = ids[None, a : a + T][:, : len(ids) - 1 - a], ids[None, a + 1 : a + T + 1]
            nats[0] += ours(tl.tensor(x), tl.tensor(y))[1].item() * y.size
            nats[1] += their_loss(theirs, x, y)[1].item() * y.size
    mine, other = (math.exp(total / (len(ids) - 1)) for total in nats)
    return mine, other


def continuations(ours: GPT, theirs: Any, shape: dict[str, Any]) -> tuple[list, list]:
    """What each writes after three prompts of two tokens, up to the longest context."""
    start, more = batch(shape)[0][:, :2], shape["block_size"] - 2
    written = theirs.generate(
        torch.tensor(start),
        attention_mask=torch.ones(start.shape),
        do_sample=False,
        max_new_tokens=more,
        pad_token_id=0,
    )
    return ours.generate(tl.tensor(start), more, greedy=True).tolist(), written.tolist()


def losses(ours: GPT, theirs: Any, shape: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Of ten steps of AdamW on one batch; both models are others afterwards."""
    x, y = batch(shape)
    found: tuple[list[float], list[float]] = ([], [])
    mine = tl.optim.AdamW(ours.parameters(), lr=RATE)
    other = torch.optim.AdamW(theirs.parameters(), lr=RATE)
    for _ in range(STEPS):
        steps = (
            (mine, ours(tl.tensor(x), tl.tensor(y))[1], found[0]),
            (other, their_loss(theirs, x, y)[1], found[1]),
        )
        for optimizer, loss, kept in steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            kept.append(loss.item())
    return found


def differences(ours: GPT, theirs: Any, shape: dict[str, Any]) -> dict[str, float]:
    """The largest ones, by what they are of; both models are others afterwards."""
    x, y = batch(shape)
    logits, loss = ours(tl.tensor(x), tl.tensor(y))
    their_logits, their = their_loss(theirs, x, y)
    loss.backward()
    their.backward()
    mine, other = text_perplexities(ours, theirs, shape)
    written = continuations(ours, theirs, shape)
    return {
        "logits": float(np.abs(logits.detach().numpy() - their_logits.detach().numpy()).max()),
        "gradients": max(float(np.abs(a - b).max()) for _, a, b in gradients(ours, theirs)),
        "perplexity": abs(mine - other) / other,
        "tokens": float(sum(a != b for rows in zip(*written) for a, b in zip(*rows))),
        "losses": max(abs(a - b) for a, b in zip(*losses(ours, theirs, shape))),
    }


def main() -> None:
    quiet()
    torch.set_num_threads(1)
    lines = []
    for name, shape in SHAPES.items():
        for direction in (INTO, OUT):
            with tempfile.TemporaryDirectory() as folder:
                found = differences(*both(shape, direction, Path(folder)), shape)
            kept = [f"{found[what]:.0e}" for what in ("logits", "gradients", "perplexity")]
            lines.append(
                [name if direction == INTO else "", direction, *kept, f"{found['losses']:.0e}"]
                + [int(found["tokens"])]
            )
    head = ["shape", "weights", "logits", "gradients", "perplexity, relative"]
    print(harness.markdown([*head, f"losses of {STEPS} steps of AdamW", "other tokens"], lines))


if __name__ == "__main__":
    main()
