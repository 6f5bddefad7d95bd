"""Distributions beside PyTorch's: draws after the same seed, log-probabilities, entropies and all
else that is numbers, with gradients; shapes, what is printed, errors; divergences; REINFORCE.

A line makes a distribution of `D`, the library's `distributions`; short names are inputs.
"""

import numpy as np
import pytest

import tinygrad_lm as tg

torch = pytest.importorskip("torch")

BOTH = (torch, tg)
RNG = np.random.default_rng(0)
INPUTS = {
    "x": RNG.normal(size=(2, 3)),
    "y": RNG.normal(size=(2, 3)),
    "v": RNG.normal(size=3),
    "pos": RNG.uniform(0.3, 2, (2, 3)),
    "unit": RNG.uniform(0.1, 0.9, (2, 3)),
    "edge": np.array([0.0, 1.0, 0.5]),
    "sure": np.array([[0.0, 1.0, 0.0], [0.2, 0.0, 0.8]]),
    "rows": RNG.uniform(0.1, 1, (2, 4)),
    "logits": RNG.normal(size=(2, 4)),
    "s": np.asarray(0.7),
}
# A line -> values to score.
DISTRIBUTIONS = {
    "D.Categorical(rows)": "torch.tensor([[0, 3], [2, 1], [1, 1]])",
    "D.Categorical(logits=logits)": "torch.tensor([1, 2])",
    "D.Categorical(logits=logits[0] * 50)": "torch.tensor([[0.], [3.]])",
    "D.Categorical(sure)": "torch.tensor([1, 2])",
    "D.Normal(x, pos)": "y",
    "D.Normal(0.0, 1.0)": "x",
    "D.Normal(v, 2.0)": "y",
    "D.Normal(1, pos)": "y",
    "D.Normal(x.double(), pos.double())": "y.double()",
    "D.Bernoulli(unit)": "torch.tensor([[0., 1, 1], [1, 0, 1]])",
    "D.Bernoulli(logits=x * 3)": "torch.tensor([[0., 1, 1], [1, 0, 1]])",
    "D.Bernoulli(0.3)": "torch.tensor([0., 1])",
    "D.Bernoulli(edge)": "torch.tensor([0., 1, 1])",
    "D.OneHotCategorical(rows)": "torch.eye(4)[torch.tensor([1, 3])]",
    "D.OneHotCategorical(logits=logits)": "torch.eye(4)[torch.tensor([1, 3])]",
    "D.OneHotCategoricalStraightThrough(rows)": "torch.eye(4)[torch.tensor([1, 3])]",
    "D.Uniform(x - 3, x + pos)": "x - 1",
    "D.Uniform(0.0, s)": "torch.tensor([0.1, 0.5])",
    "D.Exponential(pos)": "pos.flip(0)",
    "D.Exponential(2.0)": "pos",
    "D.Laplace(x, pos)": "y",
    "D.Geometric(unit)": "torch.tensor([[0., 1, 4], [1, 0, 7]])",
    "D.Geometric(logits=x)": "torch.tensor([[0., 1, 4], [1, 0, 7]])",
    "D.LogNormal(x, pos)": "pos.flip(0)",
    "D.Independent(D.Normal(x, pos), 1)": "y",
    "D.Independent(D.Bernoulli(unit), 2)": "torch.tensor([[0., 1, 1], [1, 0, 1]])",
    "D.Independent(D.Categorical(rows), 1)": "torch.tensor([[0, 3], [2, 1], [1, 1]])",
    "D.TransformedDistribution(D.Normal(x, pos), D.AffineTransform(v, -2.0))": "y",
    "D.TransformedDistribution(D.Normal(x, pos), [D.AffineTransform(1.0, pos), D.TanhTransform()])": "unit",  # noqa: E501
    "D.TransformedDistribution(D.Normal(x, pos), [D.SigmoidTransform(), D.ExpTransform()])": "1 + unit",  # noqa: E501
    "D.Independent(D.TransformedDistribution(D.Laplace(x, pos), [D.ExpTransform()]), 1)": "pos",
}
NUMBERS = """
d.log_prob(value)
d.log_prob(value).exp()
d.entropy()
d.perplexity()
d.mean
d.mode
d.variance
d.stddev
d.cdf(value)
d.icdf(unit)
d.probs
d.logits
d.sample()
d.sample((5,))
d.sample(torch.Size([2, 2]))
d.rsample()
d.rsample((4, 1))
d.enumerate_support()
d.enumerate_support(expand=False)
d.expand((3,) + tuple(d.batch_shape)).log_prob(value)
d.expand((3,) + tuple(d.batch_shape)).sample()
torch.tensor(list(d.batch_shape) + [9] + list(d.event_shape))
torch.tensor([d.has_rsample, d.has_enumerate_support])
""".strip().splitlines()


