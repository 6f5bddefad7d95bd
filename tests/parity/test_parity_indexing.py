"""Reading and writing at positions, against PyTorch at run time: random keys of every kind, values,
strides, views or copies, gradients, and which keys are refused."""

import itertools
import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from parity import BOTH, assert_same, assert_same_error, assert_same_tensor, each, numbers  # noqa: E402

import tinygrad_lm as tg  # noqa: E402


def tensors(library, part):
    """A key made of Python parts, its arrays as tensors of one library."""
    if isinstance(part, tuple):
        return tuple(tensors(library, p) for p in part)
    return library.tensor(part) if isinstance(part, np.ndarray) else part


@st.composite
def bounds(draw, size):
    end = st.none() | st.integers(-size - 1, size + 1)
    return slice(draw(end), draw(end), draw(st.sampled_from([None, 1, 2, 3])))


@st.composite
def keys(draw, shape, basic=False, legal=True):
    """A key for a shape: integers, slices, None, ..., and unless basic, lists, integer tensors of
    0, 1 or 2 axes, and boolean masks."""
    parts, axis, seed = [], 0, draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    common = draw(st.sampled_from([(2,), (3, 2), (1,), (2,)]))
    while axis < len(shape):
        n = shape[axis]
        choices = ["int", "slice", "slice", "none", "end"]
        if not basic:
            choices += ["list", "tensor", "0-d", "mask", "masks"]
        kind = draw(st.sampled_from(choices))
        if kind == "end":
            break
        if kind == "none":
            parts.append(None)
            continue
        if kind == "int":
            parts.append(int(rng.integers(-n, n)))
        elif kind == "slice":
            parts.append(draw(bounds(n)))
        elif kind == "list":
            parts.append([int(i) for i in rng.integers(-n, n, common[-1])])
        elif kind == "tensor":
            parts.append(rng.integers(-n, n, common))
        elif kind == "0-d":
            parts.append(np.array(int(rng.integers(-n, n))))
        else:
            axes = min(2 if kind == "masks" else 1, len(shape) - axis)
            if sum(isinstance(p, (np.ndarray, list)) for p in parts):
                continue  # a mask meets other index arrays only if their lengths agree
            mask = np.zeros(int(np.prod(shape[axis : axis + axes])), bool)
            mask[rng.permutation(mask.size)[: common[-1]]] = True
            parts.append(mask.reshape(shape[axis : axis + axes]))
            common, axis = (int(mask.sum()),), axis + axes - 1
        axis += 1
    if draw(st.booleans()):
        parts = (
            [*parts[: draw(st.integers(0, len(parts)))], Ellipsis] if axis < len(shape) else parts
        )
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


SHAPES = [(5,), (3, 4), (2, 3, 4), (1, 3), (4, 1, 2)]
CASES = st.sampled_from(SHAPES).flatmap(lambda s: st.tuples(st.just(s), keys(s)))
BASIC = st.sampled_from(SHAPES).flatmap(lambda s: st.tuples(st.just(s), keys(s, basic=True)))


