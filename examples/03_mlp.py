"""Step 3: an MLP that reads three characters and predicts the fourth (Bengio et al., 2003).

Follows "Building makemore part 2: MLP": the data as windows (9:03), embedding and hidden layer as
views of one memory (12:19), cross-entropy by hand and fused (29:53), one batch overfitted (37:56),
a learning rate found (45:40), 80/10/10 (53:20), larger layers (1:00:49, 1:07:16), the embeddings as
a picture (1:05:27), new names (1:13:24). The challenge at its end is a dev loss below 2.17.

    python examples/03_mlp.py            # seconds
    python examples/03_mlp.py --full     # 200,000 steps, as in the lecture
"""

from functools import partial
from itertools import product

import common
from common import Names, mean_loss, progress

import tinygrad_lm as torch
from tinygrad_lm.look import viz
from tinygrad_lm.look.study import lr_finder
from tinygrad_lm.nn import functional as F

BLOCK = 3
SIZES = [(2, 100), (2, 300), (10, 200), (15, 300)]  # the lecture's, and one larger
GAINS = [1.0, 0.2]


def new_parameters(V, embedding, hidden, gain=1.0):
    """C (V, embedding), W1, b1, W2, b2. gain 1 is the lecture's plain randn; less makes the first
    guesses less sure of themselves (why that helps is step 4)."""
    C = torch.randn(V, embedding)
    W1, b1 = torch.randn(BLOCK * embedding, hidden), torch.randn(hidden)
    W2, b2 = torch.randn(hidden, V), torch.randn(V)
    W1, b1, W2, b2 = W1 * gain, b1 * gain, W2 * gain, b2 * gain
    parameters = [C, W1, b1, W2, b2]
    for p in parameters:
        p.requires_grad = True
    return parameters


def forward(parameters, X):
    C, W1, b1, W2, b2 = parameters
    emb = C[X]  # (B, BLOCK, embedding)
    h = torch.tanh(emb.view(-1, W1.shape[0]) @ W1 + b1)  # (B, hidden)
    return h @ W2 + b2  # (B, V)


def batch_loss(parameters, X, Y):
    ix = torch.randint(0, X.shape[0], (32,))
    return F.cross_entropy(forward(parameters, X[ix]), Y[ix])


def train(parameters, X, Y, steps, rate):
    """Mini-batches of 32; the second half of the steps with a tenth of the rate."""
    for step in progress(steps):
        loss = batch_loss(parameters, X, Y)
        for p in parameters:
            p.grad = None
        loss.backward()
        lr = rate if step < steps / 2 else rate / 10
        for p in parameters:
            p.data += -lr * p.grad


def look_inside(C, X, Y, characters):
    """The lecture's asides, each as a fact that is checked."""
    print("\nwindows of three characters, and what comes next")
    for x, y in zip(X[:5].tolist(), Y[:5].tolist()):
        print("  ", "".join(characters[i] for i in x), "->", characters[y])

    emb = C[X[:5]]  # (5, 3, E)
    one_hot = F.one_hot(X[:5], num_classes=len(C)).float()
    same = torch.equal(one_hot @ C, emb)
    print("\nlooking up is a matrix product with one-hot rows:", same)

    def compare(what, x):
        memory = x.data_ptr() == emb.data_ptr()
        print(f"{what:9s} stride {x.stride()}: same values {torch.equal(x, flat)},", end=" ")
        print(f"same memory {memory}, contiguous {x.is_contiguous()}")

    flat = emb.view(5, -1)  # (5, 3E): only other strides over the same numbers
    print(f"\n(5, 3, 2) with stride {emb.stride()} as (5, 6)")
    compare("view", flat)
    compare("cat", torch.cat(torch.unbind(emb, 1), 1))
    try:
        emb.transpose(0, 1).view(3, -1)
    except RuntimeError as error:
        print(f"after transpose, view refuses: {error}\n")


def two_cross_entropies(parameters, X, Y):
    """By hand and fused: equal, until a logit is large."""
    logits = forward(parameters, X[:32])
    for shift in (0.0, 100.0):
        counts = (logits + shift).exp()
        prob = counts / counts.sum(1, keepdims=True)
        by_hand = -prob[torch.arange(32), Y[:32]].log().mean()
        fused = F.cross_entropy(logits + shift, Y[:32])
        print(f"cross-entropy, logits + {shift:3.0f}: by hand {by_hand:.4f}, fused {fused:.4f}")


