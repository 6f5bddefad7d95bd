"""Step 4: what flows forward and back through the MLP of step 3, and how the start decides it.

Follows "Building makemore part 3: activations & gradients, BatchNorm": the loss before training
(4:19), saturated tanh (12:59), Kaiming initialisation (27:53), batch normalisation (40:40); then
the pictures of a deeper net, forward (1:26:51), backward (1:30:54), its weights (1:36:15) and the
size of the updates over time (1:39:55), without and with batch norm (1:46:04).

    python examples/04_activations.py            # seconds
    python examples/04_activations.py --full     # four networks, 200,000 steps each
"""

import math
from functools import partial

import common
from common import Names, mean_loss, progress

import tinygrad_lm as torch
from tinygrad_lm import nn
from tinygrad_lm.look import viz
from tinygrad_lm.look.study import activation_stats, summary
from tinygrad_lm.nn import functional as F
from tinygrad_lm.optim import SGD

BLOCK, EMBEDDING, HIDDEN = 3, 10, 200
KAIMING = (5 / 3) / (BLOCK * EMBEDDING) ** 0.5  # keeps the variance of tanh's inputs at about 1

# What the lecture changes, one thing at a time: how large W1, b1, W2 and b2 are drawn, and a batch
# norm; then its losses on train and dev.
VARIANTS = {
    "as in step 3": ((1.0, 1.0, 1.0, 1.0), False, 2.1260, 2.1701),
    "+ quiet output": ((1.0, 1.0, 0.01, 0.0), False, 2.07, 2.13),
    "+ Kaiming": ((KAIMING, 0.01, 0.01, 0.0), False, 2.0377, 2.1070),
    "+ batch norm": ((KAIMING, None, 0.01, 0.0), True, 2.0668, 2.1048),
}
# The deep net: what its weights are scaled by, and whether a batch norm repairs that.
DEEP = [("half", 0.5, False), ("half_norm", 0.5, True), ("kaiming", 5 / 3, False)]


@torch.no_grad()
def network(V, scales, batch_norm):
    """Embedding, hidden layer, output; a batch norm has a bias of its own and makes b1 useless."""
    embedding = nn.Embedding(V, EMBEDDING)
    hidden = nn.Linear(BLOCK * EMBEDDING, HIDDEN, bias=not batch_norm)
    norm = [nn.BatchNorm1d(HIDDEN, momentum=0.001)] if batch_norm else []
    output = nn.Linear(HIDDEN, V)
    for p, scale in zip((hidden.weight, hidden.bias, output.weight, output.bias), scales):
        if p is not None:
            p.normal_().mul_(scale)
    return nn.Sequential(embedding, nn.Flatten(), hidden, *norm, nn.Tanh(), output)


@torch.no_grad()
def deep_network(V, gain, batch_norm, hidden=100, layers=5):
    """`layers` tanh layers, their weights drawn with gain / sqrt(inputs)."""
    parts = [nn.Embedding(V, EMBEDDING), nn.Flatten()]
    wide = BLOCK * EMBEDDING
    for _ in range(layers):
        linear = nn.Linear(wide, hidden, bias=not batch_norm)
        linear.weight.normal_().mul_(gain / wide**0.5)
        parts += [linear, *([nn.BatchNorm1d(hidden)] if batch_norm else []), nn.Tanh()]
        wide = hidden
    output = nn.Linear(wide, V)
    output.weight.mul_(0.1)  # less sure of itself
    return nn.Sequential(*parts, output)


def batch_loss(model, X, Y):
    ix = torch.randint(0, X.shape[0], (32,))
    return F.cross_entropy(model(X[ix]), Y[ix])


