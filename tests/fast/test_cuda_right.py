"""What a GPU could get wrong without a word, or refuse though the CPU does it: each test compares
with the CPU, or states what PyTorch answers."""

import numpy as np
import op_specs_fused  # noqa: F401  adds its records to the table
import pytest
from op_laws import pull, run, some_cases, upstream
from op_specs import SPECS, Case

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.ops.index import add_rows
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn import functional as F

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True, scope="module")
def gpu():
    cupy = pytest.importorskip("cupy")
    if not cupy.is_available():
        pytest.skip("CuPy finds no GPU")
    return arrays.cupy()


def on_both(function):
    """What a function of a device's name gives on the CPU and on the GPU."""
    return function("cpu"), function("cuda")


# ---------------------------------------------------------------- views know their memory


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.view])
def test_a_result_in_its_input_s_memory_is_tied_to_it(name, gpu):
    for case in some_cases(SPECS[name], 8):
        out, leaves = run(OPS[name], case, gpu.asarray)
        if out.array.data.mem is leaves[0].array.data.mem and out.array.size:
            assert arrays.owner_of(out.array) is arrays.owner_of(leaves[0].array)


def test_a_write_through_a_diagonal_reaches_gradients():
    def slope(device):
        x = tg.ones(3, 3, device=device, requires_grad=True)
        y = x * 2
        y.diagonal(1).fill_(0)
        y.sum().backward()
        return x.grad.tolist()

    here, there = on_both(slope)
    assert here == there == [[2, 0, 2], [2, 2, 0], [2, 2, 2]]


def test_a_write_through_a_detached_diagonal_is_noticed():
    def attempt(device):
        x = tg.ones(3, 3, device=device, requires_grad=True)
        y = x * 2
        z = y * y
        y.detach().diagonal().fill_(7)
        with pytest.raises(RuntimeError, match="written in place"):
            z.sum().backward()

    on_both(attempt)


def test_a_diagonal_sees_a_write_to_its_base():
    def slope(device):
        x = tg.ones(2, 3, 3, device=device, requires_grad=True)
        y = x * 2
        d = y.diagonal(0, 1, 2)
        y[:, 0, 0] = 5
        d.sum().backward()
        return d.tolist(), x.grad.tolist()

    here, there = on_both(slope)
    assert here == there and there[0] == [[5, 2, 2]] * 2


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


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize("name, use", [
    ("embedding", lambda x, i: F.embedding(i, x)),
    ("index", lambda x, i: x[i]),
    ("index", lambda x, i: x[:, i]),
    ("index", lambda x, i: x.__setitem__(i, 1.0)),
    ("gather", lambda x, i: x.gather(0, i.reshape(-1, 1))),
    ("index_select", lambda x, i: x.index_select(0, i)),
    ("index_add", lambda x, i: x.index_add(0, i, x[: len(i)])),
    ("scatter_add", lambda x, i: x.scatter_add(1, i.reshape(-1, 1), x)),
    ("scatter", lambda x, i: x.scatter(0, i.reshape(-1, 1), 1.0)),
    ("take_along_dim", lambda x, i: tg.take_along_dim(x, i.reshape(-1, 1), 0)),
    ("cross_entropy", lambda x, i: F.cross_entropy(x[: len(i)], i)),
    ("nll_loss", lambda x, i: F.nll_loss(x[: len(i)], i, reduction="none")),
    ("one_hot", lambda x, i: F.one_hot(i, 4)),
])  # fmt: skip
@pytest.mark.parametrize("wrong", [4, -5, 2**40])
def test_wrong_ids_are_named_when_something_is_read(name, use, wrong):
    x = tg.ones(4, 4, device="cuda", requires_grad=name != "index")
    ids = tg.tensor([1, wrong, 0], device="cuda")
    out = use(x, ids)
    if out is not None and out.requires_grad:
        out.sum().backward()  # which stays inside the memory
    with pytest.raises(IndexError, match=rf"\[{name}\].* must be in 0 ... 3, got {wrong} "):
        x.tolist()
    use(x, tg.tensor([1, 3, 0], device="cuda"))
    use(x, tg.tensor([], dtype=tg.int64, device="cuda"))
    x.tolist()


def test_ignored_targets_are_no_wrong_ids():
    x = tg.ones(3, 4, device="cuda", requires_grad=True)
    loss = F.cross_entropy(x, tg.tensor([-100, 1, 9], device="cuda"), ignore_index=-100)
    with pytest.raises(IndexError, match="got 9 "):
        loss.item()
    assert F.cross_entropy(x, tg.tensor([9, 1, 9], device="cuda"), ignore_index=9).item() > 0