def overfit(parameters, X, Y, steps=300):
    """32 rows and 3481 parameters: only rows with one context and two answers stay wrong."""
    for _ in range(steps):
        loss = F.cross_entropy(forward(parameters, X[:32]), Y[:32])
        for p in parameters:
            p.grad = None
        loss.backward()
        for p in parameters:
            p.data += -0.1 * p.grad
    return loss.item()


def main():
    args = common.arguments(__doc__, steps=3_000, full=200_000)
    names = Names(args)
    V = len(names.characters)
    X, Y = names.windows(names.train, BLOCK)
    print(f"{len(names.words)} words, {V} characters, {len(X)} windows to train on")
    look_inside(torch.randn(V, 2), X, Y, names.characters)

    small = new_parameters(V, embedding=2, hidden=100)
    two_cross_entropies(small, X, Y)
    print(f"one batch of 32 overfitted: loss {overfit(small, X, Y):.4f}, not 0: see the first rows")

    # A rate: too small and nothing moves, too large and it explodes; the valley is between.
    torch.manual_seed(args.seed)
    fresh = new_parameters(V, embedding=10, hidden=200, gain=0.2)
    tries = min(args.steps // 4 + 10, 1000)
    found = lr_finder(fresh, lambda: batch_loss(fresh, X, Y), low=1e-3, high=10, steps=tries)
    print(f"\nlearning rate: the loss is lowest around {found.suggestion:.2f}; we take 0.1")
    common.picture(args, "03_learning_rate.png", viz.plot_lr_finder, found)

    # The lecture's network, judged by the training part alone: dev is for the end.
    torch.manual_seed(args.seed)
    parameters = new_parameters(V, embedding=10, hidden=200)
    train(parameters, X, Y, args.steps, 0.1)
    floor = names.bigram_loss(names.train, names.train)
    ours = mean_loss(partial(forward, parameters), X, Y)
    common.result(args, "MLP, embedding 10, hidden 200: train", ours, 2.1260, floor)

    (embedding, hidden, gain), two_wide = sweep(args, names)
    plot = viz.plot_embeddings
    title = "Characters as two numbers each"
    common.picture(args, "03_embeddings_2d.png", plot, two_wide, names.characters, title=title)

    torch.manual_seed(args.seed)
    parameters = new_parameters(V, embedding, hidden, gain)
    train(parameters, X, Y, args.steps, 0.1)
    print(f"\n{sum(p.nelement() for p in parameters)} parameters")
    Xdev, Ydev = names.windows(names.dev, BLOCK)
    ours = mean_loss(partial(forward, parameters), Xdev, Ydev)  # the one look at dev
    what = f"MLP, embedding {embedding}, hidden {hidden}: dev"
    common.result(args, what, ours, 2.1701, names.bigram_loss(names.train, names.dev))

    title = f"Characters as {embedding} numbers each"
    common.picture(args, "03_embeddings.png", plot, parameters[0], names.characters, title=title)
    print("new names:", *names.sample(partial(forward, parameters), BLOCK))


def sweep(args, names):
    """Which size, and which scale of the initial weights? Every pair is trained for a quarter of
    the steps on nine tenths of the training words and judged by the last tenth; dev is not used.
    Also returns an embedding of two numbers per character, which can be drawn directly."""
    cut = len(names.train) * 9 // 10
    X, Y = names.windows(names.train[:cut], BLOCK)
    Xheld, Yheld = names.windows(names.train[cut:], BLOCK)
    print("\nembedding  hidden  gain  parameters  train   held out")
    tried, two_wide = {}, None
    for (embedding, hidden), gain in product(SIZES, GAINS):
        torch.manual_seed(args.seed)
        parameters = new_parameters(len(names.characters), embedding, hidden, gain)
        train(parameters, X, Y, max(args.steps // 4, 1), 0.1)
        model = partial(forward, parameters)
        losses = mean_loss(model, X, Y), mean_loss(model, Xheld, Yheld)
        tried[embedding, hidden, gain] = losses[1]
        count = sum(p.nelement() for p in parameters)
        row = f"{embedding:9d}  {hidden:6d}  {gain:4.1f}  {count:10d}"
        print(f"{row}  {losses[0]:.4f}  {losses[1]:.4f}", flush=True)
        two_wide = parameters[0] if embedding == 2 else two_wide
    return min(tried, key=tried.get), two_wide


if __name__ == "__main__":
    main()
