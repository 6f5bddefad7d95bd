"""What the laws over the table of ops do not say about kernels: sizes that need several blocks,
strided inputs, thread counts, errors inside a thread. What a kernel computes is compared with its
composition in float64."""

import numpy as np
import pytest

from tinygrad_lm.engine.kernels.cpu import blocks
from tinygrad_lm.engine.registry import OPS, reference_only
from tinygrad_lm.engine.tensor import wrap


def real(*shape, seed=0, kind="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(kind)


def packed(B, T, H, D, seed=0):
    """q, k, v as GPT makes them: strided views of one array (B, T, 3, H, D)."""
    whole = real(B, T, 3, H, D, seed=seed)
    return [whole[:, :, i].swapaxes(1, 2) for i in range(3)]


N = 700  # rows that fill several blocks at the widths below
BIG = {
    "linear": lambda: ((real(7, 100, 96), real(130, 96), real(130)), {}),
    "linear_strided": lambda: ((real(96, 300).T, real(96, 64).T), {}),
    "embedding": lambda: ((real(65, 48),), {"ids": np.arange(7 * 30).reshape(7, 30) ** 2 % 65}),
    "embedding_sorted": lambda: ((real(9000, 8),), {"ids": np.arange(300) ** 2 % 900}),
    "gelu": lambda: ((4 * real(N, 300),), {}),
    "gelu_tanh": lambda: ((4 * real(300, N).T,), {"approximate": "tanh"}),
    "softmax": lambda: ((3 * real(N, 301),), {}),
    "log_softmax": lambda: ((3 * real(7, 100, 301),), {"axis": 2}),
    "cross_entropy": lambda: ((real(N, 301), None), {"targets": np.arange(N) % 301}),
    "cross_entropy_ignored": lambda: (
        (real(301, N).T, None),
        {"targets": np.arange(N) % 300, "ignore_index": 7, "reduction": "sum"},
    ),
    "layer_norm": lambda: ((real(7, 100, 300) + 2, real(300), real(300)), {}),
    "layer_norm_axes": lambda: ((real(N, 20, 15) + 2, real(20, 15), None), {"axes": 2, "eps": 0.1}),
    "layer_norm_bare": lambda: ((real(300, N).T, None, None), {}),
    "rms_norm": lambda: ((real(7, 100, 300) + 2, real(300)), {}),
    "batch_norm": lambda: ((real(N, 300) + 2, real(300), real(300)), {}),
    "dropout": lambda: ((real(N, 300),), {"keep": real(N, 300) > 0, "p": 0.4}),
    "scaled_dot_product_attention": lambda: ((*packed(5, 70, 3, 16), None), {"causal": True}),
    "scaled_dot_product_attention_wide": lambda: (
        (real(3, 2, 300, 8), real(3, 2, 410, 8), real(3, 2, 410, 5), None),
        {"scale": 0.5},
    ),
    "scaled_dot_product_attention_long": lambda: (
        (*packed(2, 700, 2, 8), None),
        {"causal": True, "keep": real(2, 2, 700, 700) > -1, "p": 0.2},
    ),
    "scaled_dot_product_attention_masked": lambda: (
        (*packed(6, 90, 3, 8), real(6, 1, 90, 90) > 0.5),
        {},
    ),
    "scaled_dot_product_attention_short_keys": lambda: (
        (real(3, 2, 300, 8), real(3, 2, 100, 8), real(3, 2, 100, 8), None),
        {"causal": True},
    ),
}


def run(name, inputs, settings, kind="float32"):
    """Value and gradients, all as arrays."""
    op = next(op for key, op in OPS.items() if name == key or key in name and _longest(name) == key)
    tensors = [
        None if x is None else wrap(x if x.dtype == bool else x.astype(kind, copy=False))
        for x in inputs
    ]
    leaves = [x.requires_grad_() for x in tensors if x is not None and x.is_floating_point()]
    out = op(*tensors, **settings)
    out.backward(wrap(np.asarray(real(*out.shape, seed=9, kind=kind))))
    return op, [out.array, *(x.grad.array for x in leaves)]


def _longest(name):
    return max((key for key in OPS if name.startswith(key)), key=len)


@pytest.mark.parametrize("name", BIG)
def test_a_kernel_agrees_with_its_composition_at_sizes_of_several_blocks(name, monkeypatch):
    inputs, settings = BIG[name]()
    used = []
    op = OPS[_longest(name)]
    whole = op.kernels[np.ndarray]
    monkeypatch.setitem(
        op.kernels, np.ndarray, lambda *a, **k: used.append(whole(*a, **k)) or used[-1]
    )
    _, got = run(name, inputs, settings)
    assert used and used[0] is not NotImplemented
    with reference_only():
        _, want = run(name, inputs, settings, kind="float64")
    for a, b in zip(got, want, strict=True):
        assert a.dtype == np.float32 and a.shape == b.shape
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("name", BIG)
def test_any_number_of_threads_gives_the_same_bits(name, monkeypatch):
    inputs, settings = BIG[name]()
    results = []
    for count in (1, 2, 3, 2):
        monkeypatch.setattr(blocks, "get_num_threads", lambda count=count: count)
        results.append([x.tobytes() for x in run(name, inputs, settings)[1]])
    assert all(found == results[0] for found in results[1:])