def test_waiting_for_the_device_tells_of_wrong_ids():
    tg.ones(3, device="cuda")[tg.tensor([7], device="cuda")]
    with pytest.raises(IndexError, match="got 7 "):
        tg.cuda.synchronize()
    tg.cuda.synchronize()


def test_a_recorded_step_asks_at_each_replay(gpu):
    x, ids = tg.ones(3, device="cuda"), tg.tensor([7], device="cuda")
    with arrays.recording_step() as actions:
        x[ids]
    with pytest.raises(IndexError, match="got 7 "):
        x.tolist()
    x[ids]
    gpu.cuda.Device().synchronize()
    for action in actions:
        action()
    with pytest.raises(IndexError, match="got 7 "):
        x.tolist()


def test_ids_are_checked_without_waiting(monkeypatch, gpu):
    """As many reads as the test makes: `get` is the door."""
    ids, x = tg.tensor([1, 2, 0], device="cuda"), tg.ones(4, 4, device="cuda", requires_grad=True)

    def door(*_):
        raise AssertionError("a wait")

    with monkeypatch.context() as patched:
        patched.setattr(arrays, "to_numpy", door)
        patched.setattr(arrays.libraries, "to_numpy", door)
        (F.embedding(ids, x)[:, ids] * 2).gather(1, ids.reshape(3, 1)).sum().backward()
    assert x.grad.sum().item() > 0


# ---------------------------------------------------------------- the CPU beside a GPU


