"""Perplexity against scoring every token by itself, endings against models whose expectations are
known; and that everything wrong is refused before the model computes anything.

PyTorch and transformers are compared in `parity/test_parity_evaluation.py`.
"""

import functools
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.data import open_tokens, write_tokens
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn import functional as F
from tinygrad_lm.text.tokenizers import CharTokenizer
from tinygrad_lm.training import evaluation
from tinygrad_lm.training.evaluation import perplexity, score_completions

LETTERS = CharTokenizer("abc dé")
T = 6


def lively(**changes):
    """A GPT with strong opinions, in float64."""
    tg.manual_seed(1337)
    shape = {"block_size": T, "vocab_size": 7, "n_layer": 1, "n_head": 2, "n_embd": 8, **changes}
    model = GPT(GPTConfig(**shape))
    for p in model.parameters():
        p.data = p.data * 20
    return model.double()


class Fixed(nn.Module):
    """A model that expects the same at every place: `shares` (V,), whatever came before."""

    def __init__(self, shares, block_size=T):
        super().__init__()
        self.config = GPTConfig(block_size, len(shares), 1, 1, 1)
        self.logits = nn.Parameter(tg.tensor(np.log(shares)))
        self.shapes = []

    def forward(self, idx, targets=None):
        assert not (self.training or tg.is_grad_enabled())
        self.shapes.append(tuple(idx.shape))
        return self.logits.expand(*idx.shape, -1), None


class Bytes:
    """Every byte is a token, as in the first 256 of a byte-level BPE; one more ends a text."""

    vocab_size, special = 257, {"<|endoftext|>": 256}

    def encode(self, text):
        return [*text.encode()]

    def decode(self, ids):
        return self.decode_bytes(ids).decode(errors="replace")

    def decode_bytes(self, ids):
        return b"".join(b"" if i == 256 else bytes([i]) for i in ids)


def minus_logprob(model, context, token):
    """In nats, from one forward pass over a context (N,), nothing else in the batch."""
    with tg.no_grad():
        logits = model(tg.tensor([[int(i) for i in context]]))[0]
    return -logits[0, -1].log_softmax(-1)[int(token)].item()


@functools.cache
def gpt():
    return lively()


IDS = np.random.default_rng(1).integers(0, 7, 40)


@given(st.integers(2, 30), st.integers(1, T), st.integers(1, 5))
def test_each_token_counts_once_after_the_context_of_its_window(n, stride, batch_size):
    """Windows begin at multiples of the stride; the first that holds a token scores it."""
    nats = 0.0
    for i in range(1, n):
        begin = max(0, math.ceil((i - T) / stride)) * stride
        assert i - begin >= min(i, T - stride + 1)
        nats += minus_logprob(gpt(), IDS[begin:i], IDS[i])
    found = perplexity(gpt(), None, IDS[:n], stride, batch_size)
    assert found.tokens == n - 1
    assert found.loss == pytest.approx(nats / (n - 1), rel=1e-12)
    assert found.perplexity == pytest.approx(math.exp(nats / (n - 1)), rel=1e-12)


def test_a_stride_of_one_gives_every_token_the_longest_context():
    nats = [minus_logprob(gpt(), IDS[max(0, i - T) : i], IDS[i]) for i in range(1, len(IDS))]
    assert perplexity(gpt(), None, IDS, 1).loss == pytest.approx(np.mean(nats), rel=1e-12)
    assert perplexity(gpt(), None, IDS, 2).loss != pytest.approx(np.mean(nats), rel=1e-3)


@pytest.mark.parametrize("n", [2, 4, T + 1])
def test_a_text_that_fits_is_one_forward_pass(n):
    x, y = tg.tensor([IDS[: n - 1].tolist()]), tg.tensor([IDS[1:n].tolist()])
    loss = gpt()(x, y)[1].item()
    for stride in range(1, T + 1):
        assert perplexity(gpt(), None, IDS[:n], stride).loss == pytest.approx(loss, rel=1e-12)


