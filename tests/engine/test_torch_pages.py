"""The small pages under PyTorch's paths: devices, one process, a compiler that compiles nothing,
mixed precision, and the log of a run. Each promise is looked at; no model is trained."""

import json
import math
import warnings

import pytest

import tinygrad_lm as tl
from tinygrad_lm import nn
from tinygrad_lm.nn.parallel import DataParallel, DistributedDataParallel, data_parallel
from tinygrad_lm.pages.cuda.amp import GradScaler as OlderScaler
from tinygrad_lm.pages.utils.tensorboard import SummaryWriter

needs_no_gpu = pytest.mark.skipif(tl.cuda.is_available(), reason="what is said without a GPU")


@needs_no_gpu
def test_questions_about_a_gpu_that_is_not_there():
    assert tl.cuda.device_count() == 0 and not tl.cuda.is_bf16_supported()
    assert tl.cuda.memory_allocated() == 0 and tl.cuda.empty_cache() is None
    before = tl.Generator().manual_seed(1)
    tl.manual_seed(1)
    tl.cuda.manual_seed(2)
    tl.cuda.manual_seed_all(3)
    assert tl.rand(3).tolist() == tl.rand(3, generator=before).tolist()
    for count in ("max_memory_allocated", "memory_reserved", "max_memory_reserved"):
        assert getattr(tl.cuda, count)() == 0
    assert tl.cuda.reset_peak_memory_stats() is None and tl.cuda.seed() is None
    assert tl.cuda.get_rng_state_all() == [] and issubclass(tl.cuda.OutOfMemoryError, RuntimeError)
    with tl.cuda.stream(None), tl.cuda.device(None):
        pass
    requests = (
        "set_device synchronize get_device_name get_device_properties get_device_capability "
        "current_stream default_stream mem_get_info get_rng_state Stream device Event"
    )
    for request in requests.split():
        with pytest.raises(RuntimeError, match="'cuda' needs"):
            getattr(tl.cuda, request)("cuda:0")
    for request in (tl.cuda.current_device, tl.cuda.initial_seed, tl.cuda.Event):
        with pytest.raises(RuntimeError, match="'cuda' needs"):
            request()
    with pytest.raises(RuntimeError, match="'cuda' needs"):
        tl.Generator(device="cuda")


def test_settings_are_kept():
    assert tl.backends.cuda.matmul.allow_tf32 is False and tl.backends.cudnn.allow_tf32 is True
    tl.set_float32_matmul_precision("high")
    assert tl.backends.cuda.matmul.allow_tf32 is True
    tl.set_float32_matmul_precision("highest")
    tl.backends.cuda.matmul.allow_tf32 = True
    assert tl.get_float32_matmul_precision() == "high"
    tl.backends.cuda.matmul.allow_tf32 = False
    assert tl.get_float32_matmul_precision() == "highest" and not tl.backends.mps.is_available()
    with pytest.raises(RuntimeError, match="'highest', 'high' or 'medium'"):
        tl.set_float32_matmul_precision("low")


def test_compiling_returns_something_that_works():
    model = nn.Linear(2, 3)
    assert tl.compile(model)(tl.ones(1, 2)).shape == (1, 3)

    @tl.compile
    def double(x):
        return 2 * x

    @tl.compile(mode="max-autotune", fullgraph=True)
    def triple(x):
        return 3 * x

    assert double(4) == 8 and triple(4) == 12


def test_a_group_of_one_process(monkeypatch):
    dist = tl.distributed
    with pytest.raises(ValueError, match="has not been initialized"):
        dist.get_rank()
    dist.init_process_group(backend="nccl")
    try:
        assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "nccl")
        x = tl.tensor([1.0, 2.0])
        dist.all_reduce(x)
        dist.broadcast(x, 0)
        dist.barrier()
        assert x.tolist() == [1.0, 2.0]
        with pytest.raises(ValueError, match="twice"):
            dist.init_process_group("gloo")
    finally:
        dist.destroy_process_group()
    assert not dist.is_initialized()
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(RuntimeError, match="got 8"):
        dist.init_process_group("gloo")
    monkeypatch.setenv("WORLD_SIZE", "x")
    with pytest.raises(ValueError, match="WORLD_SIZE must be a number of processes, got 'x'"):
        dist.init_process_group("gloo")


