"""How a record of `op_specs` is run: the call, its gradients, the comparison. Used by every law."""

import warnings

import numpy as np
from hypothesis import strategies as st
from op_specs import Pick

from tinygrad_lm.autograd import grad
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.core.tensor import Tensor, wrap

# What a kernel, or a smaller dtype, may differ from the float64 composition by: (rtol, atol).
TOLERANCE = {"float64": (1e-9, 1e-11), "float32": (2e-4, 2e-5), "float16": (2e-2, 4e-3)}


@st.composite
def cases(draw, spec, sizes=(1, 2, 3, 4)):
    """A case of a record, its choices made by Hypothesis."""
    pick = Pick(lambda n: draw(st.integers(0, n - 1)) if n > 1 else 0, draw(SEEDS), sizes)
    return spec.make(pick)


SEEDS = st.integers(0, 2**32 - 1)


def some_cases(spec, count, sizes=(1, 2, 3, 4)):
    """The same, without Hypothesis: the first `count` cases of a seeded generator."""
    choices = np.random.default_rng(count)
    return [spec.make(Pick(lambda n: int(choices.integers(n)), i, sizes)) for i in range(count)]


def moved(x, change):
    """change(array) wherever there is an array: in a tuple, a list, or alone."""
    if isinstance(x, np.ndarray):
        return change(x)
    return type(x)(moved(part, change) for part in x) if isinstance(x, (tuple, list)) else x


def run(op, case, change=lambda array: array):
    """(out, leaves): the op called on Tensors; float arrays require a gradient."""
    inputs = [moved(x, change) for x in case.inputs]
    settings = {k: moved(v, change) for k, v in case.settings.items()}
    tensors = [wrap(x) if type(x) in arrays.LIBRARIES else x for x in inputs]
    leaves = [tensors[i].requires_grad_() for i in case.floats()]
    return op(*tensors, **settings), leaves


def pull(out, leaves, g, retain=False):
    """The gradients of the leaves for an upstream g, as arrays; zeros where there is none."""
    start = wrap(g.array if isinstance(g, Tensor) else g)
    found = grad([out], leaves, [start], retain_graph=retain, allow_unused=True)
    return [np.zeros(x.shape) if g is None else g.array for g, x in zip(found, leaves)]


def upstream(out, seed=0):
    rng = np.random.default_rng(seed)
    return np.asarray(rng.standard_normal(out.shape)).astype(out.array.dtype)


def numpy_of(array):
    return arrays.to_numpy(array)


def assert_close(got, want, dtype="float64", what="value"):
    rtol, atol = TOLERANCE[dtype]
    got, want = numpy_of(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    np.testing.assert_allclose(got.astype("float64"), want, rtol, atol, err_msg=what)


def reference(spec, case):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "mean of empty slice" is no floating-point state
        return np.asarray(spec.value(*case.inputs, **case.settings))
