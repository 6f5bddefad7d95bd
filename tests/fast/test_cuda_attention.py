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


def reference(q, k, v, g=None, kind="float64", **settings):
    """[value, dq, dk, dv] of the composition, in float64 if not told otherwise."""
    if settings.get("keep") is not None:
        settings["keep"] = arrays.to_numpy(settings["keep"])
    leaves = [wrap(exact(x).astype(kind)).requires_grad_() for x in (q, k, v)]
    with reference_only():
        out = fused.scaled_dot_product_attention(*leaves, **settings)
        if g is not None:
            out.backward(wrap(exact(g).astype(kind)))
    return [out.array, *(x.grad.array for x in leaves if x.grad is not None)]


def value_and_gradients(gpu, q, k, v, g, **settings):
    out, pullback = kernel(gpu)(q, k, v, **settings)
    return [out, *pullback(g)[:3]]


# The error relative to the norm.
MOST = {"bfloat16": 8e-3, "float16": 1e-3, "float32": 3e-6, "tf32": 4e-3}


def error(got, want):
    return np.linalg.norm(exact(got) - want) / np.linalg.norm(want)


def assert_near(got, want, kind):
    assert error(got, want) < MOST[kind]  # a NaN never is


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
    (1, 2, 150, 150, 64, "float32", True, 0),
    (2, 1, 33, 140, 64, "float32", False, 0.3),
    (1, 1, 135, 40, 32, "float32", True, 0.2),
    (1, 1, 140, 70, 96, "float32", False, 0),
    (1, 1, 130, 135, 128, "float32", True, 0.5),
    (1, 1, 1, 1, 32, "float32", True, 0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradients_are_those_of_the_composition(case, gpu):
    B, H, T, S, D, kind, causal, p = case
    q, k, v, g = (heads(gpu, kind, B, H, n, D, seed) for seed, n in enumerate((T, S, S, T)))
    keep = gpu.asarray(np.random.default_rng(9).random((B, H, T, S)) >= p) if p else None
    scale = 0.2 if kind == "bfloat16" else 1.0  # great scores move what they are relative to
    settings = {"causal": causal, "scale": scale, "keep": keep, "p": p}
    first = value_and_gradients(gpu, q, k, v, g, **settings)
    for got, want in zip(first, reference(q, k, v, g, **settings)):
        assert got.dtype == q.dtype
        assert got.shape == want.shape
        if want.any():  # with one key the weight is 1, whatever the score
            assert_near(got, want, kind)
    for got, again in zip(first, value_and_gradients(gpu, q, k, v, g, **settings)):
        assert arrays.to_numpy(got).tobytes() == arrays.to_numpy(again).tobytes()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_order_of_threads_does_not_matter(case, gpu, emulated_gpu):
    B, H, T, S, D, kind, causal, p = case
    given = [heads(gpu, kind, B, H, n, D, seed) for seed, n in enumerate((T, S, S, T))]
    keep = gpu.asarray(np.random.default_rng(9).random((B, H, T, S)) >= p) if p else None
    settings = {"causal": causal, "keep": keep, "p": p}
    first = value_and_gradients(gpu, *given, **settings)
    before = emulated_gpu.counts()["overruns"]
    with emulated_gpu.backwards(), emulated_gpu.without_pool():
        second = value_and_gradients(gpu, *given, **settings)
    assert emulated_gpu.counts()["overruns"] == before
    for one, other in zip(first, second):
        assert arrays.to_numpy(one).tobytes() == arrays.to_numpy(other).tobytes()


@pytest.mark.parametrize("D", [32, 64, 96, 128])
@pytest.mark.parametrize("scale", [None, 1.0])
def test_float32_keeps_its_digits_unless_tf32_is_allowed(scale, D, gpu):
    """Beside the composition in float32: at most as far, and a half more, from float64."""
    q, k, v, g = (heads(gpu, "float32", 1, 1, 150, D, seed) for seed in range(4))
    settings = {"causal": True, "scale": scale}
    want = reference(q, k, v, g, **settings)
    composed = reference(q, k, v, g, "float32", **settings)
    for got, beside, known in zip(
        value_and_gradients(gpu, q, k, v, g, **settings), composed, want, strict=True
    ):
        assert error(got, known) < 1.5 * error(beside, known)
    tg.backends.cuda.matmul.allow_tf32 = True
    try:
        out, pullback = kernel(gpu)(q, k, v, **settings)
    finally:
        tg.backends.cuda.matmul.allow_tf32 = False
    for got, known in zip([out, *pullback(g)[:3]], want, strict=True):
        assert 1e-5 < error(got, known) < MOST["tf32"]  # as forward was, so is backward


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32"])
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


def test_an_infinity_in_float32_is_nan_where_it_is_seen_and_nothing_else(gpu):
    q, k, v = (heads(gpu, "float32", 1, 1, 100, 64, seed) for seed in range(3))
    k[0, 0, 50, 3], q[0, 0, 40, 5] = np.inf, np.nan
    out, _ = kernel(gpu)(q, k, v, causal=True)
    rows = np.isnan(exact(out)).all(3)[0, 0]
    np.testing.assert_array_equal(rows, (np.arange(100) == 40) | (np.arange(100) >= 50))
    want = reference(q, k, v, causal=True)[0]
    assert_near(out[:, :, :40], want[:, :, :40], "float32")


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_memory_grows_with_the_rows_and_not_with_their_square(kind, gpu, emulated_gpu):
    q, k, v, g = (heads(gpu, kind, 1, 1, 300, 32, seed) for seed in range(4))
    value_and_gradients(gpu, q, k, v, g, causal=True)  # compiled
    with emulated_gpu.without_pool():
        before, one = emulated_gpu.counts()["bytes"], q.nbytes
        out, pullback = kernel(gpu)(q, k, v, causal=True)
        assert emulated_gpu.counts()["bytes"] - before == one + 300 * 4
        found = pullback(g)
        assert emulated_gpu.counts()["bytes"] - before == 4 * one + 300 * 4
    assert len(found) == 4


def test_no_tile_takes_more_shared_memory_than_a_block_may_have(gpu):
    from tinygrad_lm.engine.kernels.cuda import attention

    assert all(attention._memory(*form) <= 227 << 10 for form in attention.SOURCES)


def test_a_gpu_without_the_room_is_left_to_the_composition(gpu, monkeypatch):
    from tinygrad_lm.engine.kernels.cuda import attention

    class Smaller:
        attributes = {"MaxSharedMemoryPerBlockOptin": 99 << 10}
        compute_capability = "89"

        def __init__(self, device):
            pass

    monkeypatch.setattr(attention.cupy.cuda, "Device", Smaller)
    room = attention._has_room.__wrapped__  # not from the cache
    assert room(0, "float", 64, 0) and room(0, "__half", 128, 1)
    assert not room(0, "float", 128, 0)
    Smaller.compute_capability = "75"
    assert not room(0, "float", 64, 0)


def test_what_the_kernel_does_not_take_is_left_to_the_composition(gpu):
    q = heads(gpu, "bfloat16", 1, 2, 8, 64, 0)
    attention = kernel(gpu)
    mask = gpu.ones((8, 8), bool)
    assert attention(q, q, q, mask) is NotImplemented
    assert attention(*[q.astype("float64")] * 3) is NotImplemented
    assert attention(*[q[..., :40]] * 3) is NotImplemented
    assert attention(*[q[:, :, :0]] * 3) is NotImplemented
    assert attention(q, q, q, scale=-1.0) is NotImplemented
    assert attention(q, q, q[..., :32]) is NotImplemented
    with tg.no_grad():
        out = fused.scaled_dot_product_attention(*[wrap(q.astype("float64"))] * 3)
    assert_near(out.array, reference(q, q, q)[0], "float16")
