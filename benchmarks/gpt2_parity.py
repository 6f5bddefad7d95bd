"""GPT-2's weights in and out beside transformers: how far apart both are, for five shapes.

    python benchmarks/gpt2_parity.py        # half a minute; needs pip install '.[parity]'

Each model is drawn by transformers, written by it, and read here; then written here and read there
(the last column). Differences are the largest of all: of logits, of gradients of the loss, and of
ten losses on one batch under AdamW. What the tests allow is 1e-4 each.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import harness
import numpy as np

import tinygrad_lm as tl
from tinygrad_lm.models.gpt import GPT
from tinygrad_lm.models.gpt2_files import is_matrix, our_name

SHAPES: dict[str, dict[str, Any]] = {
    "2 layers, 2 heads, 32 wide": {},
    "3 layers, 101 tokens": {"n_layer": 3, "vocab_size": 101},
    "MLP 40 wide, GELU by erf": {"n_inner": 40, "activation_function": "gelu"},
    "8 heads, 64 wide, ReLU": {"n_head": 8, "n_embd": 64, "activation_function": "relu"},
    "4 layers, 6 heads, 96 wide, T 64": {
        "n_layer": 4,
        "n_head": 6,
        "n_embd": 96,
        "n_positions": 64,
    },
}


def apart(ours: Any, theirs: Any) -> float:
    return float(np.abs(ours.detach().numpy() - theirs.detach().numpy()).max())


def measure(shape: dict[str, Any], folder: Path) -> list[str]:
    import torch
    import transformers

    usual = {"vocab_size": 96, "n_positions": 16, "n_layer": 2, "n_head": 2, "n_embd": 32}
    none = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    torch.manual_seed(0)
    config = transformers.GPT2Config(**{**usual, **none, **shape}, bos_token_id=0, eos_token_id=0)
    theirs = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for p in theirs.parameters():
            p += 0.1 * torch.randn(p.shape)
    theirs.save_pretrained(folder / "theirs")
    ours = GPT.from_pretrained(folder / "theirs")
    ours.save_pretrained(folder / "ours")
    back = transformers.GPT2LMHeadModel.from_pretrained(folder / "ours")
    x = np.random.default_rng(0).integers(0, config.vocab_size, (4, config.n_positions))
    y = np.concatenate([x[:, 1:], np.full((4, 1), -1)], 1)
    logits, loss = ours(tl.tensor(x), tl.tensor(y))
    want = theirs(torch.tensor(x), labels=torch.tensor(x))
    with torch.no_grad():
        same = torch.equal(
            back.eval()(torch.tensor(x)).logits, theirs.eval()(torch.tensor(x)).logits
        )
    loss.backward(), want.loss.backward()
    slopes = {our_name(n): p.grad for n, p in theirs.named_parameters()}
    gradient = max(
        apart(p.grad, slopes[n].T if is_matrix(n) else slopes[n])
        for n, p in ours.named_parameters()
    )
    cells = [f"{apart(logits, want.logits):.1e}", f"{gradient:.1e}"]
    steps = {"lr": 1e-3, "weight_decay": 0.1}
    both = [
        (tl.optim.AdamW(ours.parameters(), **steps), lambda: ours(tl.tensor(x), tl.tensor(y))[1]),
        (
            torch.optim.AdamW(theirs.parameters(), **steps),
            lambda: theirs(torch.tensor(x), labels=torch.tensor(x)).loss,
        ),
    ]
    losses: list[list[float]] = [[], []]
    for _ in range(10):
        for row, (optimizer, loss_of) in zip(losses, both):
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
            row.append(loss.item())
    far = max(abs(a - b) for a, b in zip(*losses))
    fall = f"{losses[0][0]:.4f} to {losses[0][-1]:.4f}"
    return [*cells, f"{far:.1e} ({fall})", "bit for bit" if same else "DIFFERENT"]


def main() -> None:
    lines = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, (title, shape) in enumerate(SHAPES.items()):
            lines.append([title, *measure(shape, Path(folder, str(i)))])
    head = ["drawn by transformers", "logits here", "gradients here", "ten losses here"]
    print(harness.markdown([*head, "its logits, back"], lines))
    record = {"machine": harness.machine(), "head": [*head, "its logits, back"], "lines": lines}
    harness.save("gpt2-parity", record)


if __name__ == "__main__":
    main()
