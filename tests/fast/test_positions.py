"""Positions on arrays that are large enough for the fast loops, and for several threads: the bits
are those of one thread and, where nothing is rounded, of the composition."""

import contextlib

import numpy as np
import pytest

import tinygrad_lm as torch
from tinygrad_lm.engine.ops import reduce
from tinygrad_lm.nn import functional as F

RNG = np.random.default_rng(1)


def crowded(*shape):
    """Numbers that tie often, and all that sort in a way of their own."""
    x = np.round(RNG.standard_normal(shape) * 3).astype("float32") / 2
    for value in (np.nan, -0.0, np.inf, -np.inf):
        x[RNG.random(shape) < 0.01] = value
    return x


@pytest.mark.parametrize("shape", [(3, 700), (50, 41), (7, 30, 5), (1, 9000)])
@pytest.mark.parametrize("descending", [False, True])
def test_sorted_as_by_a_stable_sort(shape, descending):
    x = torch.tensor(crowded(*shape))
    for axis in range(len(shape)):
        for first in (None, 0, 1, 3, 40, 64, 65):
            how = {"axis": axis, "descending": descending, "first": first}
            with torch.reference_only():
                want = reduce.argsort(x, **how).array
            assert np.array_equal(reduce.argsort(x, **how).array, want)


def rising(*shape):
    """Numbers that tie two by two."""
    return (np.arange(np.prod(shape)) // 2).reshape(shape).astype("float32")


SHAPES = [(50, 41), (7, 30, 5), (3, 700), (1, 9000), (300, 600), (9,), (40, 1), (3, 40, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["amax", "amin", "argmax", "argmin"])
@pytest.mark.parametrize("numbers", [crowded, rising])
def test_extremes_of_numbers_that_tie(name, shape, numbers):
    op, data = getattr(reduce, name), numbers(*shape)
    for axis in (None, *range(-1, len(shape))):
        found = []
        for kernels in (contextlib.nullcontext(), torch.reference_only()):
            x = torch.tensor(data, requires_grad=True)
            with kernels:
                out = op(x, axis=axis, keepdims=axis == 0)
                if out.is_floating_point():
                    out.backward(torch.arange(float(out.numel())).view(out.shape) - 3)
            found.append((out.detach().numpy(), 0 if x.grad is None else x.grad.numpy()))
        for got, want in zip(*found):
            np.testing.assert_array_equal(got, want, strict=True)


LONG = {
    "cumsum": lambda x, ids: x.cumsum(1),
    "cumsum of columns": lambda x, ids: x.cumsum(0),
    "gather": lambda x, ids: x.gather(1, ids),
    "gather rows": lambda x, ids: x.gather(0, ids),
    "scatter": lambda x, ids: torch.zeros(x.shape).scatter(1, ids.sort(1)[1], x),
    "scatter_add": lambda x, ids: torch.zeros(x.shape).scatter_add(1, ids, x),
    "index_add": lambda x, ids: torch.zeros(x.shape).index_add(0, ids[:, 0], x),
    "index_select": lambda x, ids: x.index_select(1, ids[:, 0]),
    "a[:, ids]": lambda x, ids: x[:, ids[:, 0]],
    "a[mask]": lambda x, ids: x[ids > 99],
    "a table": lambda x, ids: x[ids[:, :9]],
    "masked_fill": lambda x, ids: x.masked_fill(ids > 99, 0.5),
    "min of columns": lambda x, ids: x.min(0)[0],
    "amax": lambda x, ids: x.amax(1),
    "max": lambda x, ids: x.round().max(),
    "avg_pool": lambda x, ids: F.avg_pool2d(x[None], 3, 2, 1),
    "adaptive_avg_pool": lambda x, ids: F.adaptive_avg_pool2d(x[None], 7),
    "group_norm": lambda x, ids: F.group_norm(x[None], 4),
}


@pytest.mark.parametrize("name", LONG)
def test_many_positions(name):
    data, ids = RNG.standard_normal((256, 257)).astype("float32"), RNG.integers(0, 256, (256, 257))
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, None):
        x = torch.tensor(data, requires_grad=True)
        torch.set_num_threads(threads or 1)
        if threads is None:
            with torch.reference_only():
                out = LONG[name](x, torch.tensor(ids))
                out.backward(out.detach() + 1)
        else:
            out = LONG[name](x, torch.tensor(ids))
            out.backward(out.detach() + 1)
        found.append((out.detach().numpy(), x.grad.numpy()))
    torch.set_num_threads(before)
    one, two, reference = found
    for a, b, c in zip(one, two, reference):
        assert np.array_equal(a, b)
        assert np.allclose(a, c, rtol=1e-4, atol=1e-4)


def test_an_id_out_of_range_is_named():
    x = torch.ones(300, 300)
    for wrong in (300, -1):
        ids = torch.zeros(300, 300, dtype=torch.int64)
        ids[7, 7] = wrong
        for call in (
            x.gather,
            lambda dim, i: x.scatter_add(dim, i, x),
            lambda dim, i: x.scatter(dim, i, x),
        ):
            with pytest.raises(IndexError, match=f"got {wrong}"):
                call(1, ids)
