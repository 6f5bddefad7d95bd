"""Activations beside PyTorch's: values and slopes at random points, every kink and infinity, values
of NaN, in place, as layers, drawn slopes and masks; grouped heads in attention."""

import copy

import numpy as np
import pytest

import tinygrad_lm as tg

torch = pytest.importorskip("torch")
from parity import assert_same_error, each  # noqa: E402
from test_parity_random import INTEL  # noqa: E402

BOTH = (torch, tg)
KINKS = [-3.0, 3, 0, -0.0, 6, -1, 1, 0.5, -0.5, 2, 20.5, -100, 100, np.inf, -np.inf, np.nan]
POINTS = np.concatenate([np.random.default_rng(0).normal(size=16) * 3, KINKS]).astype(np.float32)

# A call -> whether PyTorch has inplace= for it. x is (8, 4); w4 and w1 are weights.
CALLS = {
    "F.relu(x)": True,
    "F.relu6(x)": True,
    "F.leaky_relu(x, 0.2)": True,
    "F.elu(x, 0.7)": True,
    "F.celu(x)": True,
    "F.celu(x, 1.7)": True,
    "F.selu(x)": True,
    "F.silu(x)": True,
    "F.mish(x)": True,
    "F.hardtanh(x)": True,
    "F.hardtanh(x, -0.5, 2)": True,
    "F.hardswish(x)": True,
    "F.hardsigmoid(x)": True,
    "F.threshold(x, 0.5, -7.0)": True,
    "F.rrelu(x)": True,
    "F.rrelu(x, 0.1, 0.9)": True,
    "F.rrelu(x, 0.1, 0.9, True)": True,
    "F.rrelu(x.t(), 0.1, 0.9, True)": False,
    "F.hardshrink(x)": False,
    "F.hardshrink(x, 2.0)": False,
    "F.softshrink(x)": False,
    "F.softshrink(x, 3.0)": False,
    "F.softsign(x)": False,
    "F.tanhshrink(x)": False,
    "F.logsigmoid(x)": False,
    "F.glu(x)": False,
    "F.glu(x, 0)": False,
    "F.prelu(x, w4)": False,
    "F.prelu(x, w1)": False,
    "F.prelu(x[0], w1)": False,
    "F.prelu(x[0, 0], w1)": False,
    "F.prelu(x.view(2, 4, 4), w4)": False,
    "F.softmin(x, 1)": False,
    "F.softmax(x, dim=0, dtype=torch.float64)": False,
    "torch.selu(x)": False,
    "torch.celu(x, 0.5)": False,
    "torch.prelu(x, w4)": False,
    "torch.threshold(x, 1.0, 0.0)": False,
    "torch.hardshrink(x)": False,
}


def observe(library, line, add=""):
    """(value, slopes of x and of the weights, next draws) of a call after a seed."""
    library.manual_seed(3)
    leaves = {
        "x": library.tensor(POINTS.reshape(8, 4)),
        "w4": library.tensor([0.1, -0.2, 0.3, 1.5]),
        "w1": library.tensor([0.3]),
    }
    for leaf in leaves.values():
        leaf.requires_grad_()
    if add:
        leaves["x"] = leaves["x"] * 1
        leaves["x"].retain_grad()
    space = {"F": library.nn.functional, "torch": library, **leaves}
    written = leaves["x"]
    out = eval(line[:-1] + add + ")", space)
    if add:
        assert out is written, f"{line}: the input itself"
    upstream = np.random.default_rng(7).normal(size=tuple(out.shape))
    out.backward(library.tensor(upstream, dtype=out.dtype))
    grads = [None if x.grad is None else np.array(x.grad.numpy()) for x in leaves.values()]
    grads[0][-1, -1] = 0  # of NaN; PyTorch's depends on the place in a vector register
    return out, grads, library.rand(3).tolist()


def compare(line, add=""):
    (want, slopes, after), (got, mine, then) = (observe(library, line, add) for library in BOTH)
    assert want.shape == tuple(got.shape) and str(want.dtype) == str(got.dtype)
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), 2e-6, 1e-6)
    for a, b in zip(slopes, mine):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(b, a, 1e-5, 2e-6)
    assert then == after
    if not add:
        name = str(want.grad_fn).split(" ")[0].strip("<")
        assert str(got.grad_fn).strip("<>") == name


@pytest.mark.parametrize("line", CALLS)
def test_call(line):
    compare(line)


@pytest.mark.parametrize("line", [line for line, inplace in CALLS.items() if inplace])
def test_in_place(line):
    compare(line, ", inplace=True")


NAMES = "relu leaky_relu rrelu elu celu selu hardtanh".split()


