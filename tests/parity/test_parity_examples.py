"""The road to GPT starts from the lecture's random numbers: a model built in PyTorch with a layer
for every key, query and value gives the same logits after the same seed. It trains nothing.
"""

import numpy as np
import pytest
from test_examples_late import load  # noqa: F401

import tinygrad_lm as tl

torch = pytest.importorskip("torch")
nn = torch.nn


class Heads(nn.Module):
    def __init__(self, C, H, project):
        super().__init__()
        self.heads = nn.ModuleList()
        for _ in range(H):
            self.heads.append(nn.ModuleList(nn.Linear(C, C // H, bias=False) for _ in range(3)))
        self.proj = nn.Linear(C, C) if project else nn.Identity()

    def forward(self, x):
        T, C = x.shape[1:]
        future = torch.ones(T, T).triu(1).bool()
        outputs = []
        for key, query, value in self.heads:
            scores = query(x) @ key(x).transpose(1, 2) / C**0.5
            outputs.append(scores.masked_fill(future, -torch.inf).softmax(-1) @ value(x))
        return self.proj(torch.cat(outputs, -1))


class Lecture(nn.Module):
    def __init__(self, V, T, C, H, blocks, wide, residual, norm):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.ModuleList()
        for _ in range(blocks):
            parts = [Heads(C, H, residual)]
            if wide:
                parts.append(nn.Sequential(nn.Linear(C, wide * C), nn.ReLU()))
            if residual:
                parts[1].append(nn.Linear(wide * C, C))
            self.blocks.append(nn.ModuleList(parts))
        self.residual, self.norm = residual, nn.LayerNorm(C) if norm else nn.Identity()
        self.last = nn.Linear(C, V)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for parts in self.blocks:
            for part in parts:
                y = part(self.norm(x))
                x = x + y if self.residual else y
        return self.last(self.norm(x))


@pytest.mark.parametrize(
    "name, wide, residual, norm",
    [
        ("head", 0, False, False),
        ("multihead", 0, False, False),
        ("feedforward", 1, False, False),
        ("blocks", 1, False, False),
        ("residual", 4, True, False),
        ("layernorm", 4, True, True),
        ("full", 4, True, True),
    ],
)
def test_a_stage_starts_with_the_lectures_weights(load, name, wide, residual, norm):  # noqa: F811
    road = load("09")
    stage, order = road.ROAD[name], list(road.ROAD)
    tl.manual_seed(1337)
    ours = road.Model(stage, order[: order.index(name) + 1], 65)
    torch.manual_seed(1337)
    sizes = (65, stage.block_size, stage.C, stage.H, stage.blocks)
    theirs = Lecture(*sizes, wide, residual, norm)
    ids = np.random.default_rng(0).integers(0, 65, (2, 8))
    expected = theirs(torch.from_numpy(ids)).detach().numpy()
    assert np.allclose(ours(tl.from_numpy(ids)).detach().numpy(), expected, atol=1e-5)
