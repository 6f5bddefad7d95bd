"""What PyTorch's pages promise of a GPU: streams of random numbers, memory, events, TF32, and data
that moves between devices. On a GPU, or where one is emulated."""

import copy

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.ops import fused
from tinygrad_lm.engine.random import philox
from tinygrad_lm.nn import functional as F
from tinygrad_lm.training.config import TrainConfig
from tinygrad_lm.training.run import train

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]


# ---------------------------------------------------------------- random numbers


def bits(mask):
    return np.asarray(arrays.to_numpy(mask)).reshape(-1)


@pytest.mark.parametrize("n", [1, 5, 16, 4096, 4097, 10_003])
@pytest.mark.parametrize("p", [0.9, 0.5, 1e-3, 1.0])
def test_the_kernel_draws_what_philox_is_defined_to_draw(gpu, n, p):
    here, there = tg.Generator("cuda"), tg.Generator("cuda")
    for one in (here, there):  # an offset that carries into the second word of the counter
        one.set_state(np.array([2**63 + 12345, 2**32 - 3], "<u8").view("u1"))
    for _ in range(3):
        want = here.keep(p, np.empty(n, bool))
        assert np.array_equal(bits(there.keep(p, gpu.empty(n, bool))), want)
        assert np.array_equal(here.get_state(), there.get_state())
    want = here._seed, here._offset, 0
    assert tuple(there._memory.get().tolist()) == want  # the device moved on by itself


def test_dropout_draws_on_the_gpu_from_a_stream_with_a_seed(gpu):
    x = tg.ones(1000, 7, device="cuda")
    tg.manual_seed(5)
    before = tg.get_rng_state()
    first, second = F.dropout(x, 0.25), F.dropout(x, 0.25)
    assert tg.equal(tg.get_rng_state(), before)  # the CPU's stream is as it was
    assert not tg.equal(first, second)
    assert abs((first == 0).float().mean().item() - 0.25) < 0.03
    state = tg.cuda.get_rng_state()
    third = F.dropout(x, 0.25)
    tg.cuda.set_rng_state(state)
    assert tg.equal(F.dropout(x, 0.25), third)
    tg.manual_seed(5)
    assert tg.equal(F.dropout(x, 0.25), first)
    tg.cuda.manual_seed(5)
    assert tg.equal(F.dropout(x, 0.25), first)
    tg.cuda.manual_seed_all(6)
    assert not tg.equal(F.dropout(x, 0.25), first) and tg.cuda.initial_seed() == 6


def test_an_empty_mask_draws_nothing(gpu):
    before = tg.cuda.get_rng_state()
    assert F.dropout(tg.ones(0, 3, device="cuda"), 0.5).shape == (0, 3)
    assert tg.equal(tg.cuda.get_rng_state(), before)


@pytest.mark.parametrize("kind", [tg.float32, tg.float16, getattr(tg, "bfloat16", tg.float32)])
@pytest.mark.parametrize("n", [3, 8, 1029])
def test_dropout_in_one_pass_is_dropout(gpu, kind, n):
    x = tg.randn(2, n).to(kind)
    x[0, 0], x[1, 1] = tg.inf, tg.nan
    keep = tg.rand(2, n).numpy() < 0.6
    want = x.float() * tg.tensor(keep) / 0.6
    there = x.to("cuda").requires_grad_()
    out = fused.dropout(there, keep=gpu.asarray(keep), p=0.4)
    assert out.dtype is kind
    error = 2e-3 if kind is tg.float16 else 1e-2 if kind is not tg.float32 else 1e-6
    np.testing.assert_allclose(out.float().cpu().detach().numpy(), want.numpy(), rtol=error)
    out.backward(tg.ones(2, n, device="cuda").to(kind))
    scale = keep / 0.6
    np.testing.assert_allclose(there.grad.float().cpu().numpy(), scale, rtol=error)
    closed = fused.dropout(there, keep=gpu.zeros((2, n), bool), p=1.0)
    assert bool((closed[:, 2:] == 0).all())


