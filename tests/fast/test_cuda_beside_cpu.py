"""A GPU beside the CPU: what the host hears of late, what may meet, and that from a loss to its
gradients nothing is read from the GPU or sent to it. Each test compares with the CPU, or states
what PyTorch answers."""

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn import functional as F
from tinygrad_lm.nn.utils import rnn

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


def on_both(function):
    """What a function of a device's name gives on the CPU and on the GPU."""
    return function("cpu"), function("cuda")


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


def test_sequences_are_packed_where_new_tensors_are_made_on_the_gpu():
    def found(device):
        tg.set_default_device(device)
        x = tg.arange(24.0).reshape(2, 3, 4).requires_grad_()
        packed = rnn.pack_padded_sequence(x, [1, 3], batch_first=True, enforce_sorted=False)
        out, lengths = rnn.pad_packed_sequence(packed, batch_first=True)
        (out * out).sum().backward()
        assert x.grad.device.type == out.device.type == device and lengths.device.type == "cpu"
        return packed.data.tolist(), out.tolist(), lengths.tolist(), x.grad.tolist()

    here, there = on_both(found)
    assert here == there


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


# ---------------------------------------------------------------- what a keyword or a layout asks


class Pair(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y, x + y

    @staticmethod
    def backward(ctx, a, b):
        assert a.device == b.device == ctx.saved_tensors[0].device
        return a * ctx.saved_tensors[1] + b, a * ctx.saved_tensors[0] + b


def half_of_a_pair(x):
    Pair.apply(x, x[0])[1].sum().backward(inputs=[x])
    return x.grad


def counted(x):
    out = x.repeat_interleave(tg.tensor([2, 0, 1], device=x.device), 1, output_size=3)
    (out * out).sum().backward()
    return out, x.grad


STRETCHED = [
    lambda x: x.clone(), tg.zeros_like, tg.rand_like, lambda x: x.half(), lambda x: x.bool(),
    lambda x: x.to(x.device, copy=True), lambda x: tg.full_like(x, 2.0),
]  # fmt: skip


@pytest.mark.parametrize("use", [
    half_of_a_pair,
    counted,
    lambda x: x.repeat_interleave(tg.tensor([1, 2]), 0),
    lambda x: tg.repeat_interleave((x[0] * 2).long()),
    lambda x: tg.stack([x.int(), x]),
    lambda x: tg.cat([x.T, x.T]).view(-1),
    lambda x: tg.tensor([x[0, 0].double(), 1]),
    lambda x: tg.full((2,), x[0, 1].detach().double()),
    lambda x: tg.dot(x[0].int(), x[1].int()),
    lambda x: tg.add(x.int(), x.bool(), alpha=2),
    lambda x: tg.allclose(x / 0, x / 0, equal_nan=True),
    lambda x: tg.normal(x.detach().double(), 0.0),
    lambda x: x.T.masked_fill(x.T > 2, 1.0).view(-1),
    *STRETCHED,
])  # fmt: skip
def test_a_gpu_gives_the_cpus_values_dtypes_and_strides(use):
    def found(device):
        x = tg.arange(6.0, device=device).reshape(2, 3)
        if use in STRETCHED:
            x = x[:, None].expand(2, 4, 3)
        else:
            x.requires_grad_()
        tg.manual_seed(1)
        out = use(x)
        return [
            (t.tolist(), t.dtype, t.stride(), t.shape) if isinstance(t, tg.Tensor) else t
            for t in (out if isinstance(out, tuple) else (out,))
        ]

    here, there = on_both(found)
    assert here == there


@pytest.mark.filterwarnings("ignore:.index. a mask should be boolean")
def test_a_mask_of_bytes_may_be_on_either_device():
    x = tg.arange(6.0, device="cuda").reshape(2, 3)
    for device in ("cpu", "cuda"):
        mask = tg.tensor([1, 0, 2], dtype=tg.uint8, device=device)
        assert x[:, mask].tolist() == [[0, 2], [3, 5]]
        assert x[mask[0]].shape == (1, 2, 3) and x[mask[1]].shape == (0, 2, 3)


def test_numpys_functions_want_the_cpu():
    with pytest.raises(TypeError, match=r"\[numpy\] the tensor must be on the cpu"):
        np.sqrt(tg.ones(2, device="cuda"))