def leaves_of(library):
    made = {k: library.tensor(v.astype(np.float32)) for k, v in INPUTS.items()}
    return {k: x.requires_grad_() for k, x in made.items()}


def observe(library, make, line, value="y"):
    """(numbers or the kind of exception, requires_grad, gradients, the next draw)."""
    library.manual_seed(3)
    leaves = leaves_of(library)
    space = {"torch": library, "D": library.distributions, **leaves}
    space["d"] = eval(make, space)
    space["value"] = eval(value, space)
    try:
        out = eval(line, space)
    except Exception as error:
        return type(error), None, None, None
    if out.requires_grad:
        g = np.random.default_rng(5).normal(size=tuple(out.shape))
        out.backward(library.tensor(g, dtype=out.dtype))
    grads = [None if x.grad is None else np.array(x.grad.numpy()) for x in leaves.values()]
    return out, out.requires_grad, grads, library.rand(2).tolist()


def compare(make, line, value="y"):
    want, got = (observe(library, make, line, value) for library in BOTH)
    if isinstance(want[0], type):
        assert got[0] in (want[0], *want[0].__subclasses__()), f"{line}: {want[0]}, got {got[0]}"
        return
    assert not isinstance(got[0], type), f"{line}: {got[0]}"
    assert str(want[0].dtype) == str(got[0].dtype), line
    assert want[1] == got[1], f"{line}: requires_grad"
    pairs = [(want[0].detach().numpy(), got[0].detach().numpy()), *zip(want[2], got[2])]
    for a, b in pairs:
        assert (a is None) == (b is None), f"{line}: gradients"
        if a is not None:
            np.testing.assert_allclose(b, a, 2e-5, 3e-6, err_msg=line)
    assert want[3] == got[3], f"{line}: next draw"


@pytest.mark.parametrize("make", DISTRIBUTIONS)
def test_numbers(make):
    for line in NUMBERS:
        compare(make, line, DISTRIBUTIONS[make])


@pytest.mark.parametrize("make", DISTRIBUTIONS)
def test_printed(make):
    texts = []
    for library in BOTH:
        with library.no_grad():
            leaves = leaves_of(library)
            d = eval(make, {"torch": library, "D": library.distributions, **leaves})
        texts.append((repr(d), repr(d.batch_shape), repr(d.event_shape)))
    assert texts[0] == texts[1]


PAIRS = """
D.Normal(x, pos), D.Normal(y, 2.0)
D.Categorical(rows), D.Categorical(logits=logits)
D.Categorical(sure), D.Categorical(sure.flip(0))
D.Bernoulli(unit), D.Bernoulli(logits=x)
D.Bernoulli(edge), D.Bernoulli(edge.flip(0))
D.OneHotCategorical(rows), D.OneHotCategorical(logits=logits)
D.OneHotCategoricalStraightThrough(rows), D.OneHotCategorical(logits=logits)
D.Uniform(x, x + pos), D.Uniform(x - 0.1, x + 2.5)
D.Uniform(x, x + pos), D.Uniform(x + 0.1, x + 2.5)
D.Exponential(pos), D.Exponential(2.0)
D.Laplace(x, pos), D.Laplace(y, 2.0)
D.Geometric(unit), D.Geometric(logits=x)
D.LogNormal(x, pos), D.LogNormal(y, 2.0)
D.Independent(D.Normal(x, pos), 1), D.Independent(D.Normal(y, 2.0 * pos), 1)
D.Independent(D.Normal(x, pos), 1), D.Independent(D.Normal(y, pos), 2)
D.Normal(x, pos), D.Categorical(rows)
""".strip().splitlines()


@pytest.mark.parametrize("pair", PAIRS)
def test_divergence(pair):
    compare("D.Normal(0.0, 1.0)", f"D.kl_divergence({pair})")