def test_half_a_window_is_the_usual_stride():
    assert perplexity(gpt(), None, IDS) == perplexity(gpt(), None, IDS, T // 2)
    assert perplexity(Fixed([0.5, 0.5], 1), None, IDS % 2).perplexity == pytest.approx(2)


def test_a_perplexity_that_no_float_can_hold():
    model = Fixed([0.5, 0.5])
    model.logits.data = tg.tensor([0.0, 800.0])
    assert perplexity(model, None, IDS * 0)[3:5] == (800, math.inf)
    model.logits.data[0] = -math.inf
    with pytest.raises(RuntimeError, match=r"\[eval\] every loss must be finite, got inf"):
        perplexity(model, None, IDS * 0)


def test_sizes_of_what_is_scored():
    """A fair die of V sides: log2(V) bits per token. The first token, é of two bytes, is context
    alone; beside it are 3 characters in 4 bytes."""
    found = perplexity(Fixed([1 / 8] * 8), LETTERS, "éabé")
    assert found[:3] == (3, 3, 4)
    assert found.loss == pytest.approx(math.log(8)) and found.perplexity == pytest.approx(8)
    assert found.bits_per_character == pytest.approx(3)
    assert found.bits_per_byte == pytest.approx(3 * 3 / 4)


DIE = [1 / 257] * 257


@pytest.mark.parametrize("start, sizes", [(None, (5, 3, 5)), (True, (5, 3, 5)), (False, (4, 2, 4))])
def test_a_character_in_several_tokens_counts_where_it_begins(start, sizes):
    """é is two tokens; where the first of them is context alone, so is the character."""
    tokenizer, model = Bytes(), Fixed(DIE)
    text, ids = "éaé", np.array([*"éaé".encode()], np.uint16)
    found = perplexity(model, tokenizer, text, start=start)
    assert found[:3] == sizes == perplexity(model, tokenizer, ids, start=start)[:3]
    assert found.bits_per_byte == pytest.approx(math.log2(257) * sizes[0] / sizes[2])
    assert found.bits_per_character == pytest.approx(math.log2(257) * sizes[0] / sizes[1])


def test_a_start_is_a_token_in_front_and_is_not_put_there_twice():
    model, tokenizer = lively(vocab_size=257), Bytes()
    ids = np.array([*b"some text"], np.uint16)
    with_start = np.array([256, *ids])
    started = perplexity(model, tokenizer, ids)
    assert started == perplexity(model, tokenizer, "some text")
    assert started == perplexity(model, tokenizer, with_start)
    assert started == perplexity(model, tokenizer, with_start, start=False)
    plain = perplexity(model, tokenizer, ids, start=False)
    assert plain.loss == perplexity(model, None, ids).loss != started.loss
    one = perplexity(model, tokenizer, "x")
    assert one.loss == pytest.approx(minus_logprob(model, [256], ord("x")), rel=1e-12)


def test_ids_of_end_of_text_alone_have_no_bytes():
    found = perplexity(Fixed(DIE), Bytes(), np.array([256, 256, 256]))
    assert found.tokens == 2 and found.bytes == 0 and found.bits_per_byte is None


def test_a_mapped_file_is_the_text_that_it_was_made_of(tmp_path, monkeypatch):
    text = "abc da bé" * 5
    write_tokens(tmp_path / "t.bin", np.array(LETTERS.encode(text)), 7)
    tokens = open_tokens(tmp_path / "t.bin")
    found = perplexity(gpt(), None, tokens)
    assert found.loss == perplexity(gpt(), LETTERS, text).loss
    assert found[1:3] + found[5:] == (None,) * 4  # nobody knows what the ids stand for
    assert perplexity(gpt(), LETTERS, tokens) == perplexity(gpt(), LETTERS, text)
    monkeypatch.setattr(evaluation, "CHUNK", 4)  # a character's bytes in two pieces
    ids = np.array([*text.encode()], np.uint8)
    assert perplexity(Fixed(DIE), Bytes(), ids)[1:3] == (len(text), len(text.encode()))


def test_a_pass_is_as_large_as_its_logits_may_be(monkeypatch):
    model = Fixed([1 / 8] * 8)
    whole = perplexity(model, None, IDS, batch_size=5)
    assert model.shapes == [(5, T), (5, T), (2, T)]  # 6 tokens, then 3 by 3
    monkeypatch.setattr(evaluation, "LOGITS_BYTES", 2 * T * 8 * 8 + 1)
    model.shapes.clear()
    assert perplexity(model, None, IDS, batch_size=5) == whole
    assert model.shapes == [(2, T), (2, T), (1, T)] * 2 + [(2, T)]
    monkeypatch.setattr(evaluation, "LOGITS_BYTES", 1)
    model.shapes.clear()
    assert perplexity(model, None, IDS) == whole
    assert model.shapes == [(1, T)] * 12


def test_16_bit_logits_count_with_their_copies(monkeypatch):
    model = Fixed([1 / 8] * 8).bfloat16()
    monkeypatch.setattr(evaluation, "LOGITS_BYTES", 2 * T * 8 * 10)
    perplexity(model, None, IDS[:16], T)
    assert model.shapes == [(2, T), (1, T)]


def test_a_16_bit_model_is_scored_in_float32():
    """A loss rounded to its dtype would have three digits; its own has float32's."""
    model = lively().bfloat16()
    x, y = tg.tensor([IDS[:T].tolist()]), tg.tensor([IDS[1 : T + 1].tolist()])
    with tg.no_grad():
        logits, own = model(x, y)
    exact = F.cross_entropy(logits.double()[0], y[0]).item()
    assert perplexity(model, None, IDS[: T + 1]).loss == pytest.approx(exact, rel=1e-6)
    assert own.item() == pytest.approx(exact, rel=1e-6)
    assert F.cross_entropy(logits[0], y[0]).item() != pytest.approx(exact, rel=1e-4)


ROWS = [{"ctx": "ab", "endings": ["c", "da"], "label": 0}]


@pytest.mark.parametrize(
    "work",
    [
        lambda model: perplexity(model, None, IDS),
        lambda model: score_completions(model, LETTERS, ROWS),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back_and_nothing_is_drawn_or_recorded(work, training):
    model, stream = lively(dropout=0.5), tg.default_generator.get_state()
    model.train(training)
    assert work(model) == work(model)
    assert model.training is training and tg.is_grad_enabled()
    assert np.array_equal(stream, tg.default_generator.get_state())
    model.transformer.wpe.weight.data[2] = math.nan
    with pytest.raises(RuntimeError, match=r"\[eval\].* finite, got nan, .*transformer.wpe"):
        work(model)
    assert model.training is training and tg.is_grad_enabled()


def test_progress_ends_at_all_of_it():
    seen = []
    perplexity(gpt(), None, IDS, batch_size=5, progress=lambda *now: seen.append(now))
    assert seen == [(18, 39), (33, 39), (39, 39)]
    seen.clear()
    score_completions(gpt(), LETTERS, ROWS * 2, progress=lambda *now: seen.append(now))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    "error, words, changes",
    [
        (ValueError, "stride must be in 1..6, the model's block_size, got 0", {"stride": 0}),
        (ValueError, "stride must be in 1..6, the model's block_size, got 7", {"stride": 7}),
        (ValueError, "stride must be in 1..6, the model's block_size, got 2.0", {"stride": 2.0}),
        (ValueError, "batch_size must be >= 1, got 0", {"batch_size": 0}),
        (ValueError, "the text must not be empty", {"text": ""}),
        (ValueError, "the text must not be empty", {"text": np.array([], np.int64)}),
        (ValueError, "at least two tokens, one to predict from another, got 1", {"text": "a"}),
        (ValueError, "start must be False for a tokenizer without <|endoftext|>", {"start": True}),
        (ValueError, "must be in 0..7, the model's vocabulary, got 8", {"text": np.arange(9)}),
        (
            ValueError,
            "must be in 0..7, the model's vocabulary, got -1",
            {"text": np.array([1, -1])},
        ),
        (ValueError, "got 'x' (U+0078) at position 1", {"text": "axa"}),
        (ValueError, "at most 8 ids, the model's vocabulary, got 257", {"tokenizer": Bytes()}),
        (TypeError, "got str without a tokenizer", {"tokenizer": None}),
        (TypeError, "got bytes", {"text": b"abc"}),
        (TypeError, "got float64 of shape (3,)", {"text": np.zeros(3)}),
        (TypeError, "got int64 of shape (1, 3)", {"text": np.zeros((1, 3), np.int64)}),
    ],
)
def test_what_is_wrong_is_said_before_any_work(error, words, changes):
    model = Fixed([1 / 8] * 8)
    with pytest.raises(error, match=r"^\[(eval|encode)\] .*" + re.escape(words)):
        perplexity(**{"model": model, "tokenizer": LETTERS, "text": "abc", **changes})
    assert model.shapes == []


# Nats of each character; together they are less likely than 1, and d has the rest.
COST = {" ": 2.0, "a": 2.0, "b": 4.0, "é": 2.4, "c": 9.0}
REST = -math.log(1 - sum(math.exp(-cost) for cost in COST.values()))
TABLE = Fixed([math.exp(-COST.get(c, REST)) for c in LETTERS.characters])
# In sum b has 6 nats, aaaa 10, éé 6.8; per token 3, 2, 2.27; per byte 6, 2.5, 1.7.
THREE = {"ctx": "ab", "endings": ["b", "aaaa", "éé"]}


@pytest.mark.parametrize("label, right", [(0, (1, 0, 0)), (1, (0, 1, 0)), (2, (0, 0, 1))])
def test_likeliest_as_a_whole_per_token_and_per_byte(label, right):
    found = score_completions(TABLE, LETTERS, [{**THREE, "label": label}])
    assert found == (1, *right, (0, 0, 0))


def test_shares_and_their_errors():
    rows = [{**THREE, "label": label} for label in (0, 0, 0, 1)]
    found = score_completions(TABLE, LETTERS, rows)
    assert found[:4] == (4, 0.75, 0.25, 0)
    assert found.standard_errors == pytest.approx((math.sqrt(3) / 8, math.sqrt(3) / 8, 0))


def sum_of(model, context, ending):
    """Minus the log-probability of an ending, token by token, each from a pass of its own."""
    ids = [*LETTERS.encode(context), *LETTERS.encode(" " + ending)][-T - 1 :]
    scored = range(len(ids) - len(ending) - 1, len(ids))
    return sum(minus_logprob(model, ids[:i], ids[i]) for i in scored)


@given(
    st.text("abc dé", min_size=1, max_size=9),
    st.lists(st.text("abcdé", min_size=1, max_size=T - 1), min_size=1, max_size=4, unique=True),
)
def test_an_ending_scores_as_it_does_alone(context, endings):
    """In a batch of shorter and longer ones, after a context that may not fit."""
    nats = np.array([sum_of(gpt(), context, ending) for ending in endings])
    tokens, sizes = [len(e) + 1 for e in endings], [len(e.encode()) for e in endings]
    right = [by.argmin() for by in (nats, nats / tokens, nats / sizes)]
    for label in range(len(endings)):
        row = {"ctx": context, "endings": endings, "label": label}
        found = score_completions(gpt(), LETTERS, [row])
        assert found[1:4] == tuple(best == label for best in right)
    with tg.no_grad():
        rows = evaluation._question(gpt(), LETTERS, row, "it").rows
        assert evaluation._nats(gpt(), rows) == pytest.approx(nats, rel=1e-9)


def write(path, *lines):
    path.write_bytes(
        b"\n".join(line if type(line) is bytes else json.dumps(line).encode() for line in lines)
    )
    return path


GOOD = {**THREE, "label": 0}


def test_a_file_of_hellaswag_itself(tmp_path):
    """More fields than are used; a label may be a text; the last line may be empty."""
    theirs = {"ind": 4, "activity_label": "a", "ctx_a": "a", "ctx_b": "b", **THREE, "label": "1"}
    path = write(tmp_path / "h.jsonl", theirs, GOOD, {**GOOD, "label": 2}, b"")
    found = score_completions(TABLE, LETTERS, path)
    assert found[:4] == (3, 1 / 3, 1 / 3, 1 / 3)
    assert score_completions(TABLE, LETTERS, str(path), 2)[:4] == (2, 0.5, 0.5, 0)


@pytest.mark.parametrize(
    "line, words",
    [
        (b"{", "must be JSON"),
        (b"\xff\xfe", "must be JSON"),
        ([1], "must have ctx, endings and label, got list"),
        ({"ctx": "a", "label": 0}, "must have ctx, endings and label, got no endings"),
        ({**GOOD, "ctx": ""}, "must have a text as ctx, got ''"),
        ({**GOOD, "ctx": 3}, "must have a text as ctx, got 3"),
        ({**GOOD, "endings": []}, "must have a list of endings, got []"),
        ({**GOOD, "endings": "abc"}, "must have a list of endings, got 'abc'"),
        ({**GOOD, "endings": ["a", ""]}, "must have texts as endings, got ''"),
        ({**GOOD, "endings": ["a", " "]}, "must have texts as endings, got ' '"),
        ({**GOOD, "endings": ["a", 5]}, "must have texts as endings, got 5"),
        ({**GOOD, "label": 3}, "must have a label in 0..2, got 3"),
        ({**GOOD, "label": -1}, "must have a label in 0..2, got -1"),
        ({**GOOD, "label": "-1"}, "must have a label in 0..2, got '-1'"),
        ({**GOOD, "label": ""}, "must have a label in 0..2, got ''"),
        ({**GOOD, "label": "²"}, "must have a label in 0..2, got '²'"),
        ({**GOOD, "label": True}, "must have a label in 0..2, got True"),
        ({**GOOD, "endings": ["a", "a" * T]}, f"must have endings of at most {T} tokens, got 7"),
        ({**GOOD, "endings": ["ax"]}, "must be of tokens that there are, got [encode]"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_row_is_named_before_any_work(line, words, tmp_path):
    model = Fixed([1 / 8] * 8)
    path = write(tmp_path / "rows.jsonl", GOOD, b"", line)
    with pytest.raises(ValueError, match=r"^\[eval\] line 3 of '.*rows.jsonl' ") as refused:
        score_completions(model, LETTERS, path)
    assert words in str(refused.value) and model.shapes == []
    if type(line) is not bytes:
        with pytest.raises(ValueError, match=r"^\[eval\] row 2 " + re.escape(words)):
            score_completions(model, LETTERS, [GOOD, line])
    assert score_completions(model, LETTERS, path, limit=1).rows == 1


def test_rows_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"\[eval\] a file must exist at '.*no.jsonl'"):
        score_completions(TABLE, LETTERS, tmp_path / "no.jsonl")
    for nothing in (write(tmp_path / "empty.jsonl", b""), []):
        with pytest.raises(ValueError, match=r"\[eval\] there must be at least one row"):
            score_completions(TABLE, LETTERS, nothing)
    with pytest.raises(ValueError, match=r"\[eval\] limit must be >= 1, got 0"):
        score_completions(TABLE, LETTERS, [GOOD], 0)
    with pytest.raises(ValueError, match="at most 6 ids, the model's vocabulary, got 257"):
        score_completions(TABLE, Bytes(), [GOOD])
