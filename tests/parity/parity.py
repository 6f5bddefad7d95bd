"""Running one line of course code on PyTorch and on this package, and comparing all that a learner
can see: values, dtype, shape, strides, what is printed, and gradients under a random upstream.

A line is a string in which `torch` is the library under test and short names are inputs. The
tables of lines are in the `test_parity_*.py` files.
"""

import math

import numpy as np
import pytest

import tinygrad_lm as tg

torch = pytest.importorskip("torch")
BOTH = (torch, tg)


def make_inputs(seed=0):
    """Named NumPy inputs: small floats of several ranks, integers, masks; leaves are the floats."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return {
        "x": normal(2, 3),
        "y": normal(2, 3),
        "m": normal(3, 4),
        "v": normal(3),
        "w": normal(3),
        "s": normal(),
        "one": normal(1, 3),
        "b": normal(2, 3, 4),
        "c": normal(2, 4, 5),
        "sq": normal(4, 4),
        "p": rng.uniform(0.2, 2.0, (2, 3)).astype(np.float32),
        "q": rng.uniform(0.2, 2.0, (2, 3)).astype(np.float32),
        "long": normal(40),
        "n": rng.integers(-4, 5, (2, 3)),
        "k": rng.integers(1, 5, (2, 3)),
        "ids": rng.integers(0, 3, (2, 2)),
        "rows": np.array([1, 0, 1]),
        "mask": np.array([[True, False, True], [False, False, True]]),
    }


INPUTS = make_inputs()


def leaves_of(library, grad=True):
    """The inputs as tensors of one library, the floating-point ones requiring gradients."""
    made = {name: library.tensor(value) for name, value in INPUTS.items()}  # copies
    for leaf in made.values():
        if grad and leaf.is_floating_point():
            leaf.requires_grad_()
    return made


def run(library, line, inputs):
    """The value of a line: statements apart by `;`, of which the last may be an expression."""
    *before, last = [part.strip() for part in line.split(";")]
    space = {"torch": library, "math": math, "np": np, "inf": math.inf, "nan": math.nan, **inputs}
    for statement in before:
        exec(statement, space)
    try:
        code = compile(last, line, "eval")
    except SyntaxError:
        return exec(last, space)
    return eval(code, space)


def tensors_in(value):
    if isinstance(value, (torch.Tensor, tg.Tensor)):
        return [value]
    if isinstance(value, (list, tuple)):
        return [t for part in value for t in tensors_in(part)]
    return []


def numbers(tensor):
    """Values as float64 (or integers), whatever the library and the dtype."""
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.double()
    return np.asarray(tensor.numpy())


def strides_of(tensor, ones=True):
    """Steps per axis, or only of the axes that are stepped along."""
    return [s for n, s in zip(tensor.shape, tensor.stride()) if ones or n > 1 < tensor.numel()]


def assert_same_tensor(want, got, line, rtol=2e-6, atol=2e-6, ones=True):
    """want is PyTorch's. ones: whether the strides of axes of size 1 count."""
    assert str(want.dtype) == str(got.dtype), f"{line}: dtype"
    assert tuple(want.shape) == tuple(got.shape), f"{line}: shape"
    rtol, atol = (rtol, atol) if want.is_floating_point() else (0, 0)
    np.testing.assert_allclose(numbers(got), numbers(want), rtol, atol, err_msg=line)
    assert strides_of(want, ones) == strides_of(got, ones), f"{line}: stride"
    assert want.is_contiguous() == got.is_contiguous(), f"{line}: contiguous"
    assert want.requires_grad == got.requires_grad, f"{line}: requires_grad"
    assert want.is_leaf == got.is_leaf, f"{line}: is_leaf"


def assert_same(line, printed=True, grad=True, rtol=2e-6, atol=2e-6):
    """One line, both libraries: results, what they print, and the gradients of every leaf."""
    inputs = [leaves_of(library, grad) for library in BOTH]
    want, got = (run(library, line, given) for library, given in zip(BOTH, inputs))
    wants, gots = tensors_in(want), tensors_in(got)
    assert len(wants) == len(gots), f"{line}: number of results"
    for a, b in zip(wants, gots):
        assert_same_tensor(a, b, line, rtol, atol)
    if not wants:
        assert type(want).__name__ == type(got).__name__, f"{line}: {got!r}"
        assert str(want) == str(got), f"{line}: {got!r}"
    if printed:
        assert repr(want) == repr(got), line
    upstream = np.random.default_rng(1)
    for a, b in zip(wants, gots):
        if a.requires_grad:
            g = upstream.normal(size=tuple(a.shape))
            for library, out in ((torch, a), (tg, b)):
                out.backward(library.tensor(g, dtype=out.dtype), retain_graph=True)
    for name in INPUTS:
        a, b = (given[name].grad for given in inputs)
        assert (a is None) == (b is None), f"{line}: grad of {name}"
        if a is not None:
            message = f"{line}: gradient of {name}"
            np.testing.assert_allclose(numbers(b), numbers(a), 1e-5, 1e-5, err_msg=message)


def error_of(library, line, grad=True):
    """The exception a line raises, or None."""
    try:
        run(library, line, leaves_of(library, grad))
    except Exception as error:
        return error
    return None


def assert_same_error(line):
    """PyTorch's exception type, with a message of the house form: `[name] what must hold ...`."""
    want, got = (error_of(library, line) for library in BOTH)
    assert want is not None, f"{line}: PyTorch accepts it"
    assert got is not None, f"{line}: PyTorch says {want!r}"
    assert isinstance(got, type(want)), f"{line}: {want!r}, got {got!r}"
    assert str(got).startswith("["), f"{line}: {got!r}"


def each(lines):
    """Run a check(line) on every line of a table, in one test that names all that fail: a test for
    each would take longer than the line."""

    def decorate(check):
        def test():
            wrong = []
            for line in lines:
                try:
                    check(line)
                except Exception as error:
                    wrong.append(f"{line}: {type(error).__name__}: {error}")
            assert lines and not wrong, f"{len(wrong)} of {len(lines)}:\n" + "\n".join(wrong)

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate
