"""Writing text on a GPU: attention of one query beside the composition, tokens drawn there, and the
call for one token recorded; the tokens are those of the CPU. On a GPU, or where one is emulated."""

import gc
import re
import threading

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.arrays import allow_tf32, reference_only
from tinygrad_lm.engine.core.recording import mode
from tinygrad_lm.engine.core.tensor import wrap
from tinygrad_lm.engine.ops import fused
from tinygrad_lm.models import lora
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.generation import generate_texts, steps
from tinygrad_lm.text.sampling import Sampling
from tinygrad_lm.text.tokenizers import CharTokenizer

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]
KINDS = {"float32": 1e-6, "bfloat16": 8e-3, "float16": 1e-3}  # and the error relative to the norm
CASES = [  # B, H, S, D, what the mask's shape is, share that may be seen
    (2, 3, 40, 64, None, 1),
    (1, 2, 700, 32, (1, 1, 1, 700), 0.3),
    (3, 1, 257, 96, (3, 1, 1, 257), 0.5),
    (2, 2, 300, 128, (2, 2, 1, 300), 0.9),
    (1, 1, 1, 8, (1,), 1),
    (2, 1, 30, 256, (30,), 0.1),
]


def source(seed=3):
    return tg.Generator().manual_seed(seed)


def one_query(gpu):
    kernels = fused.scaled_dot_product_attention.kernels[gpu.ndarray]
    return next(k for k in kernels if k.__module__.endswith("cuda.one_query"))


def memory(case, kind, gpu):
    """q, k and v, the latter two parts of a longer memory, and the mask."""
    B, H, S, D, shape, share = case
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal((B, H, n, D)).astype("float32") for n in (1, S + 9, S + 9))
    mask = None if shape is None else gpu.asarray(rng.random((*shape, 2)) < share)[..., 1]
    q, k, v = (gpu.asarray(x).astype(np.dtype(kind)) for x in (q, k, v))
    return q, k[:, :, 4 : S + 4], v[:, :, 4 : S + 4], mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_query_sees_what_it_may(case, kind, gpu):
    q, k, v, mask = memory(case, kind, gpu)
    hidden = None if mask is None else ~gpu.broadcast_to(mask, (*k.shape[:2], 1, k.shape[2]))
    with tg.no_grad():
        got = one_query(gpu)(q, k, v, mask, scale=0.2)[0]
        wide = [wrap(arrays.to_numpy(x.astype("float32")).astype("float64")) for x in (q, k, v)]
        seen = None if mask is None else wrap(arrays.to_numpy(mask))
        with reference_only():
            want = fused.scaled_dot_product_attention(*wide, seen, scale=0.2).array
        if hidden is not None:  # what may not be seen may be anything
            k[hidden[:, :, 0]], v[hidden[:, :, 0]] = np.nan, np.inf
        again = one_query(gpu)(q, k, v, mask, scale=0.2)[0]
    assert got.dtype == q.dtype and got.shape == want.shape
    assert got.swapaxes(1, 2).flags.c_contiguous
    error = np.linalg.norm(arrays.to_numpy(got.astype("float32")) - want)
    assert error <= KINDS[kind] * np.linalg.norm(want)
    assert arrays.to_numpy(got).tobytes() == arrays.to_numpy(again).tobytes()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_order_of_threads_changes_no_bit(case, gpu, emulated_gpu):
    given = memory(case, "float32", gpu)
    with tg.no_grad():
        first = one_query(gpu)(*given)[0]
        with emulated_gpu.backwards(), emulated_gpu.without_pool():
            overruns = emulated_gpu.counts()["overruns"]
            second = one_query(gpu)(*(x if x is None else x.copy() for x in given))[0]
    assert emulated_gpu.counts()["overruns"] == overruns
    assert arrays.to_numpy(first).tobytes() == arrays.to_numpy(second).tobytes()


def test_no_numbers_and_no_view(gpu):
    q, k, v, _ = memory(CASES[0], "float32", gpu)
    q[0, 0, 0, 3] = np.nan
    with tg.no_grad():
        out = arrays.to_numpy(one_query(gpu)(q, k, v, gpu.zeros((40,), bool))[0])
        assert not out.any()  # nothing may be seen
        out = arrays.to_numpy(one_query(gpu)(q, k, v)[0])
    assert np.isnan(out[0, 0]).all() and np.isfinite(out[0, 1:]).all() and np.isfinite(out[1]).all()


