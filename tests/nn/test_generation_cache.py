"""Writing with a memory of keys and values: the same tokens as without, for every setting, across
the edge of the context; several texts of different length; streams that show only what is sure."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.generation import (
    generate,
    generate_text,
    generate_texts,
    steps,
    stream_text,
)
from tinygrad_lm.text.sampling import Sampling, penalised
from tinygrad_lm.text.streaming import Row
from tinygrad_lm.text.tokenizers import CharTokenizer

LETTERS = CharTokenizer("abcdefg")
SETTINGS = [
    {"greedy": True},
    {},
    {"temperature": 0.5},
    {"top_k": 3},
    {"top_p": 0.7},
    {"min_p": 0.2},
    {"repetition_penalty": 1.7},
    {"temperature": 2.0, "top_k": 5, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2},
]


def lively(seed=0, **changes):
    """A GPT with strong opinions, its position embeddings included."""
    tg.manual_seed(seed)
    shape = {"block_size": 12, "vocab_size": 7, "n_layer": 2, "n_head": 2, "n_embd": 16, **changes}
    model = GPT(GPTConfig(**shape)).eval()
    for p in model.parameters():
        p.data = p.data * 12
    return model


class Fixed(nn.Module):
    """A model that expects the same everywhere: logits (V,)."""

    def __init__(self, logits):
        super().__init__()
        self.logits = tg.tensor(np.float32(logits))

    def forward(self, idx):
        return self.logits.expand(*idx.shape, -1)


class Gap(CharTokenizer):
    """a, c and g have the ids that they have among all letters."""

    _pieces = {0: b"a", 2: b"c", 6: b"g"}

    def _ordinary(self, text):
        return ["abcdefg".index(c) for c in text]


def source(seed=3):
    return tg.Generator().manual_seed(seed)


# ---------------------------------------------------------------- with and without a cache


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("prompt", [1, 5, 12])
def test_a_cache_changes_no_token(settings, prompt):
    """30 tokens: well across the edge of a context of 12."""
    model, idx = lively(), tg.randint(0, 7, (3, prompt), generator=source(1))
    kept, anew = (
        model.generate(idx, 30, generator=source(), use_cache=use, **settings)
        for use in (True, False)
    )
    assert kept.tolist() == anew.tolist()
    assert len({tuple(row[-30:]) for row in kept.tolist()}) > 1 or "greedy" in settings


def test_each_position_is_read_once(monkeypatch):
    """Until the context is full: then its beginning goes, and all positions are others."""
    model, read = lively(), []
    forward = GPT.forward
    monkeypatch.setattr(
        GPT,
        "forward",
        lambda self, idx, *a, **k: read.append(idx.shape[1]) or forward(self, idx, *a, **k),
    )
    model.generate(tg.randint(0, 7, (1, 4)), 12)
    assert read == [4, *[1] * 8, *[12] * 3]
    read.clear()
    model.generate(tg.randint(0, 7, (1, 20)), 2)
    assert read == [12, 12]


@pytest.mark.parametrize("cuts", [(1, 2, 9), (4, 8), (11,), (1,) * 11])
def test_logits_are_those_of_the_whole_context(cuts):
    """A context may come in pieces of any size."""
    model, idx = lively(), tg.randint(0, 7, (2, 12))
    with tg.no_grad():
        cache, at = model.new_cache(2, 12), 0
        for size in (*cuts, 12 - sum(cuts)):
            got, _ = model(idx[:, at : at + size], cache=cache) if size else (None, None)
            at += size
            if size:
                assert cache.length == at
                want = model(idx[:, :at])[0]
                np.testing.assert_allclose(
                    got.cpu().numpy(), want.cpu().numpy(), rtol=1e-4, atol=1e-4
                )
        with pytest.raises(ValueError, match=r"1 <= T <= 0, got \(2, 1\)"):
            model(idx[:, :1], cache=cache)


def test_a_model_in_training_is_put_back_between_tokens():
    model = lively(dropout=0.5).train()
    for _ in steps(model, tg.tensor([[1, 2]]), 3, Sampling()):
        assert model.training and tg.is_grad_enabled()
    plain = lively().generate(tg.tensor([[1, 2]]), 5, generator=source()).tolist()
    assert model.generate(tg.tensor([[1, 2]]), 5, generator=source()).tolist() == plain


@pytest.mark.parametrize("whole", [True, False])
def test_each_module_is_put_back_into_its_own_mode(whole):
    model = lively(dropout=0.5).train(whole)
    model.transformer.h[0].train(not whole)
    modes = [module.training for module in model.modules()]
    assert {*modes} == {True, False}
    plain = lively().generate(tg.tensor([[1, 2]]), 5, generator=source()).tolist()
    assert model.generate(tg.tensor([[1, 2]]), 5, generator=source()).tolist() == plain
    assert [module.training for module in model.modules()] == modes


def test_threads_that_write_with_one_model_do_not_disturb_each_other(monkeypatch):
    """The first is through while the second computes; the model trains again when both are."""
    model, forward = lively(dropout=0.5).train(), GPT.forward
    first_is_in, second_is_in, first_is_through = (threading.Event() for _ in range(3))

    def slow(self, idx, *args, **named):
        first = idx[0, 0].item() == 1
        (first_is_in if first else second_is_in).set()
        assert (second_is_in if first else first_is_through).wait(30)
        assert not any(module.training for module in self.modules())
        return forward(self, idx, *args, **named)

    monkeypatch.setattr(GPT, "forward", slow)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(model.generate, tg.tensor([[1]]), 1)
        assert first_is_in.wait(30)
        second = pool.submit(model.generate, tg.tensor([[2]]), 1)
        first.result(30)
        first_is_through.set()
        second.result(30)
    assert all(module.training for module in model.modules())


# ---------------------------------------------------------------- several texts


PROMPTS = ["abc", "g", "fedcba", "abcdefgabcd"]


@pytest.mark.parametrize("use_cache", [True, False])
def test_texts_of_different_length_are_those_that_each_gives_alone(use_cache):
    model = lively()
    alone = [generate_texts(model, LETTERS, [p], 20, greedy=True)[0] for p in PROMPTS]
    both = generate_texts(model, LETTERS, PROMPTS, 20, greedy=True, use_cache=use_cache)
    assert both == alone and len(set(alone)) > 1
    penalty = {"greedy": True, "repetition_penalty": 3.0}  # empty places are no token's repetition
    alone = [generate_texts(model, LETTERS, [p], 20, **penalty)[0] for p in PROMPTS]
    assert generate_texts(model, LETTERS, PROMPTS, 20, use_cache=use_cache, **penalty) == alone


def test_padded_logits_are_those_of_the_row_alone():
    model, ids = lively(), [[1, 2, 3, 4, 5], [6, 5], [3]]
    padded = tg.tensor([[0] * (5 - len(row)) + row for row in ids])
    empty = tg.tensor([5 - len(row) for row in ids])
    with tg.no_grad():
        together = model(padded, padding=empty)[0]
        for row, got in zip(ids, together):
            want = model(tg.tensor([row]))[0][0]
            np.testing.assert_allclose(got.cpu().numpy(), want.cpu().numpy(), rtol=1e-4, atol=1e-5)


def test_each_text_ends_by_itself():
    model = lively()
    free = generate_texts(model, LETTERS, PROMPTS, 15, greedy=True)
    stop = free[0][4:6]
    ended = generate_texts(model, LETTERS, PROMPTS, 15, greedy=True, stop=stop)
    assert ended == [text.split(stop)[0] for text in free]
    stopped = generate_texts(model, LETTERS, PROMPTS, 15, greedy=True, stop_ids=[2])
    assert stopped == [text.split("c")[0] for text in free]
    assert generate_texts(model, LETTERS, [], 5) == []


# ---------------------------------------------------------------- streams


def test_a_stream_is_the_text_piece_by_piece():
    model = lively()
    whole = generate_text(model, LETTERS, "ab", 25, generator=source(), top_p=0.9)
    pieces = [*stream_text(model, LETTERS, "ab", 25, generator=source(), top_p=0.9)]
    assert "ab" + "".join(p.text for p in pieces) == whole
    assert LETTERS.decode([p.id for p in pieces]) == whole[2:] and len(pieces) == 25
    again = [*stream_text(model, LETTERS, [0, 1], 25, generator=source(), top_p=0.9)]
    assert again == pieces


def test_log_probabilities_are_the_models_own():
    """Whatever the settings; together they are the likelihood of the text."""
    model = lively()
    pieces = [*stream_text(model, LETTERS, "ab", 10, top_k=3, temperature=0.3, alternatives=2)]
    ids = [0, 1, *[p.id for p in pieces]]
    with tg.no_grad():
        logits = model(tg.tensor([ids[:-1]]), tg.tensor([ids[1:]]))[0][0]
        expected = logits.log_softmax(-1).cpu().numpy()[1:]
    for piece, row in zip(pieces, expected, strict=True):
        assert piece.logprob == pytest.approx(row[piece.id], abs=1e-4)
        best = np.argsort(-row)[:2]
        assert [i for i, _ in piece.top] == best.tolist()
        assert [p for _, p in piece.top] == pytest.approx(row[best].tolist(), abs=1e-4)


def test_streams_at_once_do_not_mix():
    model = lively()
    texts = [
        [p.text for p in stream_text(model, LETTERS, prompt, 15, generator=source(i))]
        for i, prompt in enumerate(PROMPTS)
    ]
    streams = [
        stream_text(model, LETTERS, prompt, 15, generator=source(i))
        for i, prompt in enumerate(PROMPTS)
    ]
    turns = [*zip(*streams)]
    assert [[p.text for p in row] for row in zip(*turns)] == texts


STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


@given(st.text("abc", max_size=14), STOPS)
def test_what_is_shown_is_never_taken_back(text, stops):
    row, shown = Row(LETTERS, stops), ""
    for token in LETTERS.encode(text):
        if not row.ended:
            shown += row.push(token)
    ended, shown = row.ended, shown + row.finish()
    first = min([at for stop in stops if (at := text.find(stop)) >= 0], default=None)
    if first is None:
        assert not ended and shown == text
    else:  # as soon as one is complete, it ends: one that begins earlier may need more to be it
        ends = min(text.find(stop) + len(stop) for stop in stops if stop in text)
        assert ended and text[:ends].startswith(shown)
        assert not any(stop in shown for stop in stops)


def test_tokens_without_a_text_are_not_written():
    """A vocabulary is often padded, as GPT-2's to 50,304."""
    model, few = lively(), CharTokenizer("ab")
    assert {*"".join(generate_texts(model, few, ["a", "b"], 40))} <= {"a", "b"}


