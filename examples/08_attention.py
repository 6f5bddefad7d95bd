"""Step 8: attention in four versions that compute the same, and where it gets its sense of place.

Follows "Let's build GPT": the past averaged by loops (42:13), matrix products that average (47:11),
their use (51:54), softmax (54:42), self-attention (1:02:00), attention without a notion of space
(1:12:46), why it is scaled (1:16:56). Then positions: none, sines (Vaswani et al., 2017), learned
(1:00:18), each trained in the model with one head that the lecture builds next (1:19:11).

    python examples/08_attention.py            # seconds
    python examples/08_attention.py --full     # 4,500 steps for each kind of position
"""

import math

import common
from common import Text, progress

import tinygrad_lm as torch
from tinygrad_lm import nn
from tinygrad_lm.look import viz
from tinygrad_lm.nn import functional as F
from tinygrad_lm.optim import AdamW

# Shapes: B batch, T time, C channels, D head size, V vocabulary.

C, D = 32, 16


def loop(x):
    """Version 1: position t gets the mean of positions 0 ... t."""
    rows = [torch.stack([row[: t + 1].mean(0) for t in range(len(row))]) for row in x]
    return torch.stack(rows)


def matrix(x):
    """Version 2: a triangle of ones, each row divided by its sum, times x: (T, T) @ (B, T, C)."""
    weights = torch.tril(torch.ones(x.shape[1], x.shape[1]))
    return weights / weights.sum(1, keepdim=True) @ x


def softmax(x):
    """Version 3: the same weights as a softmax of zeros, and -inf where the future is."""
    return F.softmax(closed(torch.zeros(x.shape[1], x.shape[1])), dim=-1) @ x


def closed(scores):
    """Scores (..., T, T), -inf where a position would look ahead."""
    T = scores.shape[-1]
    return scores.masked_fill(torch.tril(torch.ones(T, T)) == 0, -math.inf)


def self_attention(x, key, query, value):
    """Version 4: the scores are what a position asks for times what another one offers."""
    k, q, v = x @ key, x @ query, x @ value  # each (B, T, D)
    scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5  # (B, T, T)
    return F.softmax(closed(scores), dim=-1) @ v


