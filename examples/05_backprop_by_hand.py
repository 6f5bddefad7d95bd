"""Step 5: every gradient of an MLP with batch normalisation written out by hand, and compared.

Follows "Building makemore part 4: becoming a backprop ninja": through the graph one operation at
a time (13:01), why the variance divides by n - 1 (1:05:17), the loss and then the batch norm in one
formula each (1:26:31, 1:36:37), and training with no autograd at all (1:50:02). The engine is the
judge: a gradient is right when it is bit for bit the engine's, or differs in the last digits only.

    python examples/05_backprop_by_hand.py            # seconds
    python examples/05_backprop_by_hand.py --full     # 200,000 steps without autograd
"""

import common
from common import Names, mean_loss, progress

import tinygrad_lm as torch
from tinygrad_lm.nn import functional as F

BLOCK, EMBEDDING, EPS = 3, 10, 1e-5


def new_parameters(V, hidden):
    """Small but nowhere 0, so that no mistake can hide behind one."""
    inputs = BLOCK * EMBEDDING
    return {
        "C": torch.randn(V, EMBEDDING),
        "W1": torch.randn(inputs, hidden) * (5 / 3) / inputs**0.5,
        "b1": torch.randn(hidden) * 0.1,  # does nothing: the batch norm subtracts it again
        "W2": torch.randn(hidden, V) * 0.1,
        "b2": torch.randn(V) * 0.1,
        "gain": torch.randn(1, hidden) * 0.1 + 1.0,
        "bias": torch.randn(1, hidden) * 0.1,
    }


def forward_in_steps(C, W1, b1, W2, b2, gain, bias, X, Y):
    """The loss in operations so small that each has a derivative one can look up. Returns every
    intermediate by name, in order."""
    n = len(X)
    emb = C[X]  # (n, BLOCK, EMBEDDING)
    flat = emb.view(n, -1)
    pre = flat @ W1 + b1  # (n, hidden)
    mean = pre.sum(0, keepdim=True) / n
    centred = pre - mean
    squares = centred**2
    var = squares.sum(0, keepdim=True) / (n - 1)  # unbiased: n - 1 differences are free
    inv = (var + EPS) ** -0.5
    normed = centred * inv
    scaled = gain * normed + bias
    h = torch.tanh(scaled)
    logits = h @ W2 + b2  # (n, V)
    top = logits.max(1, keepdim=True).values
    shifted = logits - top  # so that exp cannot overflow
    counts = shifted.exp()
    total = counts.sum(1, keepdim=True)
    share = total**-1
    probs = counts * share
    logprobs = probs.log()
    loss = -logprobs[range(n), Y].mean()
    return {name: x for name, x in locals().items() if name not in ("n", "X", "Y")}


def backward_in_steps(v, X, Y):
    """d loss / d name for everything that `forward_in_steps` made, last to first. A sum in the
    forward pass copies a gradient, a copy (broadcasting) sums it."""
    n, V = v["logits"].shape
    d = {}
    d["logprobs"] = torch.zeros(n, V)
    d["logprobs"][range(n), Y] = -1.0 / n
    d["probs"] = d["logprobs"] / v["probs"]
    d["share"] = (v["counts"] * d["probs"]).sum(1, keepdim=True)
    d["total"] = -(v["total"] ** -2) * d["share"]
    d["counts"] = v["share"] * d["probs"] + d["total"]  # used twice: two contributions
    d["shifted"] = v["counts"] * d["counts"]
    d["top"] = -d["shifted"].sum(1, keepdim=True)  # close to 0: the shift does not matter
    where_max = F.one_hot(v["logits"].max(1).indices, num_classes=V)
    d["logits"] = d["shifted"] + where_max * d["top"]
    d["h"] = d["logits"] @ v["W2"].T
    d["W2"] = v["h"].T @ d["logits"]
    d["b2"] = d["logits"].sum(0)
    d["scaled"] = (1.0 - v["h"] ** 2) * d["h"]
    d["gain"] = (v["normed"] * d["scaled"]).sum(0, keepdim=True)
    d["bias"] = d["scaled"].sum(0, keepdim=True)
    d["normed"] = v["gain"] * d["scaled"]
    d["inv"] = (v["centred"] * d["normed"]).sum(0, keepdim=True)
    d["var"] = -0.5 * (v["var"] + EPS) ** -1.5 * d["inv"]
    d["squares"] = (d["var"] / (n - 1)).expand_as(v["squares"])
    d["centred"] = v["inv"] * d["normed"] + 2 * v["centred"] * d["squares"]
    d["mean"] = -d["centred"].sum(0, keepdim=True)
    d["pre"] = d["centred"] + d["mean"] / n
    d["flat"] = d["pre"] @ v["W1"].T
    d["W1"] = v["flat"].T @ d["pre"]
    d["b1"] = d["pre"].sum(0)
    d["emb"] = d["flat"].view(v["emb"].shape)
    d["C"] = torch.zeros(v["C"].shape)
    for context, rows in zip(X.tolist(), d["emb"]):
        for i, row in zip(context, rows):
            d["C"][i] += row  # a character that occurs twice gets both
    return d