def test_ids_in_a_gap_are_not_written_nor_named():
    """As between the ranks of tiktoken and its special tokens."""
    gap = Gap("acg")
    model = Fixed([0, 9, 2, 9, 9, 9, 1, 9])  # of 8 ids, 0, 2 and 6 have a text
    assert {*"".join(generate_texts(model, gap, ["ac", "gg"], 40))} == {"a", "c", "g"}
    assert {*generate_text(model, gap, "a", 40)} == {"a", "c", "g"}
    out = generate(model, tg.tensor([[0]]), 40, stop="x", tokenizer=gap)
    assert {*out[0].tolist()} == {0, 2, 6}
    assert generate(model, tg.tensor([[0]]), 9, greedy=True, tokenizer=gap).tolist() == [
        [0, *[2] * 9]
    ]
    share = np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum()
    for piece in stream_text(model, gap, "a", 9, alternatives=8):
        assert [i for i, _ in piece.top] == [2, 6, 0]
        assert [p for _, p in piece.top] == pytest.approx(np.log(share), abs=1e-5)
        assert (piece.id, piece.logprob) in piece.top


# ---------------------------------------------------------------- settings against definitions

ROWS = st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=8)


@given(ROWS, st.floats(0.0, 1.0))
def test_min_p_keeps_what_is_near_the_likeliest(row, share):
    probs = np.exp(np.float64(row)) / np.exp(np.float64(row)).sum()
    kept = np.isfinite(
        Sampling(min_p=share).narrowed(tg.tensor([row], dtype=tg.float64)).cpu().numpy()[0]
    )
    for p, k in zip(probs, kept):
        assert k or p < share * probs.max() * (1 + 1e-9)
        assert not k or p >= share * probs.max() * (1 - 1e-9)