@pytest.mark.parametrize("name", NAMES)
def test_names_that_end_in_an_underscore(name):
    for library in BOTH:
        x = library.tensor(POINTS)
        want = getattr(library.nn.functional, name)(x).numpy()
        assert getattr(library.nn.functional, name + "_")(x) is x
        np.testing.assert_array_equal(x.numpy(), want)


WRONG = """
torch.nn.functional.glu(v)
torch.nn.functional.glu(s)
torch.nn.functional.glu(m, 2)
torch.nn.functional.softshrink(x, -1.0)
torch.nn.functional.celu(x, 0.0)
torch.nn.functional.hardtanh(x, 2, 1)
torch.nn.functional.rrelu(x, 0.5, 0.1)
torch.nn.functional.prelu(x, p)
torch.nn.functional.prelu(m, v)
torch.nn.functional.mish(x, True)
torch.nn.functional.alpha_dropout(x, 1.5)
"""


@each(WRONG.strip().splitlines())
def test_same_errors(line):
    assert_same_error(line)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_dim_left_out(name, shape):
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    layer = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "softmin": "Softmin"}[name]
    found = []
    for library in BOTH:
        for call in (getattr(library.nn.functional, name), getattr(library.nn, layer)()):
            with pytest.warns(UserWarning, match="mplicit dimension|dim should be") as caught:
                found.append(call(library.tensor(values)).numpy())
            assert library is torch or caught[0].filename == __file__
    for got in found[1:]:
        np.testing.assert_allclose(got, found[0], 2e-6, 1e-6)


@pytest.mark.parametrize("settings", [{}, {"hard": True}, {"tau": 0.3, "dim": 0}])
def test_gumbel_softmax(settings):
    found = []
    for library in BOTH:
        library.manual_seed(5)
        x = library.tensor(POINTS[:16].reshape(4, 4), requires_grad=True)
        out = library.nn.functional.gumbel_softmax(x.t(), **settings)
        out.backward(library.tensor(POINTS[:16].reshape(4, 4)))
        found.append((out.detach().numpy(), x.grad.numpy()))
    for want, got in zip(*found):
        np.testing.assert_allclose(got, want, 3e-6, 1e-6)


@pytest.mark.skipif(INTEL, reason="PyTorch draws bernoulli_ from MKL there")
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_alpha_dropout(p):
    found = []
    for library in BOTH:
        library.manual_seed(5)
        x = library.tensor(POINTS[:15].reshape(3, 5), requires_grad=True)
        layer = library.nn.AlphaDropout(p)
        out = layer(x)
        out.backward(library.ones(3, 5) * 2)
        inplace = library.nn.functional.alpha_dropout(x * 1, p, True, True)
        assert layer.eval()(x) is x
        found.append((out.detach().numpy(), x.grad.numpy(), inplace.detach().numpy()))
    for want, got in zip(*found):
        np.testing.assert_allclose(got, want, 2e-6, 1e-6)


LAYERS = """
nn.Threshold(0.1, 20, True)
nn.Threshold(0.1, 20)
nn.Hardtanh(-2, 2, True)
nn.Hardtanh()
nn.ReLU6(True)
nn.RReLU(0.1, 0.4, True)
nn.RReLU()
nn.ELU()
nn.ELU(0.5, True)
nn.CELU(1.5)
nn.SELU(True)
nn.Mish()
nn.Mish(inplace=True)
nn.SiLU(True)
nn.LeakyReLU(0.2, True)
nn.Hardswish(True)
nn.Hardsigmoid()
nn.GLU()
nn.GLU(dim=0)
nn.Softshrink()
nn.Hardshrink(0.3)
nn.PReLU()
nn.PReLU(4, 0.1)
nn.Softmin(1)
nn.Tanhshrink()
nn.Softsign()
nn.LogSigmoid()
nn.Softplus(2.0)
"""


@pytest.mark.parametrize("line", LAYERS.strip().splitlines())
def test_layer(line):
    found = []
    for library in BOTH:
        library.manual_seed(4)
        layer = copy.deepcopy(eval(line, {"nn": library.nn}))
        x = library.tensor(POINTS.reshape(8, 4))
        out = layer(x)
        assert (out is x) == (getattr(layer, "inplace", False) is True)
        found.append((repr(layer), out.detach().numpy(), list(layer.state_dict())))
    (text, want, names), (mine, got, held) = found
    assert (mine, held) == (text, names)
    np.testing.assert_allclose(got, want, 2e-6, 1e-6)


# ---------------------------------------------------------------- grouped heads

