"""What ops on a GPU could get wrong without a word, or refuse though the CPU does it: each test
compares with the CPU, or states what PyTorch answers."""

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest
from op_laws import pull, run, some_cases, upstream
from op_specs import SPECS, Case

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.ops.index import add_rows

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


def on_both(function):
    """What a function of a device's name gives on the CPU and on the GPU."""
    return function("cpu"), function("cuda")


# ---------------------------------------------------------------- views know their memory


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.view])
def test_a_result_in_its_input_s_memory_is_tied_to_it(name, gpu):
    """Where the CPU's is: a copy would neither see writes nor be one."""
    for case in some_cases(SPECS[name], 8):
        here, source = run(OPS[name], case)
        out, leaves = run(OPS[name], case, gpu.asarray)
        tied = arrays.owner_of(here.array) is arrays.owner_of(source[0].array)
        assert (arrays.owner_of(out.array) is arrays.owner_of(leaves[0].array)) == tied
        assert (out.array.data.mem is leaves[0].array.data.mem) == tied or not out.array.size


VIEWS = {
    "diagonal": lambda y: y.diagonal(1),
    "diagonal of two": lambda y: y.reshape(1, 3, 3).diagonal(0, 1, 2),
    "as_strided": lambda y: y.as_strided((2, 2), (4, 2), 1),
    "unfold": lambda y: y.unfold(1, 2, 2)[1],
    "part of a window": lambda y: y.T.unfold(0, 3, 1)[0][1:, 1],
    "rows": lambda y: y.T[1:],
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_write_through_a_view_reaches_gradients(name):
    def slope(device):
        x = tg.ones(3, 3, device=device, requires_grad=True)
        y = x * 2
        VIEWS[name](y).fill_(0)
        y.sum().backward()
        return y.tolist(), x.grad.tolist()

    here, there = on_both(slope)
    assert here == there and here[0] == here[1] != [[2] * 3] * 3


@pytest.mark.parametrize("name", VIEWS)
def test_a_write_through_a_detached_view_is_noticed(name):
    def attempt(device):
        x = tg.ones(3, 3, device=device, requires_grad=True)
        y = x * 2
        z = y * y
        VIEWS[name](y.detach()).fill_(7)
        with pytest.raises(RuntimeError, match="written in place"):
            z.sum().backward()

    on_both(attempt)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_sees_a_write_to_its_base(name):
    def slope(device):
        x = tg.ones(3, 3, device=device, requires_grad=True)
        y = x * 2
        d = VIEWS[name](y)
        y[:, 1] = 5
        d.sum().backward()
        return d.tolist(), x.grad.tolist()

    here, there = on_both(slope)
    assert here == there


@pytest.mark.parametrize("write", [
    lambda x: x.add_(1),
    lambda x: x.mul_(tg.ones(3, device=x.device)),
    lambda x: x.exp_(),
    lambda x: x.fill_(2),
    lambda x: x.zero_(),
    lambda x: x.copy_(tg.ones(3, device=x.device)),
    lambda x: x.__setitem__(0, 5),
    lambda x: x.__setitem__(tg.tensor([0, 1], device=x.device), 5.0),
    lambda x: x.masked_fill_(x > 0, 3.0),
    lambda x: x[1:].add_(1),
])  # fmt: skip
def test_expanded_tensors_are_not_written(write):
    def attempt(device):
        x = tg.ones(1, device=device)
        with pytest.raises(RuntimeError, match="memory of its own"):
            write(x.expand(3))
        return x.tolist()

    assert on_both(attempt) == ([1.0], [1.0])


@pytest.mark.parametrize("look", [
    lambda x: x.unfold(0, 3, 1),
    lambda x: x.unfold(0, 3, 2).T,
    lambda x: x.as_strided((4, 2), (1, 1)),
])  # fmt: skip
def test_windows_that_overlap_are_not_written(look):
    def attempt(device):
        x = tg.arange(7.0, device=device)
        for write in (lambda v: v.mul_(2), lambda v: v.exp_(), lambda v: v.__setitem__(0, 5)):
            with pytest.raises(RuntimeError, match="memory of its own"):
                write(look(x))
        return x.tolist()

    assert on_both(attempt) == ([*range(7)], [*range(7)])


def test_a_column_of_stride_0_with_one_element_may_be_written(gpu):
    array = gpu.ones((3, 1), "float32")
    x = tg.as_tensor(gpu.lib.stride_tricks.as_strided(array, (3, 1), (4, 0)))
    assert x.add_(1).tolist() == [[2.0]] * 3
    empty = tg.ones(1, device="cuda").expand(0, 1)
    assert empty.add_(1).shape == (0, 1)


# ---------------------------------------------------------------- dtypes


FLOATS = ("bfloat16", "float16", "float32")


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("name", [name for name in OPS if name != "copy_to"])
def test_every_op_has_the_dtype_and_the_values_of_the_cpu(name, kind, gpu):
    dtype = tg.tensor([], dtype=getattr(tg, kind)).array.dtype

    def change(x):
        return x.astype(dtype) if getattr(x, "dtype", None) == "float64" else x

    class Floats(Case):
        def floats(self):
            return [i for i, x in enumerate(self.inputs) if getattr(x, "dtype", None) == dtype]

    compared = 0
    for case in some_cases(SPECS[name], 4):
        settings = {k: change(v) for k, v in case.settings.items()}
        case = Floats(tuple(map(change, case.inputs)), settings)
        try:
            want, leaves = run(OPS[name], case)
        except (RuntimeError, TypeError):
            continue  # the CPU does not do this either
        g = upstream(want)
        gradients = pull(want, leaves, g) if want.requires_grad else []
        out, leaves = run(OPS[name], case, gpu.asarray)
        assert out.dtype is want.dtype
        near(out.array, want.array)
        for got, known in zip(pull(out, leaves, gpu.asarray(g)) if gradients else [], gradients):
            assert got.dtype == known.dtype or not known.any()
            near(got, known)
        compared += 1
    assert compared


def near(got, want):
    got, want = arrays.to_numpy(got).astype("float64"), np.asarray(want).astype("float64")
    np.testing.assert_allclose(got, want, rtol=4e-2, atol=4e-2)


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize(
    "write",
    [lambda x: x.add_(0.5), lambda x: x.mul_(2), lambda x: x.div_(3.0), lambda x: x.pow_(2)],
)
def test_numbers_written_into_16_bits_stay_16_bits(write, kind):
    def found(device):
        x = write(tg.tensor([1.0, 0.0, 3.0], dtype=getattr(tg, kind), device=device))
        return x.dtype, x.tolist()

    here, there = on_both(found)
    assert here == there


# ---------------------------------------------------------------- gradients that meet


@pytest.mark.parametrize("kind", (*FLOATS, "float64"))
@pytest.mark.parametrize("shape", [(1000, 10, 3), (7, 50, 2), (1, 1, 1), (300, 1, 0)])
def test_rows_that_meet_add_up_to_the_same_bits_twice(shape, kind, gpu):
    n, rows, width = shape
    rng = np.random.default_rng(0)
    ids, g = rng.integers(0, rows, n), rng.standard_normal((n, width)).astype("float32")
    want = np.ones((rows, width))
    np.add.at(want, ids, g.astype("float64"))
    dtype = tg.tensor([], dtype=getattr(tg, kind)).array.dtype
    found = []
    for _ in range(2):
        total = gpu.ones((rows, width), dtype)
        add_rows(total, gpu.asarray(ids), gpu.asarray(g.astype(dtype)))
        found.append(total.get())
    assert found[0].tobytes() == found[1].tobytes()
    exact = {"bfloat16": 8e-3, "float16": 1e-3}.get(kind, 1e-5)
    np.testing.assert_allclose(found[0].astype("float64"), want, rtol=exact, atol=30 * exact)


@pytest.mark.filterwarnings("ignore:.index. a mask should be boolean")
@pytest.mark.parametrize("way", [
    lambda x, ids: x[ids],
    lambda x, ids: x[:, ids],
    lambda x, ids: x[ids, ids],
    lambda x, ids: x[ids - 4],
    lambda x, ids: x[ids, 1],
    lambda x, ids: x[1:, None, ids],
    lambda x, ids: x[..., ids[:2]],
    lambda x, ids: x.T[ids],
    lambda x, ids: x[ids.reshape(2, 1, 2), ids[:2]],
    lambda x, ids: x[ids[:0]],
    lambda x, ids: x[ids.to(tg.uint8)],
    lambda x, ids: x[ids.to(tg.int32), ids],
    lambda x, ids: x.index_select(1, ids),
    lambda x, ids: x.gather(1, ids.reshape(2, 2)),
    lambda x, ids: x.index_add(0, ids, x[:4] * 2),
    lambda x, ids: x.scatter_add(0, ids.reshape(1, 4), x),
    lambda x, ids: tg.take_along_dim(x, ids.reshape(-1, 1), 1),
    lambda x, ids: x[[0, -1, 0]],
    lambda x, ids: x[ids > 1],
])  # fmt: skip
def test_reading_at_positions_and_its_gradient(way):
    def found(device):
        x = tg.arange(16.0, device=device).reshape(4, 4).requires_grad_()
        out = way(x, tg.tensor([2, 0, 2, 3], device=device))
        (
            out * (1 + tg.arange(float(out.numel()), device=device)).reshape(out.shape)
        ).sum().backward()
        return out.tolist(), x.grad.tolist()

    here, there = on_both(found)
    assert here == there


# ---------------------------------------------------------------- launches


def test_erf_is_one_function_and_not_a_series():
    for kind in (*FLOATS, "float64"):
        x = tg.tensor([-6.0, -1.0, 0.0, 0.5, 3.0, np.inf, np.nan], dtype=getattr(tg, kind))
        want, got = x.erf(), x.cuda().erf()
        assert got.dtype is x.dtype
        np.testing.assert_allclose(got.double().tolist(), want.double().tolist(), atol=4e-3)


# ---------------------------------------------------------------- out of memory


def test_too_little_memory_is_said_in_one_sentence(gpu):
    x = tg.ones(3, device="cuda", requires_grad=True)
    y = x.exp()

    def full(*_):
        raise gpu.cuda.memory.OutOfMemoryError(1 << 40, 1 << 30)

    previous = gpu.cuda.get_allocator()
    gpu.cuda.set_allocator(full)
    try:
        with pytest.raises(RuntimeError, match=r"\[exp\].*1,099,511,627,776 .*smaller batch"):
            x.exp()
        with pytest.raises(RuntimeError, match=r"\[backward\].*bytes.*smaller batch") as caught:
            y.backward(y.detach())
    finally:
        gpu.cuda.set_allocator(previous)
    assert isinstance(caught.value, MemoryError)


# ---------------------------------------------------------------- values at the edges


EDGES = [3.0, -3.0, 5.5, 0.1, -0.7, 7e4, 1e30, 0.0, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("kind", (*FLOATS, "float64"))
@pytest.mark.parametrize("use", [
    lambda x, y: x % y,
    lambda x, y: x // y,
    lambda x, y: tg.fmod(x, y),
    lambda x, y: tg.div(x, y, rounding_mode="trunc"),
    lambda x, y: x % 0.75 + 7.5 % y,
    lambda x, y: x // 0.75 + 7 // y,
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_whole_quotients_of_what_is_not_exact_or_not_finite(use, kind):
    def found(device):
        x = tg.tensor(EDGES, device=device).to(getattr(tg, kind))
        out = use(x[:, None], x)
        return out.dtype, out.double().cpu().numpy()

    here, there = on_both(found)
    assert here[0] is there[0]
    np.testing.assert_allclose(there[1], here[1], rtol=1e-6)