def test_each_replay_counts_on_the_host_too(gpu):
    source = tg.Generator("cuda").manual_seed(3)
    mask = gpu.empty(64, bool)
    source.keep(0.5, mask)
    with arrays.recording_step() as actions:
        source.on_device(16)
        source.on_device(2)
    assert source._offset == 16
    for action in actions:
        action()
    assert source._offset == 16 + 16 + 2
    source.manual_seed(4)
    for action in actions:  # the seed goes to the device before the first of them
        action()
    assert source._memory.get().tolist() == [4, 0, 0] and source._offset == 18
    fresh = tg.Generator("cuda")
    with arrays.recording_step(), pytest.raises(RuntimeError, match="before the step is recorded"):
        fresh.on_device(1)


def test_a_captured_step_draws_new_numbers_and_those_of_the_eager_one(gpu):
    stream = gpu.cuda.Stream(non_blocking=True)
    try:
        stream.begin_capture()
        stream.end_capture()
    except RuntimeError:
        pytest.skip("streams cannot be captured here")
    x = tg.ones(100, 5, device="cuda")

    def step(x):
        return F.dropout(F.dropout(x, 0.5), 0.1)

    tg.manual_seed(1)
    want = [step(x).tolist() for _ in range(5)]
    tg.manual_seed(1)
    fast = tg.capture(step)
    assert [fast(x).tolist() for _ in range(5)] == want
    tg.manual_seed(1)
    assert fast(x).tolist() == want[0] and step(x).tolist() == want[1]


def test_a_generator_of_the_gpu(gpu):
    source = tg.Generator(device="cuda")
    assert isinstance(source, tg.Generator) and str(source.device) == "cuda:0"
    assert source.manual_seed(11).initial_seed() == 11
    draws = (
        lambda g: tg.rand(20, generator=g, device="cuda"),
        lambda g: tg.randn(50, generator=g, device="cuda"),
        lambda g: tg.randn(3, generator=g, device="cuda"),
        lambda g: tg.randint(10, (40,), generator=g, device="cuda"),
        lambda g: tg.randint(2**40, (40,), generator=g, device="cuda"),
        lambda g: tg.randperm(40, generator=g, device="cuda"),
        lambda g: tg.bernoulli(tg.full((40,), 0.5, device="cuda"), generator=g),
        lambda g: tg.empty(40, device="cuda").bernoulli_(0.5, generator=g),
        lambda g: tg.multinomial(tg.ones(40, device="cuda"), 5, generator=g),
    )
    for draw in draws:
        state = source.get_state()
        first, second = draw(source), draw(source)
        assert first.is_cuda and not tg.equal(first, second)
        other = copy.deepcopy(source)
        other.set_state(state)
        assert tg.equal(draw(other), first) and tg.equal(draw(other), second)
    with pytest.raises(RuntimeError, match="must be on the tensor's device"):
        tg.rand(3, generator=source, device="cpu")
    with pytest.raises(RuntimeError, match="16 bytes"):
        source.set_state(tg.Generator().get_state())


def test_streams_of_several_gpus_are_their_own(gpu, monkeypatch):
    monkeypatch.setattr(philox._State, "streams", {})
    tg.manual_seed(8)
    first = philox.stream(0)
    assert first is philox.stream(0) and first is not philox.stream(1)
    assert philox.stream(1).initial_seed() == 8 and set(philox.streams()) == {0, 1}


# ---------------------------------------------------------------- a run that moves

WORDS = "Round the ragged rocks the ragged rascal ran. " * 20


def small_run(folder, device, steps, **given):
    config = {
        "data": str(folder.parent / "text.txt"), "out": str(folder), "device": device,
        "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 16, "batch_size": 4,
        "max_iters": steps, "eval_interval": 3, "eval_iters": 1, "log_interval": 50,
        "sample_tokens": 0, "dropout": 0.2, "warmup_iters": 0, "lr_decay_iters": 50,
    }  # fmt: skip
    resume = given.pop("resume", False)
    (folder.parent / "text.txt").write_text(WORDS)
    return train(TrainConfig(**config | given), resume=resume)


def state_of(trainer):
    saved, _ = trainer.state()
    weights = {name: p.detach().cpu().numpy() for name, p in trainer.model.named_parameters()}
    return {**saved, **weights}


