"""Losses, activations, special functions and distributions on a GPU: the numbers and gradients of
the CPU, and draws from the same generator where PyTorch's are the CPU's."""

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import distributions as D
from tinygrad_lm.nn import functional as F

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]
VALUES = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
IDS, LABELS = np.array([5, 0, 2, 2]), np.array([[5, 0, -1, 1, 1, 1]] * 4)

CALLS = {
    "kl_div": lambda x, y, t: F.kl_div(x, y.softmax(-1), reduction="batchmean"),
    "gaussian": lambda x, y, t: F.gaussian_nll_loss(x, y, y.square()),
    "similarity": lambda x, y, t: F.cosine_similarity(x, y),
    "margin": lambda x, y, t: F.multi_margin_loss(x, t(IDS), weight=y[0].detach()),
    "labels": lambda x, y, t: F.multilabel_margin_loss(x, t(LABELS)),
    "prelu": lambda x, y, t: F.prelu(x, y[0]),
    "hardtanh": lambda x, y, t: F.hardtanh(x) + F.softshrink(y) + F.threshold(y, 0.1, 2.0),
    "rrelu": lambda x, y, t: F.rrelu(x, training=True),
    "gumbel": lambda x, y, t: F.gumbel_softmax(x, hard=True),
    "alpha_dropout": lambda x, y, t: F.alpha_dropout(x, 0.3, True),
    "lgamma": lambda x, y, t: tg.lgamma(x) + tg.digamma(y),
    "erfinv": lambda x, y, t: tg.erfinv(x.tanh()) + tg.logit(y.sigmoid()),
    "logs": lambda x, y, t: tg.logaddexp(x, y) + tg.xlogy(x, y.exp()),
    "grouped": lambda x, y, t: F.scaled_dot_product_attention(
        x.reshape(1, 4, 3, 2), y.reshape(1, 2, 6, 2), y.reshape(1, 2, 6, 2), enable_gqa=True
    ),
    "Normal": lambda x, y, t: D.Normal(x, y.exp()).rsample((2,)),
    "Categorical": lambda x, y, t: D.Categorical(logits=x).log_prob(t(IDS)),
}


@pytest.mark.parametrize("name", CALLS)
def test_as_on_the_cpu(name):
    found = []
    for device in ("cpu", "cuda"):
        tg.manual_seed(0)
        x, y = (tg.tensor(v, device=device, requires_grad=True) for v in VALUES)
        out = CALLS[name](x, y, lambda a, device=device: tg.tensor(a, device=device))
        assert out.device.type == device
        out.sum().backward()
        grads = [z.grad.tolist() for z in (x, y) if z.grad is not None]
        found.append([out.tolist(), *grads])
    assert len(found[0]) == len(found[1])
    for want, got in zip(*found):
        np.testing.assert_allclose(got, want, 2e-5, 2e-6)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("kind", [tg.float16, tg.bfloat16])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_loss_of_16_bit_logits_is_float32_inside_autocast_alone(device, kind, reduction):
    found = []
    for inside in (False, True):
        x = tg.tensor(VALUES[0], device=device).to(kind).requires_grad_()
        with tg.autocast(device, dtype=kind, enabled=inside):
            loss = F.cross_entropy(x, tg.tensor(IDS, device=device), reduction=reduction)
        loss.sum().backward()
        found.append((loss, x.grad))
    (rounded, g), (loss, same) = found
    assert loss.dtype is tg.float32 and rounded.dtype is g.dtype is same.dtype is kind
    assert rounded.tolist() == loss.to(kind).tolist() != loss.tolist()
    assert g.tolist() == same.tolist()


def test_autocast_makes_no_wide_copy_of_logits(emulated_gpu):
    x = tg.randn(64, 5040).to("cuda", tg.bfloat16).requires_grad_()
    targets = tg.arange(64, device="cuda")
    with emulated_gpu.without_pool():
        before, size = emulated_gpu.counts()["bytes"], x.array.nbytes
        emulated_gpu.reset_peak()
        with tg.autocast("cuda", dtype=tg.bfloat16):
            loss = F.cross_entropy(x, targets)
        loss.backward()
        most = emulated_gpu.counts()["peak_bytes"] - before
    assert loss.dtype is tg.float32 and size <= most < 1.02 * size  # the gradient


def test_samples_of_distributions_are_on_their_device():
    p = tg.tensor([[0.2, 0.5, 0.3]], device="cuda")
    for d in (D.Categorical(p), D.OneHotCategorical(p), D.Bernoulli(p), D.Geometric(p)):
        x = d.sample((3,))
        assert x.device.type == "cuda" and d.log_prob(x).device.type == "cuda"
    for d in (D.Normal(p, p), D.Laplace(p, p), D.Uniform(p, p + 1), D.Exponential(p)):
        x = d.sample((3,))
        assert x.device.type == "cuda" and d.log_prob(x).device.type == "cuda"