def values(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def attempt(function):
    try:
        return function()
    except (IndexError, ValueError, TypeError, RuntimeError) as error:
        return error


def assert_same_outcome(want, got, label):
    """Both refuse with the same type of error, or both give equal tensors."""
    if isinstance(want, Exception) or isinstance(got, Exception):
        assert type(got) is type(want), f"{label}: PyTorch {want!r}, got {got!r}"
        assert str(got).startswith("["), f"{label}: {got!r}"
        return False
    return True


@given(CASES)
def test_reading_gives_pytorchs_values_and_gradients(case):
    shape, key = case
    leaves = [library.tensor(values(shape), requires_grad=True) for library in BOTH]
    want, got = (attempt(lambda L=L, x=x: x[tensors(L, key)]) for L, x in zip(BOTH, leaves))
    if not assert_same_outcome(want, got, key):
        return
    # of (None, 3), say, NumPy's array no longer tells what the step of the new axis would be
    assert_same_tensor(want, got, str(key), ones=False)
    assert repr(want) == repr(got)
    upstream = values(tuple(want.shape), 1)
    for library, out in zip(BOTH, (want, got)):
        out.backward(library.tensor(upstream))
    np.testing.assert_allclose(numbers(leaves[1].grad), numbers(leaves[0].grad), 1e-6, 1e-6)


@given(BASIC)
def test_basic_keys_give_views_and_writes_through_them_show(case):
    shape, key = case
    results = []
    for library in BOTH:
        x = library.tensor(values(shape))
        x[tensors(library, key)].fill_(7.0)
        results.append(x)
    assert torch.equal(results[0], torch.from_numpy(results[1].numpy()))


@given(CASES)
def test_index_arrays_give_copies(case):
    shape, key = case
    changed = []
    for library in BOTH:
        x = library.tensor(values(shape))
        x[tensors(library, key)].zero_()
        changed.append(x.tolist())
    assert changed[0] == changed[1]


@given(CASES, st.sampled_from(["number", "one", "full", "0-d", "broadcast", "wrong"]))
def test_writing_changes_what_pytorch_changes(case, what):
    """Values and gradients of both sides; where positions repeat, all write the same number."""
    shape, key = case
    results = []
    for library in BOTH:
        x = library.tensor(values(shape), requires_grad=True)
        z, k = x * 2, tensors(library, key)
        region = tuple(z[k].shape)
        size = {"one": (1,), "full": region, "0-d": (), "broadcast": region[1:]}.get(what, (7, 5))
        repeats = isinstance(key, tuple) and any(isinstance(p, (list, np.ndarray)) for p in key)
        repeats = repeats or isinstance(key, (list, np.ndarray))
        source = np.full(size, 3.0, np.float32) if repeats else values(size, 2)
        value = library.tensor(source, requires_grad=not repeats)

        def write(z=z, k=k, value=value):
            z[k] = 3.0 if what == "number" else value
            return z

        out = attempt(write)
        if not isinstance(out, Exception):
            out.backward(library.tensor(values(shape, 4)))
        results.append((out, x.grad, value.grad))
    (want, *grads), (got, *ours) = results
    if assert_same_outcome(want, got, f"{key} = {what} {shape}"):
        assert_same_tensor(want, got, str(key))
        for a, b in zip(grads, ours):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(numbers(b), numbers(a), 1e-6, 1e-6, err_msg=str(key))


@given(CASES)
def test_adding_in_place_at_a_key_reads_and_writes_once(case):
    shape, key = case
    results = []
    for library in BOTH:
        x = library.tensor(values(shape), requires_grad=True)
        z = x * 1
        z[tensors(library, key)] += 1
        z[tensors(library, key)] *= 2
        (z * library.tensor(values(shape, 3))).sum().backward()
        results.append((z, x.grad))
    assert_same_tensor(results[0][0], results[1][0], str(key))
    np.testing.assert_allclose(numbers(results[1][1]), numbers(results[0][1]), 1e-6, 1e-6)


@st.composite
def wrong_keys(draw):
    """A legal key with one part spoilt: out of range, of a wrong size or type, or one too many."""
    shape = draw(st.sampled_from(SHAPES))
    spoilt = [
        shape[0], -shape[0] - 1, [shape[0]], np.array([0, -shape[0] - 1]), np.array(shape[0]), {},
        0.5, np.array([0.5]), slice(None, None, -1), slice(None, None, -2), (0,) * (len(shape) + 1),
        (slice(None),) * (len(shape) + 1), (..., *(0,) * (len(shape) + 1)), "a",
        np.zeros(shape[0] + 1, bool),
        (np.array([0, 0]), np.array([0, 0, 0])),
    ]  # fmt: skip
    return shape, draw(st.sampled_from(spoilt))


@given(wrong_keys())
def test_wrong_keys_are_refused_with_pytorchs_type_of_error(case):
    shape, key = case
    for method, value in (("__getitem__", ()), ("__setitem__", (1.0,))):
        want, got = (
            attempt(partial(getattr(L.tensor(values(shape)), method), tensors(L, key), *value))
            for L in BOTH
        )
        assert isinstance(want, Exception), (shape, key)
        assert_same_outcome(want, got, f"{shape} {key}")


LINES = """
x[0] | x[1, 2] | x[-1] | x[0:1] | x[:, 1] | x[:, -1:] | x[..., 0] | x[None] | x[:, None]
x[0, :, None] | x[[0, 1], [1, 2]] | m[ids] | x[rows] | x[mask] | x[x > 0] | x[:, mask[0]]
x[rows, 0] | x[0][1] | x[()] | x[...] | x[:] | x[:, :] | x[0, ...] | b[:, 0, [1, 2]]
b[0, :, [1, 2]] | b[[0, 1], :, [1, 2]] | b[:, rows] | b[rows, :, 0] | b[..., rows] | b[mask]
b[None, ..., None] | x[True] | x[False] | v[[2, 0]] | v[rows[0]]
v[rows[0]:] | x[rows[0], rows[1]] | v[torch.tensor([True, False, True])] | m[ids, ids]
m[ids][..., 0] | x[np.array([0, 1])] | x[np.int64(1)] | x[range(2)] | x[[True, False]] | x[[]]
x[:0] | x[torch.tensor([], dtype=torch.long)] | x[(0, 1)] | x[[0, 1, 1]] | m[v.argsort()]
x[torch.arange(2), rows[:2]] | long[::3] | long[2:9:3] | m[ids.int()] | v[torch.tensor(1)]
z = x * 1; z[0] = 1; z | z = x * 1; z[:, 0] = y[:, 1]; z | z = x * 1; z[mask] = y[mask]; z
z = x * 1; z[[0, 1], [1, 1]] = v[:2]; z | z = x * 1; z[x > 0] = 0; z
z = x * 1; z[0] = v; z[1] = w; z | z = x * 1; z[..., -1] = s; z | z = x * 1; z[None, 0] = v; z
z = x * 1; z[0, 0] = 2; z[0, 0] += s; z | z = b * 1; z[:, 1, [0, 2]] = 0; z
z = x * 1; z[True] = 1; z | z = x * 1; z[[]] = 1; z | z = x * 1; z[:, rows[:2]] = 5.0; z
z = x * 1; z[x.argmax(0), torch.arange(3)] = 0; z
z = torch.zeros(3, 4); z[torch.arange(3), ids.view(-1)[:3]] = 1; z
z = torch.zeros(2, 3); z[0] = torch.tensor([1, 2, 3]); z | z = n.clone(); z[0] = 2.7; z
z = n.clone(); z[0] = x.detach()[0]; z | z = mask.clone(); z[0] = 5; z
z = torch.zeros(2, 3); z[0] = torch.ones(3).double(); z
z = torch.zeros(2, 3); z[0, :] = x.data[1]; z | z = torch.zeros(3); z[1] = torch.tensor([5.0]); z
z = x * 1; a = z[0]; z[0] = 5.; a | z = x * 1; a = z.view(-1); a[2] = 0.; z * y
z = torch.zeros(3); z[0] = s; z[1] = s * 2; z
"""


def lines_of(*tables):
    rows = [row for table in tables for row in table.strip().split("\n")]
    return [line.strip() for row in rows for line in row.split(" | ")]


@each(lines_of(LINES))
def test_a_line_of_indexing_gives_what_pytorch_gives(line):
    assert_same(line)


# uint8 was PyTorch's mask before there was bool; both libraries warn.
BYTES = """
x[mask.byte()] | m[rows.byte()] | m[:, (m[0] > 0).byte()] | b[:, mask.byte()[0], 1]
x[0, mask[0].byte()] | x[..., mask[0].byte()] | x[:, np.array([2, 0, 1], np.uint8)]
x[torch.tensor(1, dtype=torch.uint8)] | x[torch.tensor(0, dtype=torch.uint8), 0]
m[rows.byte()][ids[0].byte()] | m[rows.byte(), rows[:2]] | x[~mask.byte()] | x[np.uint8(1)]
z = x * 1; z[mask.byte()] = y[mask]; z | z = x * 1; z[:, mask.byte()[0]] = y[:, :2]; z
z = x * 1; z[torch.tensor(1, dtype=torch.uint8)] = 5.; z
z = x * 1; z[torch.tensor(0, dtype=torch.uint8)] = 5.; z
z = x * 1; z[mask.byte()] *= v; z
torch.where(mask.byte(), x, y) | torch.where(mask.byte() * 3, x, 0.)
torch.nn.functional.nll_loss(m, rows.byte()) | torch.nn.functional.cross_entropy(m, rows.byte())
"""
BAD_BYTES = """
x[mask[0].byte()] | x[mask.byte(), 0, 0] | z = x * 1; z[mask.byte()] = y
z = x * 1; z[mask[0].byte()] = v
x.gather(1, ids.byte()) | x.index_select(0, rows.byte()) | x.scatter(1, ids.byte(), 1.)
x.scatter_add(1, ids.byte(), y) | x.index_add(0, rows.byte(), m) | x.take_along_dim(ids.byte(), 1)
x.masked_fill(mask.byte(), 1.) | x.masked_select(mask.byte())
"""


@pytest.mark.filterwarnings("ignore:.*uint8")
@each(lines_of(BYTES))
def test_bytes_are_a_mask(line):
    assert_same(line)


@pytest.mark.filterwarnings("ignore:.*uint8")
@each(lines_of(BAD_BYTES))
def test_bytes_are_no_positions(line):
    assert_same_error(line)


def test_a_mask_of_bytes_warns():
    for library in BOTH:
        mask = library.tensor([1, 0, 1], dtype=library.uint8)
        x = library.arange(3.0)
        with pytest.warns(UserWarning, match="uint8"):
            assert x[mask].tolist() == [0, 2]
        with pytest.warns(UserWarning, match="uint8"):
            x[mask] = library.tensor([5.0, 6.0])


SCATTERS = {
    "gather": lambda x, i, s: x.gather(0, i),
    "scatter": lambda x, i, s: x.scatter(0, i, s),
    "scatter_add": lambda x, i, s: x.scatter_add(0, i, s),
    "sum": lambda x, i, s: x.scatter_reduce(0, i, s, "sum"),
    "amax": lambda x, i, s: x.scatter_reduce(0, i, s, "amax"),
    "mean": lambda x, i, s: x.scatter_reduce(0, i, s, "mean"),
}
SHAPES = [(3, 5), (2, 5), (1, 5), (4, 5), (3, 6), (3,), (5,), (3, 5, 1)]


@pytest.mark.parametrize("name", SCATTERS)
def test_positions_fit_into_the_tensor_and_its_source(name):
    """Where PyTorch refuses shapes, so do we, in our words, and nothing is broadcast in silence."""
    for shape, source in itertools.product(SHAPES, SHAPES):
        found = []
        for lib in (torch, tg):
            given = lib.ones(3, 5), lib.zeros(shape, dtype=lib.int64), lib.full(source, 2.0)
            try:
                found.append(SCATTERS[name](*given).tolist())
            except (RuntimeError, IndexError) as error:
                found.append("refused")
                words = r"\[\w+\] index must (have as many dims as|be no larger than) "
                assert lib is torch or re.match(words, str(error))
        assert found[0] == found[1], (shape, source)
