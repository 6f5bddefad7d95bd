"""Convolution and pooling in float32, where their own loops compute them, against the compositions
in float64: sizes that fill no vector, steps, borders, groups; and any number of threads."""

import numpy as np
import pytest

import tinygrad_lm as torch
from tinygrad_lm.engine.arrays import get_num_threads, reference_only
from tinygrad_lm.engine.kernels.c import fast
from tinygrad_lm.nn import functional as F

CALLS = {
    "conv1d": (F.conv1d, [(3, 4, 67), (5, 4, 3), (5,)], {"padding": 2, "dilation": 2}),
    "conv2d": (F.conv2d, [(5, 16, 12, 16), (21, 16, 3, 3), (21,)], {"padding": 1}),
    "conv2d, steps": (F.conv2d, [(5, 6, 17, 30), (9, 6, 5, 4)], {"stride": (2, 3), "padding": 2}),
    "conv2d, groups": (F.conv2d, [(4, 12, 9, 21), (6, 4, 3, 2), (6,)], {"groups": 3}),
    "conv2d, deep": (F.conv2d, [(2, 90, 7, 9), (3, 90, 3, 3)], {}),
    "conv3d, steps": (F.conv3d, [(2, 3, 5, 6, 19), (4, 3, 2, 3, 3)], {"stride": 2, "padding": 1}),
    "conv_transpose": (F.conv_transpose2d, [(4, 6, 9, 17), (6, 5, 3, 3), (5,)], {"padding": 1}),
    "conv_transpose, more": (
        F.conv_transpose1d,
        [(3, 4, 12), (4, 8, 4)],
        {"padding": 2, "output_padding": 1, "dilation": 2},
    ),
    "max_pool2d": (F.max_pool2d, [(4, 5, 21, 43)], {"kernel_size": 3, "stride": 2, "padding": 1}),
    "max_pool3d": (F.max_pool3d, [(3, 7, 8, 19)], {"kernel_size": 2, "dilation": (1, 2, 3)}),
    "avg_pool2d": (F.avg_pool2d, [(4, 5, 21, 43)], {"kernel_size": (3, 20), "ceil_mode": True}),
    "adaptive_max": (F.adaptive_max_pool2d, [(4, 5, 21, 43)], {"output_size": (5, 7)}),
    "adaptive_avg": (F.adaptive_avg_pool1d, [(4, 5, 99)], {"output_size": 3}),
}  # fmt: skip


def found(name, dtype, spoil=None):
    call, shapes, how = CALLS[name]
    rng = np.random.default_rng(7)
    arrays = [rng.standard_normal(shape).astype("float32").astype(dtype) for shape in shapes]
    if spoil is not None:
        arrays[0][..., 4:6] = spoil
    inputs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = call(*inputs, **how)
    g = rng.standard_normal(out.shape).astype("float32").astype(dtype)
    out.backward(torch.tensor(g))
    return [out.detach().numpy(), *[x.grad.numpy() for x in inputs]]


@pytest.mark.parametrize("spoil", [None, np.nan, np.inf])
@pytest.mark.parametrize("name", CALLS)
def test_as_in_float64_with_any_number_of_threads(name, spoil):
    before = get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = found(name, "float32", spoil)
        torch.set_num_threads(3)
        together = found(name, "float32", spoil)
    finally:
        torch.set_num_threads(before)
    with reference_only():
        want = found(name, "float64", spoil)
    for i, (a, b, c) in enumerate(zip(alone, together, want)):
        # without a compiler, and on the way back over steps, the bits are those of NumPy's BLAS
        by_blas = "conv" in name and (fast is None or ("steps" in name and i == 1))
        assert by_blas or a.tobytes() == b.tobytes()
        scale = np.abs(c[np.isfinite(c)]).max(initial=1)
        np.testing.assert_allclose(a, c, 1e-5, 2e-6 * scale)


@pytest.mark.skipif(fast is None, reason="no compiled kernels here")
@pytest.mark.parametrize("wrong", [[1, 5, 1, 1], [-1, 2, 1, 1], [2, 2, 1, 1], [0, 2, 0, 1]])
def test_windows_outside_are_refused(wrong):
    x, out, ids = np.zeros((2, 4), "f4"), np.empty((2, 1), "f4"), np.empty((2, 1), np.int64)
    for how in range(3):
        rows = np.array([[0, 1, 1, 1], [0, 1, 1, 1], wrong])
        with pytest.raises(IndexError):
            fast.pool(2, 1, 1, 4, 1, 1, 1, 1, how, rows, x, out, ids)


@pytest.mark.skipif(fast is None, reason="there are no kernels in C")
def test_a_plane_with_more_positions_than_32_bits_count_is_left_to_numpy():
    from tinygrad_lm.engine.kernels.c.pooling import planned

    plane = np.broadcast_to(np.float32(0), (1, 2**16, 2**15))  # which is one number in memory
    windows = tuple((range(n),) for n in plane.shape[1:])
    assert planned(plane, windows) is None
