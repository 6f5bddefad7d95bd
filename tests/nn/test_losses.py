"""Laws of losses, activations, special functions and distributions that need no PyTorch: gradients
are differences, identities of the functions hold, densities sum to 1, divergences are means."""

import math

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import distributions as D
from tinygrad_lm import gradcheck
from tinygrad_lm.nn import functional as F


def double(*shape, low=-2.0, high=2.0, seed=0):
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


SIGNS = tg.tensor([[1.0, -1, 1], [-1, 1, -1]], dtype=tg.float64)
IDS = tg.tensor([2, 0])
LOSSES = {
    "smooth_l1": lambda x, y: F.smooth_l1_loss(x, y, beta=0.7, reduction="none"),
    "huber": lambda x, y: F.huber_loss(x, y, delta=0.7, reduction="none"),
    "kl_div": lambda x, y: F.kl_div(x, y.softmax(-1), reduction="none"),
    "kl_div log": lambda x, y: F.kl_div(x, y, reduction="none", log_target=True),
    "poisson": lambda x, y: F.poisson_nll_loss(x, y + 4, full=True, reduction="none"),
    "gaussian": lambda x, y: F.gaussian_nll_loss(x, y, (x * y).square() + 1, reduction="none"),
    "ranking": lambda x, y: F.margin_ranking_loss(x, y, SIGNS, 0.4, reduction="none"),
    "hinge": lambda x, y: F.hinge_embedding_loss(x * y, SIGNS, reduction="none"),
    "cosine": lambda x, y: F.cosine_embedding_loss(x, y, SIGNS[:, 0], -0.9, reduction="none"),
    "triplet": lambda x, y: F.triplet_margin_loss(x, y, x * y, 5.0, 3, swap=True, reduction="none"),
    "soft margin": lambda x, y: F.soft_margin_loss(x * y, SIGNS, reduction="none"),
    "multi margin": lambda x, y: F.multi_margin_loss(x * y, IDS, 2, reduction="none"),
    "many labels": lambda x, y: F.multilabel_margin_loss(
        x * y, tg.tensor([[2, 0, -1], [1, -1, 0]]), reduction="none"
    ),
    "many soft": lambda x, y: F.multilabel_soft_margin_loss(x, y.sigmoid(), reduction="none"),
    "glu": lambda x, y: F.glu(tg.cat([x, y], 1)),
    "prelu": lambda x, y: F.prelu(x, y[0]),
    "mish": lambda x, y: F.mish(x) * F.selu(y),
    "logaddexp": lambda x, y: tg.logaddexp(x, y),
    "xlogy": lambda x, y: tg.xlogy(x, y + 3),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_differences(name):
    assert gradcheck(LOSSES[name], [double(2, 3), double(2, 3, seed=1)])


@pytest.mark.parametrize("name", ["smooth_l1", "kl_div", "gaussian", "glu", "logaddexp"])
def test_second_derivatives(name):
    x, y = double(2, 3), double(2, 3, seed=1)

    def slope(x, y):
        with tg.autograd.higher_order():
            out = LOSSES[name](x, y).square().sum()
            return tg.autograd.grad(out, x, create_graph=True)[0]

    with tg.autograd.higher_order():
        assert gradcheck(slope, [x, y])


def test_gamma_functions():
    """Factorials, Gamma(x + 1) = x Gamma(x) with its slope, Gamma(1/2) = sqrt(pi), and psi(1)."""
    n = tg.arange(1, 20, dtype=tg.float64)
    factorials = [math.lgamma(k) for k in range(1, 20)]
    np.testing.assert_allclose(tg.lgamma(n).numpy(), factorials, 1e-14, 1e-14)
    x = double(50, low=-7.0, high=30.0)
    left, right = tg.lgamma(x + 1), tg.lgamma(x) + x.abs().log()
    np.testing.assert_allclose(left.detach().numpy(), right.detach().numpy(), 1e-12, 1e-12)
    left, right = tg.digamma(x + 1), tg.digamma(x) + 1 / x
    np.testing.assert_allclose(left.detach().numpy(), right.detach().numpy(), 1e-12, 1e-12)
    half, one = tg.tensor([0.5, 1.0], dtype=tg.float64)
    assert tg.lgamma(half).item() == pytest.approx(math.log(math.pi) / 2, abs=1e-14)
    assert tg.digamma(one).item() == pytest.approx(-0.5772156649015329, abs=1e-14)
    tg.lgamma(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), tg.digamma(x).detach().numpy(), 1e-11, 1e-11)
    assert gradcheck(tg.digamma, [double(50, low=0.3, high=30.0)])