def train(model, X, Y, steps):
    optimizer = SGD(model.parameters(), lr=0.1)
    for step in progress(steps):
        optimizer.param_groups[0]["lr"] = 0.1 if step < steps / 2 else 0.01
        loss = batch_loss(model, X, Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def compare_starts(args, names, X, Y):
    """The four networks: before training, trained, and how many tanh outputs were flat."""
    Xdev, Ydev = names.windows(names.dev, BLOCK)
    floors = [names.bigram_loss(names.train, words) for words in (names.train, names.dev)]
    before = []
    for what, (scales, batch_norm, *references) in VARIANTS.items():
        torch.manual_seed(args.seed)
        model = network(len(names.characters), scales, batch_norm)
        stats = activation_stats(model, partial(batch_loss, model, X, Y), (nn.Tanh,))[0]
        before.append(stats._replace(name=what, kind=""))
        start = mean_loss(model, X, Y)
        count = sum(p.nelement() for p in model.parameters())
        print(f"\n{what}: {count} parameters, loss before training {start:.4f}", end="")
        print(f" (ln {len(names.characters)} = {math.log(len(names.characters)):.4f}),", end=" ")
        print(f"{stats.saturated:.0%} of tanh outputs beyond 0.97")
        train(model, X, Y, args.steps)
        model.eval()  # batch norm by its running statistics
        losses = mean_loss(model, X, Y), mean_loss(model, Xdev, Ydev)
        for split, ours, reference, floor in zip(("train", "dev"), losses, references, floors):
            common.result(args, f"{what}: {split}", ours, reference, floor)
    how = {"title": "Outputs of the hidden layer before training", "gradients": False}
    common.picture(args, "04_starts.png", viz.plot_stats, before, **how)
    print("new names:", *names.sample(model, BLOCK))


def look_into_depth(args, names, X, Y):
    """Five tanh layers: does the signal keep its size on the way, and does the gradient?"""
    V = len(names.characters)
    for name, gain, batch_norm in DEEP:
        torch.manual_seed(args.seed)
        model = deep_network(V, gain, batch_norm)
        title = f"Five tanh layers, gain {gain:.3g}" + ", batch norm" * batch_norm
        stats = activation_stats(model, partial(batch_loss, model, X, Y), (nn.Tanh,))
        common.picture(args, f"04_layers_{name}.png", viz.plot_stats, stats, title=title)
        first, last = stats[0], stats[-1]
        print(f"{title}: last layer / first layer, std", end=" ")
        print(f"of outputs {last.values.std() / first.values.std():.2f},", end=" ")
        print(f"of gradients {last.grads.std() / first.grads.std():.2f}")
    print("\n" + summary(model, X[:32]))
    return model


def watch_updates(args, model, X, Y, rate=0.1):
    """Do all layers learn at the same pace? A thousandth of itself per step suits most weights."""
    weights = {n: p for n, p in model.named_parameters() if p.ndim == 2 and n != "0.weight"}
    ratios = {n: [] for n in weights}
    optimizer = SGD(model.parameters(), lr=rate)
    for _ in progress(min(args.steps, 1000)):
        optimizer.zero_grad()
        batch_loss(model, X, Y).backward()
        optimizer.step()
        with torch.no_grad():
            for n, p in weights.items():
                ratios[n].append(math.log10((rate * p.grad.std() / p.std()).item()))
    print("\nweights    std     gradient / weight    update / weight, log10 of the average")
    for n, p in weights.items():
        share, mean = (p.grad.std() / p.std()).item(), sum(ratios[n]) / len(ratios[n])
        print(f"{n:9s}  {p.std().item():.4f}  {share:.1e}              {mean:.2f}")
    lines = {n: (range(len(values)), values) for n, values in ratios.items()}
    how = {"xlabel": "step", "ylabel": "log10 of (std of update / std of weight)"}
    how["title"] = "How far a step moves the weights"
    marks = {"a thousandth": -3}
    common.picture(args, "04_updates.png", viz.plot_lines, lines, marks=marks, **how)


def main():
    args = common.arguments(__doc__, steps=1_500, full=200_000)
    names = Names(args)
    X, Y = names.windows(names.train, BLOCK)
    model = look_into_depth(args, names, X, Y)
    watch_updates(args, model, X, Y)
    compare_starts(args, names, X, Y)


if __name__ == "__main__":
    main()