@pytest.mark.parametrize("write", [
    lambda x, v: x.copy_(v),
    lambda x, v: x.__setitem__(slice(0, 2), v[:2]),
    lambda x, v: x.__setitem__([0, 2], v[:2]),
    lambda x, v: x.__setitem__(x > 0, v[0]),
    lambda x, v: x[1:].copy_(v[1:].double()),
])  # fmt: skip
@pytest.mark.parametrize("ways", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_write_copies_from_one_device_to_another(write, ways):
    def written(device, source):
        x = tg.ones(3, device=device)
        v = tg.tensor([2.0, 3.0, 4.0], device=source, requires_grad=True)
        y = x * 1
        write(y, v)
        (y * y).sum().backward()
        assert y.device.type == device and v.grad.device.type == source
        return y.tolist(), v.grad.tolist()

    assert written(*ways) == written("cpu", "cpu")


@pytest.mark.parametrize("use", [
    lambda x, n: x * n,
    lambda x, n: n * x,
    lambda x, n: n - x,
    lambda x, n: x / n,
    lambda x, n: x**n,
    lambda x, n: x > n,
    lambda x, n: tg.where(x > 1, x, n),
    lambda x, n: tg.where(x > 1, n, x),
    lambda x, n: tg.add(n, x),
    lambda x, n: (x * 1).add_(n),
    lambda x, n: (x * 1).masked_fill(x > 1, n),
    lambda x, n: n.detach() * x.sum(),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
def test_a_cpu_tensor_without_axes_may_meet_a_gpu_s(use, kind):
    def found(device):
        x = tg.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
        n = tg.tensor(2.0).to(getattr(tg, kind)).requires_grad_(kind != "int64")
        out = use(x, n)
        assert out.device.type == device
        if out.requires_grad:
            out.sum().backward()
        grads = [t.grad.cpu().numpy() for t in (x, n) if t.grad is not None]
        assert n.grad is None or n.grad.device.type == "cpu"
        return out.dtype, [out.detach().cpu().numpy(), *grads]

    here, there = on_both(found)
    assert here[0] is there[0]
    for known, got in zip(here[1], there[1], strict=True):
        np.testing.assert_allclose(got, known, rtol=1e-6)


def test_other_mixtures_are_refused_by_the_name_of_the_devices():
    x, there = tg.ones(3), tg.ones(3, device="cuda")
    for attempt in (
        lambda: x + there,
        lambda: there * x,
        lambda: there @ x,
        lambda: tg.where(x > 0, there, 0.0),
        lambda: tg.where(x > 0, there, there),
        lambda: there.masked_fill(x > 0, 0.0),
        lambda: there.gather(0, tg.tensor([0])),
        lambda: there.index_select(0, tg.tensor([0])),
        lambda: there.__iadd__(x),
    ):
        with pytest.raises(RuntimeError, match=r"\[\w+\].* device, got .*(cpu|cuda:0)"):
            attempt()


def test_a_gradient_of_another_device_is_refused():
    x = tg.ones(3, device="cuda", requires_grad=True)
    with pytest.raises(RuntimeError, match="device cuda:0, got one on cpu"):
        (x * 2).backward(tg.ones(3))
    with pytest.raises(RuntimeError, match="device cuda:0, got one on cpu"):
        x.grad = tg.ones(3)
    with pytest.raises(RuntimeError, match="device cpu, got one on cuda:0"):
        tg.ones(3).grad = x.detach()


def test_an_array_of_a_gpu_stays_there(gpu):
    array = gpu.ones(3, "float32")
    assert tg.as_tensor(array).array is array
    assert tg.tensor(array).device.type == "cuda" and tg.tensor(array).array is not array
    assert tg.as_tensor(array, device="cpu").device.type == "cpu"


def test_lists_are_keys_where_new_tensors_are_made_on_the_gpu():
    tg.set_default_device("cuda")
    x = tg.arange(6.0).reshape(2, 3)
    assert x.is_cuda and x[:, [-1]].tolist() == [[2.0], [5.0]]
    x[[0, 1], [0, -1]] = 9
    assert x[[]].shape == (0, 3) and x.tolist() == [[9, 1, 2], [3, 4, 9]]
    assert tg.arange(3.0, device="cpu")[[True, False, True]].tolist() == [0, 2]
    model = GPT(GPTConfig(block_size=4, vocab_size=5, n_layer=1, n_head=1, n_embd=4))
    start = tg.zeros(1, 1, dtype=tg.int64)
    assert model.generate(start, 6, top_k=2).shape == (1, 7)


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


def test_devices_are_compared_by_number(gpu):
    x = tg.ones(3, device="cuda")
    assert x.to("cuda") is x and x.to("cuda:0") is x
    with pytest.raises(RuntimeError, match=rf"cuda:{10**4} must be one of \d+ GPUs"):
        x.to(f"cuda:{10**4}")
    assert gpu.cuda.Device().id == 0


@pytest.fixture
def no_doors(monkeypatch, gpu):
    """Between `shut()` and the end of the test nothing is read from the device or sent to it."""

    def door(name, lets_in=()):
        way = getattr(gpu, name, None) or getattr(gpu.ndarray, name)

        def guarded(x, *args, **kwargs):
            assert isinstance(x, lets_in), f"{name} of {type(x).__name__} waits or uploads"
            return way(x, *args, **kwargs)

        return guarded

    def shut():
        for name in ("get", "item", "tolist", "__int__", "__float__", "__bool__"):
            monkeypatch.setattr(gpu.ndarray, name, door(name))
        for name in ("asarray", "array"):
            monkeypatch.setattr(gpu, name, door(name, (gpu.ndarray,)))
        monkeypatch.setattr(gpu, "shares_memory", door("shares_memory"))

    yield shut
    monkeypatch.undo()


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "autocast"])
def test_a_gpt_reads_and_sends_nothing_from_loss_to_gradients(kind, no_doors):
    model = GPT(GPTConfig(block_size=8, vocab_size=11, n_layer=2, n_head=2, n_embd=16)).cuda()
    if kind == "bfloat16":
        model.to(tg.bfloat16)
    ids = tg.randint(11, (4, 9)).cuda()
    x, y = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    no_doors()
    with tg.autocast("cuda", dtype=tg.bfloat16, enabled=kind == "autocast"):
        _, loss = model(x, y)
    loss.backward()
    assert all(p.grad.dtype is p.dtype for p in model.parameters())


@pytest.mark.parametrize("use", [
    lambda x, ids: x.masked_fill(x > 0, -np.inf),
    lambda x, ids: tg.where(x > 0, x, 0.0),
    lambda x, ids: x[:, :2].view(-1, 2, 1) if x.is_contiguous() else x,
    lambda x, ids: x.split(2, 1)[0].view(4, 2, 1),
    lambda x, ids: F.cross_entropy(x, ids, label_smoothing=0.1),
    lambda x, ids: F.nll_loss(x.log_softmax(-1), ids, weight=tg.ones(6, device="cuda")),
    lambda x, ids: F.embedding(ids, x),
    lambda x, ids: x[ids, ids],
    lambda x, ids: x.index_add(0, ids, x),
    lambda x, ids: x * tg.tensor(2.0),
    lambda x, ids: x[:, -1:] + tg.arange(6, device="cuda"),
    lambda x, ids: x * (ids % 3)[:, None] * (ids // 2)[:, None] * (ids**2)[:, None],
    lambda x, ids: x.cumsum(1) + x.logsumexp(1, keepdim=True) + x.std(),
    lambda x, ids: F.one_hot(ids, 6) * x,
])  # fmt: skip
def test_ops_read_and_send_nothing(use, no_doors):
    x = tg.randn(4, 6).cuda().requires_grad_()
    ids = tg.tensor([0, 3, 2, 1]).cuda()
    no_doors()
    use(x, ids).sum().backward()
    assert x.grad.shape == x.shape