def value_and_gradients(function, *inputs):
    """The output, and the gradient of a fixed mixture of its numbers in each input."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    out = function(*inputs)
    mixture = torch.linspace(-1, 1, out.numel()).view(out.shape)
    (out * mixture).sum().backward()
    return [out.detach(), *(x.grad for x in inputs)]


def compare(args, what, first, second, *inputs):
    """The largest difference in value and in any gradient."""
    pairs = zip(value_and_gradients(first, *inputs), value_and_gradients(second, *inputs))
    gaps = [(a - b).abs().max().item() for a, b in pairs]
    common.result(args, f"{what}: largest difference", gaps[0])
    common.result(args, f"{what}: in gradients", max(gaps[1:]))


def four_versions(args):
    x = torch.randn(4, 8, C)
    zeros, same = torch.zeros(4, 4), torch.tril(torch.ones(4, 4))
    print("ones, of the past alone\n", same, sep="")
    print("each row divided by its sum\n", same / same.sum(1, keepdim=True), sep="")
    print("the scores of version 3\n", closed(zeros), sep="")
    print("their softmax\n", F.softmax(closed(zeros), dim=-1), sep="")
    compare(args, "loop - matrix", loop, matrix, x)
    compare(args, "matrix - softmax", matrix, softmax, x)

    # A query of zeros asks for nothing in particular: self-attention is then the plain average.
    nothing, whole = torch.zeros(C, D), torch.eye(C)
    key, query, value = (torch.randn(C, D) * C**-0.5 for _ in range(3))

    def indifferent(x):
        return self_attention(x, key, nothing, whole)

    compare(args, "softmax - self-attention", softmax, indifferent, x)

    def fused(x, key, query, value):
        return F.scaled_dot_product_attention(x @ query, x @ key, x @ value, is_causal=True)

    compare(args, "self-attention - fused", self_attention, fused, x, key, query, value)
    scores = closed((x @ query) @ (x @ key).transpose(-2, -1) * D**-0.5)
    torch.set_printoptions(precision=2)
    print("who looks where in version 4\n", F.softmax(scores, dim=-1)[0], sep="")
    torch.set_printoptions(precision=4)

    q, k = torch.randn(4, 8, D), torch.randn(4, 8, D)
    products = q @ k.transpose(-2, -1)
    print(f"variance of q . k: {products.var().item():.2f},", end=" ")
    print(f"divided by the root of {D}: {(products * D**-0.5).var().item():.2f}")
    few = [0.1, -0.2, 0.3, -0.2, 0.5]
    print("softmax of", few, "and of eight times that, which nearly looks at one place alone:")
    print(F.softmax(torch.tensor(few), dim=0), F.softmax(8 * torch.tensor(few), dim=0))

    order = torch.randperm(7)
    mixed = torch.cat([x[:, order], x[:, 7:]], 1)
    gap = (self_attention(mixed, key, query, value) - self_attention(x, key, query, value))[:, 7]
    print(f"the past in another order changes the last output by {gap.abs().max().item():.1e}")


def sines(T, width):
    """Positions (T, width) as sines and cosines, from one turn in 6 places to one in 60,000."""
    turn = torch.arange(T)[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([turn.sin(), turn.cos()], 2).flatten(1)


class OneHead(nn.Module):
    """Logits (B, T, V) for ids (B, T) from one head, with positions of a kind."""

    def __init__(self, V, T, kind):
        super().__init__()
        self.tokens = nn.Embedding(V, C)
        learned = nn.Embedding(T, C).weight  # drawn for all kinds: the rest then starts the same
        self.positions = {"learned": learned, "sines": sines(T, C), "no": torch.zeros(T, C)}[kind]
        self.key, self.query, self.value = (nn.Linear(C, C, bias=False) for _ in range(3))
        self.output = nn.Linear(C, V)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions
        weights = self.key.weight.T, self.query.weight.T, self.value.weight.T
        return self.output(self_attention(x, *weights))


def batch_loss(model, text, split, B=32):
    x, y = text.batch(split, B, len(model.positions))
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def train(model, text, steps, rate):
    optimizer = AdamW(model.parameters(), lr=rate)
    for _ in progress(steps):
        loss = batch_loss(model, text, "train")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def positions(args):
    """Does it help to know the place of a character? One head, eight characters."""
    text = Text(args)
    T, floor = 8, text.bigram_loss()
    rate = 1e-3 if args.full else 4e-3  # the lecture's, or faster and rougher
    for kind in ("no", "sines", "learned"):
        torch.manual_seed(args.seed)
        model = OneHead(text.size, T, kind)
        train(model, text, args.steps, rate)
        with torch.no_grad():
            loss = sum(batch_loss(model, text, "val").item() for _ in range(200)) / 200
        what = f"one head, {kind} positions: val"
        common.result(args, what, loss, 2.4084 if kind == "learned" else None, floor)
    pictures = {"sines, 64 positions": sines(64, C), "learned, 8 positions": model.positions}
    common.picture(args, "08_positions.png", draw, pictures)


def draw(tables, path):
    """Tables (T, C) as pictures: a row for each position."""
    figure = viz.new_figure(10, 4)
    for axes, (title, table) in zip(figure.subplots(1, len(tables)), tables.items()):
        limit = table.abs().max().item()
        how = {"cmap": "RdBu", "aspect": "auto", "vmin": -limit, "vmax": limit}
        axes.imshow(table.detach().cpu().numpy(), interpolation="nearest", **how)
        axes.set(xlabel="channel", ylabel="position", title=title)
    figure.savefig(path, dpi=80)
    return figure


def main():
    args = common.arguments(__doc__, steps=1_500, full=4_500, data="shakespeare", seed=1337)
    four_versions(args)
    positions(args)


if __name__ == "__main__":
    main()
