"""Special functions beside PyTorch's: values and slopes over their whole domains, poles and NaN,
dtypes, and second derivatives; and the page `torch.special`."""

import numpy as np
import pytest

import tinygrad_lm as tg

torch = pytest.importorskip("torch")
from parity import assert_same, assert_same_error, each  # noqa: E402

GRID = np.concatenate([np.linspace(-4.7, 30, 380), 10.0 ** np.arange(-6, 12)])
UNIT = np.concatenate([np.linspace(-0.999, 0.999, 301), [1e-9, 1 - 1e-6]])
POINTS = {
    "lgamma": (GRID, [0.0, -1, -2, np.inf, np.nan]),
    "digamma": (GRID, [0.0, -1, -2, np.inf, np.nan]),
    "erfinv": (UNIT, [1.0, -1, 1.5, -2, np.nan]),
    "logit": ((UNIT + 1) / 2, [0.0, 1, -0.5, 2, np.nan]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", POINTS)
def test_values_and_slopes(name, dtype):
    """Against PyTorch in float64, which its float32 does not always reach."""
    inside, edges = POINTS[name]
    points = np.concatenate([inside, edges]).astype(dtype).astype(float)
    found = []
    for library, kind in ((torch, "float64"), (tg, dtype)):
        x = library.tensor(points, dtype=getattr(library, kind), requires_grad=True)
        out = getattr(library, name)(x)
        out.backward(library.ones_like(out))
        found.append((out.detach().numpy(), x.grad.numpy()[: len(inside)]))
    close = 6e-7 if dtype == "float32" else 2e-9 if name == "digamma" else 2e-11
    for want, got in zip(*found):
        np.testing.assert_allclose(got, want, close, close)


SAME = """
torch.logaddexp(x, y)
torch.logaddexp(x * 300, v * 300)
torch.logaddexp(torch.tensor([inf, -inf, 1., nan]), torch.tensor([1., 2., -inf, 2.]))
torch.logit(q / 3, eps=0.3)
torch.logit(x, 0.2)
torch.xlogy(x, p)
torch.xlogy(torch.tensor([0., 0., 0., 0., 2.]), torch.tensor([0., -1., nan, 3., 0.]))
torch.xlogy(v, 2.0)
torch.xlogy(3, q)
torch.xlogy(n, k)
p.xlogy(q)
torch.special.xlog1py(torch.tensor([0., 0., 0., 0., 2.]), torch.tensor([-1., -2., nan, 3., -1.]))
torch.special.xlog1py(x, p)
torch.lgamma(k)
torch.digamma(k)
torch.erfinv(torch.tensor([0, 1]))
torch.logit(torch.tensor([0, 1]))
torch.lgamma(q.detach().half())
torch.special.gammaln(q)
torch.special.psi(q)
torch.special.expit(x)
torch.special.expm1(x)
torch.special.log1p(p)
torch.special.logsumexp(x, 1)
torch.special.softmax(x, 0)
torch.special.log_softmax(x, -1)
torch.special.round(x.detach())
torch.special.exp2(x)
torch.special.erf(x)
torch.special.erfinv(x / 10)
torch.special.logit(q / 3)
q.clone().lgamma_()
q.clone().digamma_()
(x / 10).clone().erfinv_()
(q / 3).clone().logit_()
q.clone().xlogy_(p)
(q / 3).logit(0.1)
torch.autograd.grad(torch.lgamma(q).sum(), q, create_graph=True)[0]
torch.autograd.grad(torch.digamma(q).sum(), q, create_graph=True)[0]
torch.autograd.grad(torch.erfinv(x / 9).sum(), x, create_graph=True)[0]
torch.autograd.grad(torch.logaddexp(x, y).sum(), x, create_graph=True)[0]
""".strip().splitlines()


@pytest.mark.parametrize("line", SAME)
def test_same(line):
    with tg.autograd.higher_order():
        assert_same(line, printed=False, rtol=3e-6, atol=3e-6)


@each(["torch.logaddexp(x, m)", "torch.xlogy(x, m)"])
def test_same_errors(line):
    assert_same_error(line)
