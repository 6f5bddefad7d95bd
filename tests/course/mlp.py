"""Three characters predict the next through an embedding and a hidden layer, parameters moved by
hand. Prints shapes, views, losses over mini-batches, splits and samples."""

import random

import torch
import torch.nn.functional as F
from words import make_vocabulary, make_words

words = make_words()
stoi, itos = make_vocabulary(words)
block_size, V = 3, len(stoi)


def build_dataset(words):
    X, Y = [], []
    for w in words:
        context = [0] * block_size
        for ch in w + ".":
            X.append(context)
            Y.append(stoi[ch])
            context = context[1:] + [stoi[ch]]
    return torch.tensor(X), torch.tensor(Y)


random.seed(42)
random.shuffle(words)
n1, n2 = int(0.8 * len(words)), int(0.9 * len(words))
Xtr, Ytr = build_dataset(words[:n1])
Xdev, Ydev = build_dataset(words[n1:n2])
print(Xtr.shape, Ytr.shape, Xdev.shape, Xtr[:3], Xtr.dtype)

g = torch.Generator().manual_seed(2147483647)
C = torch.randn((V, 2), generator=g)
emb = C[Xtr]
print(emb.shape, emb[13, 2], C[Xtr[13, 2]], (F.one_hot(torch.tensor(5), V).float() @ C))
print(torch.cat(torch.unbind(emb, 1), 1).shape, emb.view(-1, 6).shape)
a = torch.arange(18)
print(a.view(2, 9), a.view(3, 3, 2)[1], a.storage_offset(), a.view(9, 2).stride(), a.view(9, 2).t())
print(a.view(3, 6)[1:].storage(), emb[:2].transpose(0, 1).stride())
same = emb.view(-1, 6) == torch.cat([emb[:, 0, :], emb[:, 1, :], emb[:, 2, :]], 1)
print(same.all(), same.dtype)

C = torch.randn((V, 10), generator=g)
W1 = torch.randn((30, 100), generator=g) * 0.2
b1 = torch.randn(100, generator=g)
W2 = torch.randn((100, V), generator=g) * 0.1
b2 = torch.randn(V, generator=g)
parameters = [C, W1, b1, W2, b2]
print(sum(p.nelement() for p in parameters))
for p in parameters:
    p.requires_grad = True

lre = torch.linspace(-3, -1, 40)
lrs = 10**lre
print(lrs[:4], lrs[-1])
lossi = []
for i in range(120):
    ix = torch.randint(0, Xtr.shape[0], (32,), generator=g)
    emb = C[Xtr[ix]]
    h = torch.tanh(emb.view(-1, 30) @ W1 + b1)
    logits = h @ W2 + b2
    loss = F.cross_entropy(logits, Ytr[ix])
    for p in parameters:
        p.grad = None
    loss.backward()
    lr = lrs[i] if i < 40 else 0.1
    for p in parameters:
        p.data += -lr * p.grad
    lossi.append(loss.log10().item())
    if i % 20 == 0:
        print(i, loss.item())
print(torch.tensor(lossi).view(-1, 40).mean(1))

counts = logits.exp()
prob = counts / counts.sum(1, keepdims=True)
print(-prob[torch.arange(32), Ytr[ix]].log().mean(), loss)


@torch.no_grad()
def split_loss(x, y):
    h = torch.tanh(C[x].view(-1, 30) @ W1 + b1)
    return F.cross_entropy(h @ W2 + b2, y)


print("train", split_loss(Xtr, Ytr).item(), "dev", split_loss(Xdev, Ydev))
print(C[:3].data, C.grad[1], W1.std(), h.abs().max(), b2.min().item())

g = torch.Generator().manual_seed(2147483647 + 10)
for _ in range(8):
    out, context = [], [0] * block_size
    while True:
        emb = C[torch.tensor([context])]
        h = torch.tanh(emb.view(1, -1) @ W1 + b1)
        probs = F.softmax(h @ W2 + b2, dim=1)
        ix = torch.multinomial(probs, num_samples=1, generator=g).item()
        context = context[1:] + [ix]
        out.append(ix)
        if ix == 0:
            break
    print("".join(itos[i] for i in out))
