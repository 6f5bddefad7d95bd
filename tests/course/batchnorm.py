"""A deep net of own layer classes with Kaiming initialisation and batch normalisation, looked at
through histograms, saturation and update ratios. Prints statistics, losses and samples."""

import torch
import torch.nn.functional as F
from words import make_vocabulary, make_words

words = make_words()
stoi, itos = make_vocabulary(words)
block_size, V = 3, len(stoi)
X, Y = [], []
for w in words:
    context = [0] * block_size
    for ch in w + ".":
        X.append(context)
        Y.append(stoi[ch])
        context = context[1:] + [stoi[ch]]
X, Y = torch.tensor(X), torch.tensor(Y)
g = torch.Generator().manual_seed(2147483647)


class Linear:
    def __init__(self, fan_in, fan_out, bias=True):
        self.weight = torch.randn((fan_in, fan_out), generator=g) / fan_in**0.5
        self.bias = torch.zeros(fan_out) if bias else None

    def __call__(self, x):
        self.out = x @ self.weight
        if self.bias is not None:
            self.out += self.bias
        return self.out

    def parameters(self):
        return [self.weight] + ([] if self.bias is None else [self.bias])


class BatchNorm1d:
    def __init__(self, dim, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = torch.ones(dim), torch.zeros(dim)
        self.running_mean, self.running_var = torch.zeros(dim), torch.ones(dim)

    def __call__(self, x):
        if self.training:
            xmean, xvar = x.mean(0, keepdim=True), x.var(0, keepdim=True)
        else:
            xmean, xvar = self.running_mean, self.running_var
        xhat = (x - xmean) / torch.sqrt(xvar + self.eps)
        self.out = self.gamma * xhat + self.beta
        if self.training:
            with torch.no_grad():
                self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * xmean
                self.running_var = (1 - self.momentum) * self.running_var + self.momentum * xvar
        return self.out

    def parameters(self):
        return [self.gamma, self.beta]


class Tanh:
    def __call__(self, x):
        self.out = torch.tanh(x)
        return self.out

    def parameters(self):
        return []


n_embd, n_hidden = 10, 40
C = torch.randn((V, n_embd), generator=g)
layers = []
for fan_in, fan_out in [(n_embd * block_size, n_hidden), (n_hidden, n_hidden), (n_hidden, V)]:
    layers += [Linear(fan_in, fan_out, bias=False), BatchNorm1d(fan_out)]
    layers += [Tanh()] if fan_out == n_hidden else []
with torch.no_grad():
    layers[-1].gamma *= 0.1
    for layer in layers[:-1]:
        if isinstance(layer, Linear):
            layer.weight *= 5 / 3
parameters = [C] + [p for layer in layers for p in layer.parameters()]
print(sum(p.nelement() for p in parameters))
for p in parameters:
    p.requires_grad = True

ud = []
for i in range(60):
    ix = torch.randint(0, X.shape[0], (32,), generator=g)
    emb = C[X[ix]]
    x = emb.view(emb.shape[0], -1)
    for layer in layers:
        x = layer(x)
    loss = F.cross_entropy(x, Y[ix])
    for layer in layers:
        layer.out.retain_grad()
    for p in parameters:
        p.grad = None
    loss.backward()
    lr = 0.1
    for p in parameters:
        p.data += -lr * p.grad
    with torch.no_grad():
        ud.append([((lr * p.grad).std() / p.data.std()).log10().item() for p in parameters])
    if i % 10 == 0:
        print(f"{i:3d} {loss.item():.4f}")

for i, layer in enumerate(layers[:-1]):
    if isinstance(layer, Tanh):
        t = layer.out
        print(
            f"layer {i}: mean {t.mean():+.2f}, std {t.std():.2f}, "
            f"saturated: {(t.abs() > 0.97).float().mean() * 100:.2f}%"
        )
        hy, hx = torch.histogram(t, density=True)
        print(hy.shape, hx[:-1].detach()[:3], hy.detach()[50])
        hy, hx = torch.histogram(layer.out.grad, bins=7)
        print(hy, hx)
for p in parameters:
    if p.ndim == 2:
        t = p.grad
        ratio = t.std() / p.std()
        print(f"weight {tuple(p.shape)} | mean {t.mean():+f} | std {t.std():e} | {ratio:e}")
print([f"{sum(row[j] for row in ud) / len(ud):.3f}" for j in range(len(parameters))])

x, y = torch.randn(1000, 10, generator=g), torch.randn(10, 200, generator=g) / 10**0.5
print(x.mean(), x.std(), (x @ y).mean(), (x @ y).std())

for layer in layers:
    layer.training = False
print(layers[1].running_mean[0, :5], layers[1].running_var[0, :5])
for _ in range(6):
    out, context = [], [0] * block_size
    while True:
        x = C[torch.tensor([context])].view(1, -1)
        for layer in layers:
            x = layer(x)
        probs = F.softmax(x, dim=1)
        ix = torch.multinomial(probs, num_samples=1, generator=g).item()
        context = context[1:] + [ix]
        if ix == 0 or len(out) > 12:
            break
        out.append(itos[ix])
    print("".join(out))
