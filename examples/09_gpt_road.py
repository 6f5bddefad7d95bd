"""Step 9: the road from pairs of characters to a GPT, one addition per stage, on tiny Shakespeare.

Follows "Let's build GPT: from scratch, in code, spelled out": bigrams (22:11, as a script 38:00),
one head of self-attention (1:19:11), several heads (1:21:59), a feed-forward layer (1:24:25), three
blocks of both, which alone make it worse, and residual connections, which repair that (1:26:48),
layer norm (1:32:51), a larger model (1:37:49). Each stage keeps what the stages before it added.
Seeds give the lecture's own numbers. The last stage, 10.8 million parameters, is for a GPU:
`--stage large --device cuda --full`.

    python examples/09_gpt_road.py                        # the stage called full, in seconds
    python examples/09_gpt_road.py --full --stage head    # one stage, at the lecture's length
"""

from typing import NamedTuple

import common
from common import Text, progress

import tinygrad_lm as torch
from tinygrad_lm import nn
from tinygrad_lm.look import viz
from tinygrad_lm.nn import functional as F
from tinygrad_lm.optim import AdamW
from tinygrad_lm.text.generation import generate

# Shapes: B batch, T time, C channels, H heads, D head size, V vocabulary.


class Stage(NamedTuple):
    """Sizes, and the losses of the lecture's last evaluation after that many steps."""

    B: int
    block_size: int  # T; `generate` asks for it by this name
    C: int
    H: int
    blocks: int
    rate: float
    steps: int
    every: int  # steps between evaluations
    train: float
    val: float
    dropout: float = 0.0


ROAD = {
    "bigram": Stage(32, 8, 0, 0, 0, 1e-2, 2700, 300, 2.4738, 2.4911),
    "head": Stage(32, 8, 32, 1, 1, 1e-3, 4500, 500, 2.3980, 2.4084),
    "multihead": Stage(32, 8, 32, 4, 1, 1e-3, 4500, 500, 2.2748, 2.2858),
    "feedforward": Stage(32, 8, 32, 4, 1, 1e-3, 4500, 500, 2.2282, 2.2409),
    "blocks": Stage(32, 8, 32, 4, 3, 1e-3, 4500, 500, 2.3178, 2.3336),
    "residual": Stage(32, 8, 32, 4, 3, 1e-3, 4500, 500, 1.9995, 2.0822),
    "layernorm": Stage(32, 8, 32, 4, 3, 1e-3, 4500, 500, 1.9795, 2.0595),
    "full": Stage(16, 32, 64, 4, 4, 1e-3, 4999, 100, 1.6643, 1.8226),
    "large": Stage(64, 256, 384, 6, 6, 3e-4, 5000, 500, 1.07, 1.48, 0.2),
}


