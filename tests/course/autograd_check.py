"""A neuron by hand and with PyTorch, as the first lecture checks itself. Prints every value and
gradient."""

import math

import torch


def leaf(x):
    t = torch.Tensor([x]).double()
    t.requires_grad = True
    return t


x1, x2, w1, w2 = leaf(2.0), leaf(0.0), leaf(-3.0), leaf(1.0)
b = leaf(6.8813735870195432)
n = x1 * w1 + x2 * w2 + b
o = torch.tanh(n)
print(o.data.item(), n.dtype, o)
o.backward()
for name, t in [("x2", x2), ("w2", w2), ("x1", x1), ("w1", w1)]:
    print(name, t.grad.item(), t.grad)

# the same through the exponential, with an intermediate gradient kept
n = x1 * w1 + x2 * w2 + b
n.retain_grad()
e = (2 * n).exp()
o = (e - 1) / (e + 1)
for t in (x1, x2, w1, w2):
    t.grad = None
o.backward()
print(o.item(), n.grad, w1.grad.item(), math.isclose(o.item(), math.tanh(n.item())))

# gradients add up, over uses and over calls
a = torch.tensor(3.0, requires_grad=True)
c = a + a
c.backward()
print(a.grad)
d = (a * a + 3 / a - a**3) * 2
d.backward()
print(d, a.grad, a.grad.dtype, a.shape, a.ndim, a.is_leaf, d.is_leaf, d.grad_fn is None)

g = torch.tensor([[1, 2, 3], [4, 5, 6]])
print(g, g.shape, g.dtype, g.float().mean(), g.sum(0), g.sum(1, keepdim=True))
print(torch.randn(2, 2, generator=torch.Generator().manual_seed(1)).double())

# a small net by gradient descent
torch.manual_seed(3)
xs = torch.tensor([[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]])
ys = torch.tensor([1.0, -1.0, -1.0, 1.0])
layers = [(torch.rand(i, j) * 2 - 1, torch.zeros(j)) for i, j in [(3, 4), (4, 4), (4, 1)]]
parameters = [p for layer in layers for p in layer]
for p in parameters:
    p.requires_grad = True
for k in range(20):
    h = xs
    for w, b in layers:
        h = torch.tanh(h @ w + b)
    loss = ((h.view(-1) - ys) ** 2).sum()
    for p in parameters:
        p.grad = None
    loss.backward()
    for p in parameters:
        p.data += -0.1 * p.grad
    print(k, loss.item())
print(h)
