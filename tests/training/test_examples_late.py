"""The steps of the ladder from the WaveNet on: each runs in a short form and ends below the floor
it prints, and what a step builds itself obeys what is known of it from outside.

Parameter counts are those that the lectures print. It trains nothing at full length.
"""

import argparse
import importlib.util
import json
import math
import random
import re
import sys

import pytest
from test_examples import EXAMPLES, README, STEPS, run

import tinygrad_lm as tl
from tinygrad_lm.models.checkpoints import load_gpt
from tinygrad_lm.nn import functional as F
from tinygrad_lm.text.chat import reply


@pytest.fixture
def short(request, tmp_path):
    """(rows by name, what was printed) of a step on the built-in text, with the options given."""
    number, options = request.param
    file = next(path for path in STEPS if path.name.startswith(number))
    rows = tmp_path / "rows"
    places = ["--out", tmp_path, "--models", tmp_path, "--json", rows]
    done = run(file, "--data", "builtin", *places, *options.split())
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in rows.read_text().splitlines()]
    pictures = {row["picture"]: row["title"] for row in rows if "picture" in row}
    assert pictures and all((tmp_path / name).stat().st_size > 2000 for name in pictures)
    assert all(pictures.values()), pictures
    return {row["what"]: row for row in rows if "what" in row}, done.stdout


def step(number, options=""):
    return pytest.mark.parametrize("short", [(number, options)], indirect=True)


