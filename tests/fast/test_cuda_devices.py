"""Several GPUs: an op runs on the GPU of its tensors, whichever is current, and nothing but
`set_device` changes which that is. Where a machine has one, its emulation has two."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.sampling import Sampling

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def two_gpus(gpu):
    if gpu.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs")
    yield
    assert tg.cuda.current_device() == 0


def test_all_of_this_file_on_two_emulated_gpus(gpu, emulated_gpu):
    if gpu.cuda.runtime.getDeviceCount() > 1:
        return  # it runs there already
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-W", "default", __file__]
    for compiled in "10":  # the engine's core in C and in Python
        more = {"CUPY_ON_CPU_DEVICES": "2", "TINYGRAD_LM_COMPILED": compiled}
        env = {**os.environ, "TINYGRAD_LM_CUPY_ON_CPU": "1", **more}
        done = subprocess.run(command, cwd=TESTS.parent, env=env, capture_output=True, text=True)
        assert done.returncode == 0 and "skipped" not in done.stdout, done.stdout[-3000:]


def test_a_gpu_that_is_not_there(gpu):
    with pytest.raises(RuntimeError, match=r"cuda:7 must be one of \d GPUs"):
        tg.zeros(2, device="cuda:7")
    with pytest.raises(RuntimeError, match=r"cuda:7 must be one of \d GPUs"):
        tg.ones(2).to("cuda:7")


MADE = {
    "zeros": lambda where: tg.zeros(2, 3, device=where),
    "ones": lambda where: tg.ones(2, 3, device=where),
    "full": lambda where: tg.full((2, 3), 2.0, device=where),
    "empty": lambda where: tg.empty(2, 3, device=where),
    "eye": lambda where: tg.eye(3, device=where),
    "arange": lambda where: tg.arange(5, device=where),
    "linspace": lambda where: tg.linspace(0, 1, 5, device=where),
    "tensor": lambda where: tg.tensor([1.0, 2.0], device=where),
    "number": lambda where: tg.tensor(1.0, device=where),
    "rand": lambda where: tg.rand(5, device=where),
    "randn": lambda where: tg.randn(5, device=where, generator=tg.Generator(where)),
    "randint": lambda where: tg.randint(9, (5,), device=where),
    "zeros_like": lambda where: tg.zeros_like(tg.ones(3), device=where),
    "of there": lambda where: tg.ones_like(tg.ones(3, device=where)),
    "full_like": lambda where: tg.full_like(tg.ones(3, device=where), 3.0),
    "new": lambda where: tg.ones(3, device=where).new_zeros(2),
    "to": lambda where: tg.ones(3).to(where),
    "cuda": lambda where: tg.ones(3).cuda(1),
    "across": lambda where: tg.ones(3, device="cuda:0").to(where),
    "columns": lambda where: tg.ones(3, 4, device="cuda:0").T[1:].to(where),
    "bfloat16": lambda where: tg.ones(3, device="cuda:0").bfloat16().to(where),
}


@pytest.mark.parametrize("name", MADE)
def test_made_where_it_was_asked_for(name, two_gpus):
    tg.manual_seed(1)
    there = MADE[name]("cuda:1")
    tg.manual_seed(1)
    here = MADE[name]("cuda:0")
    assert str(there.device) == "cuda:1" and there.shape == here.shape
    if name != "empty":
        assert there.tolist() == here.tolist()


def test_the_default_device_may_be_one_that_is_not_current(two_gpus):
    tg.set_default_device("cuda:1")
    try:
        assert {str(x.device) for x in (tg.ones(2), tg.tensor([1.0]), tg.rand(3))} == {"cuda:1"}
    finally:
        tg.set_default_device("cpu")


USED = {
    "ops": lambda x: (x @ x.T + 1).exp().sum(0),
    "mixed dtypes": lambda x: x * tg.ones(4, 4, dtype=tg.float64, device=x.device),
    "number of the CPU": lambda x: x * tg.tensor(2.0),
    "in place": lambda x: x.clone().add_(1.0).mul_(x),
    "operator": lambda x: added(x.clone(), x),
    "fill": lambda x: x.clone().zero_().fill_(3.0),
    "set": lambda x: written(x.clone()),
    "masked": lambda x: x[x > 0],
    "index": lambda x: x[tg.tensor([1, 0])],
    "where": lambda x: tg.where(x > 0, x, 0.0),
    "sort": lambda x: x.sort()[0],
    "topk": lambda x: tg.topk(x, 2)[0],
    "argmax": lambda x: tg.argmax(x, 1),
    "cat": lambda x: tg.cat([x, x], 1),
    "one_hot": lambda x: tg.nn.functional.one_hot(tg.argmax(x, 1), 4),
    "normalize": lambda x: tg.nn.functional.normalize(x),
    "multinomial": lambda x: tg.multinomial(tg.softmax(x, 1), 1) * 0,
    "copy": lambda x: tg.empty_like(x).copy_(x.cpu()),
    "norm": lambda x: tg.nn.utils.get_total_norm([x]),
}


def added(x, y):
    x += y
    x *= 2.0
    return x


def written(x):
    x[1:] = 5.0
    x[0, :2] = x[2, :2]
    return x


@pytest.mark.parametrize("name", USED)
def test_computed_where_the_tensors_are(name, two_gpus):
    x = tg.tensor(np.random.default_rng(1).normal(size=(4, 4)).astype("float32"))
    want, got = USED[name](x), USED[name](x.to("cuda:1"))
    assert str(got.device) == "cuda:1"
    np.testing.assert_allclose(got.cpu().numpy(), want.numpy(), rtol=1e-5)
    assert repr(got)


def test_two_gpus_are_not_mixed(two_gpus):
    x, y = tg.ones(2, device="cuda:0"), tg.ones(2, device="cuda:1")
    for mix in (
        lambda: x + y,
        lambda: y @ x,
        lambda: tg.cat([x, y]),
        lambda: tg.where(y > 0, x, x),
        lambda: x * tg.tensor(1.0, device="cuda:1"),
    ):
        with pytest.raises(RuntimeError, match="same device, got cuda:. and cuda:."):
            mix()


def test_gradients_cross_over_and_come_back(two_gpus):
    x = tg.ones(3, 2, device="cuda:0", requires_grad=True)
    table = tg.ones(5, 2, device="cuda:1", requires_grad=True)
    y = (x * 2).to("cuda:1") * table[:3] + table[tg.tensor([0, 0, 4], device="cuda:1")]
    (y.to("cuda:0") * x).sum().backward()
    assert (str(x.grad.device), str(table.grad.device)) == ("cuda:0", "cuda:1")
    assert x.grad.tolist() == [[5.0, 5.0]] * 3
    assert table.grad.tolist() == [[4.0] * 2, [2.0] * 2, [2.0] * 2, [0.0] * 2, [1.0] * 2]
    table.to("cuda:0").sum().backward()  # begins here, ends there
    assert tg.cuda.current_device() == 0 and table.grad.tolist()[4] == [2.0, 2.0]
    (g,) = tg.autograd.grad((x.to("cuda:1") ** 2).sum(), x)
    assert str(g.device) == "cuda:0" and g.tolist() == [[2.0, 2.0]] * 3


def test_wrong_ids_of_one_are_told_when_the_other_is_read(two_gpus):
    tg.ones(3, device="cuda:1")[tg.tensor([7], device="cuda:1")]
    with pytest.raises(IndexError, match="got 7 "):
        tg.ones(1, device="cuda:0").item()
    assert tg.ones(1, device="cuda:1").item() == 1.0  # said once


def test_a_users_op_runs_there_too(two_gpus):
    @tg.primitive
    def cube(x):
        return x**3, (lambda g: g * 3 * x**2,)

    x = tg.ones(2, device="cuda:1", requires_grad=True)
    cube(x).sum().backward()
    assert str(x.grad.device) == "cuda:1" and x.grad.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_attention_has_the_shared_memory_it_asks_for_on_each(kind, two_gpus):
    found = []
    for where in ("cuda:0", "cuda:1"):
        x = tg.linspace(-1, 1, 40 * 64).to(where, getattr(tg, kind)).view(1, 1, 40, 64)
        y = tg.nn.functional.scaled_dot_product_attention(x.requires_grad_(), x, x, is_causal=True)
        y.sum().backward()
        found.append([y.tolist(), x.grad.tolist()])
    assert found[0] == found[1]


def losses(where, kind="AdamW", dropout=0.0, steps=3):
    from tinygrad_lm.models.gpt import GPT, GPTConfig

    tg.manual_seed(1)
    sizes = {"block_size": 8, "vocab_size": 11, "n_layer": 1, "n_head": 2, "n_embd": 16}
    model = GPT(GPTConfig(**sizes, dropout=dropout)).to(where)
    optimizer = getattr(tg.optim, kind)(model.parameters(), lr=1e-2)
    ids = tg.randint(11, (2, 9)).to(where)
    found = []
    for _ in range(steps):
        _, loss = model(ids[:, :-1], ids[:, 1:].contiguous())
        optimizer.zero_grad()
        loss.backward()
        tg.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        found.append(loss.item())
    on = {str(t.device) for p in model.parameters() for t in (p, p.grad)}
    on |= {str(t.device) for s in optimizer.state.values() for t in s.values() if t.shape}
    assert len(on) == 1
    return found, on


@pytest.mark.parametrize("kind, dropout", [("AdamW", 0.1), ("SGD", 0.0), ("RMSprop", 0.0)])
def test_a_gpt_learns_on_the_other_one_as_on_this(kind, dropout, two_gpus):
    there, on = losses("cuda:1", kind, dropout)
    assert on == {"cuda:1"} and there == losses("cuda:0", kind, dropout)[0]


def test_one_optimizer_for_two_gpus(two_gpus):
    params = [tg.ones(3, device=f"cuda:{i}", requires_grad=True) for i in (0, 1)]
    optimizer = tg.optim.Adam(params, lr=0.5)
    for p in params:
        (p * 2).sum().backward()
    assert tg.nn.utils.clip_grad_norm_(params, 1.0).item() == pytest.approx(24**0.5)
    assert [p.grad.tolist()[0] for p in params] == pytest.approx([6**-0.5] * 2, rel=1e-5)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    assert [str(p.device) for p in params] == ["cuda:0", "cuda:1"]
    assert params[0].tolist() == params[1].tolist() != [1.0] * 3


def test_sixteen_bits_a_loaded_state_and_a_scaler(two_gpus):
    model = tg.nn.Linear(4, 4).to("cuda:1").to(tg.bfloat16)
    optimizer, scaler = tg.optim.AdamW(model.parameters()), tg.amp.GradScaler("cuda")
    x = tg.ones(2, 4, device="cuda:1")
    for _ in range(3):
        with tg.autocast("cuda", dtype=tg.bfloat16):
            loss = model(x).float().sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        optimizer.load_state_dict(optimizer.state_dict())
    masters = [s["master"] for s in optimizer.state.values()]
    assert {str(t.device) for t in (*masters, model.weight, loss)} == {"cuda:1"}


def test_each_has_its_own_memory_and_stream_of_numbers(two_gpus):
    before = [tg.cuda.memory_allocated(i) for i in (0, 1)]
    x = tg.ones(1000, 1000, device="cuda:1")
    after = [tg.cuda.memory_allocated(i) for i in (0, 1)]
    assert after[0] == before[0] and after[1] >= before[1] + 4_000_000
    source = tg.Generator("cuda:1").manual_seed(3)
    assert str(source.device) == "cuda:1"
    drawn = tg.rand(4, device="cuda:1", generator=source)
    again = tg.rand(4, device="cuda:0", generator=tg.Generator("cuda:0").manual_seed(3))
    assert drawn.tolist() == again.tolist()
    tg.manual_seed(5)
    kept = tg.nn.functional.dropout(x[0], 0.5)
    tg.manual_seed(5)
    assert str(kept.device) == "cuda:1"
    assert kept.tolist() == tg.nn.functional.dropout(x[0].to("cuda:0"), 0.5).tolist()


def test_a_checkpoint_is_placed(two_gpus, tmp_path):
    model = tg.nn.Linear(3, 2).to("cuda:1")
    tg.save(model.state_dict(), tmp_path / "w.pt")
    for where in ("cuda:1", "cuda:0", "cpu"):
        found = tg.load(tmp_path / "w.pt", map_location=where)
        assert {str(t.device) for t in found.values()} == {where}
        assert found["weight"].tolist() == model.weight.tolist()
    other = tg.nn.Linear(3, 2).to("cuda:1")
    other.load_state_dict(tg.load(tmp_path / "w.pt", map_location="cuda:0"))
    assert str(other.weight.device) == "cuda:1"


def test_a_captured_step_says_which_gpu_it_needs(two_gpus):
    x = tg.ones(3, device="cuda:1")
    with pytest.raises(RuntimeError, match=r"cuda:1.*with cuda.device\(1\)"):
        tg.capture(lambda x: x * 2)(x)
    with tg.cuda.device(1):
        step = tg.capture(lambda x: x * 2)
        assert [step(x).tolist() for _ in range(5)] == [[2.0] * 3] * 5


@pytest.mark.parametrize("settings", [{"greedy": True}, {"top_k": 3}], ids=str)
def test_text_is_written_where_the_model_is(settings, two_gpus, monkeypatch):
    """Whichever is current, and recorded there: Python sees the prompt and two tokens."""
    tg.manual_seed(2)
    here = GPT(GPTConfig(32, 9, 1, 2, 16)).eval()
    want = here.generate(tg.tensor([[1, 2]]), 9, generator=tg.Generator(), **settings)
    calls, forward = [], GPT.forward
    monkeypatch.setattr(GPT, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    idx = tg.tensor([[1, 2]], device="cuda:1")
    found = here.to("cuda:1").generate(idx, 9, generator=tg.Generator(), **settings)
    assert found.tolist() == want.tolist() and len(calls) == 3
    nothing = tg.full((1, 3), float("nan"), device="cuda:1")
    with pytest.raises(RuntimeError, match="must be numbers"):
        Sampling(**settings).choose(nothing, idx).tolist()


def test_ids_and_generators_of_the_other_one_are_refused(two_gpus):
    x, ids = tg.ones(3, 4, device="cuda:1"), tg.zeros(3, dtype=tg.int64, device="cuda:0")
    with pytest.raises(RuntimeError, match="ids must be on cuda:1, got them on cuda:0"):
        tg.nn.functional.cross_entropy(x, ids)
    with pytest.raises(RuntimeError, match="must be on the tensor's device, cuda:1, got one on"):
        tg.multinomial(x, 1, generator=tg.Generator("cuda:0"))
