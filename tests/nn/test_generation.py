"""Drawing text: each option against its definition, on models whose expectations are known.

The drawn ids are compared with PyTorch's in `parity/test_parity_gpt.py`.
"""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.generation import generate, generate_text, generate_texts, start_of_text
from tinygrad_lm.text.sampling import Sampling
from tinygrad_lm.text.tokenizers import CharTokenizer


class Chain(nn.Module):
    """A model that looks at the last id only: the logits are a row of a table (V, V)."""

    def __init__(self, table):
        super().__init__()
        self.table = tg.tensor(np.asarray(table, np.float32))
        self.longest = 0

    def forward(self, idx):
        self.longest = max(self.longest, idx.shape[1])
        return self.table[idx]


def lively(**changes):
    """A GPT with strong opinions."""
    shape = {"block_size": 6, "vocab_size": 7, "n_layer": 1, "n_head": 1, "n_embd": 8, **changes}
    model = GPT(GPTConfig(**shape))
    for p in model.parameters():
        p.data = p.data * 20
    return model


START = tg.tensor([[1, 2], [3, 4]])


def test_the_greedy_token_is_the_likeliest_and_draws_nothing():
    model, stream = lively(), tg.default_generator.get_state()
    out = model.generate(START, 9, greedy=True)
    assert np.array_equal(stream, tg.default_generator.get_state())
    assert out.shape == (2, 11) and out[:, :2].tolist() == START.tolist()
    for t in range(2, 11):
        logits = model(out[:, max(0, t - 6) : t])[0][:, -1]
        assert out[:, t].tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
def test_the_narrowest_choice_is_the_greedy_one(options):
    model = lively()
    assert (
        model.generate(START, 9, **options).tolist()
        == model.generate(START, 9, greedy=True).tolist()
    )


@pytest.mark.parametrize("options", [{"top_k": 7}, {"top_k": 100}, {"top_p": 1.0}])
def test_the_widest_choice_is_no_restriction(options):
    model = lively()
    plain = model.generate(START, 9, generator=tg.Generator()).tolist()
    assert model.generate(START, 9, generator=tg.Generator(), **options).tolist() == plain


def test_a_generator_of_its_own_leaves_the_global_stream_alone():
    """Dropout, in a model that is training, would draw from it too."""
    model = lively(dropout=0.5)
    model.train()
    stream = tg.default_generator.get_state()
    first = model.generate(START, 9, generator=tg.Generator().manual_seed(5))
    assert np.array_equal(stream, tg.default_generator.get_state())
    assert model.training
    again = model.generate(START, 9, generator=tg.Generator().manual_seed(5))
    other = model.generate(START, 9, generator=tg.Generator().manual_seed(6))
    assert first.tolist() == again.tolist() != other.tolist()
    model.generate(START, 1)
    assert not np.array_equal(stream, tg.default_generator.get_state())
    assert not model.eval().generate(START, 1).requires_grad and not model.training


def test_the_mode_survives_an_error():
    model = lively()
    with pytest.raises(IndexError):
        model.generate(tg.tensor([[70]]), 1)
    assert model.training


def test_frequencies_are_the_probabilities():
    """4,000 independent draws; the sum of squared deviations, each over its variance, has 3 degrees
    of freedom: above 16.3 once in a thousand seeds."""
    logits = np.array([1.0, 0.0, -1.0, 0.5])
    counts = np.zeros(4)
    table = np.tile(logits, (4, 1))
    out = generate(Chain(table), tg.zeros(400, 1, dtype=tg.int64), 10, temperature=0.7)
    counts = np.bincount(out[:, 1:].numpy().ravel(), minlength=4)
    expected = np.exp(logits / 0.7) / np.exp(logits / 0.7).sum() * 4000
    assert ((counts - expected) ** 2 / expected).sum() < 16.3


PROBS = st.lists(st.integers(1, 50), min_size=1, max_size=7, unique=True)


@given(PROBS, st.floats(0.01, 1.0))
def test_top_p_keeps_the_smallest_set_with_that_share(weights, share):
    probs = np.array(weights) / sum(weights)
    kept = np.isfinite(Sampling(top_p=share).narrowed(tg.tensor(np.log(probs)[None])).numpy()[0])
    assert probs[kept].sum() >= share - 1e-9
    for fewer in itertools.combinations(range(len(probs)), int(kept.sum()) - 1):
        assert probs[list(fewer)].sum() < share + 1e-9
    assert probs[kept].min() > probs[~kept].max(initial=0)


@given(PROBS, st.integers(1, 9))
def test_top_k_keeps_the_k_likeliest(weights, k):
    kept = np.isfinite(Sampling(top_k=k).narrowed(tg.tensor(np.log(weights)[None])).numpy()[0])
    assert sorted(np.array(weights)[kept]) == sorted(weights)[-k:]


def test_a_long_context_loses_its_beginning():
    model = Chain(np.zeros((3, 3)))
    model.config = GPTConfig(4, 3, 1, 1, 1)
    out = generate(model, tg.tensor([[0, 1, 2, 0, 1, 2]]), 3)
    assert model.longest == 4 and out.shape == (1, 9)
    del model.config  # a model that does not say how much it can see, sees everything
    generate(model, out, 2)
    assert model.longest == 10


LETTERS = CharTokenizer("abc")
CYCLE = Chain(np.roll(np.eye(3), 1, axis=1) * 50)  # a b c a b c ...