@pytest.fixture
def load(monkeypatch):
    """The module of a step; its name begins with a digit, so that `import` cannot say it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def load(number):
        file = next(path for path in STEPS if path.name.startswith(number))
        spec = importlib.util.spec_from_file_location(f"step_{number}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def below_floor(rows, *names):
    assert all(rows[name]["ours"] < rows[name]["floor"] for name in names), rows


@step("06", "--steps 1000")
def test_wavenet(short):
    rows, printed = short
    below_floor(rows, "tree: dev", "flat: dev")
    assert "(4, 5): 4 positions x 5 channels; over batch and positions: (5,)" in printed


@step("07", "--steps 100")
def test_rnn(short):
    rows, printed = short
    below_floor(rows, "RNN: dev", "GRU: dev", "LSTM: dev")
    assert float(printed.split("as one layer: largest difference ")[1].split()[0]) < 1e-5


@step("08", "--steps 800")
def test_attention(short):
    rows, printed = short
    gaps = [
        row["ours"] for name, row in rows.items() if "difference" in name or "gradients" in name
    ]
    assert len(gaps) == 8 and max(gaps) < 2e-6
    below_floor(rows, "one head, learned positions: val", "one head, sines positions: val")
    assert "[0.3333, 0.3333, 0.3333, 0.0000]" in printed and "[0., 0., -inf, -inf]" in printed
    moved = float(printed.split("another order changes the last output by ")[1].split()[0])
    assert moved < 1e-6


@step("09", "--steps 150")
def test_gpt_road(short):
    rows, printed = short
    below_floor(rows, "full: val")
    assert "10.79 million" in printed and "--stage large --device cuda --full" in printed


@step("10", "--steps 250")
def test_your_text(short):
    rows, _ = short
    below_floor(rows, "GPT on builtin: val")


@step("11", "--steps 5")
def test_addition(short, load):
    rows, printed = short
    assert len(rows) == 3 and "a row: 1 5 + 1 3 = 8 2 0" in printed
    tl.manual_seed(1337)
    _, history = load("11").train(2, 400, 400, backwards=True, answer_alone=True)
    assert history[0] < 10 and history[400] > 50


@step("12", "--steps 120")
def test_fine_tuning(short):
    rows, _ = short
    alone, both = rows["the short text alone"], rows["the long text, then the short one"]
    assert both["ours"] < min(both["floor"], alone["ours"] - 0.2)


# ------------------------------------------------------------------ the parts of the steps


def test_an_engine_of_forty_lines_has_the_slopes_that_are_measured(load):
    Number = load("00").Number

    def expression(x, y):
        a = (x * y + 3.0).log() * (x * -0.5).exp() + y**3
        return a * a + (a + x).relu() + (y * -1.0).relu()

    at, h = (0.7, 1.3), 1e-6
    numbers = [Number(x) for x in at]
    out = expression(*numbers)
    out.backward()
    for i, number in enumerate(numbers):
        low, high = ([Number(x + s * h * (i == j)) for j, x in enumerate(at)] for s in (-1, 1))
        slope = (expression(*high).data - expression(*low).data) / (2 * h)
        assert number.grad == pytest.approx(slope, rel=1e-6)


def test_the_forms_of_microgpt_agree_on_names_of_every_length(load):
    micro = load("00")
    random.seed(3)
    assert sum(len(m) * len(m[0]) for m in micro.drawn(27).values()) == 4192
    nothing = {name: [[0.0] * len(m[0]) for _ in m] for name, m in micro.drawn(5).items()}
    weights = {name: [[3 * x for x in row] for row in m] for name, m in micro.drawn(5).items()}
    docs = [
        [4, 0, 4],
        [4, *[0, 1, 2, 3] * 4],
        [4, 3, 3, 1, 4],
    ]  # no room for an end in the 2nd
    forms = {
        "Number": lambda w: micro.Scalars(w, micro.Number),
        "places": micro.PlaceByPlace,
        "whole": micro.WholeName,
        "fused": micro.Fused,
        "fixed": lambda w: micro.Fused(w, fixed=True),
    }
    expected, _ = micro.train(forms["Number"](weights), docs, 6)
    assert expected[3] < expected[0] - 0.1  # it has learned something that could go wrong
    for name, form in forms.items():
        losses, _ = micro.train(form(weights), docs, 6)
        assert losses == pytest.approx(expected, abs=2e-5), name
        assert form(nothing).step(docs[:1], 0.01) == pytest.approx(math.log(5), abs=1e-6)


def test_a_batch_weighs_every_character_the_same(load):
    micro = load("00")
    docs = [[4, 0, 4], [4, 3, 3, 1, 2, 2, 4]]  # 2 and 6 to be predicted
    model = micro.Fused(micro.drawn(5), fixed=True)
    first, second = (model.loss(*micro.side_by_side([ids], 16, "cpu")).item() for ids in docs)
    both = model.loss(*micro.side_by_side(docs, 16, "cpu")).item()
    assert both == pytest.approx((2 * first + 6 * second) / 8, abs=1e-6)


@pytest.mark.parametrize("wrong", [1e-4, math.nan])
def test_another_loss_ends_the_race(load, wrong):
    losses = [3.0, 2.5]
    assert load("00").gap_between("form", [3.0, 2.5 + 1e-6, 9.0], losses) == pytest.approx(1e-6)
    with pytest.raises(SystemExit, match=r"^\[microgpt\] 'form' must have the losses \[3.0, 2.5\]"):
        load("00").gap_between("form", [3.0, 2.5 + wrong], losses)


def test_what_microgpt_prints_is_in_the_figures(load):
    micro, rows = load("00"), README.split("### 00_microgpt.py")[1].split("###")[0]
    for step, loss in micro.PUBLISHED.items():
        assert f"| loss at step {step} | {loss:.4f} | {loss:.4f} |" in rows
    assert "those that microgpt prints | 20.0000 | 20.0000 |" in rows


def test_the_tree_has_the_lectures_size_and_joins_neighbours(load):
    wavenet = load("06")
    model = wavenet.network(27, *wavenet.NETS["tree"])
    assert sum(p.nelement() for p in model.parameters()) == 76_579
    x = tl.arange(24).view(2 * 4, 3)  # two words of four positions
    joined = wavenet.Join(2)(x)
    assert joined.tolist() == x.view(2, 2, 6).flatten(0, 1).tolist()
    assert joined.data_ptr() == x.data_ptr()
    # A word's logits depend on that word alone, and on every character of it.
    model.eval()
    ids = tl.randint(0, 27, (2, 8))
    before = model(ids)
    for position in range(8):
        other = ids.clone()
        other[0, position] = (ids[0, position] + 1) % 27
        after = model(other)
        assert not tl.equal(after[0], before[0]) and tl.allclose(after[1], before[1], atol=1e-6)


def test_losses_are_averaged_in_stretches(load):
    assert load("06").averaged([1.0, 3, 5, 7, 9], parts=2) == ([1, 3], [2.0, 6.0])
    assert load("06").averaged([1.0, 3], parts=200) == ([0, 1], [1.0, 3.0])


def test_words_are_padded_with_what_is_not_counted(load):
    rnn = load("07")
    names = argparse.Namespace(stoi={".": 0, "a": 1, "b": 2})
    X, Y = rnn.encode(names, ["ab", "b"])
    assert X.tolist() == [[0, 1, 2], [0, 2, 0]] and Y.tolist() == [[1, 2, 0], [2, 0, -1]]
    model = rnn.Model(3, "GRU")
    logits, _ = model(X)
    every = F.cross_entropy(logits.flatten(0, 1)[:5], Y.flatten()[:5])  # the sixth is the -1
    assert rnn.whole_loss(model, X, Y) == pytest.approx(every.item(), abs=1e-6)
    assert rnn.whole_loss(model, X, Y, chunk=1) == pytest.approx(every.item(), abs=1e-6)


def test_memory_is_a_share_per_character_back(load):
    rnn = load("07")
    tl.manual_seed(0)
    shares = rnn.memory(rnn.Model(5, "RNN"), tl.randint(0, 5, (20, 6)), 4)
    assert len(shares) == 4 and shares[0] == 1 and shares[-1] < 0.5


def test_sines_have_their_periods(load):
    table = load("08").sines(8, 4)
    expected = [[f(t * w) for w in (1, 0.01) for f in (math.sin, math.cos)] for t in range(8)]
    assert tl.allclose(table, tl.tensor(expected), atol=1e-6)


# Of 65 characters: the lecture prints 0.209729 M and 10.788929 M parameters for the last two.
SIZES = {"bigram": 65 * 65, "full": 209_729, "large": 10_788_929}
SIZES["head"] = (65 + 8) * 32 + 3 * 32 * 32 + 33 * 65
SIZES["multihead"] = SIZES["head"]
SIZES["feedforward"] = SIZES["head"] + 33 * 32
SIZES["blocks"] = SIZES["feedforward"] + 2 * (3 * 32 * 32 + 33 * 32)
SIZES["residual"] = SIZES["head"] + 2 * 3 * 32 * 32 + 3 * (33 * 32 + 33 * 128 + 129 * 32)
SIZES["layernorm"] = SIZES["residual"] + 7 * 64


@pytest.mark.parametrize("name", SIZES)
def test_each_stage_has_the_lectures_size_and_never_looks_ahead(load, name):
    road = load("09")
    order = list(road.ROAD)
    assert set(order) == set(SIZES)
    has = order[: order.index(name) + 1]
    model = road.Model(road.ROAD[name], has, 65)
    assert sum(p.nelement() for p in model.parameters()) == SIZES[name]
    model.eval()
    ids = tl.randint(0, 65, (1, 8))
    changed = ids.clone()
    changed[0, 5] = (ids[0, 5] + 1) % 65
    with tl.no_grad():
        before, after = model(ids), model(changed)
    assert before.shape == (1, 8, 65)
    moved = (after - before).abs().amax(2)[0].tolist()
    assert max(moved[:5]) < 1e-6 and moved[5] > 1e-5


@step("13", "--steps 240")
def test_weights_that_are_made_here_are_fine_tuned(short, tmp_path):
    rows, printed = short
    before = rows["before: bits per byte"]["ours"]
    assert before < 8  # as many as there are without a model
    for what in ("all weights", "LoRA, rank 8"):
        assert rows[f"fine-tuned, {what}: bits per byte"]["ours"] < before
    trained, count = re.search(r"LoRA trains ([\d,]+) of ([\d,]+)", printed).groups()
    assert int(trained.replace(",", "")) < int(count.replace(",", "")) / 8
    files = "config.json model.safetensors tokenizer.json".split()
    assert all((tmp_path / "gpt2-fine-tuned" / file).is_file() for file in files)
    model, tokenizer = load_gpt(tmp_path / "gpt2-fine-tuned")
    assert model.config.activation == "gelu_new" and tokenizer.special


@step("14", "--steps 40")
def test_who_has_seen_dialogues_answers(short, tmp_path):
    """After so few steps, seldom rightly; but in the form of an answer."""
    rows, printed = short
    assert "pretrained: % of questions answered" in rows
    model, tokenizer = load_gpt(tmp_path / "chat")
    asked = [{"role": "user", "content": "Which day comes after Monday?"}]
    assert [*reply(model, tokenizer, asked, 5, greedy=True)]


def test_of_a_dialogue_the_answers_alone_are_graded(load):
    chat = load("14")
    tokenizer = chat.BPETokenizer.train("Which day is it?", 270, chat.SPECIAL)
    x, y = chat.rows_of(tokenizer, [("day", "Which?", "It.")], 5)
    end, user = tokenizer.special["<|end|>"], tokenizer.special["<|user|>"]
    for row, wanted in zip(x.tolist(), y.tolist()):
        assert row[0] == user and (graded := [i for i in wanted if i != -1])
        answers = tokenizer.decode(graded).split("<|end|>")
        assert answers[-1] == "" and {*answers[:-1]} == {"It."} and graded[-1] == end
        for i, following in zip(wanted, row[1:]):
            assert i in (
                -1,
                following,
                end,
            )  # the token that comes next; the last end is in y alone
    asked = chat.questions()
    assert len({question for _, question, _ in asked}) == len(asked)
    assert ("number", "Which number comes after 9?", "10.") in asked
    assert ("day", "Which day comes before Monday?", "Sunday.") in asked


def test_the_large_stage_asks_for_a_gpu(tmp_path):
    file = next(path for path in STEPS if path.name.startswith("09"))
    done = run(file, "--data", "builtin", "--stage", "large", "--out", tmp_path)
    assert done.returncode == 1 and "[--device] large must train on a GPU, got cpu" in done.stderr


def test_sums_are_written_backwards_and_asked_once(load):
    addition = load("11")
    a, b = tl.tensor([15, 99]), tl.tensor([13, 99])
    assert addition.written(a, b, 2, True).tolist() == [
        [1, 5, 10, 1, 3, 11, 8, 2, 0],
        [9, 9, 10, 9, 9, 11, 8, 9, 1],
    ]
    assert addition.written(a, b, 2, False)[1].tolist()[-3:] == [1, 9, 8]
    learned, asked = (
        {tuple(pair) for pair in zip(*(x.tolist() for x in addition.problems(2, 20_000, test)))}
        for test in (False, True)
    )
    assert learned and asked and not learned & asked
    assert 0.08 < len(asked) / (len(learned) + len(asked)) < 0.12


def test_a_text_is_split_cut_into_windows_and_its_pairs_are_counted(load, tmp_path):
    (tmp_path / "text").write_text("ab" * 45 + "ab" * 5, encoding="utf-8")
    common = sys.modules.get("common") or load("09").common
    text = common.Text(argparse.Namespace(data=str(tmp_path / "text")))
    assert (len(text.train), len(text.val), text.size) == (90, 10, 2)
    x, y = text.batch("val", 7, 4)
    assert x.shape == y.shape == (7, 4)
    assert tl.equal(x[:, 1:], y[:, :-1]) and tl.equal(x[:, 0], 1 - y[:, 0])
    # 45 times ab and 44 times ba, one more of each of the four; val has 5 of ab and 4 of ba
    expected = -(5 * math.log(46 / 47) + 4 * math.log(45 / 46)) / 9
    assert text.bigram_loss() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(SystemExit, match="each split must be longer than 10, got 10"):
        text.batch("val", 1, 10)