@pytest.mark.parametrize("wrapper", [DistributedDataParallel, DataParallel])
def test_a_wrapper_with_the_module_inside(wrapper):
    inner = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    model = wrapper(inner, device_ids=[0])
    assert model.module is inner and list(model.state_dict()) == [
        "module.0.weight",
        "module.0.bias",
    ]
    assert not model.eval().module[1].training
    model(tl.ones(4, 3)).sum().backward()
    assert inner[0].bias.grad.tolist() == [4.0, 4.0]


def test_data_parallel_calls_the_module():
    bilinear = nn.Bilinear(2, 3, 1)
    pair = tl.ones(4, 2), tl.ones(4, 3)
    assert data_parallel(bilinear, pair, [0]).equal(bilinear(*pair))
    assert data_parallel(nn.ReLU(), -pair[0], range(1)).tolist() == [[0, 0]] * 4
    hidden = {"hx": tl.ones(1, 4, 3)}
    rnn = nn.RNN(2, 3, batch_first=True)
    found = data_parallel(rnn, (pair[0][:, None],), module_kwargs=hidden)
    assert found[1].equal(rnn(pair[0][:, None], **hidden)[1])


def test_gradients_are_synchronised_or_not():
    model = DistributedDataParallel(nn.Linear(1, 1))
    with model.no_sync():
        assert model.require_backward_grad_sync is False
    assert model.require_backward_grad_sync is True


# ---------------------------------------------------------------- mixed precision


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_products_are_narrow_and_losses_wide_inside_autocast(kind):
    narrow = getattr(tl, kind)
    layer, x = nn.Linear(4, 3), tl.randn(5, 4)
    with tl.autocast(device_type="cpu", dtype=narrow):
        y = layer(x)
        assert tl.is_autocast_enabled() and (y.dtype, (x @ x.T).dtype) == (narrow, narrow)
        assert (y * 2).dtype is narrow and (y + x[:, :3]).dtype is tl.float32
        loss = nn.functional.cross_entropy(y, tl.tensor([0, 1, 2, 0, 1]))
        assert loss.dtype is tl.float32 and (x.double() @ x.double().T).dtype is tl.float64
        with tl.autocast("cpu", enabled=False):
            assert layer(x).dtype is tl.float32
        assert layer(x).dtype is narrow
    assert not tl.is_autocast_enabled() and layer(x).dtype is tl.float32
    loss.backward()
    assert layer.weight.grad.dtype is tl.float32
    exact = nn.Linear(4, 3)
    exact.load_state_dict(layer.state_dict())
    nn.functional.cross_entropy(exact(x), tl.tensor([0, 1, 2, 0, 1])).backward()
    assert tl.allclose(layer.weight.grad, exact.weight.grad, atol=0.02)
    assert not tl.equal(layer.weight.grad, exact.weight.grad)


def test_autocast_decorates_and_ends_with_an_error():
    @tl.autocast("cpu", dtype=tl.float16)
    def product(x):
        return (x @ x).dtype

    assert product(tl.ones(2, 2)) is tl.float16
    with pytest.raises(ZeroDivisionError), tl.autocast("cpu", dtype=tl.float16):
        raise ZeroDivisionError
    assert (tl.ones(2, 2) @ tl.ones(2, 2)).dtype is tl.float32


def test_what_autocast_cannot_do():
    with pytest.warns(UserWarning, match="must be float16 or bfloat16"):
        wrong = tl.autocast("cpu", dtype=tl.float64)
    with wrong:
        assert (tl.ones(2, 2) @ tl.ones(2, 2)).dtype is tl.float32
    with pytest.raises(RuntimeError, match="'cpu' or 'cuda'"):
        tl.autocast("tpu")


@needs_no_gpu
def test_without_a_gpu_its_mixed_precision_is_off():
    with pytest.warns(UserWarning, match="CUDA is not available"):
        off = tl.autocast("cuda", dtype=tl.float16)
    with off:
        assert (tl.ones(2, 2) @ tl.ones(2, 2)).dtype is tl.float32
    with pytest.warns(UserWarning, match="Disabling"):
        scaler = OlderScaler()
    assert not scaler.is_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = tl.amp.GradScaler("cuda", enabled=False)
    loss = tl.tensor(3.0)
    assert quiet.scale(loss) is loss and quiet.get_scale() == 1.0 and quiet.state_dict() == {}
    assert quiet.unscale_(None) is None and quiet.update() is None


