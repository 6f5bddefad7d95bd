"""Sums are as exact as float32 allows, along any axis and wherever one is hidden: in means and
norms, in gradients of what was broadcast. At these sizes adding one after another would be off by
more than is allowed; checked with the kernels in C, with those in NumPy and without any."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_lm as tl
import tinygrad_lm.nn.functional as F
from tinygrad_lm.engine.arrays import reference_only
from tinygrad_lm.engine.kernels.c.recorder import recorder

ROWS, COLUMNS = 120_000, 6
RNG = np.random.default_rng(0)
X = (RNG.random((ROWS, COLUMNS)) + 1).astype("f4")
D = X.astype("f8")
NORMAL = (D - D.mean(0)) / np.sqrt(D.var(0) + 1e-5)
ROW = (D - D.mean(1, keepdims=True)) / np.sqrt(D.var(1, keepdims=True) + 1e-5)


def gradient(make, *shape):
    """What a parameter gets if make(parameter) has the gradient X."""

    def found(x):
        parameter = tl.ones(*shape).requires_grad_()
        make(x, parameter).backward(x)
        return parameter.grad

    return found


zeros = tl.zeros(COLUMNS)
FAR = np.concatenate([X[:1] * 2**17, X])  # the first row is like no other
F64 = FAR.astype("f8")
LONG = np.random.default_rng(0).standard_normal((2, 2**17)).astype("f4")
LONG[:, :2048] += 1e6
LONG64 = LONG.astype("f8")


def running(which):
    """What batch norm finds in FAR."""

    def found(x):
        seen = tl.zeros(COLUMNS), tl.zeros(COLUMNS)
        F.batch_norm(tl.from_numpy(FAR), *seen, training=True, momentum=1.0)
        return seen[which]

    return found


SUMS = {
    "sum": (lambda x: x.sum(0), D.sum(0)),
    "sum of all, with gaps": (lambda x: x[:, :4].sum(), D[:, :4].sum()),
    "sum in the middle": (
        lambda x: x.view(2, -1, COLUMNS).sum(1), D.reshape(2, -1, COLUMNS).sum(1)
    ),
    "sum of columns in memory": (lambda x: x.T.contiguous().T.sum(0), D.sum(0)),
    "sum of every other": (lambda x: x[::2].sum(0), D[::2].sum(0)),
    "sum of one number": (lambda x: x[:1].expand(ROWS, -1).sum(0), D[0] * ROWS),
    "mean": (lambda x: x.mean(0), D.mean(0)),
    "mean of two axes": (lambda x: x.view(100, -1, COLUMNS).mean((0, 1)), D.mean(0)),
    "var": (lambda x: x.var(0), D.var(0, ddof=1)),
    "std": (lambda x: x.std(0), D.std(0, ddof=1)),
    "norm": (lambda x: x.norm(dim=0), np.sqrt((D * D).sum(0))),
    "logsumexp": (lambda x: x.logsumexp(0) - 12, np.log(np.exp(D).sum(0)) - 12),
    "softmax": (lambda x: x.softmax(0)[0] * ROWS, np.exp(D[0]) / np.exp(D).sum(0) * ROWS),
    "cumsum": (lambda x: x.cumsum(0)[-1], D.sum(0)),
    "einsum": (lambda x: tl.einsum("ij->j", x), D.sum(0)),
    "einsum of two": (lambda x: tl.einsum("ij,ij->j", x, x), (D * D).sum(0)),
    "mse_loss": (lambda x: F.mse_loss(x, x * 0), (D * D).mean()),
    "add": (gradient(lambda x, b: x + b, COLUMNS), D.sum(0)),
    "mul": (gradient(lambda x, b: x * b, COLUMNS), (D * D).sum(0)),
    "expand": (gradient(lambda x, b: b.expand(ROWS, -1), 1, COLUMNS), D.sum(0)[None]),
    "repeat": (gradient(lambda x, b: b.repeat(ROWS, 1), 1, COLUMNS), D.sum(0)[None]),
    "a scalar": (gradient(lambda x, b: x * b, ()), (D * D).sum()),
    "linear": (gradient(lambda x, b: F.linear(x, tl.eye(COLUMNS), b), COLUMNS), D.sum(0)),
    "layer_norm's bias": (
        gradient(lambda x, b: F.layer_norm(x, (COLUMNS,), tl.ones(COLUMNS), b), COLUMNS), D.sum(0)
    ),
    "layer_norm": (
        gradient(lambda x, w: F.layer_norm(x, (COLUMNS,), w, zeros), COLUMNS), (ROW * D).sum(0)
    ),
    "batch_norm's bias": (
        gradient(lambda x, b: F.batch_norm(x, None, None, zeros + 1, b, training=True), COLUMNS),
        D.sum(0),
    ),
    "batch_norm": (
        gradient(lambda x, w: F.batch_norm(x, None, None, w, zeros, training=True), COLUMNS),
        (NORMAL * D).sum(0),
    ),
    "batch_norm, the first row far away": (
        lambda x: F.batch_norm(tl.from_numpy(FAR), None, None, training=True)[1:],
        ((F64 - F64.mean(0)) / np.sqrt(F64.var(0) + 1e-5))[1:],
    ),
    "layer_norm of a long row, a part of it far away": (
        lambda x: F.layer_norm(tl.from_numpy(LONG), LONG.shape[1:]),
        (LONG64 - LONG64.mean(1, keepdims=True)) / np.sqrt(LONG64.var(1, keepdims=True) + 1e-5),
    ),
    "running_mean": (running(0), F64.mean(0)),
    "running_var": (running(1), F64.var(0, ddof=1)),
    "var, the first row far away": (lambda x: tl.from_numpy(FAR).var(0), F64.var(0, ddof=1)),
}  # fmt: skip


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "reference"])
@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_exact(name, kernels):
    make, want = SUMS[name]
    if kernels:
        got = make(tl.from_numpy(X))
    else:
        with reference_only():
            got = make(tl.from_numpy(X))
    assert got.shape == np.shape(want)
    assert np.max(abs(got.numpy() - want)) <= 5e-6 * np.max(abs(want))


def test_more_ones_are_counted_than_float32_can_count_one_by_one():
    ones = tl.ones(1, 2).expand(2**24 + 4, 2)
    assert ones.sum(0).tolist() == [2**24 + 4] * 2
    assert ones.clone().sum(0).tolist() == [2**24 + 4] * 2


@pytest.mark.skipif(recorder is None, reason="the tests above have done it")
def test_sums_without_the_kernels_in_c():
    environment = {**os.environ, "TINYGRAD_LM_COMPILED": "0"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
