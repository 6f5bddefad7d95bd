"""Step 2: predict a character from the one before it, by counting pairs and then as a net.

Follows "The spelled-out intro to language modeling: building makemore": pairs counted in a table
(12:45) and drawn (18:19), names sampled from it (24:02), rows normalised by broadcasting (36:17),
the loss (50:14) and smoothing (1:00:50); then the same model as one linear layer over one-hot rows
(1:13:53), trained by gradient descent (1:38:36) to the loss that counting gives at once, with
a regulariser as its smoothing (1:50:18).

    python examples/02_bigram.py            # seconds
    python examples/02_bigram.py --full     # 500 steps over all pairs
"""

import math

import common
from common import Names, progress

import tinygrad_lm as torch
from tinygrad_lm.look import viz
from tinygrad_lm.nn import functional as F


def count(names):
    """N[i, j]: how often character j follows character i."""
    V = len(names.characters)
    N = torch.zeros((V, V), dtype=torch.int32).tolist()
    for word in names.words:
        for first, second in zip("." + word, word + "."):
            N[names.stoi[first]][names.stoi[second]] += 1
    return torch.tensor(N)


def sample(names, rows, how_many=10):
    """Words from a table of probabilities: from '.', each next character by the row of the last."""
    words = []
    for _ in range(how_many):
        word, i = "", 0
        while not word or i:
            i = torch.multinomial(rows[i], num_samples=1, replacement=True).item()
            word += names.itos[i]
        words.append(word.removesuffix("."))
    return words


def main():
    args = common.arguments(__doc__, steps=100, full=500)
    names = Names(args)
    V = len(names.characters)
    print(f"{len(names.words)} words of {V} characters, such as", *names.words[:5])

    N = count(names)
    title = "How often one character follows another"
    common.picture(args, "02_bigram.png", viz.plot_counts, N, names.characters, title=title)

    # Counting. (V, V) / (V, 1): keepdim keeps the sums a column, so that each row is divided by its
    # own sum; without it (V,) would broadcast as a row and divide column j by the sum of row j.
    xs, ys = names.windows(names.words, 1)
    xs = xs[:, 0]
    uniform = math.log(V)
    for extra, reference in ((0, 2.454014), (1, 2.454577)):
        P = (N + extra).float()
        P /= P.sum(1, keepdim=True)
        loss = -P[xs, ys].log().mean().item()
        common.result(args, f"bigrams counted, + {extra}", loss, reference, uniform, trained=False)
    torch.manual_seed(args.seed)
    print("names from the counts:", *sample(names, P))
    print("names from nothing:   ", *sample(names, torch.ones(V, V) / V, 3))

    # The same as a net: a one-hot row times W selects a row of W, the logits of what comes next.
    torch.manual_seed(args.seed)
    W = torch.randn((V, V), requires_grad=True)
    counted = F.one_hot(xs, num_classes=V).float()  # (N, V)
    assert torch.equal(counted[:100] @ W, W[xs[:100]])
    how_often = N.float() / N.sum()
    for _ in progress(args.steps):
        # All pairs at once. Equal pairs have equal losses, so that the mean over 228,146 of them is
        # a mean over V x V cells weighted by how often each occurs: the same number, 300 times
        # faster than the one-hot product.
        loss = -(how_often * F.log_softmax(W, dim=1)).sum() + 0.01 * (W**2).mean()
        W.grad = None
        loss.backward()
        W.data += -50 * W.grad
    pairs = F.cross_entropy(W[xs], ys).item()
    print(f"the mean over all {len(xs)} pairs, one by one: {pairs:.4f}")
    common.result(args, "bigram net, with its regulariser", loss.item(), 2.4818, uniform)
    common.result(args, "bigram net, without", pairs, 2.454014, uniform)
    gap = (F.softmax(W, dim=1) - P).abs().max().item()
    print(f"largest difference between its probabilities and the counted ones: {gap:.3f}")
    torch.manual_seed(args.seed)
    print("names from the net:   ", *sample(names, F.softmax(W.detach(), dim=1)))


if __name__ == "__main__":
    main()
