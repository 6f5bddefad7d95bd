"""Values and gradients beside PyTorch where formulas break: NaN, infinities, ties, constants, axes
of size 1, no axes, numbers whose squares overflow. Where PyTorch is not followed, it says why."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as torch_f  # noqa: E402

import tinygrad_lm as tg  # noqa: E402
import tinygrad_lm.nn.functional as our_f  # noqa: E402

NAN, INF = float("nan"), float("inf")
INPUTS = {
    "NaN": [[1, NAN, 2, 0.5], [3, -1, NAN, NAN]],
    "inf": [[1, INF, 2, -INF], [3, -1, INF, INF]],
    "-inf": [[-INF] * 4, [0, -INF, 1, -INF]],
    "ties": [[1, 2, 2, 1], [0, 0, 0, 0]],
    "constant": [[2.5] * 4] * 3,
    "zeros": [[0.0] * 4] * 2,
    "column": [[1.5], [2.5], [-3]],
    "row": [[1.5, 2.5, -3]],
    "no axes": 2.0,
    "large": [[300, -300, 1e4, 6e4], [2e4, 1, -1e-4, 5e4]],
    "small": [[1e-4, -1e-5, 3e-6, 0], [2e-5, 1e-7, -1e-4, 1]],
    "-0": [[0.0, -0.0, 1, -1], [-0.0, -0.0, 0.0, 0.0]],
}


def method(name, *args, **settings):
    return lambda lib, f, x: getattr(x, name)(*args, **settings)


def function(name, **settings):
    return lambda lib, f, x: getattr(f, name)(x, **settings)


def of_axes(call):
    """A call for tensors that have axes; the others are returned as they are."""
    return lambda lib, f, x: call(lib, f, x) if x.ndim else x * 1


CALLS = {
    name: method(name)
    for name in """neg square abs exp expm1 log log2 log10 log1p sqrt rsqrt sin cos tanh
    sigmoid relu erf sign floor ceil round reciprocal isfinite isnan isinf logical_not sum
    mean prod std var norm max min median amax amin any all argmax argmin count_nonzero""".split()
}
CALLS |= {name: function(name) for name in "softplus silu gelu elu leaky_relu logsigmoid".split()}
for axis in (0, -1):
    for name in """sum mean prod std var amax amin logsumexp any all argmax argmin softmax
    log_softmax cumsum""".split():
        CALLS[f"{name} {axis}"] = method(name, axis)
    for name in "max min median sort".split():
        pair = method(name, dim=axis)
        CALLS[f"{name} {axis} values"] = lambda lib, f, x, pair=pair: pair(lib, f, x)[0]
        CALLS[f"{name} {axis} indices"] = lambda lib, f, x, pair=pair: pair(lib, f, x)[1]
for order in (0, 1, 2, 3, 0.5, INF, -INF):
    CALLS[f"norm of order {order}"] = method("norm", order)
    CALLS[f"norm of order {order} of rows"] = method("norm", order, dim=-1)
for power in (0, 0.5, 1, 2, 3, -1, -2):
    CALLS[f"x ** {power}"] = lambda lib, f, x, p=power: x**p
CALLS |= {
    "gelu by tanh": function("gelu", approximate="tanh"),
    "sort descending": lambda lib, f, x: x.sort(-1, descending=True)[0],
    "topk": lambda lib, f, x: x.topk(1)[0],
    "std of all": method("std", unbiased=False),
    "std_mean": lambda lib, f, x: lib.std_mean(x)[0],
    "var of axis": method("var", 0, correction=0),
    "2 ** x": lambda lib, f, x: 2.0**x,
    "0 ** x": lambda lib, f, x: 0.0**x,
    "x ** x": lambda lib, f, x: x**x,
    "x % 3": lambda lib, f, x: x % 3,
    "clamp": method("clamp", -1, 2),
    "clamp from below": method("clamp", min=2.0),
    "maximum": lambda lib, f, x: lib.maximum(x, x * x),
    "minimum": lambda lib, f, x: lib.minimum(x, x * x),
    "where": lambda lib, f, x: lib.where(x > 1, x, -x),
    "masked_fill": lambda lib, f, x: x.masked_fill(x > 1, 0),
    "lerp": lambda lib, f, x: lib.lerp(x, x * 2, 0.3),
    "mse_loss": lambda lib, f, x: f.mse_loss(x, lib.ones_like(x)),
    "l1_loss": lambda lib, f, x: f.l1_loss(x, lib.ones_like(x)),
    **{
        f"bce of {y}, {reduction}": lambda lib, f, x, y=y, how=reduction: (
            f.binary_cross_entropy_with_logits(x, lib.ones_like(x) * y, reduction=how)
        )
        for y in (0, 0.3, 1)
        for reduction in ("none", "mean")
    },
    "tril": of_axes(method("tril")),
    "trace": of_axes(method("trace")),
    "layer_norm": of_axes(lambda lib, f, x: f.layer_norm(x, x.shape[-1:])),
    "rms_norm": of_axes(lambda lib, f, x: f.rms_norm(x, x.shape[-1:])),
    "normalize": of_axes(function("normalize", dim=-1)),
    "cross_entropy": of_axes(
        lambda lib, f, x: f.cross_entropy(x, lib.zeros(len(x), dtype=lib.int64))
    ),
    "nll_loss": of_axes(lambda lib, f, x: f.nll_loss(x, lib.zeros(len(x), dtype=lib.int64))),
    "matmul": of_axes(lambda lib, f, x: x @ x.T),
    "einsum": of_axes(lambda lib, f, x: lib.einsum("ij,kj->ik", x, x)),
    "linear": of_axes(lambda lib, f, x: f.linear(x, x, x[:, 0])),
    "cat": of_axes(lambda lib, f, x: lib.cat([x, x])),
    "gather": of_axes(lambda lib, f, x: x.gather(-1, lib.zeros(x.shape, dtype=lib.int64))),
}

# call -> inputs on which PyTorch is not followed, and why.
SHARED = "NaN shares the gradient as in `max`; PyTorch's amax and amin divide 0 by 0"
POWERS = "PyTorch has roots of its own for powers of one half"
PRODUCT = "0 times infinity: PyTorch divides where it can"
EXCEPT = {
    "amax": ({"NaN"}, SHARED),
    "amax 0": ({"NaN"}, SHARED),
    "amax -1": ({"NaN"}, SHARED),
    "amin": ({"NaN"}, SHARED),
    "amin 0": ({"NaN"}, SHARED),
    "amin -1": ({"NaN"}, SHARED),
    "prod": ({"-inf"}, PRODUCT),
    "prod 0": ({"-inf"}, PRODUCT),
    "prod -1": ({"-inf"}, PRODUCT),
    "norm of order 0.5": ({"-inf"}, POWERS),
    "norm of order 0.5 of rows": ({"-inf"}, POWERS),
    "x ** 0.5": ({"inf", "-inf", "-0"}, POWERS),
    "topk": ({"-inf", "ties", "constant", "zeros", "-0"}, "PyTorch says of ties that any may win"),
}
# Inputs where PyTorch's own answer is another with AVX2 than with AVX-512: nothing to follow.
BY_PROCESSOR = {
    "gelu": {"inf"},  # in float32 NaN, or inf as here
    "elu": {"NaN"},  # the gradient in float64 NaN, or the upstream's as here
}


def both(call, values, dtype):
    """(dtype, value, gradient for an upstream of 1, 2, 3, 1, ...) here and in PyTorch."""
    found = []
    for lib, f in ((tg, our_f), (torch, torch_f)):
        x = lib.tensor(values, dtype=getattr(lib, dtype), requires_grad=True)
        out, slope = call(lib, f, x), None
        if out.requires_grad:
            g = (lib.arange(out.numel()).reshape(out.shape) % 3 + 1).to(out.dtype)
            out.backward(g)
            slope = None if x.grad is None else x.grad.numpy()
        found.append((str(out.dtype), out.detach().numpy(), slope))
    return found


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CALLS)
def test_as_pytorch_has_it(name, dtype):
    tolerance = 1e-9 if dtype == "float64" else 2e-5
    for case, values in INPUTS.items():
        if case in EXCEPT.get(name, ((), ""))[0] or case in BY_PROCESSOR.get(name, ()):
            continue
        ours, theirs = both(CALLS[name], values, dtype)
        assert ours[0] == theirs[0], case
        for got, want, what in zip(ours[1:], theirs[1:], ("value", "gradient")):
            assert (got is None) == (want is None), f"{case}: {what}"
            if want is not None:
                np.testing.assert_allclose(
                    got, want, tolerance, tolerance, err_msg=f"{case}: {what}"
                )


def test_the_exceptions_are_still_ones():
    for name, (cases, _) in EXCEPT.items():
        for case in cases:
            same = True
            for dtype in ("float64", "float32"):
                pairs = list(zip(*both(CALLS[name], INPUTS[case], dtype)))[1:]
                same &= all(np.allclose(a, b, 1e-5, 1e-5, equal_nan=True) for a, b in pairs)
            assert not same, (name, case)
