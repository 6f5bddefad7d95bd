"""Looking at a model must not change it, and must say what is there: learning rates against a
quadratic whose limit is known, layer statistics against gradients written by hand, attention maps
against the layer they come from."""

import math
import re

import numpy as np
import pytest

import tinygrad_lm as tl
from tinygrad_lm import nn
from tinygrad_lm.look.study import activation_stats, attention_maps, lr_finder, summary
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn import functional as F
from tinygrad_lm.optim import SGD, AdamW

X = tl.randn(64, 6, generator=tl.Generator().manual_seed(1))
Y = tl.randint(0, 3, (64,), generator=tl.Generator().manual_seed(2))


def small_model():
    layers = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3)
    return nn.Sequential(*layers)


def bits(model, optimizer, *streams):
    """Everything that a later step could depend on, as bytes."""
    found = [x.numpy().tobytes() for x in model.state_dict().values()]
    found += [None if p.grad is None else p.grad.numpy().tobytes() for p in model.parameters()]
    found += [module.training for module in model.modules()]
    for entry in optimizer.state_dict()["state"].values():
        found += [(name, np.asarray(value).tobytes()) for name, value in entry.items()]
    found += [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    return found + [g.get_state().tobytes() for g in (tl.default_generator, *streams)]


@pytest.mark.parametrize("rule", [AdamW, lambda p, lr: SGD(p, lr=lr, momentum=0.9)])
def test_lr_finder_restores_every_bit_and_the_run_goes_on_as_if_it_had_not_been(rule):
    stream = tl.Generator()

    def run(look):
        tl.manual_seed(5)
        stream.manual_seed(6)
        model = small_model()
        optimizer = rule(model.parameters(), lr=0.01)

        def loss():
            rows = tl.randint(0, 64, (16,), generator=stream)
            return F.cross_entropy(model(X[rows]), Y[rows])

        for step in range(6):
            if look and step == 3:
                model[3].eval()  # one part in another mode than the rest
                before = bits(model, optimizer, stream)
                tensors = list(model.parameters())
                assert len(lr_finder(model, loss, optimizer, generator=stream, steps=20).rates) > 2
                assert bits(model, optimizer, stream) == before
                assert all(a is b for a, b in zip(tensors, model.parameters()))
                model[3].train()
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        return bits(model, optimizer, stream)

    assert run(look=True) == run(look=False)


def test_lr_finder_puts_back_what_it_changed_after_an_error_too():
    w = tl.tensor([1.0], requires_grad=True)
    calls = []

    def loss():
        calls.append(w.item())
        if len(calls) > 3:
            raise RuntimeError("no more data")
        return (w * w).sum()

    optimizer = SGD([w], lr=0.5, momentum=0.9)
    with pytest.raises(RuntimeError, match="no more data"):
        lr_finder([w], loss, optimizer)
    assert calls[3] != 1.0 and w.item() == 1.0 and w.grad is None
    assert optimizer.param_groups[0]["lr"] == 0.5 and not optimizer.state


def test_lr_finder_stops_where_a_quadratic_explodes():
    """Gradient descent on k w^2 / 2 shrinks w up to the rate 2 / k and not beyond."""
    w = tl.tensor([3.0], dtype=tl.float64, requires_grad=True)
    k = 4.0
    found = lr_finder([w], lambda: 0.5 * k * (w * w).sum() + 1, low=1e-4, high=1e3, steps=200)
    steps = [math.log(b / a) for a, b in zip(found.rates, found.rates[1:])]
    assert np.allclose(steps, math.log(1e3 / 1e-4) / 199)
    expected, losses = 3.0, []
    for rate in found.rates:
        losses.append(0.5 * k * expected**2 + 1)
        expected -= rate * k * expected
    assert np.allclose(found.losses, losses, rtol=1e-12)
    assert 2 / k < found.rates[-1] < 1e3 and found.suggestion < 2 / k
    assert found.losses[-1] <= 4 * min(found.losses) < 0.5 * k * expected**2 + 1


def test_lr_finder_averages_and_suggests_the_lowest():
    from tinygrad_lm.look.study import LearningRates

    found = LearningRates([float(i) for i in range(40)], [abs(i - 25.0) for i in range(40)])
    rates, means = found.smoothed()
    assert found.width == 4 and rates[:2] == [2.0, 3.0] and len(rates) == len(means) == 37
    assert means[0] == sum(found.losses[:4]) / 4 and 24 <= found.suggestion <= 26


@pytest.mark.parametrize("bad", [{"low": 0.0}, {"low": 2.0}, {"steps": 3}])
def test_lr_finder_refuses_what_is_no_search(bad):
    w = tl.tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"\[lr_finder\] needs 0 < low < high"):
        lr_finder([w], lambda: (w * w).sum(), **bad)
    with pytest.raises(ValueError, match=r"\[lr_finder\] the loss must be finite"):
        lr_finder([w], lambda: (w * math.nan).sum())


