"""Step 11: a GPT that learns to add, its answers written backwards and the questions not graded.

An exercise that "Let's build GPT" suggests below the video for after its last model (1:37:49), as
minGPT has it. "12+39=150" is read from left to right, and what is to be predicted is the sum with
its last digit first, as one adds on paper: a carry is then known when it is needed. The question
itself is random, and its targets are -1, which the loss leaves out. Each of the two is also undone.

    python examples/11_addition.py                     # two digits, seconds
    python examples/11_addition.py --full --digits 3   # three, 3,000 steps of each
"""

import common
from common import progress

import tinygrad_lm as torch
from tinygrad_lm.look import viz
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.optim import AdamW
from tinygrad_lm.text.generation import generate

PLUS, EQUALS = 10, 11  # the ids of the digits are the digits
BATCH = 64
# Name: is the answer written backwards, is the question left out of the loss?
WAYS = {
    "backwards, answer graded": (True, True),
    "backwards, all graded": (True, False),
    "as usual, answer graded": (False, True),
}


def digits_of(x, n):
    """(N,) numbers to (N, n) digits, the highest first."""
    return x[:, None] // 10 ** torch.arange(n - 1, -1, -1) % 10


def problems(n, count, test):
    """About `count` pairs of n-digit numbers; a tenth of all pairs is kept for the test."""
    a, b = torch.randint(0, 10**n, (2, count))
    kept = (a * 7919 + b * 104_729) % 1009 < 101
    chosen = kept if test else ~kept
    return a[chosen], b[chosen]


def written(a, b, n, backwards):
    """(N, 3 n + 3) ids: a + b = sum, the sum with n + 1 digits."""
    plus, equals = (torch.full((len(a), 1), sign) for sign in (PLUS, EQUALS))
    total = digits_of(a + b, n + 1)
    total = total.flip(1) if backwards else total
    return torch.cat([digits_of(a, n), plus, digits_of(b, n), equals, total], 1)


def train(n, steps, every, backwards, answer_alone, rate=3e-3):
    """A model, and {step: % of unseen problems that it solves}."""
    model = GPT(GPTConfig(3 * n + 2, vocab_size=12, n_layer=2, n_head=4, n_embd=64, bias=False))
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.mul_(4)  # GPT-2 draws its weights for a model twelve times as wide
    optimizer = AdamW(model.parameters(), lr=rate)
    history = {}
    for step in progress(steps + 1):
        if step % every == 0 or step == steps:
            history[step] = accuracy(model, n, backwards)
        optimizer.param_groups[0]["lr"] = rate * max(1 - step / steps, 0.01)
        ids = written(*problems(n, BATCH, test=False), n, backwards)
        x, y = ids[:, :-1].contiguous(), ids[:, 1:].clone()
        if answer_alone:
            y[:, : 2 * n + 1] = -1
        _, loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, history


def accuracy(model, n, backwards, count=2000):
    """% of test problems where every digit is right."""
    right = written(*problems(n, count, test=True), n, backwards)
    asked = right[:, : 2 * n + 2]
    answered = generate(model, asked, n + 1, greedy=True)
    return 100 * (answered == right).all(1).float().mean().item()


def main():
    args = common.arguments(__doc__, 500, 3_000, "", 1337, digits=["2", "3"])
    n, curves = int(args.digits), {}
    a, b = problems(n, 20, test=True)
    print("a row:", " ".join("0123456789+="[i] for i in written(a, b, n, True)[0].tolist()))
    for what, way in WAYS.items():
        torch.manual_seed(args.seed)
        model, history = train(n, args.steps, max(args.steps // 10, 1), *way)
        curves[what] = (list(history), list(history.values()))
        reference = 100.0 if all(way) else None
        chance = 100 / (2 * 10**n - 1)
        common.result(args, f"{what}: % right", history[args.steps], reference, chance)
    how = {"xlabel": "step", "ylabel": "% of unseen problems right"}
    title = f"Sums of two numbers with {n} digits"
    common.picture(args, f"11_addition_{n}.png", viz.plot_lines, curves, title=title, **how)


if __name__ == "__main__":
    main()