WRONG = """
D.Normal(x, -pos)
D.Normal(x, 0.0)
D.Normal(x * torch.inf * 0, 1.0)
D.Normal("x", 1.0)
D.Categorical()
D.Categorical(rows, logits)
D.Categorical(s)
D.Categorical(torch.tensor([-1.0, 2.0]))
D.Categorical(logits=logits / 0 * 0)
D.Bernoulli(unit + 1)
D.Bernoulli(unit, logits)
D.Uniform(pos, 0.0)
D.Exponential(-pos)
D.Geometric(0.0)
D.Independent(D.Normal(x, pos), 3)
D.TransformedDistribution(D.Normal(x, pos), "exp")
D.Normal(x, pos).log_prob(torch.tensor([torch.nan]))
D.Normal(x, pos).log_prob(1.0)
D.Normal(x, pos).log_prob(rows)
D.Categorical(rows).log_prob(torch.tensor([4, 0]))
D.Categorical(rows).log_prob(torch.tensor([0.5, 0]))
D.Bernoulli(unit).log_prob(unit)
D.Uniform(0.0, 1.0).log_prob(torch.tensor([2.0]))
D.Exponential(1.0).log_prob(torch.tensor([-2.0]))
D.OneHotCategorical(rows).log_prob(rows)
D.Geometric(unit).log_prob(-pos)
D.Categorical(rows).rsample()
D.Categorical(rows).cdf(x)
D.Normal(x, pos).enumerate_support()
D.Normal(x, pos).probs
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_the_same_exception(line):
    kinds = []
    for library in BOTH:
        with pytest.raises(Exception) as raised:
            eval(line, {"torch": library, "D": library.distributions, **leaves_of(library)})
        kinds.append(raised.type)
    assert kinds[0] is kinds[1]


def test_validation_can_be_switched_off():
    for library in BOTH:
        D = library.distributions
        assert D.Normal(0.0, -1.0, validate_args=False).scale == -1
        d = D.Uniform(0.0, 1.0, validate_args=False)
        assert d.log_prob(library.tensor(2.0)).item() == -np.inf
        D.Distribution.set_default_validate_args(False)
        try:
            assert D.Bernoulli(2.0).probs == 2
        finally:
            D.Distribution.set_default_validate_args(True)
        with pytest.raises(ValueError):
            D.Bernoulli(2.0)


def test_what_is_made_without_gradients_has_them_later():
    for library in BOTH:
        logits = library.zeros(3, requires_grad=True)
        d = library.distributions.Categorical(logits=logits)
        d.sample()
        with library.no_grad():
            d.sample()
        assert d.probs.requires_grad and d.entropy().requires_grad


def test_the_pre_image_of_the_last_result_is_kept():
    """Where tanh is 1 in float32 its inverse is infinite: the score needs the number before it."""
    found = []
    for library in BOTH:
        D = library.distributions
        library.manual_seed(0)
        tanh = D.transforms.TanhTransform(cache_size=1)
        d = D.TransformedDistribution(D.Normal(library.ones(4) * 12, library.ones(4)), [tanh])
        found.append(d.log_prob(d.rsample()).tolist())
    np.testing.assert_allclose(found[1], found[0], 1e-6)
    assert np.isfinite(found[1]).all()


def test_a_formula_of_ones_own():
    """The nearest types count; subclasses inherit."""
    for library in BOTH:
        D = library.distributions

        class Mine(D.Normal):
            pass

        class Its(Mine):
            pass

        D.register_kl(Mine, D.Normal)(lambda p, q: "own")
        plain, mine, its = D.Normal(0.0, 1.0), Mine(0.0, 1.0), Its(0.0, 1.0)
        assert D.kl_divergence(its, plain) == "own" == D.kl_divergence(mine, its)
        assert D.kl_divergence(plain, its).item() == 0


def test_paths_of_import():
    from tinygrad_lm.distributions import Categorical, constraints
    from tinygrad_lm.distributions.categorical import Categorical as again
    from tinygrad_lm.distributions.normal import Normal

    assert again is Categorical and Normal is tg.distributions.Normal
    assert repr(constraints.simplex) == repr(torch.distributions.constraints.simplex)
    with pytest.raises(AttributeError, match="gamma distribution in PyTorch's order"):
        tg.distributions.Dirichlet  # noqa: B018


def test_reinforce():
    """pytorch/examples' loop on a small game: the same episodes and the same losses."""
    losses = []
    for library in BOTH:
        library.manual_seed(543)
        nn = library.nn
        policy = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(dim=-1))
        optimizer = library.optim.Adam(policy.parameters(), lr=1e-2)
        found = []
        for episode in range(8):
            saved, rewards, state = [], [], library.linspace(-1, 1, 4)
            for _ in range(12):
                d = library.distributions.Categorical(policy(state.unsqueeze(0)))
                action = d.sample()
                saved.append(d.log_prob(action))
                rewards.append(1.0 if action.item() == episode % 3 else -0.5)
                state = (state * 0.8 + 0.1 * (action.item() - 1)).roll(1)
            returns, total = [], 0.0
            for reward in reversed(rewards):
                total = reward + 0.99 * total
                returns.insert(0, total)
            returns = library.tensor(returns)
            returns = (returns - returns.mean()) / (returns.std() + 1e-6)
            loss = library.cat([-a * b for a, b in zip(saved, returns)]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        losses.append(found)
    np.testing.assert_allclose(losses[1], losses[0], 2e-4, 1e-5)
