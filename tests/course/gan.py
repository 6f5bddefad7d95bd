"""A generator of small pictures and a critic, with the gradient penalty of WGAN-GP (a second
derivative), then one step of learning to learn (MAML) and a Hessian."""

import torch
import torch.nn as nn
from torch import autograd, optim

torch.manual_seed(5)


def weights_init(m):
    name = m.__class__.__name__
    if name.find("Conv") != -1:
        torch.nn.init.normal_(m.weight, 0.0, 0.1)
    elif name.find("BatchNorm") != -1:
        m.weight.data.normal_(1.0, 0.02)
        m.bias.data.fill_(0)


class Generator(nn.Module):
    def __init__(self, nz=4, ngf=4):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.main(z)


class Critic(nn.Module):
    def __init__(self, ndf=4):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, 1, 4, 1, 0, bias=False),
        )

    def forward(self, x):
        return self.main(x).view(-1)


def penalty(critic, real, fake):
    alpha = torch.rand(real.size(0), 1, 1, 1)
    mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    scores = critic(mixed)
    grads = autograd.grad(
        outputs=scores,
        inputs=mixed,
        grad_outputs=torch.ones(scores.size()),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    return ((grads.view(grads.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()


G, D = Generator(), Critic()
G.apply(weights_init)
D.apply(weights_init)
optG = optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.9))
optD = optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.9))
real = torch.sin(torch.arange(8.0).view(1, 1, 1, 8) + torch.arange(6.0).view(6, 1, 1, 1)).expand(
    6, 1, 8, 8
)
for step in range(8):
    fake = G(torch.randn(6, 4, 1, 1))
    D.zero_grad()
    lossD = D(fake.detach()).mean() - D(real).mean() + 10 * penalty(D, real, fake.detach())
    lossD.backward()
    optD.step()
    G.zero_grad()
    lossG = -D(fake).mean()
    lossG.backward()
    optG.step()
    print(f"step {step}: critic {lossD.item():.4f} generator {lossG.item():.4f}")

# Learning to learn: the loss after one inner step, differentiated through that step.
net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
outer = optim.SGD(net.parameters(), lr=0.1)
x = torch.linspace(-1, 1, 10).view(-1, 1)
for step in range(4):
    outer.zero_grad()
    total = 0.0
    for phase in (0.0, 1.0):
        y = torch.sin(3 * x + phase)
        params = dict(net.named_parameters())
        loss = ((torch.func.functional_call(net, params, (x,)) - y) ** 2).mean()
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        fast = {n: p - 0.1 * g for (n, p), g in zip(params.items(), grads)}
        total = total + ((torch.func.functional_call(net, fast, (x,)) - y) ** 2).mean()
    total.backward()
    outer.step()
    print(f"outer {step}: {total.item():.5f}")


def bowl(v):
    return (v**2).sum() * v.prod()


point = torch.tensor([1.0, 2.0, 3.0])
print(torch.autograd.functional.hessian(bowl, point))
print(torch.autograd.functional.jacobian(lambda v: v.exp() * v.sum(), point))
