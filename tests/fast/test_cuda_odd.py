"""Odd and wrong input: a GPU gives what the CPU gives, values, dtypes and kinds of error, and keeps
what a user would lose without a word. Each op on layouts that no kernel was written for."""

import copy
import io
import pickle

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest
from op_laws import moved, pull, some_cases
from op_specs import SPECS

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.core.tensor import wrap
from tinygrad_lm.nn import functional as F

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]

# ---------------------------------------------------------------- layouts


def columns(array, lib):
    return lib.asarray(array.T.copy()).T


def gaps(array, lib):
    big = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
    every = tuple(slice(1, None, 2) for _ in array.shape)
    big[every] = array
    return lib.asarray(big)[(*every, ...)]


def backwards(array, lib):
    return lib.asarray(array[::-1].copy())[::-1] if array.ndim else lib.asarray(array)


def run(name, case, lay, lib):
    """Value and gradients of an op on arrays laid out so; or the kind of its error."""

    def change(array):
        return lay(array.astype("float32") if array.dtype == np.float64 else array, lib)

    inputs = [moved(x, change) for x in case.inputs]
    settings = {key: moved(x, change) for key, x in case.settings.items()}
    inputs = [wrap(x) if type(x) in arrays.LIBRARIES else x for x in inputs]
    leaves = [x for x in inputs if isinstance(x, tg.Tensor) and x.dtype is tg.float32]
    for leaf in leaves:
        leaf.requires_grad_()
    try:
        out = OPS[name](*inputs, **settings)
    except RuntimeError as error:
        return type(error)
    g = np.asarray(np.random.default_rng(0).standard_normal(out.shape), out.array.dtype)
    gradients = pull(out, leaves, lay(g, lib)) if out.requires_grad else []
    return [arrays.to_numpy(x) for x in (out.array, *gradients)]


@pytest.mark.parametrize("lay", [columns, gaps, backwards])
@pytest.mark.parametrize("name", [name for name in OPS if name != "copy_to"])
def test_an_op_on_an_odd_layout(name, lay, gpu):
    for case in some_cases(SPECS[name], 3, sizes=(1, 3, 17)):
        here, there = run(name, case, lay, np), run(name, case, lay, gpu)
        if isinstance(here, type):
            assert here is there
            continue
        for known, got in zip(here, there, strict=True):
            assert (got.shape, got.dtype) == (known.shape, known.dtype) or not known.any()
            known, got = known.astype("float64"), got.astype("float64")
            np.testing.assert_allclose(got, known, rtol=5e-3, atol=5e-4)


# ---------------------------------------------------------------- what a user may write


def m(device, *shape):
    return tg.tensor(np.random.default_rng(0).normal(size=shape).astype("float32"), device=device)


def ids(device, *rows):
    return tg.tensor(rows, device=device)


def written(x, key, value):
    x[key] = value
    return x


def copied(x, make):
    layer = nn.Linear(3, 2).to(x.device)
    layer(x).sum().backward()
    return make(layer).weight.shape, make(x.T), make(layer(x) * 0 + 1)


def through_a_file(x):
    file = io.BytesIO()
    tg.save({"x": x.T, "half": [x.bfloat16(), 3], "empty": x[:0], "number": x[0, 0]}, file)
    file.seek(0)
    found = tg.load(file)
    return found["x"], found["half"][0], found["empty"], found["number"]


def clipped_together(device):
    params = [nn.Parameter(m(where, 3)) for where in ("cpu", device, "cpu")]
    for p in params:
        p.grad = p.detach() * 2
    optimizer = tg.optim.AdamW(params, lr=0.1)
    norm = nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    assert params[1].device.type == device
    return norm, *[t for p in params for t in (p.grad, p)]


def added_to_itself(x):
    x[1:] += x[:-1]
    x += x.T
    x.copy_(x.T)
    x[:] = x.flip(0)
    return x