def test_what_the_kernel_does_not_take(gpu):
    q, k, v, _ = memory(CASES[0], "float32", gpu)
    attention = one_query(gpu)
    assert attention(q, k, v) is NotImplemented  # gradients may be wanted
    with tg.no_grad():
        assert attention(q, k, v, causal=True) is NotImplemented
        assert attention(q, k, v, gpu.zeros((40,), "float32")) is NotImplemented
        assert attention(q, k, v[..., :32]) is NotImplemented
        assert attention(*(x[..., :12] for x in (q, k, v))) is NotImplemented
        assert attention(q, k[:, :, :0], v[:, :, :0]) is NotImplemented
        assert attention(q, k.astype("float16"), v) is NotImplemented
        many = gpu.zeros((1 << 16, 1, 1, 8), "float32")  # more than a grid has
        assert attention(many, many, many) is NotImplemented


# ---------------------------------------------------------------- tokens drawn on the GPU


def test_a_draw_is_the_race_that_the_cpu_runs(gpu):
    probs = np.random.default_rng(0).random((50, 300)).astype("float32")
    here, there = (tg.Generator("cuda").manual_seed(8) for _ in range(2))
    with here._on_host():
        want = here.multinomial(probs, 1)
    found = tg.multinomial(tg.tensor(probs, device="cuda"), 1, generator=there)
    assert found.is_cuda and found.dtype is tg.int64 and found.tolist() == want.tolist()
    assert np.array_equal(here.get_state(), there.get_state())
    source = tg.Generator().manual_seed(8)  # the CPU's serves a GPU as well, with its own numbers
    want = source.multinomial(probs, 1).tolist()
    source.manual_seed(8)
    drawn = tg.multinomial(tg.tensor(probs, device="cuda"), 1, generator=source)
    assert drawn.tolist() == want


def test_draws_have_their_probabilities_and_come_from_the_gpus_stream():
    probs = tg.tensor([0.0, 0.1, 0.3, 0.6], device="cuda").expand(20_000, 4)
    tg.manual_seed(1)
    found = tg.multinomial(probs, 1)[:, 0].cpu().numpy()
    assert np.array_equal(tg.default_generator.get_state(), source(1).get_state())
    share = np.bincount(found, minlength=4) / len(found)
    assert share[0] == 0 and np.abs(share - [0, 0.1, 0.3, 0.6]).max() < 0.015
    tg.manual_seed(1)
    assert tg.multinomial(probs, 1)[:, 0].tolist() == found.tolist()
    assert tg.multinomial(probs[0], 1).shape == (1,)


@pytest.mark.parametrize("wrong", [[0.0, 0.0], [1.0, np.nan], [1.0, np.inf], [2.0, -0.5]], ids=str)
def test_what_cannot_be_drawn_from_is_told_when_something_is_read(wrong):
    probs = tg.tensor([[0.5, 0.5], wrong], device="cuda")
    drawn = tg.multinomial(probs, 1)
    with pytest.raises(
        RuntimeError, match=r"^\[multinomial\] .* >= 0.* - in a call before this one"
    ):
        drawn.tolist()
    assert tg.multinomial(probs[:1], 1).item() in (0, 1)  # told once


# ---------------------------------------------------------------- the recorded call


def lively(seed=0, **changes):
    """A GPT with strong opinions, its position embeddings included."""
    tg.manual_seed(seed)
    shape = {"block_size": 12, "vocab_size": 7, "n_layer": 2, "n_head": 2, "n_embd": 16, **changes}
    model = GPT(GPTConfig(**shape)).eval()
    for p in model.parameters():
        p.data = p.data * 12
    return model


PROMPT = [[1, 2, 3], [4, 5, 6]]
SETTINGS = [
    {"greedy": True},
    {},
    {"top_k": 3, "temperature": 0.7},
    {"top_p": 0.7, "min_p": 0.1, "repetition_penalty": 1.5},
]