def backward_in_formulas(p, v, X, Y):
    """The same, with the loss and the batch norm each derived on paper as a whole."""
    n, V = v["logits"].shape
    dlogits = F.softmax(v["logits"], 1)
    dlogits[range(n), Y] -= 1
    dlogits /= n
    dscaled = (1.0 - v["h"] ** 2) * (dlogits @ p["W2"].T)
    dgain = (v["normed"] * dscaled).sum(0, keepdim=True)
    dbias = dscaled.sum(0, keepdim=True)
    inner = n * dscaled - dbias - n / (n - 1) * v["normed"] * dgain
    dpre = p["gain"] * v["inv"] / n * inner
    demb = (dpre @ p["W1"].T).view(n * BLOCK, EMBEDDING)
    return {
        "C": F.one_hot(X.view(-1), num_classes=V).float().T @ demb,
        "W1": v["flat"].T @ dpre,
        "b1": dpre.sum(0),
        "W2": v["h"].T @ dlogits,
        "b2": dlogits.sum(0),
        "gain": dgain,
        "bias": dbias,
    }


def compare(name, ours, engine):
    difference = (ours - engine).abs().max().item()
    exact = torch.equal(ours, engine)
    print(f"{name:10s} {'exact' if exact else 'close':6s} largest difference {difference:.1e}")
    return difference


def forward(p, X, stats=None):
    """What training needs of the forward pass; `stats` (mean, var) replaces the batch's."""
    v = {"flat": p["C"][X].view(len(X), -1)}
    pre = v["flat"] @ p["W1"] + p["b1"]
    mean, var = stats or (pre.mean(0, keepdim=True), pre.var(0, keepdim=True))
    v["inv"] = (var + EPS) ** -0.5
    v["normed"] = (pre - mean) * v["inv"]
    v["h"] = torch.tanh(p["gain"] * v["normed"] + p["bias"])
    v["logits"] = v["h"] @ p["W2"] + p["b2"]
    return v


@torch.no_grad()
def train(p, X, Y, steps):
    """No graph is recorded and no backward() called."""
    for step in progress(steps):
        ix = torch.randint(0, X.shape[0], (32,))
        v = forward(p, X[ix])
        gradients = backward_in_formulas(p, v, X[ix], Y[ix])
        lr = 0.1 if step < steps / 2 else 0.01
        for name in p:
            p[name] -= lr * gradients[name]


def main():
    args = common.arguments(__doc__, steps=3_000, full=200_000)
    names = Names(args)
    V = len(names.characters)
    X, Y = names.windows(names.train, BLOCK)

    p = new_parameters(V, hidden=64)
    for x in p.values():
        x.requires_grad = True
    ix = torch.randint(0, X.shape[0], (32,))
    v = forward_in_steps(**p, X=X[ix], Y=Y[ix])
    for x in v.values():
        x.retain_grad()
    v["loss"].backward()
    common.picture(args, "05_graph.svg", torch.draw_graph, v["loss"], p)
    fused = F.cross_entropy(v["logits"], Y[ix])
    print(f"loss {v['loss'].item():.4f}; by F.cross_entropy {fused.item():.4f}\n")
    with torch.no_grad():
        by_hand = backward_in_steps(v, X[ix], Y[ix])
        worst = max(compare(name, by_hand[name], v[name].grad) for name in reversed(by_hand))
        print("\nin one formula for the loss and one for the batch norm")
        short = backward_in_formulas(p, v, X[ix], Y[ix])
        worst = max(worst, *(compare(name, short[name], p[name].grad) for name in short))
    common.result(args, "largest difference of any gradient", worst, 0.0, trained=False)

    torch.manual_seed(args.seed)
    p = new_parameters(V, hidden=200)
    train(p, X, Y, args.steps)
    with torch.no_grad():  # one batch norm for all: the statistics of the whole training part
        pre = p["C"][X].view(len(X), -1) @ p["W1"] + p["b1"]
        stats = pre.mean(0, keepdim=True), pre.var(0, keepdim=True)
    for what, words, reference in (("train", names.train, 2.0668), ("dev", names.dev, 2.1048)):
        ours = mean_loss(lambda x: forward(p, x, stats)["logits"], *names.windows(words, BLOCK))
        floor = names.bigram_loss(names.train, words)
        common.result(args, f"trained without autograd: {what}", ours, reference, floor)


if __name__ == "__main__":
    main()