def moved_late(device):
    tg.manual_seed(1)
    layer = nn.Linear(3, 2)
    optimizer = tg.optim.AdamW(layer.parameters(), lr=0.1)
    for where in ("cpu", device):
        layer.to(where)(m(where, 4, 3)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return layer.weight


ODD = {
    "scatter beyond": lambda d: m(d, 3, 4).scatter(0, ids(d, [0] * 5), m(d, 1, 5)),
    "scatter a number beyond": lambda d: m(d, 3, 4).scatter(0, ids(d, [0] * 5), 1.0),
    "scatter_add beyond": lambda d: m(d, 3, 4).scatter_add(0, ids(d, [0] * 5), m(d, 1, 5)),
    "scatter_reduce beyond": lambda d: m(d, 3, 4).scatter_reduce(
        0, ids(d, [0] * 5), m(d, 1, 5), "amax"
    ),
    "index_add of more axes": lambda d: m(d, 2).index_add(0, ids(d, 0, 1), m(d, 2, 1)),
    "index_add of other rows": lambda d: m(d, 2, 3).index_add(0, ids(d, 1), m(d, 1, 4)),
    "one axis twice": lambda d: m(d, 2, 3).diagonal(0, 1, -1),
    "a diagonal of one axis": lambda d: m(d, 3).diagonal(),
    "gather beyond": lambda d: m(d, 3, 4).gather(0, ids(d, [0] * 5)),
    "scatter of too little": lambda d: m(d, 3, 4).scatter(0, ids(d, [0] * 4), m(d, 1, 3)),
    "scatter along": lambda d: m(d, 3, 4).scatter(0, ids(d, *[[2] * 4] * 5), 1.0),
    "unique in bfloat16": lambda d: tg.unique(m(d, 2, 3).bfloat16().round(), return_counts=True),
    "xlogy of numbers": lambda d: (m(d, 3).abs().xlogy(2), tg.xlogy(0, m(d, 3))),
    "two devices clipped": clipped_together,
    "a layer moved late": moved_late,
    "overlap": lambda d: added_to_itself(m(d, 4, 4)),
    "ids of the CPU": lambda d: m(d, 4, 5)[tg.tensor([3, 0, 3])],
    "a mask of the CPU": lambda d: written(m(d, 3), tg.tensor([True, False, True]), 0.0),
    "float ids": lambda d: m(d, 3)[m(d, 3)],
    "a float into integers": lambda d: written(ids(d, 1, 2), 0, 2.7),
    "too long a row": lambda d: written(m(d, 3, 4), 0, m(d, 5)),
    "shapes": lambda d: m(d, 4, 5) + m(d, 3, 2),
    "inner sizes": lambda d: m(d, 4, 5) @ m(d, 3, 2),
    "two dtypes": lambda d: m(d, 4, 5) @ m(d, 5, 2).double(),
    "a view of columns": lambda d: m(d, 4, 5).T.view(-1),
    "many as one": lambda d: m(d, 3).item(),
    "division by 0": lambda d: ids(d, 1, 0) // 0,
    "negative sizes": lambda d: tg.zeros(-1, device=d),
    "too much": lambda d: tg.zeros(2**45, device=d),
    "a leaf written": lambda d: m(d, 3).requires_grad_().add_(1),
    "twice back": lambda d: [(m(d, 3).requires_grad_() ** 2).sum().backward()] * 2,
    "nothing of nothing": lambda d: (m(d, 0, 4).sum(), m(d, 0, 4).mean(0), m(d, 0, 3) @ m(d, 3, 2)),
    "no loss": lambda d: F.cross_entropy(m(d, 0, 4), ids(d)),
    "all ignored": lambda d: F.cross_entropy(m(d, 3, 4), ids(d, -100, -100, -100)),
    "a target too few": lambda d: F.cross_entropy(m(d, 3, 4), ids(d, 0, 1)),
    "bytes as targets": lambda d: F.cross_entropy(m(d, 3, 4), ids(d, 0, 1, 2).byte()),
    "infinite logits": lambda d: F.cross_entropy(m(d, 2, 3) / ids(d, 0, 1, 1), ids(d, 1, 2)),
    "columns as logits": lambda d: F.cross_entropy(m(d, 4, 3).T, ids(d, 0, 3, 1)),
    "one row normalised": lambda d: nn.BatchNorm1d(4).to(d)(m(d, 1, 4)),
    "no mean": lambda d: ids(d, 1, 2).mean(),
    "no probability": lambda d: tg.multinomial(m(d, 3) * 0, 1),
    "negative probability": lambda d: tg.multinomial(-m(d, 3).abs(), 1),
    "NaN as probability": lambda d: tg.multinomial(m(d, 3) / 0 * 0, 1),
    "no chance": lambda d: tg.bernoulli(m(d, 3).abs() + 2),
    "a wide normal": lambda d: tg.distributions.Normal(m(d, 3), -m(d, 3).abs()),
    "a singular matrix": lambda d: tg.linalg.inv(m(d, 2, 2) * 0),
    "no square": lambda d: tg.linalg.cholesky(-tg.eye(2, device=d)),
    "a convolution of nothing": lambda d: F.conv2d(m(d, 0, 2, 5, 5), m(d, 3, 2, 2, 2)),
    "channels": lambda d: F.conv2d(m(d, 1, 3, 5, 5), m(d, 3, 2, 2, 2)),
    "attention to nothing": lambda d: F.scaled_dot_product_attention(
        m(d, 1, 2, 3, 4), m(d, 1, 2, 0, 4), m(d, 1, 2, 0, 4)
    ),
    "deepcopy": lambda d: copied(m(d, 4, 3), copy.deepcopy)[:2],
    "deepcopy of a result": lambda d: copied(m(d, 4, 3), copy.deepcopy),
    "pickle": lambda d: copied(m(d, 4, 3), lambda x: pickle.loads(pickle.dumps(x)))[:2],
    "save": lambda d: through_a_file(m(d, 4, 3)),
}


@pytest.mark.parametrize("name", ODD)
def test_a_gpu_answers_as_the_cpu(name):
    def found(device):
        try:
            out = ODD[name](device)
            tg.cuda.synchronize()
        except (RuntimeError, TypeError, ValueError, IndexError, MemoryError) as error:
            return next(t for t in KINDS if isinstance(error, t))
        out = out if isinstance(out, (tuple, list)) else (out,)
        return [(x.dtype, x.detach().cpu()) if isinstance(x, tg.Tensor) else x for x in out]

    here, there = found("cpu"), found("cuda")
    if isinstance(here, type):
        assert here is there
        return
    for known, got in zip(here, there, strict=True):
        if isinstance(known, tuple) and isinstance(known[1], tg.Tensor):
            assert known[0] is got[0] and known[1].shape == got[1].shape
            assert tg.allclose(got[1].double(), known[1].double(), 1e-4, 1e-5, equal_nan=True)
        else:
            assert known == got


KINDS = (MemoryError, IndexError, ValueError, TypeError, RuntimeError)