@pytest.fixture
def calls(monkeypatch):
    """How many positions each call of a GPT read that Python has seen."""
    seen, forward = [], GPT.forward
    monkeypatch.setattr(
        GPT,
        "forward",
        lambda self, x, *a, **k: seen.append(x.shape[1]) or forward(self, x, *a, **k),
    )
    return seen


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_recorded_calls_give_the_tokens_of_the_cpu(settings, calls):
    """30 tokens: well across the edge of a context of 12."""
    here, there = lively(), lively().cuda()
    want = here.generate(tg.tensor(PROMPT), 30, generator=source(), **settings).tolist()
    calls.clear()
    idx = tg.tensor(PROMPT, device="cuda")
    assert there.generate(idx, 30, generator=source(), **settings).tolist() == want
    # The prompt; a token as it is and one to record; a context as it is and one to record.
    assert calls == [3, 1, 1, 12, 12]


def test_fresh_memory_is_zeros():
    """A weight of 0 does not undo a NaN that lies where nothing was written."""
    model = lively().cuda()
    used = [tg.full((2, 2, 12, 8), float("nan"), device="cuda") for _ in range(4)]
    del used  # its memory is what the next ones get
    for past in model.new_cache(2, 12):
        assert not past.keys.any() and not past.values.any()


def test_texts_of_different_length(calls):
    letters, prompts = CharTokenizer("abcdefg"), ["a", "bcd", "efgab"]
    here, there = lively(), lively().cuda()
    want = generate_texts(here, letters, prompts, 20, generator=source())
    calls.clear()
    assert generate_texts(there, letters, prompts, 20, generator=source()) == want
    assert calls == [5, 1, 1, 12, 12]