def test_a_stop_text_ends_the_text_and_is_left_out():
    out = generate(CYCLE, tg.tensor([[0]]), 50, stop="ca", tokenizer=LETTERS)
    assert LETTERS.decode(out[0].tolist()) == "abca"
    assert generate_text(CYCLE, LETTERS, "a", 50, stop="ca") == "ab"
    assert generate_text(CYCLE, LETTERS, "abc", 5, stop="aa") == "abcabcab"


class Spaced(CharTokenizer):
    """As SentencePiece: no space at the start of a text."""

    def decode_bytes(self, ids):
        return super().decode_bytes(ids).removeprefix(b" ")


def test_a_continuation_keeps_the_space_it_begins_with():
    tokenizer = Spaced("a c")  # a, a space, c, ...
    assert generate_text(CYCLE, tokenizer, "ca", 4) == "ca ca "
    assert generate_texts(CYCLE, tokenizer, ["ca", "ca"], 2) == [" c"] * 2
    assert generate_text(CYCLE, tokenizer, "ca", 9, stop=" c") == "ca"
    assert generate(CYCLE, tg.tensor([[0]]), 9, stop=" c", tokenizer=tokenizer).shape == (1, 3)


def test_a_stop_text_is_looked_for_in_what_is_new():
    assert generate_text(CYCLE, LETTERS, "abca", 50, stop="abca") == "abcabc"


def test_no_new_tokens():
    assert generate_text(CYCLE, LETTERS, "ab", 0) == "ab"


@pytest.mark.parametrize(
    "options, words",
    [
        ({"temperature": 0}, "temperature must be in [1e-06, 1000000.0], got 0; for the likeliest"),
        ({"temperature": -1.0}, "temperature must be in"),
        ({"temperature": float("nan")}, "temperature must be in [1e-06, 1000000.0], got nan"),
        ({"temperature": 1e-40}, "temperature must be in [1e-06, 1000000.0], got 1e-40"),
        ({"temperature": 1e300}, "temperature must be in [1e-06, 1000000.0], got 1e+300"),
        ({"top_k": 0}, "top_k must be >= 1, got 0"),
        ({"top_p": 0.0}, "top_p must be in (0, 1], got 0.0"),
        ({"top_p": 1.1}, "top_p must be in (0, 1], got 1.1"),
        ({"max_new_tokens": -1}, "max_new_tokens must be >= 0, got -1"),
        ({"stop": ""}, "stop must be a text"),
        ({"stop": "a", "tokenizer": None}, "stop must be a text, with a tokenizer"),
        ({"stop": "a", "idx": tg.tensor([[0], [1]])}, "one row of ids, got 2 rows"),
        ({"idx": tg.zeros(1, 0, dtype=tg.int64)}, "T >= 1, got (1, 0)"),
        ({"idx": tg.tensor([1, 2])}, "must be ids (B, T) with T >= 1, got (2,)"),
    ],
)
def test_options_out_of_range(options, words):
    usual = {"idx": tg.tensor([[0]]), "max_new_tokens": 3, "tokenizer": LETTERS}
    with pytest.raises(ValueError, match=re.escape(words)):
        generate(CYCLE, **{**usual, **options})


def test_prompts_that_are_refused():
    with pytest.raises(ValueError, match="at least one character, got an empty text"):
        generate_text(CYCLE, LETTERS, "", 3)
    with pytest.raises(ValueError, match=re.escape("got 'x' (U+0078) at position 1")):
        generate_text(CYCLE, LETTERS, "axa", 3)


@pytest.mark.parametrize(
    "options", [{"greedy": True}, {}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.5}]
)
def test_logits_that_are_no_numbers_are_refused(options):
    """One NaN is enough, and not in the first step: a model may meet it later."""
    model = Chain([[0, 9, 0], [0, math.nan, 1], [0, 0, 0]])
    with pytest.raises(RuntimeError, match=r"^\[generate\] logits must be numbers, got NaN"):
        generate(model, tg.tensor([[0]]), 5, **options)
    for value in (-math.inf, math.inf):  # the second row alone
        model = Chain([[0, 9, 0], [value] * 3, [0, 0, 0]])
        with pytest.raises(RuntimeError, match=rf"must be numbers, got {value} as the highest"):
            generate(model, tg.tensor([[0], [1]]), 1, **options)


EXTREMES = [{"top_p": 1e-50}, {"temperature": 1e-6}, {"temperature": 1e6}, {"min_p": 1e-320}]
EXTREMES += [{"repetition_penalty": 1e-6}, {"repetition_penalty": 1e6}]


@pytest.mark.parametrize("options", EXTREMES, ids=str)
def test_the_outermost_settings_work(options):
    """With logits of any size, too."""
    for logits in ([1e30, -1e30, 0], [1e-30, 0, -1e-30], [3, 3, 3]):
        out = generate(Chain([logits] * 3), tg.tensor([[0], [1]]), 5, **options)
        assert out.shape == (2, 6)


def test_the_least_share_is_the_likeliest_token():
    table = np.random.default_rng(0).normal(size=(9, 9))
    least, likeliest = (
        generate(Chain(table), tg.tensor([[0]]), 9, **options).tolist()
        for options in ({"top_p": 1e-50}, {"greedy": True})
    )
    assert least == likeliest


@pytest.mark.parametrize(("characters", "start"), [("ab\n", "\n"), ("天地", "天"), ("b", "b")])
def test_a_text_starts_with_a_newline_where_there_is_one(characters, start):
    assert start_of_text(CharTokenizer(characters)) == start