RNG = np.random.default_rng(2)
HEADS = {
    "q": RNG.normal(size=(2, 6, 4, 8)).astype(np.float32),
    "k": RNG.normal(size=(2, 2, 5, 8)).astype(np.float32),
    "v": RNG.normal(size=(2, 2, 5, 7)).astype(np.float32),
    "k4": RNG.normal(size=(2, 3, 4, 8)).astype(np.float32),
}
GROUPED = """
F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
F.scaled_dot_product_attention(q, k, v, torch.ones(4, 5).tril(1).bool(), enable_gqa=True)
F.scaled_dot_product_attention(q, k, v, torch.ones(6, 4, 5).tril(), scale=0.2, enable_gqa=True)
F.scaled_dot_product_attention(q, k, v, dropout_p=0.3, enable_gqa=True)
F.scaled_dot_product_attention(q, k4, k4, dropout_p=0.3, is_causal=True, enable_gqa=True)
F.scaled_dot_product_attention(q[:, :, :1], k, v, enable_gqa=True)
F.scaled_dot_product_attention(q[0], k[0], v[0], enable_gqa=True)
F.scaled_dot_product_attention(q[None], k[None], v[None], enable_gqa=True)
F.scaled_dot_product_attention(q, k, v[:, :1], enable_gqa=True)
F.scaled_dot_product_attention(q, k[:1], v[:1], enable_gqa=True)
F.scaled_dot_product_attention(q, q, q, enable_gqa=True)
F.scaled_dot_product_attention(q.transpose(1, 2).contiguous().transpose(1, 2), k, v, enable_gqa=True)
""".strip().splitlines()  # noqa: E501


@pytest.mark.parametrize("line", GROUPED)
@pytest.mark.parametrize("kernels", [True, False])
def test_grouped_heads(line, kernels):
    if "dropout" in line and INTEL:
        pytest.skip("PyTorch draws dropout from MKL there")
    found = []
    for library in BOTH:
        library.manual_seed(3)
        leaves = {name: library.tensor(x, requires_grad=True) for name, x in HEADS.items()}
        space = {"torch": library, "F": library.nn.functional, **leaves}
        if library is tg and not kernels:
            with tg.reference_only():
                out = eval(line, space)
        else:
            out = eval(line, space)
        g = np.random.default_rng(3).normal(size=tuple(out.shape)).astype(np.float32)
        out.backward(library.tensor(g))
        grads = [x.grad.numpy() for x in leaves.values() if x.grad is not None]
        found.append([out.detach().numpy(), *grads])
    assert len(found[0]) == len(found[1])
    for want, got in zip(*found):
        np.testing.assert_allclose(got, want, 2e-5, 4e-6)


@pytest.mark.parametrize(
    "line",
    [
        "F.scaled_dot_product_attention(q, k4[:, :1].repeat(1, 4, 1, 1), q, enable_gqa=True)",
        "F.scaled_dot_product_attention(q, k, v)",
        "F.scaled_dot_product_attention(q[:, :1], k, v, enable_gqa=True)",
        "F.scaled_dot_product_attention(q[0, 0], k[0, 0], v[0, 0], enable_gqa=True)",
    ],
)
def test_heads_that_do_not_divide(line):
    kinds = []
    for library in BOTH:
        space = {name: library.tensor(x) for name, x in HEADS.items()}
        with pytest.raises((RuntimeError, IndexError)) as raised:
            eval(line, {"F": library.nn.functional, **space})
        kinds.append(raised.type)
    assert kinds[0] is kinds[1]


SWITCHES = ["flash_sdp", "mem_efficient_sdp", "math_sdp", "cudnn_sdp"]


def test_switches_of_attention():
    """Inside a context, after it, after an error in it, and set by hand."""
    found = []
    for library in BOTH:
        page, attention = library.backends.cuda, library.nn.attention
        kinds, heard = attention.SDPBackend, []

        def hear(heard=heard, page=page):
            heard.append([getattr(page, f"{name}_enabled")() for name in SWITCHES])

        hear()
        with attention.sdpa_kernel(kinds.FLASH_ATTENTION):
            hear()
            with attention.sdpa_kernel([kinds.MATH, kinds.EFFICIENT_ATTENTION], set_priority=True):
                hear()
            hear()
        with pytest.raises(KeyError), attention.sdpa_kernel(kinds.MATH):
            raise KeyError
        with pytest.raises(AssertionError), attention.sdpa_kernel("math"):
            pass
        for name in SWITCHES:
            getattr(page, f"enable_{name}")(False)
            hear()
            getattr(page, f"enable_{name}")(True)
        hear()
        names = "MATH FLASH_ATTENTION EFFICIENT_ATTENTION CUDNN_ATTENTION ERROR".split()
        found.append((heard, [int(getattr(kinds, name)) for name in names]))
    assert found[0] == found[1]
    with tg.backends.cuda.sdp_kernel(enable_flash=False):
        assert not tg.backends.cuda.flash_sdp_enabled() and tg.backends.cuda.math_sdp_enabled()
