"""Attention on a GPU beside the composition in float64: sizes that fill no tile, views of one
projection, dropout, infinities; and that it copies nothing and repeats itself to the bit."""

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.arrays import reference_only
from tinygrad_lm.engine.core.tensor import wrap
from tinygrad_lm.engine.ops import fused

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


def real(gpu, kind, *shape, seed):
    numbers = np.random.default_rng(seed).standard_normal(shape)
    return gpu.asarray(numbers.astype("float32")).astype(np.dtype(kind))


def heads(gpu, kind, B, H, T, D, seed):
    return real(gpu, kind, B, T, H, D, seed=seed).swapaxes(1, 2)


def kernel(gpu, name="attention"):
    kernels = fused.scaled_dot_product_attention.kernels[gpu.ndarray]
    return next(k for k in kernels if k.__module__.endswith(f"cuda.{name}"))


def exact(x):
    return arrays.to_numpy(x.astype("float32")).astype("float64")


def reference(q, k, v, g=None, **settings):
    """[value, dq, dk, dv] of the composition in float64."""
    if settings.get("keep") is not None:
        settings["keep"] = arrays.to_numpy(settings["keep"])
    leaves = [wrap(exact(x)).requires_grad_() for x in (q, k, v)]
    with reference_only():
        out = fused.scaled_dot_product_attention(*leaves, **settings)
        if g is not None:
            out.backward(wrap(exact(g)))
    return [out.array, *(x.grad.array for x in leaves if x.grad is not None)]


def assert_near(got, want, kind):
    error = np.linalg.norm(exact(got) - want) / np.linalg.norm(want)
    assert error < (1e-3 if kind == "float16" else 8e-3)  # a NaN never is


CASES = [  # B, H, T, S, D, dtype, causal, share dropped
    (2, 2, 40, 40, 64, "bfloat16", True, 0),
    (1, 1, 150, 150, 64, "float16", True, 0),  # two blocks
    (1, 2, 33, 140, 64, "bfloat16", False, 0.3),
    (1, 1, 140, 33, 64, "float16", False, 0),
    (1, 1, 135, 40, 32, "bfloat16", True, 0.2),
    (1, 1, 40, 135, 32, "float16", True, 0),
    (1, 1, 70, 70, 96, "float16", True, 0),
    (1, 1, 66, 70, 128, "bfloat16", False, 0.5),
    (1, 1, 1, 1, 64, "bfloat16", True, 0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradients_are_those_of_the_composition(case, gpu):
    B, H, T, S, D, kind, causal, p = case
    q, k, v, g = (heads(gpu, kind, B, H, n, D, seed) for seed, n in enumerate((T, S, S, T)))
    keep = gpu.asarray(np.random.default_rng(9).random((B, H, T, S)) >= p) if p else None
    scale = 1.0 if kind == "float16" else 0.2  # great scores move what they are relative to
    settings = {"causal": causal, "scale": scale, "keep": keep, "p": p}
    out, pullback = kernel(gpu)(q, k, v, **settings)
    first = [out, *pullback(g)[:3]]
    for got, want in zip(first, reference(q, k, v, g, **settings)):
        assert got.dtype == q.dtype
        assert got.shape == want.shape
        if want.any():  # with one key the weight is 1, whatever the score
            assert_near(got, want, kind)
    out, pullback = kernel(gpu)(q, k, v, **settings)
    for got, again in zip(first, [out, *pullback(g)[:3]]):
        assert arrays.to_numpy(got).tobytes() == arrays.to_numpy(again).tobytes()


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_heads_of_one_projection_and_their_gradient_are_not_copied(kind, gpu):
    B, T, H, D = 2, 70, 2, 64
    whole = real(gpu, kind, B, T, 3 * H * D, seed=1)
    leaf, seen = wrap(whole).requires_grad_(), []
    projected = leaf * 1
    projected.register_hook(lambda g: seen.append(g.array))
    q, k, v = (x.view(B, T, H, D).transpose(1, 2) for x in projected.split(H * D, dim=2))
    y = fused.scaled_dot_product_attention(q, k, v, causal=True).transpose(1, 2)
    assert y.is_contiguous()  # so that it can be viewed as (B, T, C)
    g = real(gpu, kind, B, T, H, D, seed=2)
    y.backward(wrap(g))
    pieces = [x.array for x in (q, k, v)]
    want = reference(*pieces, g.swapaxes(1, 2), causal=True)
    assert_near(y.array, want[0].swapaxes(1, 2), kind)
    packed = np.stack([x.swapaxes(1, 2) for x in want[1:]], axis=2).reshape(B, T, 3 * H * D)
    assert_near(leaf.grad.array, packed, kind)
    assert seen[0].base is not None  # the array that the kernel wrote, under another shape
    assert seen[0].base.shape == (B, T, 3, H, D)


def test_rows_that_do_not_start_at_16_bytes_are_copied(gpu):
    whole = real(gpu, "float16", 1, 2, 40, 65, seed=3)[..., 1:]
    out, pullback = kernel(gpu)(whole, whole, whole, causal=True)
    want = reference(whole, whole, whole, whole, causal=True)
    assert_near(out, want[0], "float16")
    assert_near(sum(pullback(whole)[:3]), sum(want[1:]), "float16")


def test_infinity_and_nan_reach_what_sees_them_and_nothing_else(gpu):
    q, k, v, g = (heads(gpu, "float16", 1, 1, 100, 64, seed) for seed in range(4))
    k[0, 0, 50, 3], q[0, 0, 40, 5] = np.inf, np.nan
    out, _ = kernel(gpu)(q, k, v, causal=True)
    want = reference(q, k, v, causal=True)[0]
    assert np.isnan(want).any()
    np.testing.assert_array_equal(np.isnan(exact(out)), np.isnan(want))
    assert_near(out[:, :, :40], want[:, :, :40], "float16")
    q[...], k[...] = 100, -np.inf
    out, pullback = kernel(gpu)(q, k, v * 0 + 1, causal=True)
    assert not exact(out).any()  # a row that may look nowhere gives 0
    assert not exact(pullback(g)[2]).any()


def test_what_the_kernel_does_not_take_is_left_to_the_composition(gpu):
    q = heads(gpu, "bfloat16", 1, 2, 8, 64, 0)
    attention = kernel(gpu)
    mask = gpu.ones((8, 8), bool)
    assert attention(q, q, q, mask) is NotImplemented
    assert attention(*[q.astype("float32")] * 3) is NotImplemented
    assert attention(*[q[..., :40]] * 3) is NotImplemented
    assert attention(*[q[:, :, :0]] * 3) is NotImplemented
    assert attention(q, q, q, scale=-1.0) is NotImplemented
    assert attention(q, q, q[..., :32]) is NotImplemented
    with tg.no_grad():
        out = fused.scaled_dot_product_attention(*[wrap(q.astype("float32"))] * 3)
    assert_near(out.array, reference(q, q, q)[0], "float16")