@given(ROWS, st.lists(st.integers(0, 12), min_size=1, max_size=9), st.floats(0.1, 9))
def test_the_penalty_meets_what_was_there(row, context, penalty):
    """Ids beyond the row, as of empty places, are of no token."""
    got = (
        penalised(tg.tensor([row], dtype=tg.float64), tg.tensor([context]), penalty)
        .cpu()
        .numpy()[0]
    )
    for i, (x, y) in enumerate(zip(row, got)):
        less = x / penalty if x > 0 else x * penalty
        assert y == pytest.approx(less if i in context else x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_p": 1.5}, "min_p must be in [0, 1], got 1.5; 0 keeps"),
        ({"repetition_penalty": 0}, "repetition_penalty must be in [1e-06, 1000000.0], got 0; 1"),
        ({"repetition_penalty": 1e-300}, "repetition_penalty must be in [1e-06"),
        ({"repetition_penalty": 1e300}, "repetition_penalty must be in [1e-06"),
        ({"prompt": "abcdefgabcdef"}, "at most 12 tokens, the model's block_size, got 13"),
        ({"prompt": ""}, "at least one character, got an empty text"),
        ({"prompt": []}, "at least one character, got an empty text"),
        ({"prompt": [0, 7]}, "ids must be in 0..6, the model's vocabulary, got 7"),
        ({"prompt": [-1]}, "ids must be in 0..6, the model's vocabulary, got -1"),
        ({"prompt": "abx"}, "got 'x' (U+0078) at position 2"),
        ({"stop": ["a", ""]}, "stop must be a text, or several, got an empty text"),
        ({"alternatives": -1}, "alternatives must be >= 0, got -1"),
        ({"max_new_tokens": -1}, "max_new_tokens must be >= 0, got -1"),
        ({"topp": 1}, "the settings must be temperature, top_k"),
    ],
)
def test_everything_is_checked_before_the_first_token(options, words):
    """A stream is refused when it is asked for, not when it is read."""
    model = lively()
    model.forward = None
    given = {"prompt": "ab", "max_new_tokens": 3, **options}
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        stream_text(model, LETTERS, **given)