def test_a_resumed_run_is_that_of_one_not_interrupted(tmp_path):
    whole = state_of(small_run(tmp_path / "a", "cuda", 6))
    small_run(tmp_path / "b", "cuda", 3)
    tg.manual_seed(99)
    found = state_of(small_run(tmp_path / "b", "cuda", 6, resume=True))
    assert found.keys() == whole.keys() and "random.cuda" in whole
    for name, value in whole.items():
        assert np.array_equal(value, found[name]), name


@pytest.mark.parametrize("first, then", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_on_another_device(tmp_path, first, then):
    at = state_of(small_run(tmp_path / "a", first, 2))
    moved = small_run(tmp_path / "a", then, 2, resume=True)
    assert moved.model.lm_head.weight.device.type == then and moved.step == 2
    for name, value in state_of(moved).items():
        if name in at:
            assert np.array_equal(value, at[name]), name
    assert small_run(tmp_path / "a", then, 4, resume=True).step == 4


# ---------------------------------------------------------------- devices, memory, time, TF32


def test_events_mark_and_measure(gpu):
    start, end = (tg.cuda.Event(enable_timing=True) for _ in range(2))
    assert start.query()
    with pytest.raises(ValueError, match="must be recorded"):
        start.elapsed_time(end)
    start.record()
    tg.ones(100, device="cuda") * 2
    end.record()
    end.synchronize()
    assert end.query() and start.elapsed_time(end) >= 0
    with pytest.raises(ValueError, match="enable_timing=True"):
        start.elapsed_time(tg.cuda.Event())


def test_streams_are_entered_and_left(gpu):
    outer, s = tg.cuda.current_stream(), tg.cuda.Stream()
    assert outer == tg.cuda.default_stream() and s != outer and str(s.device) == "cuda:0"
    x = tg.ones(10, device="cuda")
    s.wait_stream(outer)
    with tg.cuda.stream(s):
        assert tg.cuda.current_stream() == s
        with tg.cuda.stream(None):
            assert tg.cuda.current_stream() == s
        y = x * 2
    assert tg.cuda.current_stream() == outer
    outer.wait_event(s.record_event())
    s.synchronize()
    assert s.query() and y.tolist() == [2.0] * 10


def test_the_most_memory_in_use(gpu):
    tg.cuda.reset_peak_memory_stats()
    before, most = tg.cuda.memory_allocated(), tg.cuda.max_memory_allocated()
    assert before == most
    x = tg.ones(2**18, device="cuda")
    now = tg.cuda.memory_allocated()
    assert now - before == 2**20 == tg.cuda.max_memory_allocated() - most
    del x
    for _ in range(3):  # what was given back does not count again
        tg.ones(2**18, device="cuda")
    assert tg.cuda.memory_allocated() == before and tg.cuda.max_memory_allocated() == now
    assert tg.cuda.max_memory_reserved() >= tg.cuda.memory_reserved() >= before
    tg.cuda.reset_peak_memory_stats()
    assert tg.cuda.max_memory_allocated() == before
    free, total = tg.cuda.mem_get_info()
    assert 0 < free <= total


def test_gpus_are_told_apart(gpu):
    count = tg.cuda.device_count()
    assert tg.cuda.current_device() == 0
    with tg.cuda.device("cuda:0"):
        assert tg.cuda.current_device() == 0
    with tg.cuda.device(count - 1):
        assert tg.cuda.current_device() == count - 1
        assert str(tg.Generator("cuda").device) == f"cuda:{count - 1}"
    assert tg.cuda.current_device() == 0
    for wrong in (count, f"cuda:{count}"):
        with pytest.raises(RuntimeError, match=f"must be there, got number {count}"):
            tg.cuda.set_device(wrong)
    with pytest.raises(ValueError, match="must be a GPU"):
        tg.cuda.synchronize("cpu")
    found = tg.cuda.get_device_properties(0)
    assert found.name == tg.cuda.get_device_name() and found.total_memory > 0
    assert (found.major, found.minor) == tg.cuda.get_device_capability()


def test_tf32_reaches_cupys_products(gpu):
    linalg = gpu._core._routines_linalg
    plain = linalg.get_compute_type(np.float32)
    try:
        tg.set_float32_matmul_precision("high")
        assert linalg.get_compute_type(np.float32) == linalg.COMPUTE_TYPE_TF32
        assert arrays.allow_tf32()
    finally:
        tg.backends.cuda.matmul.allow_tf32 = False
    assert linalg.get_compute_type(np.float32) == plain and not arrays.allow_tf32()


@pytest.mark.parametrize("name", ["zeros", "arange", "to", "step"])
def test_what_does_not_fit_outside_an_op_is_told_the_same_way(name, gpu, emulated_gpu):
    p = tg.nn.Parameter(tg.zeros(10**6, device="cuda"))
    p.grad, here = tg.ones_like(p), tg.ones(10**6)
    optimizer = tg.optim.AdamW([p])
    calls = {
        "zeros": lambda: tg.zeros(10**6, device="cuda"),
        "arange": lambda: tg.arange(10**6, device="cuda"),
        "to": lambda: here.to("cuda"),
        "step": optimizer.step,
    }
    tg.cuda.empty_cache()
    message = (
        r"\[\w+\] .* must fit into memory, got: Out of memory allocating [\d,]+ bytes.*smaller"
    )
    with emulated_gpu.memory(2**20), pytest.raises(tg.cuda.OutOfMemoryError, match=message):
        calls[name]()


def test_what_does_not_fit_is_caught_by_pytorchs_name(gpu, emulated_gpu):
    x = tg.ones(2**18, device="cuda")
    tg.cuda.empty_cache()
    with emulated_gpu.memory(2**20), pytest.raises(tg.cuda.OutOfMemoryError, match="must fit"):
        tg.cat([x] * 64)


# ---------------------------------------------------------------- saved data that moves


def one_layer(device, dtype, seed):
    tg.manual_seed(seed)
    layer = tg.nn.Linear(5, 3).to(device).to(dtype)
    optimizer = tg.optim.AdamW(layer.parameters(), lr=0.1)
    for _ in range(2):
        x = tg.ones(2, 5, device=device, dtype=dtype)
        layer(x).float().square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return layer, optimizer


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("first, then", [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_checkpoint_moves_between_devices_and_dtypes(tmp_path, first, then, short, mapped):
    kinds = (tg.bfloat16, tg.float32) if short else (tg.float32, tg.bfloat16)
    layer, optimizer = one_layer(first, kinds[0], 1)
    tg.save([layer.state_dict(), optimizer.state_dict()], tmp_path / "saved")
    weights, state = tg.load(tmp_path / "saved", map_location=then if mapped else None)
    assert {w.device.type for w in weights.values()} == {then if mapped else first}
    other, moved = one_layer(then, kinds[1], 2)
    other.load_state_dict(weights)
    moved.load_state_dict(state)
    for p, q in zip(layer.parameters(), other.parameters()):
        assert q.device.type == then and q.dtype is kinds[1]
        assert tg.equal(q.cpu(), p.cpu().to(kinds[1]))
        for name in ("exp_avg", "exp_avg_sq"):
            a, b = optimizer.state[p][name], moved.state[q][name]
            assert b.device.type == then and b.dtype is tg.float32 and tg.equal(a.cpu(), b.cpu())
    other(tg.ones(2, 5, device=then, dtype=kinds[1])).float().sum().backward()
    moved.step()
    assert all(bool(q.isfinite().all()) for q in other.parameters())


def test_a_map_of_devices_and_a_function(tmp_path):
    tg.save({"w": tg.arange(3, device="cuda"), "v": tg.arange(2)}, tmp_path / "saved")
    found = tg.load(tmp_path / "saved", map_location={"cuda:0": "cpu"})
    assert not found["w"].is_cuda and found["w"].tolist() == [0, 1, 2]
    found = tg.load(tmp_path / "saved", map_location="cuda")
    assert found["w"].is_cuda and found["v"].is_cuda
    found = tg.load(tmp_path / "saved", map_location=lambda storage, where: storage)
    assert not found["w"].is_cuda