def one_step(scaler, p, optimizer, gradient):
    scaler.scale((p * gradient).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()


def test_the_scale_leaves_an_update_as_it_is_and_falls_after_an_overflow():
    p = nn.Parameter(tl.ones(2))
    optimizer = tl.optim.SGD([p], lr=0.5)
    scaler = tl.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=2)
    one_step(scaler, p, optimizer, 3.0)
    assert p.tolist() == [-0.5, -0.5] and scaler.get_scale() == 2.0**20
    one_step(scaler, p, optimizer, math.inf)
    assert p.tolist() == [-0.5, -0.5] and scaler.get_scale() == 2.0**19
    one_step(scaler, p, optimizer, 0.0)
    one_step(scaler, p, optimizer, 0.0)
    assert scaler.get_scale() == 2.0**20
    other = tl.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict() and other.get_scale() == 2.0**20


def test_gradients_are_unscaled_once():
    p = nn.Parameter(tl.ones(1))
    optimizer = tl.optim.SGD([p], lr=1.0)
    scaler = tl.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale([p.sum()])[0].backward()
    assert p.grad.item() == 8.0
    scaler.unscale_(optimizer)
    assert p.grad.item() == 1.0
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert p.item() == 0.0
    with pytest.raises(RuntimeError, match="since the last update"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="after step"):
        scaler.unscale_(optimizer)
    scaler.update(new_scale=2.0)
    assert scaler.get_scale() == 2.0
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.update()


# ---------------------------------------------------------------- the log of a run


@pytest.fixture
def without_tensorboardx(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)


def test_a_log_is_lines_of_json(tmp_path, without_tensorboardx):
    with SummaryWriter(log_dir=tmp_path / "run") as writer:
        writer.add_scalar("Loss/train", tl.tensor(2.5), 10)
        writer.add_scalar("Loss/train", math.nan, global_step=20, walltime=1.5)
        writer.add_scalars("Loss", {"a": 1, "b": 2})
        writer.add_text("note", "fine")
        writer.flush()
        text = (tmp_path / "run" / "events.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    found = [(line["tag"], line["value"], line["step"]) for line in lines]
    assert found == [
        ("Loss/train", 2.5, 10), ("Loss/train", "nan", 20), ("Loss/a", 1.0, None),
        ("Loss/b", 2.0, None), ("note", "fine", None),
    ]  # fmt: skip
    assert lines[1]["wall_time"] == 1.5 and lines[0]["wall_time"] > 1e9
    with pytest.raises(ValueError, match="must be open"):
        writer.add_scalar("x", 1)


def test_a_log_gets_a_folder_of_its_own(tmp_path, monkeypatch, without_tensorboardx):
    monkeypatch.chdir(tmp_path)
    SummaryWriter(comment="_try").close()
    assert [p.name for p in tmp_path.glob("runs/*_try/*")] == ["events.jsonl"]


def test_with_tensorboardx_its_writer_is_used(monkeypatch):
    import sys
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=dict))
    assert SummaryWriter(log_dir="x") == {"log_dir": "x"}


def test_tensorboardx_is_given_arrays_where_a_script_gives_tensors(monkeypatch):
    import sys
    from types import SimpleNamespace

    import numpy as np

    class Writer:
        def add_scalar(self, *args, **kwargs):
            return args, kwargs

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    loss = tl.tensor(1.5, requires_grad=True)
    args, kwargs = SummaryWriter().add_scalar("loss", loss, {"a": loss}, global_step=3)
    assert type(args[1]) is type(args[2]["a"]) is np.ndarray and args[1] == 1.5
    assert args[0] == "loss" and kwargs == {"global_step": 3}


# ---------------------------------------------------------------- data that changes its dtype


def test_saved_weights_and_optimiser_state_change_their_dtype(tmp_path):
    def trained(dtype):
        layer = nn.Linear(5, 3).to(dtype)
        optimizer = tl.optim.AdamW(layer.parameters(), lr=0.1)
        layer(tl.ones(2, 5, dtype=dtype)).float().square().sum().backward()
        optimizer.step()
        return layer, optimizer

    for kinds in ((tl.float32, tl.bfloat16), (tl.bfloat16, tl.float32)):
        (layer, optimizer), (other, moved) = map(trained, kinds)
        tl.save([layer.state_dict(), optimizer.state_dict()], tmp_path / "saved")
        weights, state = tl.load(tmp_path / "saved")
        other.load_state_dict(weights)
        moved.load_state_dict(state)
        for p, q in zip(layer.parameters(), other.parameters()):
            assert q.dtype is kinds[1] and tl.equal(q, p.to(kinds[1]))
            kept = moved.state[q]["exp_avg"]
            assert kept.dtype is tl.float32 and tl.equal(kept, optimizer.state[p]["exp_avg"])
        moved.step()
        assert all(bool(q.isfinite().all()) for q in other.parameters())
