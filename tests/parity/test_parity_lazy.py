"""Layers that learn the size of their input, against PyTorch: what they print before and after,
values after the same seed, what a loaded state makes of them."""

import numpy as np
import pytest

pytest.importorskip("torch")

from parity import BOTH, numbers

CASES = {
    "LazyLinear(3)": (2, 4),
    "LazyLinear(3, bias=False)": (4,),
    "LazyConv1d(4, 3, padding=1)": (2, 5, 6),
    "LazyConv2d(4, 3, 2, groups=2)": (6, 7, 7),
    "LazyConv3d(out_channels=2, kernel_size=2, bias=False)": (1, 3, 4, 4, 4),
    "LazyConvTranspose1d(4, 3, groups=2)": (6, 5),
    "LazyConvTranspose2d(3, 2)": (2, 4, 3, 3),
    "LazyConvTranspose3d(2, 2, dtype=lib.float64)": (1, 2, 2, 2, 2),
    "LazyBatchNorm1d()": (3, 4),
    "LazyBatchNorm2d(affine=False)": (2, 3, 4, 4),
    "LazyBatchNorm3d(1e-3, bias=False)": (2, 3, 2, 2, 2),
    "LazyInstanceNorm1d()": (2, 3, 4),
    "LazyInstanceNorm2d(bias=False)": (2, 3, 4, 4),
    "LazyInstanceNorm3d(1e-5, 0.1, True, False)": (2, 3, 2, 2, 2),
}


def of_both(line, shape, use):
    found = []
    for lib in BOTH:
        lib.manual_seed(1)
        layer = eval(f"lib.nn.{line}", {"lib": lib})
        kind = lib.float64 if "float64" in line else lib.float32
        x = lib.arange(lib.ones(shape).numel(), dtype=kind).reshape(shape) / 7
        found.append(use(lib, layer, x))
    return found


@pytest.mark.parametrize("line", CASES)
def test_the_first_call_makes_the_layer(line):
    def use(lib, layer, x):
        p = next(iter(layer.parameters()), None)
        before = repr(layer), repr(p), list(layer.state_dict())
        out = layer(x)
        kept = p is next(iter(layer.parameters()), None)
        return before, repr(layer), kept, type(layer).__name__, out, layer.state_dict()

    (*want, out, state), (*got, ours, our_state) = of_both(line, CASES[line], use)
    assert got == want
    assert list(our_state) == list(state)
    for name, value in {"": out, **state}.items():
        mine = our_state[name] if name else ours
        assert mine.shape == value.shape and str(mine.dtype) == str(value.dtype)
        np.testing.assert_allclose(numbers(mine), numbers(value), 2e-5, 2e-5)


@pytest.mark.parametrize("line", ["LazyConv2d(4, 3, groups=2)", "LazyBatchNorm2d()"])
def test_a_loaded_state_says_the_size(line):
    def use(lib, layer, x):
        full = eval(line[4:].replace("(", "(6, ", 1), vars(lib.nn))
        for p in full.parameters():
            p.data.fill_(0.5)
        layer.load_state_dict(full.state_dict())
        return numbers(layer(x)).sum().round(3), type(layer).__name__

    want, got = of_both(line, (1, 6, 5, 5), use)
    assert got == want


def test_what_is_lazy_and_too_few_axes():
    for lib in BOTH:
        buffer = lib.nn.UninitializedBuffer()
        assert lib.nn.parameter.is_lazy(buffer) and not lib.nn.parameter.is_lazy(lib.ones(1))
        assert lib.nn.parameter.is_lazy(lib.nn.parameter.UninitializedParameter())
        buffer.materialize((2, 3))
        assert buffer.shape == (2, 3) and not lib.nn.parameter.is_lazy(buffer)
        with pytest.raises(RuntimeError, match="LazyConv2d"):
            lib.nn.LazyConv2d(1, 3)(lib.ones(3))