class Attention(nn.Module):
    """Each position gathers from itself and those before it, in H heads at once."""

    def __init__(self, stage, project):
        super().__init__()
        self.H, self.p = stage.H, stage.dropout
        # The keys, queries and values of all heads in one product; its rows are drawn in the order
        # in which separate layers, head by head, would draw theirs.
        self.heads = nn.Linear(stage.C, 3 * stage.C, bias=False)
        self.proj = nn.Linear(stage.C, stage.C) if project else nn.Identity()

    def forward(self, x):
        B, T, C = x.shape
        heads = self.heads(x).view(B, T, self.H, 3, C // self.H).permute(3, 0, 2, 1, 4)
        k, q, v = heads.unbind(0)  # each (B, H, T, D)
        # The lecture divides by the root of C here, where that of D would keep the variance at 1.
        how = {"is_causal": True, "scale": C**-0.5, "dropout_p": self.p if self.training else 0.0}
        out = F.scaled_dot_product_attention(q, k, v, **how)  # step 8 writes this out
        return self.proj(out.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    """Attention to communicate, then a layer for each position to think by itself."""

    def __init__(self, stage, has):
        super().__init__()
        C, inner = stage.C, (4 if "residual" in has else 1) * stage.C
        self.attention = Attention(stage, project="residual" in has)
        self.think = None
        if "feedforward" in has:
            self.think = nn.Sequential(nn.Linear(C, inner), nn.ReLU())
            if "residual" in has:
                self.think.append(nn.Linear(inner, C))
        self.norms = nn.ModuleList(new_norm(C, has) for _ in range(2))
        self.drop, self.residual = nn.Dropout(stage.dropout), "residual" in has

    def forward(self, x):
        for norm, part in zip(self.norms, (self.attention, self.think)):
            if part:
                y = self.drop(part(norm(x)))
                x = x + y if self.residual else y
        return x


def new_norm(C, has):
    return nn.LayerNorm(C) if "layernorm" in has else nn.Identity()


class Model(nn.Module):
    """Logits (B, T, V) for ids (B, T): a table of pairs, or embeddings, blocks and a last layer."""

    def __init__(self, stage, has, V):
        super().__init__()
        self.config = stage
        self.tokens = nn.Embedding(V, stage.C or V)
        self.road = None
        if "head" in has:
            self.positions = nn.Embedding(stage.block_size, stage.C)
            blocks = [Block(stage, has) for _ in range(stage.blocks)]
            self.road = nn.Sequential(*blocks, new_norm(stage.C, has), nn.Linear(stage.C, V))

    def forward(self, ids):
        x = self.tokens(ids)
        if self.road is None:
            return x
        return self.road(x + self.positions.weight[: ids.shape[1]])


def batch_loss(model, text, split):
    x, y = text.batch(split, model.config.B, model.config.block_size)
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


@torch.no_grad()
def estimate(model, text, batches):
    """Mean losses over fresh batches of both splits."""
    model.eval()
    means = {}
    for split in ("train", "val"):
        means[split] = sum(batch_loss(model, text, split).item() for _ in range(batches)) / batches
    model.train()
    return means


def train(model, text, rate, steps, every, batches):
    """{step: losses} every so many steps and after the last one."""
    optimizer = AdamW(model.parameters(), lr=rate)
    history = {}
    for step in progress(steps + 1):
        if step % every == 0 or step == steps:
            history[step] = estimate(model, text, batches)
        if step < steps:
            loss = batch_loss(model, text, "train")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return history


def main():
    # `full` is what --help calls the length; every stage has its own, a few steps less.
    names = ["full", *(name for name in ROAD if name != "full")]
    args = common.arguments(__doc__, 300, 5_000, "shakespeare", 1337, stage=names)
    stage, order = ROAD[args.stage], list(ROAD)
    has = order[: order.index(args.stage) + 1]
    plan = 3 * stage.rate, args.steps, max(args.steps // 4, 1), 20  # faster and rougher
    if args.full:
        plan = stage.rate, stage.steps, stage.every, 200
    text = Text(args)
    torch.manual_seed(args.seed)
    model = Model(stage, has, text.size)
    print(f"{args.stage}: {sum(p.nelement() for p in model.parameters()):,} parameters")
    if args.stage == "large" and args.device == "cpu":
        raise SystemExit(
            "[--device] large must train on a GPU, got cpu, where one step takes seconds; "
            "add --device cuda, or take --stage full?"
        )
    history = train(model, text, *plan)
    last = history[max(history)]
    floor = text.bigram_loss()
    for split in ("train", "val"):
        what = f"{args.stage}: {split}"
        common.result(args, what, last[split], getattr(stage, split), floor)
    if args.stage == "full":
        print(
            "the lecture's 10.79 million parameters on a GPU (--stage large --device cuda --full):"
        )
        print("   reference 1.07 on train, about 1.48 on val")
    curves = {s: (list(history), [losses[s] for losses in history.values()]) for s in last}
    how = {"marks": {"the lecture: val": stage.val}, "xlabel": "step", "ylabel": "loss, nats"}
    common.picture(
        args, f"09_{args.stage}.png", viz.plot_lines, curves, title=f"Stage {args.stage}", **how
    )
    start = torch.zeros((1, 1), dtype=torch.long)
    written = generate(model, start, 200)[0].tolist()
    print(text.tokenizer.decode(written).strip("\n"))


if __name__ == "__main__":
    main()
