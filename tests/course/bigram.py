"""Pairs of characters counted in a table, and the same model as one layer of a net. Prints counts,
both losses and sampled names."""

import torch
import torch.nn.functional as F
from words import make_vocabulary, make_words

words = make_words()
stoi, itos = make_vocabulary(words)
V = len(stoi)
N = torch.zeros((V, V), dtype=torch.int32)
for w in words:
    chs = ["."] + list(w) + ["."]
    for ch1, ch2 in zip(chs, chs[1:]):
        N[stoi[ch1], stoi[ch2]] += 1
print(N, N.shape, N.dtype, N[0], N[0].sum(), N[:, 0])

p = N[0].float()
p = p / p.sum()
print(p, p.sum())
g = torch.Generator().manual_seed(2147483647)
r = torch.rand(3, generator=g)
r = r / r.sum()
print(r, torch.multinomial(r, num_samples=100, replacement=True, generator=g))

P = (N + 1).float()
P /= P.sum(1, keepdims=True)
print(P.shape, P[3], P[3].sum())
g = torch.Generator().manual_seed(2147483647)
for _ in range(10):
    out, ix = [], 0
    while True:
        ix = torch.multinomial(P[ix], num_samples=1, replacement=True, generator=g).item()
        out.append(itos[ix])
        if ix == 0:
            break
    print("".join(out))

log_likelihood, n = 0.0, 0
for w in words[:30]:
    chs = ["."] + list(w) + ["."]
    for ch1, ch2 in zip(chs, chs[1:]):
        logprob = torch.log(P[stoi[ch1], stoi[ch2]])
        log_likelihood += logprob
        n += 1
        if n < 4:
            print(f"{ch1}{ch2}: {P[stoi[ch1], stoi[ch2]]:.4f} {logprob:.4f}")
print(f"{log_likelihood=}")
print(f"{-log_likelihood / n}")

xs, ys = [], []
for w in words:
    chs = ["."] + list(w) + ["."]
    for ch1, ch2 in zip(chs, chs[1:]):
        xs.append(stoi[ch1])
        ys.append(stoi[ch2])
xs, ys = torch.tensor(xs), torch.tensor(ys)
num = xs.nelement()
print("number of examples:", num, xs.dtype, xs[:8], ys[:8])
g = torch.Generator().manual_seed(2147483647)
W = torch.randn((V, V), generator=g, requires_grad=True)
for _k in range(15):
    xenc = F.one_hot(xs, num_classes=V).float()
    logits = xenc @ W
    counts = logits.exp()
    probs = counts / counts.sum(1, keepdims=True)
    loss = -probs[torch.arange(num), ys].log().mean() + 0.01 * (W**2).mean()
    print(loss.item())
    W.grad = None
    loss.backward()
    W.data += -50 * W.grad
print(loss, xenc[:2], W.grad[:2, :5])

g = torch.Generator().manual_seed(2147483647)
for _ in range(8):
    out, ix = [], 0
    while True:
        xenc = F.one_hot(torch.tensor([ix]), num_classes=V).float()
        counts = (xenc @ W).exp()
        p = counts / counts.sum(1, keepdims=True)
        ix = torch.multinomial(p, num_samples=1, replacement=True, generator=g).item()
        out.append(itos[ix])
        if ix == 0:
            break
    print("".join(out))
