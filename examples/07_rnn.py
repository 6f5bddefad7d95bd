"""Step 7: networks that carry a state along the word: RNN, GRU and LSTM.

Where "Building makemore Part 5" ends (54:17), recurrent networks are on the list of what comes
next, and makemore.py has two of them. There is no window any more: a word goes in as a whole, the
state remembers (Elman, 1990; Hochreiter and Schmidhuber, 1997; Cho et al., 2014). A last picture
shows how much a character far back still counts for a prediction: that is what the gates are for.

    python examples/07_rnn.py            # seconds
    python examples/07_rnn.py --full     # 4,000 steps of each
"""

import common
from common import Names, progress

import tinygrad_lm as torch
from tinygrad_lm import nn
from tinygrad_lm.look import viz
from tinygrad_lm.nn import functional as F
from tinygrad_lm.nn.utils import clip_grad_norm_
from tinygrad_lm.optim import AdamW

# Shapes: B words, T characters of the longest, C hidden size, V characters that there are.

EMBEDDING, HIDDEN, BATCH = 32, 128, 64
LAYERS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


class Model(nn.Module):
    """Logits (B, T, V) for what follows each character of ids (B, T), and the last state."""

    def __init__(self, V, kind):
        super().__init__()
        self.embedding = nn.Embedding(V, EMBEDDING)
        self.recurrent = LAYERS[kind](EMBEDDING, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, V)

    def forward(self, ids, state=None):
        h, state = self.recurrent(self.embedding(ids), state)  # (B, T, C)
        return self.output(h), state


def encode(names, words):
    """Ids (N, T): a "." and the word; targets (N, T): the word and a ".", then -1, not counted."""
    T = max(map(len, words)) + 1
    X, Y = [], []
    for word in words:
        ids = [names.stoi[c] for c in word]
        X.append([0, *ids] + [0] * (T - 1 - len(ids)))
        Y.append([*ids, 0] + [-1] * (T - 1 - len(ids)))
    return torch.tensor(X), torch.tensor(Y)


def loss_of(model, X, Y):
    return F.cross_entropy(model(X)[0].flatten(0, 1), Y.flatten(), ignore_index=-1)


def train(model, X, Y, steps, rate=5e-3):
    """The rate falls evenly to a hundredth; long products of the same matrix need a clip."""
    optimizer = AdamW(model.parameters(), lr=rate)
    longest = torch.where(Y >= 0, 1, 0).sum(1)
    for step in progress(steps):
        optimizer.param_groups[0]["lr"] = rate * max(1 - step / steps, 0.01)
        ix = torch.randint(0, len(X), (BATCH,))
        T = longest[ix].max().item()  # no step in time that no word of this batch needs
        loss = loss_of(model, X[ix, :T], Y[ix, :T])
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def whole_loss(model, X, Y, chunk=1024):
    """Over all words, each character weighing the same."""
    total = sum(
        loss_of(model, x, y).item() * (y >= 0).sum().item()
        for x, y in zip(X.split(chunk), Y.split(chunk))
    )
    return total / (Y >= 0).sum().item()


def by_hand(model, ids):
    """The outputs of an RNN, a step at a time: the same weights each time, the state handed on."""
    layer = model.recurrent
    h = torch.zeros(len(ids), HIDDEN)
    outputs = []
    for x in model.embedding(ids).unbind(1):  # (B, E)
        before = x @ layer.weight_ih_l0.T + layer.bias_ih_l0
        h = torch.tanh(before + h @ layer.weight_hh_l0.T + layer.bias_hh_l0)
        outputs.append(h)
    return torch.stack(outputs, 1)


def memory(model, X, T):
    """How strongly the logits after T characters depend on the character k before: the size of
    their gradient in its embedding, k = 0 ... T - 1, in shares of the first."""
    x = model.embedding(X).detach().requires_grad_()
    h, _ = model.recurrent(x)
    direction = torch.randn(len(X), model.output.weight.shape[0])
    (model.output(h[:, T - 1]) * direction).sum().backward()
    sizes = x.grad[:, :T].norm(dim=2).mean(0).tolist()[::-1]
    return [size / sizes[0] for size in sizes]


@torch.no_grad()
def sample(names, model, count=10, longest=30):
    words = []
    for _ in range(count):
        ids, state = [0], None
        while len(ids) == 1 or (ids[-1] and len(ids) <= longest):
            logits, state = model(torch.tensor([ids[-1:]]), state)
            ids.append(torch.multinomial(F.softmax(logits[0, -1], dim=0), 1).item())
        words.append("".join(names.itos[i] for i in ids if i))
    return words


def main():
    args = common.arguments(__doc__, steps=200, full=4_000)
    names = Names(args)
    V = len(names.characters)
    X, Y = encode(names, names.train)
    Xdev, Ydev = encode(names, names.dev)
    floor = names.bigram_loss(names.train, names.dev)
    print(f"a word: {X[0].tolist()}\n next: {Y[0].tolist()}")
    print("the course, for comparison: MLP 2.1701, WaveNet-like tree 1.9937 on dev;", end=" ")
    print("makemore.py's transformer about 1.92 on test")

    longest = sorted(names.dev, key=len)[-200:]
    T = len(longest[0]) + 1  # what all of them have
    curves = {}
    for kind in LAYERS:
        torch.manual_seed(args.seed)
        model = Model(V, kind)
        print(f"\n{kind}: {sum(p.nelement() for p in model.parameters()):,} parameters")
        if kind == "RNN":
            layer = model.recurrent(model.embedding(X[:BATCH]))[0]
            gap = (by_hand(model, X[:BATCH]) - layer).abs().max().item()
            print(f"step by step and as one layer: largest difference {gap:.1e}")
        train(model, X, Y, args.steps)
        common.result(args, f"{kind}: dev", whole_loss(model, Xdev, Ydev), None, floor)
        print("new names:", *sample(names, model))
        curves[kind] = (range(T), memory(model, encode(names, longest)[0], T))
    how = {
        "xlabel": "characters back",
        "yscale": "log",
        "title": "How much a character still counts",
    }
    how["ylabel"] = "gradient, in shares of the newest character's"
    common.picture(args, "07_memory.png", viz.plot_lines, curves, **how)


if __name__ == "__main__":
    main()
