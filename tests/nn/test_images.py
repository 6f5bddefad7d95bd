"""What holds for convolution and pooling without any other library to ask: the convolution is a
product with columns, its way back is its adjoint, many images give the same as one at a time."""

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.engine.arrays import get_num_threads, reference_only
from tinygrad_lm.nn import functional as F


def normal(*shape, seed=0):
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), tolerance, tolerance)


def test_a_convolution_is_a_product_with_columns():
    x, weight = normal(2, 3, 6, 5), normal(4, 3, 2, 3, seed=1)
    columns = F.unfold(x, (2, 3), padding=(1, 0), stride=(2, 1))
    close(
        F.conv2d(x, weight, stride=(2, 1), padding=(1, 0)),
        (weight.view(4, 18) @ columns).view(2, 4, 4, 3),
    )


def test_a_kernel_of_one_one_moves_the_image():
    weight = tg.zeros(1, 1, 3, 3, dtype=tg.float64)
    weight[0, 0, 0, 2] = 1.0
    x = normal(1, 1, 4, 4)
    moved = F.conv2d(x, weight, padding=1)
    close(moved[..., 1:, :-1], x[..., :-1, 1:])
    assert not moved[..., 0, :].any() and not moved[..., -1].any()


@pytest.mark.parametrize("how", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2}])
def test_the_transposed_convolution_is_the_adjoint(how):
    x, weight = normal(2, 4, 7, 7), normal(6, 4 // how.get("groups", 1), 3, 3, seed=1)
    out = F.conv2d(x, weight, **how)
    y = normal(*out.shape, seed=2)
    close((out * y).sum(), (x * F.conv_transpose2d(y, weight, **how)).sum(), 1e-10)


def test_folding_counts_the_windows():
    ones = tg.ones(1, 1, 4, 4)
    counts = F.fold(F.unfold(ones, 3), 4, 3)
    assert counts[0, 0].tolist() == [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]


CALLS = {  # of a batch large enough for several blocks of work
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=1), [(40, 8, 12, 10), (6, 8, 3, 3)]),
    "conv2d stride": (lambda x, w: F.conv2d(x, w, None, 2, 1), [(90, 6, 17, 9), (4, 6, 3, 2)]),
    "conv2d groups": (lambda x, w: F.conv2d(x, w, groups=4), [(90, 8, 9, 9), (8, 2, 3, 3)]),
    "conv2d pointwise": (lambda x, w: F.conv2d(x, w), [(40, 8, 20, 20), (6, 8, 1, 1)]),
    "conv1d": (lambda x, w: F.conv1d(x, w, dilation=3), [(30, 5, 300), (7, 5, 4)]),
    "transposed": (
        lambda x, w: F.conv_transpose2d(x, w, None, 2, 1),
        [(40, 6, 9, 7), (6, 5, 4, 4)],
    ),
    "max_pool": (lambda x: F.max_pool2d(x, 2), [(60, 8, 18, 17)]),
    "max_pool over": (lambda x: F.max_pool2d(x, 3, 2, 1, 1, True), [(60, 8, 18, 17)]),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), [(60, 8, 18, 17)]),
}  # fmt: skip


def found(name, cut=None):
    call, shapes = CALLS[name]
    inputs = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    x = inputs[0] if cut is None else inputs[0][cut]
    out = call(x, *inputs[1:])
    g = tg.tensor(np.random.default_rng(9).normal(size=(90, *out.shape[1:])))
    out.backward(g[: len(out)] if cut is None else g[cut])
    return [out, *(x.grad for x in inputs)]


@pytest.mark.parametrize("name", CALLS)
def test_blocks_and_threads_change_nothing(name):
    before = get_num_threads()
    try:
        tg.set_num_threads(1)
        alone = found(name)
        tg.set_num_threads(2)
        together = found(name)
    finally:
        tg.set_num_threads(before)
    with reference_only():
        want = found(name)
    for a, b, c in zip(alone, together, want):
        close(a, b, 1e-12)
        close(a, c, 1e-9)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "batch_norm"])
def test_an_image_does_not_see_the_others(name):
    whole, one = found(name), found(name, slice(3, 4))
    close(whole[0][3:4], one[0])
    close(whole[1][3:4], one[1][3:4])
    assert not np.delete(one[1].numpy(), 3, 0).any()


def test_second_derivatives_of_a_convolution():
    x, w = normal(1, 2, 5, 5), normal(3, 2, 3, 3, seed=1)

    def penalty(x, w):
        with tg.autograd.higher_order():
            out = F.max_pool2d(F.conv2d(x, w, padding=1).tanh(), 2)
            (slope,) = tg.autograd.grad(out.square().sum(), x, create_graph=True)
            return slope.square().sum()

    assert tg.gradcheck(penalty, [x, w])


def test_layers_can_be_saved_and_copied():
    import copy
    import pickle

    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReflectionPad2d(1), nn.MaxPool2d(2))
    x = tg.ones(1, 1, 6, 6)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(other) == repr(model) and tg.equal(other(x), model(x))


@pytest.mark.parametrize("name", ["avg", "max"])
def test_adaptive_pooling_to_no_windows_gives_nothing_and_a_gradient_of_zeros(name):
    x = tg.ones(2, 3, 4, 5, requires_grad=True)
    out = getattr(F, f"adaptive_{name}_pool2d")(x, (2, 0))
    assert out.shape == (2, 3, 2, 0)
    out.sum().backward()
    assert x.grad.shape == x.shape and not x.grad.any()
    with pytest.raises(RuntimeError, match=r"from 0 on, got \(-1, -1\)"):
        getattr(F, f"adaptive_{name}_pool2d")(x, -1)
