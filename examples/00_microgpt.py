"""Step 0: all of it at once, a GPT of 4,192 numbers that learns names, and then only efficiency.

Follows microgpt (https://karpathy.github.io/2026/02/12/microgpt/): one page with everything that
training a GPT is. Here is its algorithm again, form after form, from numbers that remember how they
were made to kernels: the same losses to the digits printed, in less and less time. The last form,
32 names a step, is another algorithm. What the parts are, and why, is in steps 1 to 9.

    python examples/00_microgpt.py            # 200 names, seconds
    python examples/00_microgpt.py --full     # 1,000 names, and microgpt's own figures beside ours
"""

import math
import os
import random
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from multiprocessing import get_context
from operator import add, mul
from statistics import median
from time import perf_counter

import common

import tinygrad_lm as torch
from tinygrad_lm.look import viz
from tinygrad_lm.micrograd import Value
from tinygrad_lm.nn import functional as F
from tinygrad_lm.optim import Adam

# Shapes: B names, T places in a name, C channels, H heads, D channels of a head, V characters.

C, H, PLACES, BATCH = 16, 4, 16, 32
D, QKV = C // H, ("query", "key", "value")
RATE, BETA1, BETA2, EPS = 0.01, 0.85, 0.99, 1e-8
MANY = f"fused, {BATCH} names a step"
CLOSE = 5e-5  # what four printed digits can tell
FEW = {False: 3, True: 13}  # steps of the scalars, in the fast form and with --full
# What microgpt prints: the losses of some of its 1,000 steps, and 20 new names.
FULL, SEED, PUBLISHED = 1_000, 42, {1: 3.3660, 13: 3.0544, 1_000: 2.6497}
NEW = """kamon ann karai jaire vialan karia yeran anna areli kaina
konna keylen liole alerin earan lenne kana lara alela anton""".split()


def drawn(V):
    """The matrices to be learned, each row the weights of one output, in microgpt's order."""
    shapes = {"token": (V, C), "place": (PLACES, C), "out": (V, C)}
    shapes |= dict.fromkeys((*QKV, "mix"), (C, C)) | {"up": (4 * C, C), "down": (C, 4 * C)}
    return {
        name: [[random.gauss(0, 0.08) for _ in range(columns)] for _ in range(rows)]
        for name, (rows, columns) in shapes.items()
    }


# ------------------------------------------------------------ 1. one number at a time


