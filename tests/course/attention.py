"""Averaging over the past in four ways, from loops to one head of self-attention. Prints the
triangular matrices, whether the versions agree, and gradients."""

import torch
import torch.nn as nn
from torch.nn import functional as F

torch.manual_seed(42)
a = torch.tril(torch.ones(3, 3))
a = a / torch.sum(a, 1, keepdim=True)
b = torch.randint(0, 10, (3, 2)).float()
c = a @ b
print("a=", a, "--", "b=", b, "--", "c=", c, sep="\n")

torch.manual_seed(1337)
B, T, C = 4, 8, 2
x = torch.randn(B, T, C)
print(x.shape)
xbow = torch.zeros((B, T, C))
for i in range(B):
    for t in range(T):
        xprev = x[i, : t + 1]
        xbow[i, t] = torch.mean(xprev, 0)
wei = torch.tril(torch.ones(T, T))
wei = wei / wei.sum(1, keepdim=True)
xbow2 = wei @ x
tril = torch.tril(torch.ones(T, T))
wei = torch.zeros((T, T))
wei = wei.masked_fill(tril == 0, float("-inf"))
print(wei)
wei = F.softmax(wei, dim=-1)
xbow3 = wei @ x
print(wei)
print(torch.allclose(xbow, xbow2, atol=1e-6), torch.allclose(xbow, xbow3, atol=1e-6), xbow[0])

torch.manual_seed(1337)
B, T, C = 4, 8, 32
x = torch.randn(B, T, C)
head_size = 16
key = nn.Linear(C, head_size, bias=False)
query = nn.Linear(C, head_size, bias=False)
value = nn.Linear(C, head_size, bias=False)
k, q = key(x), query(x)
wei = q @ k.transpose(-2, -1)
wei = wei.masked_fill(tril == 0, float("-inf"))
wei = F.softmax(wei, dim=-1)
v = value(x)
out = wei @ v
print(out.shape, wei[0])

k = torch.randn(B, T, head_size)
q = torch.randn(B, T, head_size)
wei = q @ k.transpose(-2, -1) * head_size**-0.5
print(k.var(), q.var(), wei.var())
print(torch.softmax(torch.tensor([0.1, -0.2, 0.3, -0.2, 0.5]), dim=-1))
print(torch.softmax(torch.tensor([0.1, -0.2, 0.3, -0.2, 0.5]) * 8, dim=-1))

q, k = q.requires_grad_(), k.requires_grad_()
slow = (q @ k.transpose(-2, -1) * head_size**-0.5).masked_fill(tril == 0, float("-inf"))
slow = F.softmax(slow, dim=-1) @ v
fast = F.scaled_dot_product_attention(q, k, v, is_causal=True)
print(torch.allclose(slow, fast, atol=1e-5), slow.sum())
slow.sum().backward(retain_graph=True)
print(q.grad[0, :3, :4], key.weight.grad, value.weight.grad)


class LayerNorm:
    def __init__(self, dim, eps=1e-5):
        self.eps = eps
        self.gamma, self.beta = torch.ones(dim), torch.zeros(dim)

    def __call__(self, x):
        xhat = (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True) + self.eps)
        return self.gamma * xhat + self.beta


torch.manual_seed(1337)
x = LayerNorm(100)(torch.randn(32, 100))
print(x.shape, x[:, 0].mean(), x[:, 0].std(), x[0, :].mean().abs() < 1e-6, x[0, :].std())

# positions as sines
pe = torch.zeros(6, 8)
position = torch.arange(0, 6, dtype=torch.float).unsqueeze(1)
div_term = torch.exp(torch.arange(0, 8, 2).float() * (-torch.log(torch.tensor(10000.0)) / 8))
pe[:, 0::2] = torch.sin(position * div_term)
pe[:, 1::2] = torch.cos(position * div_term)
print(pe)
