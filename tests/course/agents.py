"""A policy that learns which lever pays (REINFORCE and actor-critic), a variational autoencoder,
and a model of one's own saved whole."""

import os
import tempfile
from collections import namedtuple
from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

torch.manual_seed(543)
Saved = namedtuple("Saved", ["log_prob", "value"])


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 8)
        self.action_head = nn.Linear(8, 3)
        self.value_head = nn.Linear(8, 1)
        self.saved, self.rewards = [], []

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


model = Policy()
optimizer = optim.Adam(model.parameters(), lr=3e-2)
eps = torch.finfo(torch.float32).eps
for episode in range(6):
    state = torch.randn(4)
    for _t in range(10):
        probs, value = model(state)
        m = Categorical(probs)
        action = m.sample()
        model.saved.append(Saved(m.log_prob(action), value))
        model.rewards.append(1.0 if action.item() == int(state.argmax()) % 3 else 0.0)
        state = torch.randn(4)
    R, policy_losses, value_losses, returns = 0, [], [], []
    for r in model.rewards[::-1]:
        R = r + 0.9 * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + eps)
    for (log_prob, value), R in zip(model.saved, returns):
        policy_losses.append(-log_prob * (R - value.item()))
        value_losses.append(F.smooth_l1_loss(value, torch.tensor([R])))
    optimizer.zero_grad()
    loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()
    loss.backward()
    optimizer.step()
    print(
        f"episode {episode} reward {sum(model.rewards)} loss {loss.item():.4f} H {m.entropy():.4f}"
    )
    del model.rewards[:]
    del model.saved[:]


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(12, 8)
        self.fc21, self.fc22 = nn.Linear(8, 2), nn.Linear(8, 2)
        self.fc3, self.fc4 = nn.Linear(2, 8), nn.Linear(8, 12)

    def forward(self, x):
        h = F.relu(self.fc1(x))
        posterior = Normal(self.fc21(h), F.softplus(self.fc22(h)) + 1e-3)
        z = posterior.rsample()
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), posterior


vae = VAE()
optimizer = optim.Adam(vae.parameters(), lr=1e-2)
data = Bernoulli(torch.full((20, 12), 0.5)).sample()
prior = Normal(torch.zeros(2), torch.ones(2))
for epoch in range(6):
    optimizer.zero_grad()
    recon, posterior = vae(data)
    BCE = F.binary_cross_entropy(recon, data, reduction="sum")
    KLD = kl_divergence(posterior, prior).sum()
    (BCE + KLD).backward()
    optimizer.step()
    print(f"epoch {epoch} BCE {BCE.item():.3f} KLD {KLD.item():.4f}")
student, teacher = torch.randn(3, 5), torch.randn(3, 5)
print(nn.KLDivLoss(reduction="batchmean")(F.log_softmax(student, 1), F.softmax(teacher, 1)))
print(
    F.cosine_similarity(student, teacher),
    F.huber_loss(student, teacher),
    F.gumbel_softmax(student)[0],
)


@dataclass
class Config:
    width: int = 8
    names: list = field(default_factory=lambda: ["a", "b"])


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "all.pt")
    torch.save({"config": Config(9), "step": 3, "model": vae.state_dict()}, path)
    back = torch.load(path, weights_only=False)
    print(back["config"], back["step"], torch.equal(back["model"]["fc1.weight"], vae.fc1.weight))
    torch.save(vae, path)
    whole = torch.load(path, weights_only=False)
    print(type(whole).__name__, torch.equal(whole.fc4.bias, vae.fc4.bias))
torch.testing.assert_close(whole.fc4.bias, vae.fc4.bias)