def test_activation_stats_are_the_outputs_and_the_gradients_by_hand():
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3), nn.ReLU())
    weights = tl.randn(64, 3)
    before = [p.detach().numpy().copy() for p in model.parameters()]
    stats = activation_stats(model, lambda: (model(X) * weights).sum())
    assert [(s.name, s.kind) for s in stats] == [("1", "Tanh"), ("3", "ReLU")]

    W1, b1, W2, b2 = before
    h = np.tanh(X.numpy() @ W1.T + b1)
    z = h @ W2.T + b2
    assert np.allclose(stats[0].values, h.reshape(-1), atol=1e-6)
    assert np.allclose(stats[1].values, np.maximum(z, 0).reshape(-1), atol=1e-5)
    assert np.allclose(stats[1].grads, weights.numpy().reshape(-1))
    assert np.allclose(stats[0].grads, ((weights.numpy() * (z > 0)) @ W2).reshape(-1), atol=1e-5)
    assert stats[0].saturated == (np.abs(stats[0].values) > 0.97).mean()
    assert stats[1].saturated == (stats[1].values == 0).mean() > 0
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_activation_stats_see_saturation():
    with tl.no_grad():
        model = nn.Sequential(nn.Linear(6, 50), nn.Tanh())
        quiet = activation_stats(model, _recorded(model), (nn.Tanh,))[0].saturated
        model[0].weight.mul_(100)
        loud = activation_stats(model, _recorded(model), (nn.Tanh,))[0].saturated
    assert quiet < 0.05 and loud > 0.9


def _recorded(model):
    return tl.enable_grad(lambda: model(X).sum())


def gpt():
    tl.manual_seed(3)
    return GPT(GPTConfig(block_size=8, vocab_size=11, n_layer=2, n_head=2, n_embd=8, dropout=0.5))


def test_summary_adds_up_and_counts_tied_parameters_once():
    model = gpt()
    idx = tl.randint(0, 11, (3, 8))
    stream = tl.default_generator.get_state()
    text = summary(model, idx)
    total = sum(p.numel() for p in model.parameters())
    rows = text.split("\n" + "-" * 10)[1].splitlines()[1:]
    counts = [int(m.group(1).replace(",", "")) for r in rows if (m := re.search(r" ([\d,]+)$", r))]
    assert sum(counts) == total and text.endswith(f"{total:,} parameters, {total:,} trained")
    assert len(rows) == len(list(model.named_modules()))
    c_fc = next(r for r in rows if "c_fc" in r)
    assert "Linear" in c_fc and "(3, 8, 32)" in c_fc and c_fc.endswith(str(8 * 32 + 32))
    assert "(3, 8," not in summary(model)
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert tl.default_generator.get_state().tobytes() == stream.tobytes()


def test_summary_leaves_running_statistics_alone():
    model = small_model()
    before = bits(model, SGD(model.parameters(), lr=1.0))
    assert "(64, 3)" in summary(model, X)
    assert bits(model, SGD(model.parameters(), lr=1.0)) == before


def test_attention_maps_are_what_the_layer_gathers_with():
    model = gpt().eval()
    idx = tl.randint(0, 11, (3, 8))
    seen = {}
    layer = model.transformer.h[1].attn
    handle = layer.register_forward_hook(lambda m, args, out: seen.update(x=args[0], out=out))
    maps = attention_maps(model.train(), idx)
    handle.remove()
    assert model.training and [m.shape for m in maps] == [(3, 2, 8, 8)] * 2
    for one in maps:
        assert np.allclose(one.sum(-1), 1, atol=1e-6) and not np.triu(one, 1).any()
    v = layer.c_attn(seen["x"]).split(8, dim=2)[2].view(3, 8, 2, 4).transpose(1, 2)
    gathered = (tl.tensor(maps[1]) @ v).transpose(1, 2).reshape(3, 8, 8)
    assert np.allclose(layer.c_proj(gathered).detach().numpy(), seen["out"].numpy(), atol=1e-6)
    with pytest.raises(ValueError, match="attention layers"):
        attention_maps(small_model(), X)
