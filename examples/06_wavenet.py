"""Step 6: eight characters joined two by two, as a tree (van den Oord et al., 2016, "WaveNet").

Follows "Building makemore Part 5: Building a WaveNet": the loss curve averaged so that it can be
seen (6:56), layers in containers (9:16), eight characters at once for comparison (19:33), pairs
joined layer by layer (21:36), what a batch norm must average over (38:50), the larger net (46:07).

    python examples/06_wavenet.py            # seconds
    python examples/06_wavenet.py --full     # 200,000 steps
"""

import common
from common import Names, mean_loss, progress

import tinygrad_lm as torch
from tinygrad_lm import nn
from tinygrad_lm.look import viz
from tinygrad_lm.look.study import summary
from tinygrad_lm.nn import functional as F
from tinygrad_lm.optim import SGD

BLOCK = 8
# Name: channels of a character and of a hidden layer, how many neighbours are joined at a time.
# Then the lecture's losses on train and dev.
NETS = {
    "flat": (10, 200, 8),
    "tree": (24, 128, 2),
}
REFERENCES = {"flat": (1.918, 2.027), "tree": (1.7690, 1.9937)}


class Join(nn.Module):
    """(rows, C) to (rows / n, n C): n neighbours become one row.

    The rows of a batch follow each other in memory, position by position, so that joining is a mere
    view. And a batch norm between two of these sees rows, whatever position they are from: it
    averages over batch and time, which the lecture's first version did not.
    """

    def __init__(self, n):
        super().__init__()
        self.n = n

    def forward(self, x):
        return x.view(-1, self.n * x.shape[1])


class Characters(nn.Embedding):
    """(B, T) ids to (B T, C) rows."""

    def forward(self, ids):
        return super().forward(ids).flatten(0, 1)


@torch.no_grad()
def network(V, embedding, hidden, n):
    """Characters, joined n at a time until one row is left of BLOCK, and a layer for its logits."""
    parts, rows, wide = [Characters(V, embedding)], BLOCK, embedding
    while rows > 1:
        linear = nn.Linear(n * wide, hidden, bias=False)
        linear.weight.normal_().mul_((n * wide) ** -0.5)
        parts += [Join(n), linear, nn.BatchNorm1d(hidden), nn.Tanh()]
        rows, wide = rows // n, hidden
    output = nn.Linear(wide, V)
    output.weight.mul_(0.1)  # less sure of itself
    return nn.Sequential(*parts, output)


def train(model, X, Y, steps):
    """The loss of every step; the last quarter has a tenth of the rate."""
    optimizer = SGD(model.parameters(), lr=0.1)
    losses = []
    for step in progress(steps):
        if step == steps * 3 // 4:
            optimizer.param_groups[0]["lr"] = 0.01
        ix = torch.randint(0, X.shape[0], (32,))
        loss = F.cross_entropy(model(X[ix]), Y[ix])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def averaged(losses, parts=200):
    """(steps, means) of that many stretches: the losses of single batches are a thick band."""
    n = max(len(losses) // parts, 1)
    means = torch.tensor(losses[: len(losses) // n * n]).view(-1, n).mean(1).tolist()
    return [n * i + n // 2 for i in range(len(means))], means


def main():
    args = common.arguments(__doc__, steps=2_500, full=200_000)
    names = Names(args)
    V = len(names.characters)
    X, Y = names.windows(names.train, BLOCK)
    Xdev, Ydev = names.windows(names.dev, BLOCK)
    floors = [names.bigram_loss(names.train, words) for words in (names.train, names.dev)]

    x = torch.randn(32, 4, 5)  # a batch of four positions with five channels
    print(
        f"averaged over the batch alone: {tuple(x.mean(0).shape)}: 4 positions x 5 channels;",
        end="",
    )
    print(f" over batch and positions: {tuple(x.mean((0, 1)).shape)}")

    curves = {}
    for what, size in NETS.items():
        torch.manual_seed(args.seed)
        model = network(V, *size)
        print(f"\n{what}: {sum(p.nelement() for p in model.parameters()):,} parameters")
        curves[what] = averaged(train(model, X, Y, args.steps))
        model.eval()  # batch norm by its running statistics
        losses = mean_loss(model, X, Y), mean_loss(model, Xdev, Ydev)
        figures = zip(("train", "dev"), losses, REFERENCES[what], floors)
        for split, ours, reference, floor in figures:
            common.result(args, f"{what}: {split}", ours, reference, floor)
    print("\n" + summary(model, X[:32]))
    how = {
        "xlabel": "step",
        "ylabel": "loss, averaged",
        "title": "Eight characters, flat or as a tree",
    }
    common.picture(args, "06_losses.png", viz.plot_lines, curves, **how)
    print("new names:", *names.sample(model, BLOCK))


if __name__ == "__main__":
    main()
