"""Products of matrices by cublasLt: what it is told of an array's memory, executed in NumPy; and
what it gives, on a GPU or on a stand-in for both."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.core.tensor import wrap

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


@pytest.fixture
def lt(gpu):
    from tinygrad_lm.engine.kernels.cuda import cublaslt

    cublaslt.plans.clear()
    yield cublaslt
    cublaslt.plans.clear()


@pytest.fixture
def there(lt):
    if lt.library() is None:
        pytest.skip("there is no cublasLt")
    return lt


def real(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


PAIRS = {
    "matrices": lambda: (real(3, 4), real(4, 5)),
    "x transposed": lambda: (real(4, 3).T, real(4, 5)),
    "y transposed": lambda: (real(3, 4), real(5, 4).T),
    "both transposed": lambda: (real(4, 3).T, real(5, 4).T),
    "columns of wider ones": lambda: (real(3, 9)[:, 2:6], real(8, 4).T[:, :5]),
    "rows apart": lambda: (real(6, 4)[::2], real(4, 5)),
    "one row": lambda: (real(1, 4), real(4, 5)),
    "one column": lambda: (real(3, 4), real(4, 1)),
    "a column out of many": lambda: (real(3, 4), real(4, 7)[:, 3:4]),
    "a row out of a transposed one": lambda: (real(4, 6).T[2:3], real(4, 5)),
    "outer": lambda: (real(3, 1), real(1, 5)),
    "vectors": lambda: (real(4)[None], real(4)[:, None]),
    "vectors, outer": lambda: (real(3)[:, None], real(5)[None]),
    "numbers": lambda: (real(1, 1), real(1, 1)),
    "a batch": lambda: (real(2, 3, 4), real(2, 4, 5)),
    "a batch of transposed": lambda: (real(2, 4, 3).swapaxes(1, 2), real(2, 5, 4).swapaxes(1, 2)),
    "two axes of batch": lambda: (real(2, 6, 3, 4), real(2, 6, 4, 5)),
    "a batch and a matrix": lambda: (real(2, 3, 4), real(4, 5)),
    "a matrix and a batch": lambda: (real(3, 4), real(2, 2, 4, 5)),
    "a stretched batch": lambda: (real(1, 3, 4), real(6, 4, 5)),
    "every other of a batch": lambda: (real(4, 3, 4)[::2], real(2, 4, 5)),
}
TO_COPY = {
    "every other column": lambda: (real(3, 8)[:, ::2], real(4, 5)),
    "columns backwards": lambda: (real(3, 4)[:, ::-1], real(4, 5)),
    "one number": lambda: (np.broadcast_to(real(1, 1), (3, 4)), real(4, 5)),
    "windows": lambda: (np.lib.stride_tricks.sliding_window_view(real(6), 4), real(4, 5)),
    "heads": lambda: (real(2, 7, 3, 4).swapaxes(1, 2), real(2, 7, 3, 4).transpose(0, 2, 3, 1)),
    "a batch stretched in part": lambda: (real(2, 1, 3, 4), real(2, 6, 4, 5)),
}


def seen(lt, z, batch):
    return lt.operand(z.shape, z.strides, z.itemsize, batch)


def along_columns(z, of, count):
    """The matrices (count, rows, columns), or their transposes, that are described."""
    steps = [z.itemsize * step for step in (of.distance, 1, of.leading)]
    found = as_strided(z, (count, of.rows, of.columns), steps)
    return found.swapaxes(1, 2) if of.transposed else found


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_described_is_the_transposed_product(name, lt):
    x, y = PAIRS[name]()
    want = x @ y
    batch = want.shape[:-2]
    left, right = (seen(lt, z, batch) for z in (x, y))
    count = int(np.prod(batch))
    assert left.leading >= left.rows and right.leading >= right.rows
    out = along_columns(y, right, count) @ along_columns(x, left, count)
    np.testing.assert_allclose(out.swapaxes(1, 2).reshape(want.shape), want)


@pytest.mark.parametrize("name", TO_COPY)
def test_what_has_no_dense_axis_or_no_equal_distances_is_copied(name, lt):
    x, y = TO_COPY[name]()
    assert seen(lt, x, np.broadcast_shapes(x.shape[:-2], y.shape[:-2])) is None


DTYPES = {"float32": 1e-5, "float64": 1e-13, "float16": 1e-2, "bfloat16": 5e-2}


def on_gpu(gpu, z, dtype="float64"):
    """The same values, and the same strides, in units of elements."""
    base = z
    while base.base is not None:
        base = base.base
    whole = gpu.asarray(base.astype(tg.engine.arrays.dtype_named(dtype).np))
    at = (z.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // z.itemsize
    itemsize = whole.itemsize
    steps = [s // z.itemsize * itemsize for s in z.strides]
    return gpu.ndarray(z.shape, whole.dtype, whole.data + at * itemsize, steps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_those_of_numpy(dtype, there, gpu):
    for name, make in {**PAIRS, **TO_COPY}.items():
        x, y = (on_gpu(gpu, z, dtype) for z in make())
        found = there.product(x, y)
        want = x.get().astype(float) @ y.get().astype(float)
        assert found.dtype == x.dtype and found.flags.c_contiguous
        np.testing.assert_allclose(
            found.get().astype(float), want, DTYPES[dtype], DTYPES[dtype], err_msg=name
        )


def test_a_plan_is_made_once_and_one_for_memory_that_is_not_aligned(there, gpu):
    x, y = gpu.ones((4, 6), "f"), gpu.ones((6, 8), "f")
    there.product(x, y)
    (plan,) = there.plans.values()
    there.product(x + 1, y)
    assert list(there.plans.values()) == [plan]
    moved = gpu.ones(25, "f")[1:].reshape(4, 6)
    assert (there.product(moved, y) == 6).all() and len(there.plans) == 2


def test_of_several_ways_one_stays_and_gives_the_same(there, gpu, monkeypatch):
    asked = []
    ways = there.Plan.ways
    monkeypatch.setattr(there.Plan, "ways", lambda *a: asked.append(a[-1]) or ways(*a))
    x, y = on_gpu(gpu, real(20, 30)), on_gpu(gpu, real(30, 10))
    for tuned in (False, True, True):
        tg.cuda.tunable.enable(tuned)
        try:
            assert tg.cuda.tunable.is_enabled() is tuned
            np.testing.assert_allclose(there.product(x, y).get(), x.get() @ y.get())
        finally:
            tg.cuda.tunable.enable(False)
    assert asked == [1, 8]  # the plan of an untimed product is not that of a timed one


def gradients(x, weight, bias, upstream):
    leaves = [wrap(z.copy()) for z in (x, weight, bias)]
    for leaf in leaves:
        leaf.requires_grad_()
    out = tg.nn.functional.linear(*leaves)
    out.backward(wrap(upstream))
    return [z.get().astype(float) for z in (out.array, *(leaf.grad.array for leaf in leaves))]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_layer_and_its_gradients_are_those_of_its_composition(dtype, lt, gpu):
    given = [on_gpu(gpu, real(*s, seed=len(s)), dtype) for s in ((2, 5, 8), (16, 8), (16,))]
    upstream = on_gpu(gpu, real(2, 5, 16, seed=9), dtype)
    found = gradients(*given, upstream)
    with tg.reference_only():
        want = gradients(*(z.astype("float64") for z in given), upstream.astype("float64"))
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, DTYPES[dtype], 3 * DTYPES[dtype])


def test_the_bias_is_part_of_the_product(there, gpu):
    x, y, bias = (on_gpu(gpu, real(*shape)) for shape in ((6, 4), (4, 8), (8,)))
    for given in (bias, bias + 1):  # another bias in the same plan
        found = there.product(x, y, given, "bias")
        np.testing.assert_allclose(found.get(), (x @ y + given).get())


def test_without_cublaslt_the_products_are_cupys(lt, gpu, monkeypatch):
    monkeypatch.setattr(lt, "library", lambda: None)
    x, y = (wrap(on_gpu(gpu, real(*shape))) for shape in ((3, 4), (4, 5)))
    assert lt.product(x.array, y.array) is None
    np.testing.assert_allclose((x @ y).array.get(), x.array.get() @ y.array.get())


def test_what_cublaslt_does_not_find_is_cupys_and_tried_again_after_a_recording(
    there, gpu, monkeypatch
):
    x = gpu.ones((4, 4))
    with monkeypatch.context() as patch:
        patch.setattr(there.Plan, "ways", lambda *_: [])
        with arrays.recording_step(), pytest.raises(RuntimeError, match="computed once before"):
            there.product(x, x)
        assert not there.plans and there.product(x, x) is None
        assert list(there.plans.values()) == [None] and there.product(x, x) is None
    there.plans.clear()
    assert (there.product(x, x) == 4).all()


def test_a_product_in_another_stream_has_memory_of_its_own_which_goes_with_the_stream(there, gpu):
    x = gpu.ones((4, 4))
    there.product(x, x)
    before = set(there.workspaces)
    stream = gpu.cuda.Stream(non_blocking=True)
    with stream:
        there.product(x, x)
    (key,) = set(there.workspaces) - before
    assert key[1] == stream.ptr
    del stream
    assert key not in there.workspaces


EQUATIONS = (
    "ij,jk->ik", "ij,kj->ki", "bij,bjk->bik", "bthd,bshd->bhts", "i,j->ji", "ij,ij->", "bi,bi->b",
    "abi,ic->cab",
)  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_an_einsum_of_two_is_one_product(equation, there, gpu):
    from tinygrad_lm.engine.kernels.cuda import linear

    terms, _ = equation.split("->")
    shapes = [["abcdhijkst".index(c) + 2 for c in term] for term in terms.split(",")]
    given = [real(*shape, seed=i) for i, shape in enumerate(shapes)]
    out, pullbacks = linear.einsum(*(gpu.asarray(z) for z in given), equation=equation)
    want = np.einsum(equation, *given)
    np.testing.assert_allclose(out.get(), want)
    leaves = [tg.tensor(z, requires_grad=True) for z in given]
    g = real(*want.shape, seed=7) if want.shape else np.asarray(0.7)
    tg.einsum(equation, *leaves).backward(tg.tensor(g))
    for leaf, pullback in zip(leaves, pullbacks, strict=True):
        np.testing.assert_allclose(pullback(gpu.asarray(g)).get(), leaf.grad.numpy())


@pytest.mark.parametrize("equation", ["ij,jk->k", "ij,jk,kl->il", "ij->ji"])
def test_other_einsums_are_left_to_the_op(equation, gpu):
    from tinygrad_lm.engine.kernels.cuda import linear

    given = [gpu.ones((3,) * len(term)) for term in equation.split("->")[0].split(",")]
    assert linear.einsum(*given, equation=equation) is NotImplemented