@pytest.mark.parametrize("settings", SETTINGS[:2], ids=str)
def test_a_token_waits_for_nothing_and_uploads_nothing(settings, emulated_gpu):
    model, idx = lively(block_size=64).cuda(), tg.tensor(PROMPT, device="cuda")
    found, counts = [], []
    for step in steps(model, idx, 8, Sampling(**settings)):
        found.append(step)
        counts.append(emulated_gpu.counts())
    for before, after in zip(counts[3:], counts[4:], strict=False):
        for what in ("waits", "uploads", "downloads"):
            assert after[what] == before[what], what
        assert after["launches"] - before["launches"] <= 28
        assert after["replayed_launches"] - before["replayed_launches"] <= 8 + 2 * 12
    ids = tg.cat([step.ids for step in found], 1)
    assert len({step.logits.array.data.ptr for step in found}) == len(found)  # each keeps its own
    anew = model(tg.cat([idx, ids[:, :-1]], 1))[0][:, -1]
    np.testing.assert_allclose(
        found[-1].logits.cpu().numpy(), anew.detach().cpu().numpy(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("tokens", [2, 5, 14])
def test_a_text_that_ends_or_is_left_gives_its_memory_back(tokens, gpu, emulated_gpu):
    """At once: a collector that comes later would find a work space of 32 MB for each text."""
    model, idx, found = lively().cuda(), tg.tensor(PROMPT, device="cuda"), []
    gc.collect()
    gc.disable()
    try:
        for _ in range(4):
            writing = steps(model, idx, 14, Sampling())
            for _ in range(tokens):
                next(writing)
            del writing
            gpu.get_default_memory_pool().free_all_blocks()
            found.append(emulated_gpu.counts()["bytes"])
    finally:
        gc.enable()
    assert found[2] == found[3]


def test_hooks_see_every_token(calls):
    model, seen = lively().cuda(), []
    model.transformer.h[0].register_forward_hook(lambda *_: seen.append(1))
    model.generate(tg.tensor(PROMPT, device="cuda"), 6)
    assert len(seen) == len(calls) == 6


def test_a_model_that_reads_is_not_recorded():
    class Reading(GPT):
        def forward(self, idx, *rest, **named):
            read.append(idx[0, -1].item())
            return super().forward(idx, *rest, **named)

    read = []
    model = lively().cuda()
    want = model.generate(tg.tensor(PROMPT, device="cuda"), 12, generator=source()).tolist()
    reading = Reading(model.config).eval().cuda()
    reading.load_state_dict(model.state_dict())
    got = reading.generate(tg.tensor(PROMPT, device="cuda"), 12, generator=source()).tolist()
    assert got == want and read[-1] == want[0][-2]


def test_without_a_cache_nothing_is_recorded(calls):
    idx = tg.tensor(PROMPT, device="cuda")
    lively().cuda().generate(idx, 12, use_cache=False)
    assert calls == [*range(3, 13), 12, 12]


def test_new_weights_are_read_by_the_next_text():
    model, idx = lively().cuda(), tg.tensor(PROMPT, device="cuda")
    model.generate(idx, 6)
    for p, q in zip(model.parameters(), lively(1).parameters(), strict=True):
        p.data = q.data.cuda()
    want = lively(1).generate(tg.tensor(PROMPT), 8, greedy=True).tolist()
    assert model.generate(idx, 8, greedy=True).tolist() == want


def learned(model):
    lora.add_lora(model)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data = p.data + 0.5


CHANGES = {
    "cast": lambda model: model.bfloat16(),
    "other memory": lambda model: setattr(model.lm_head.weight, "data", model.lm_head.weight / 9),
    "untied": lambda model: setattr(
        model.lm_head, "weight", tg.nn.Parameter(model.lm_head.weight.detach() / 9)
    ),
    "other part": lambda model: setattr(model.transformer.h[0].mlp, "gelu", tg.nn.ReLU()),
    "LoRA": learned,
    "hook": lambda model: model.lm_head.register_forward_hook(lambda *_: _[2] / 9),
    "autocast": lambda model: tg.amp.autocast("cuda", tg.bfloat16).__enter__(),
    "TF32": lambda model: setattr(tg.backends.cuda.matmul, "allow_tf32", True),
}


@pytest.mark.parametrize("at", [2, 5, 14])
@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_changes_between_two_tokens(change, at, calls):
    """As a call that was recorded reads the memory, and does the work, of the model before: none
    is replayed after that, whether it reads a token or a context of 12."""

    def write(model):
        before, found = (mode.autocast, allow_tf32()), []
        writing = steps(model, tg.tensor(PROMPT, device="cuda"), 18, Sampling(greedy=True))
        try:
            for n in range(18):
                if n == at:
                    CHANGES[change](model)
                    calls.clear()
                found.append(next(writing).logits.float().tolist())
        finally:
            mode.autocast = before[0]
            tg.backends.cuda.matmul.allow_tf32 = before[1]
        return found

    never_recorded = lively().cuda()
    never_recorded.lm_head.register_forward_hook(lambda *_: None)
    want = write(never_recorded)
    np.testing.assert_allclose(write(lively().cuda()), want, rtol=2e-2, atol=2e-2)
    assert len(calls) == 18 - at


def test_logits_that_are_no_numbers():
    for options in ({"greedy": True}, {}):
        model = lively().cuda()
        model.transformer.ln_f.weight.data[0] = float("nan")
        with pytest.raises(RuntimeError, match=r"logits must be numbers|are the logits NaN"):
            model.generate(tg.tensor(PROMPT, device="cuda"), 5, **options)
    model = lively().cuda()
    with pytest.raises(IndexError, match=re.escape("must be in 0 ... 6, got 7")):
        model.generate(tg.tensor([[7]], device="cuda"), 5)
    assert model.generate(tg.tensor(PROMPT, device="cuda"), 5).shape == (2, 8)  # told once


def test_another_thread_may_read_while_one_records(monkeypatch):
    """Whether a step is being recorded is a matter of its thread."""
    read, forward, here = [], GPT.forward, threading.get_ident()
    other = tg.ones(3, device="cuda")

    def meanwhile(self, *args, **named):
        if arrays.is_recording_step():
            thread = threading.Thread(target=lambda: read.append((other * 2).tolist()))
            thread.start()
            thread.join()
        assert threading.get_ident() == here
        return forward(self, *args, **named)

    monkeypatch.setattr(GPT, "forward", meanwhile)
    want = lively().generate(tg.tensor(PROMPT), 8, generator=source()).tolist()
    got = lively().cuda().generate(tg.tensor(PROMPT, device="cuda"), 8, generator=source())
    assert got.tolist() == want and read == [[2.0] * 3]