class Number:
    """A float that knows what it was made of, and how much it moves with each: an engine."""

    __slots__ = ("data", "grad", "parts", "slopes")

    def __init__(self, data, parts=(), slopes=()):
        self.data, self.grad, self.parts, self.slopes = data, 0.0, parts, slopes

    def __add__(self, other):
        if not isinstance(other, Number):
            return Number(self.data + other, (self,), (1.0,))
        return Number(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        if not isinstance(other, Number):
            return Number(self.data * other, (self,), (other,))
        return Number(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, n):
        return Number(self.data**n, (self,), (n * self.data ** (n - 1),))

    def exp(self):
        y = math.exp(self.data)
        return Number(y, (self,), (y,))

    def log(self):
        return Number(math.log(self.data), (self,), (1 / self.data,))

    def relu(self):
        return Number(max(self.data, 0.0), (self,), (float(self.data > 0),))

    def backward(self):
        """The chain rule, from the last number made to the first."""
        order, seen = [], set()

        def visit(number):
            if number not in seen:
                seen.add(number)
                for part in number.parts:
                    visit(part)
                order.append(number)

        visit(self)
        self.grad = 1.0
        for number in reversed(order):
            for part, slope in zip(number.parts, number.slopes):
                part.grad += slope * number.grad


def plus(a, b):
    return list(map(add, a, b))


def dot(a, b):
    return reduce(add, map(mul, a, b))


def times(rows, x):
    return [dot(row, x) for row in rows]


def normed(x):
    """Scaled so that the mean of the squares is 1."""
    scale = (dot(x, x) * (1 / len(x)) + 1e-5) ** -0.5
    return [a * scale for a in x]


def shares(x):
    """Softmax; without the largest taken away first, a large exponential would overflow."""
    largest = max(a.data for a in x)
    exps = [(a + -largest).exp() for a in x]
    scale = reduce(add, exps) ** -1
    return [e * scale for e in exps]


class Scalars:
    """The whole algorithm: a vector is a list of numbers made by `number`, a matrix one of rows."""

    def __init__(self, weights, number):
        self.w = {n: [[number(x) for x in row] for row in rows] for n, rows in weights.items()}
        self.learned = [x for rows in self.w.values() for row in rows for x in row]
        self.begin()

    def begin(self):
        self.steps, self.m, self.v = 0, [0.0] * len(self.learned), [0.0] * len(self.learned)

    def predicted(self, token, place, keys, values):
        """How likely each character is to be the next; keys and values remember the ones before."""
        w = self.w
        x = normed(plus(w["token"][token], w["place"][place]))
        q, k, v = (times(w[n], normed(x)) for n in QKV)
        keys.append(k)
        values.append(v)
        seen = []
        for h in range(0, C, D):
            attention = shares([dot(q[h : h + D], k[h : h + D]) * D**-0.5 for k in keys])
            seen += [dot(attention, [v[i] for v in values]) for i in range(h, h + D)]
        x = plus(x, times(w["mix"], seen))
        hidden = [a.relu() for a in times(w["up"], normed(x))]
        x = plus(x, times(w["down"], hidden))
        return shares(times(w["out"], x))

    def loss(self, ids):
        """The mean of -log p over the characters of a name and its end."""
        keys, values, logs = [], [], []
        for place, (token, following) in enumerate(zip(ids, ids[1:])):
            logs.append(self.predicted(token, place, keys, values)[following].log())
        return reduce(add, logs) * (-1 / len(logs))

    def update(self, rate):
        """Adam (Kingma and Ba, arXiv 1412.6980)."""
        self.steps += 1
        whole1, whole2 = 1 - BETA1**self.steps, 1 - BETA2**self.steps
        for i, p in enumerate(self.learned):
            m = self.m[i] = BETA1 * self.m[i] + (1 - BETA1) * p.grad
            v = self.v[i] = BETA2 * self.v[i] + (1 - BETA2) * p.grad * p.grad
            p.data -= rate * (m / whole1) / ((v / whole2) ** 0.5 + EPS)
            p.grad *= 0

    def step(self, names, rate):
        """Learn from a single name; the loss it had before."""
        loss = self.loss(*names)
        loss.backward()
        self.update(rate)
        return float(loss.data)


# ------------------------------------------------------------ 2. one tensor at a time


def rms_norm(x):
    return x * ((x * x).mean(-1, keepdim=True) + 1e-5) ** -0.5


def softmax(x):
    exps = (x - x.detach().amax(-1, keepdim=True)).exp()
    return exps / exps.sum(-1, keepdim=True)


class PlaceByPlace(Scalars):
    """The same, each list of numbers a tensor. Loss and update are the scalars', unchanged."""

    def __init__(self, weights):
        self.w = {name: torch.tensor(x, requires_grad=True) for name, x in weights.items()}
        self.learned = list(self.w.values())
        self.begin()

    def predicted(self, token, place, keys, values):
        w = self.w
        x = rms_norm(w["token"][token] + w["place"][place])  # (C,)
        q, k, v = (w[n] @ rms_norm(x) for n in QKV)
        keys.append(k)
        values.append(v)
        K, V = torch.stack(keys), torch.stack(values)  # (places so far, C)
        seen = []
        for h in range(0, C, D):
            attention = softmax(K[:, h : h + D] @ q[h : h + D] * D**-0.5)  # (places so far,)
            seen.append(attention @ V[:, h : h + D])
        x = x + w["mix"] @ torch.cat(seen)
        x = x + w["down"] @ (w["up"] @ rms_norm(x)).relu()
        return softmax(w["out"] @ x)  # (V,)


class WholeName(PlaceByPlace):
    """All places and heads of a name at once; a mask keeps each place from seeing later ones."""

    def loss(self, ids):
        w, T = self.w, len(ids) - 1
        x = rms_norm(w["token"][ids[:-1]] + w["place"][:T])  # (T, C)
        q, k, v = ((rms_norm(x) @ w[n].T).view(T, H, D).transpose(0, 1) for n in QKV)  # (H, T, D)
        later = torch.ones(T, T).triu(1) == 1
        scores = (q @ k.transpose(1, 2) * D**-0.5).masked_fill(later, -math.inf)  # (H, T, T)
        seen = (softmax(scores) @ v).transpose(0, 1).reshape(T, C)
        x = x + seen @ w["mix"].T
        x = x + (rms_norm(x) @ w["up"].T).relu() @ w["down"].T
        chances = softmax(x @ w["out"].T)  # (T, V)
        return -chances[torch.arange(T), ids[1:]].log().mean()


# ------------------------------------------------------------ 3. one kernel for several ops


def side_by_side(names, T, device):
    """Ids of names (B, T) and of what follows (B, T), -1 where a name has ended: not counted."""
    X = [ids[:-1] + [0] * (T + 1 - len(ids)) for ids in names]
    Y = [ids[1:] + [-1] * (T + 1 - len(ids)) for ids in names]
    return torch.tensor(X, device=device), torch.tensor(Y, device=device)


class Fused:
    """The library's ops, each several of the above in one, and its Adam. With `fixed`, names are
    filled up to 16 places: all steps are alike, so that a GPU can replay one (on a CPU: as is)."""

    def __init__(self, weights, device="cpu", fixed=False):
        self.device, self.fixed = device, fixed
        self.w = {n: torch.tensor(x, device=device, requires_grad=True) for n, x in weights.items()}
        self.optimizer = Adam(self.w.values(), RATE, (BETA1, BETA2), EPS)
        self.run = torch.capture(self.learn) if fixed else self.learn

    def logits(self, x):
        w, (B, T) = self.w, x.shape
        x = F.rms_norm(F.embedding(x, w["token"]) + w["place"][:T], (C,), eps=1e-5)  # (B, T, C)
        normed = F.rms_norm(x, (C,), eps=1e-5)
        q, k, v = (F.linear(normed, w[n]).view(B, T, H, D).transpose(1, 2) for n in QKV)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + F.linear(seen.transpose(1, 2).reshape(B, T, C), w["mix"])
        hidden = F.linear(F.rms_norm(x, (C,), eps=1e-5), w["up"]).relu()
        return F.linear(x + F.linear(hidden, w["down"]), w["out"])  # (B, T, V)

    def loss(self, x, y):
        return F.cross_entropy(self.logits(x).flatten(0, 1), y.flatten(), ignore_index=-1)

    def learn(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss

    def step(self, names, rate):
        """Learn from any number of names at once; the mean loss of a character before."""
        self.optimizer.param_groups[0]["lr"] = rate
        longest = PLACES if self.fixed else max(map(len, names)) - 1
        return self.run(*side_by_side(names, longest, self.device)).item()

    @torch.no_grad()
    def sample(self, end, temperature=0.5):
        """Ids of a new name after its first end. Python's `random` draws, as in microgpt."""
        ids = [end]
        while len(ids) <= PLACES and (len(ids) == 1 or ids[-1] != end):
            logits = self.logits(torch.tensor([ids]))[0, -1]  # (V,)
            chances = F.softmax(logits / temperature, dim=0).tolist()
            ids += random.choices(range(len(chances)), chances)
        return ids


# ------------------------------------------------------------ the same race for all of them


def train(form, docs, steps, stop=None, batch=1):
    """The first `stop` of `steps` steps: their losses, and the median of their milliseconds."""
    losses, seconds = [], []
    for step in common.progress(min(stop or steps, steps)):
        names = [docs[(step * batch + i) % len(docs)] for i in range(batch)]
        start = perf_counter()
        losses.append(form.step(names, RATE * (1 - step / steps)))
        seconds.append(perf_counter() - start)
    return losses, 1000 * median(seconds)


def in_python(function, *args):
    """A call in a process of its own, whose engine has no C modules: kernels and recorder off."""
    os.environ["TINYGRAD_LM_COMPILED"] = "0"  # read at import: this process has its modules
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def gap_between(form, losses, expected):
    """The largest difference of two losses, which must not be seen in four digits."""
    gaps = [abs(a - b) for a, b in zip(losses, expected)]
    if not all(gap < CLOSE for gap in gaps):
        message = f"[microgpt] {form!r} must have the losses {expected}, got {losses[: len(gaps)]}"
        raise SystemExit(f"{message}; is it another algorithm?")
    return max(gaps)


def race(args, weights, docs):
    """Every form learns from the same names: a row of the table each. Returns how many times faster
    each is, the losses, and the trained models of one name and of BATCH names a step."""
    steps, few = args.steps, FEW[args.full]
    fused, many = Fused(weights), Fused(weights, fixed=True)
    forms = {
        "scalars, micrograd's Value": lambda: train(Scalars(weights, Value), docs, steps, few),
        "scalars, floats (Number)": lambda: train(Scalars(weights, Number), docs, steps, few),
        "tensors, place by place": lambda: train(PlaceByPlace(weights), docs, steps),
        "tensors, a whole name": lambda: train(WholeName(weights), docs, steps),
        "fused ops, without C": lambda: in_python(train, Fused(weights), docs, steps),
        "fused ops": lambda: train(fused, docs, steps),
        "fused, fixed length, captured": lambda: train(Fused(weights, fixed=True), docs, steps),
        MANY: lambda: train(many, docs, steps, batch=BATCH),
    }
    if torch.cuda.is_available():
        one, more = Fused(weights, "cuda", fixed=True), Fused(weights, "cuda", fixed=True)
        forms["captured, on the GPU"] = lambda: train(one, docs, steps)
        forms[f"{MANY}, on the GPU"] = lambda: train(more, docs, steps, batch=BATCH)
    else:
        print("There is no GPU here, so no row of one.")
    print(f"\n{'form':34s}{'ms per step':>11s}{'times faster':>14s}   losses differ by")
    factors, losses = {}, {}
    for form, run in forms.items():
        found, milliseconds = run()
        if not losses:
            first, slowest = found, milliseconds
        if MANY in form:
            factors[form], gap = BATCH * slowest / milliseconds, "(another algorithm)"
        else:
            factors[form], gap = slowest / milliseconds, f"{gap_between(form, found, first):.0e}"
            losses[form] = found
        line = f"{form:34s}{milliseconds:11.3f}{factors[form]:14,.0f}   {gap}"
        common.result(args, f"{form}: times faster", factors[form], line=line)
    return factors, losses, fused, many


def main():
    args = common.arguments(__doc__, steps=200, full=FULL, seed=SEED)
    torch.set_default_device("cpu")  # the table says what is on a GPU
    names = common.Names(args)
    words = names.words.copy()
    random.seed(args.seed)
    random.shuffle(words)
    characters = sorted(set("".join(words)))
    ids, end = {c: i for i, c in enumerate(characters)}, len(characters)
    weights = drawn(end + 1)
    size = sum(len(rows) * len(rows[0]) for rows in weights.values())
    docs = [[end, *map(ids.get, word), end][: PLACES + 1] for word in words]
    cut = int(0.9 * len(docs))
    print(f"{len(words):,} names, {words[0]!r} is {docs[0]}; {size:,} numbers to learn")

    factors, losses, fused, many = race(args, weights, docs[:cut])
    whole = [found for found in losses.values() if len(found) == args.steps]
    apart = max(max(at) - min(at) for at in zip(*whole))
    common.result(args, f"all {args.steps} steps: largest difference", apart)
    same = args.steps == FULL and args.seed == SEED
    for step, published in (PUBLISHED if same else dict.fromkeys((1, args.steps))).items():
        common.result(args, f"loss at step {step}", whole[0][step - 1], published, trained=False)
    new = ["".join(characters[i] for i in fused.sample(end) if i != end) for _ in NEW]
    print("new names:", *new)
    if same:
        shared = sum(a == b for a, b in zip(new, NEW))
        common.result(
            args, "of 20 names, those that microgpt prints", shared, len(NEW), trained=False
        )
    for what, model, seen in (("a name", fused, 1), (f"{BATCH} names", many, BATCH)):
        with torch.no_grad():
            dev = model.loss(*side_by_side(docs[cut:], PLACES, "cpu")).item()
        floor = names.bigram_loss(words[: min(seen * args.steps, cut)], words[cut:])
        common.result(args, f"{what} a step: dev", dev, None, floor)

    title = "How many times faster the same GPT learns"
    how = {"xlabel": "names per second, in multiples of the scalars'", "xscale": "log"}
    common.picture(args, "00_microgpt.png", viz.plot_bars, factors, title=title, **how)


if __name__ == "__main__":
    main()