def test_inverses():
    x = double(50, low=-0.999, high=0.999)
    np.testing.assert_allclose(tg.erfinv(x).erf().detach().numpy(), x.detach().numpy(), 1e-13)
    p = (x.detach() + 1) / 2
    np.testing.assert_allclose(tg.logit(p).sigmoid().numpy(), p.numpy(), 1e-13)


LINE = tg.linspace(-40, 40, 400_001, dtype=tg.float64)
CONTINUOUS = {
    "Normal": D.Normal(0.3, 1.3),
    "Laplace": D.Laplace(-0.2, 0.7),
    "Uniform": D.Uniform(-1.0, 2.0, validate_args=False),
    "Exponential": D.Exponential(0.8, validate_args=False),
    "tanh": D.TransformedDistribution(
        D.Normal(0.3, 0.6), [D.TanhTransform(), D.AffineTransform(1.0, -3.0)], validate_args=False
    ),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_density_is_the_slope_of_its_cdf(name):
    d, (low, high) = CONTINUOUS[name], (-0.6, 1.7)
    inside = LINE[(LINE >= low) & (LINE < high)]
    mass = d.log_prob(inside).exp()
    if name == "Exponential":
        mass = mass * (inside >= 0)
    ends = d.cdf(tg.tensor([max(low, 0.0) if name == "Exponential" else low, high]).double())
    assert (mass.sum() * 2e-4).item() == pytest.approx((ends[1] - ends[0]).item(), abs=3e-4)
    share = tg.tensor([0.1, 0.5, 0.8], dtype=tg.float64)
    np.testing.assert_allclose(d.cdf(d.icdf(share)).numpy(), share.numpy(), 1e-6)


@pytest.mark.parametrize(
    "d", [D.Normal(0.5, 1.2), D.Laplace(0.5, 0.6), D.Exponential(2.0), D.LogNormal(0.1, 0.3)]
)
def test_samples_have_the_moments_and_the_entropy(d):
    tg.manual_seed(0)
    x = d.sample((40_000,))
    assert x.mean().item() == pytest.approx(d.mean.item(), abs=0.02)
    assert x.std().item() == pytest.approx(d.stddev.item(), rel=0.03)
    assert -d.log_prob(x).mean().item() == pytest.approx(d.entropy().item(), abs=0.02)


@pytest.mark.parametrize(
    "d", [D.Categorical(tg.tensor([0.2, 0.5, 0.3])), D.Bernoulli(0.3), D.Geometric(0.4)]
)
def test_probabilities_sum_to_one(d):
    values = tg.arange(60.0) if isinstance(d, D.Geometric) else d.enumerate_support()
    logs = d.log_prob(values)
    assert logs.exp().sum().item() == pytest.approx(1, abs=1e-6)
    assert -(logs.exp() * logs).sum().item() == pytest.approx(d.entropy().item(), abs=1e-5)


@pytest.mark.parametrize(
    "p, q",
    [
        (D.Normal(0.1, 1.0), D.Normal(0.4, 0.7)),
        (D.Laplace(0.1, 1.0), D.Laplace(0.4, 0.7)),
        (D.Exponential(2.0), D.Exponential(1.5)),
        (D.Uniform(0.1, 0.6), D.Uniform(0.0, 1.0)),
        (D.Bernoulli(0.3), D.Bernoulli(0.6)),
        (D.Geometric(0.3), D.Geometric(0.6)),
        (D.Categorical(tg.tensor([0.2, 0.8])), D.Categorical(tg.tensor([0.7, 0.3]))),
    ],
)
def test_a_divergence_is_a_mean_over_samples(p, q):
    tg.manual_seed(1)
    x = p.sample((60_000,))
    found = (p.log_prob(x) - q.log_prob(x)).mean().item()
    assert D.kl_divergence(p, q).item() == pytest.approx(found, abs=0.012)
    assert D.kl_divergence(p, p).item() == pytest.approx(0, abs=1e-6)


def test_grouped_heads_are_repeated_heads():
    q, k = double(2, 6, 4, 8), double(2, 2, 5, 8, seed=1)
    many = k.repeat_interleave(3, 1)
    for how in ({}, {"is_causal": True}):
        want = F.scaled_dot_product_attention(q, many, many, **how)
        got = F.scaled_dot_product_attention(q, k, k, enable_gqa=True, **how)
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), 1e-12)
