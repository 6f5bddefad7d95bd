"""A training run: schedule, batches, learning, stopping at NaN, exact resuming, refusing bad input.

The text is made here, so that golden losses do not depend on the Python that runs them. Signals and
flags are in `test_cli.py`.
"""

import json
import math
import os
import random
import re
import sys

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.look import viz
from tinygrad_lm.models.checkpoints import load_gpt
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.nn import functional as F
from tinygrad_lm.saving import checkpoint
from tinygrad_lm.text.generation import generate_text
from tinygrad_lm.training import (
    PRESETS,
    Interrupted,
    NotFinite,
    TrainConfig,
    Trainer,
    batch_at,
    console,
    draw_offsets,
    run,
    saved_config,
    split_tokens,
    train,
)

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16}
TINY = {
    **SHAPE,
    "max_iters": 12,
    "batch_size": 4,
    "warmup_iters": 3,
    "learning_rate": 1e-2,
    "eval_interval": 5,
    "eval_iters": 2,
    "log_interval": 1,
    "sample_tokens": 3,
}


def made_text(words=800, seed=0):
    """Sentences of twelve invented words: something to learn, the same everywhere."""
    chance = random.Random(seed)
    known = ["".join(chance.choices("abcdefgh", k=chance.randint(2, 6))) for _ in range(12)]
    return "".join(chance.choice(known) + chance.choice("    \n") for _ in range(words))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(made_text())
    return path


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes longer than these runs; the tests of the curve put it back."""
    monkeypatch.setattr(run, "save_loss_curve", lambda *files: "no picture")


@pytest.fixture
def config(tmp_path, text):
    def make(**changes):
        return TrainConfig(**{"data": str(text), "out": str(tmp_path / "run"), **TINY, **changes})

    return make


def trainer_of(c, dropout=0.0, tokens=None, seed=1337):
    tg.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=10, dropout=dropout, **SHAPE))
    if tokens is None:
        tokens = np.random.default_rng(0).integers(0, 10, 2000)
    return Trainer(model, split_tokens(tokens, c), c)


def metrics(folder):
    """All that was measured, without the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "tokens_per_second")
    return [{k: v for k, v in line.items() if k not in clock} for line in lines]


def everything(folder):
    """All that the future depends on, as comparable values: both checkpoints and the metrics."""
    found = {"metrics": metrics(folder)}
    for name in ("last", "best"):
        arrays, meta = checkpoint.load_checkpoint(folder, name)
        found[name] = {key: (a.dtype, a.shape, a.tobytes()) for key, a in arrays.items()}
        kept = ("seconds", "metrics", "config")
        found[name + " meta"] = {key: v for key, v in meta.items() if key not in kept}
    return found


# ---------------------------------------------------------------- numbers


def test_the_rate_rises_from_above_zero_and_falls_to_the_lowest():
    c = TrainConfig(learning_rate=1.0, min_lr=0.1, warmup_iters=4, lr_decay_iters=104)
    assert [c.rate(i) for i in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert c.rate(54) == pytest.approx(0.55)  # half way down the cosine
    assert [c.rate(i) for i in (104, 105, 10**9)] == [0.1, 0.1, 0.1]
    rates = [c.rate(i) for i in range(4, 110)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("warmup, decay", [(0, 1), (5, 5), (7, 5), (0, 10)])
def test_the_edges_of_the_schedule_divide_by_nothing(warmup, decay):
    c = TrainConfig(warmup_iters=warmup, lr_decay_iters=decay)
    rates = [c.rate(i) for i in range(20)]
    assert all(0 < r <= c.learning_rate for r in rates) and rates[-1] == c.min_lr
    assert len([r for r in rates if r < c.min_lr]) <= warmup


def test_the_decay_ends_with_the_run_unless_it_is_told_otherwise():
    assert TrainConfig(max_iters=77).lr_decay_iters == 77
    assert TrainConfig(max_iters=77, lr_decay_iters=99).lr_decay_iters == 99


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"out": ""}, ValueError, "out must name a folder, got ''"),
        ({"batch_size": 0}, ValueError, "batch_size must be in 1 ... 2**31 - 1, got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be int, got 1.5; it is: sequences"),
        ({"n_layer": True}, TypeError, "n_layer must be int, got True"),
        ({"threads": 0}, ValueError, "threads must be in 1 ... 2**31 - 1, got 0"),
        ({"dropout": 1}, ValueError, "dropout must be in [0, 1), got 1.0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be above 0 and finite, got 0.0"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate must be above 0"),
        ({"min_lr": 1.0}, ValueError, "min_lr must not be above learning_rate, got 1.0 and 0.002"),
        ({"val_fraction": 0.0}, ValueError, "val_fraction must be above 0 and below 1, got 0.0"),
        ({"seed": -1}, ValueError, "seed must be in [0, 2**64), got -1"),
        ({"data": None}, TypeError, "data must be str, got None"),
        ({"dtype": "half"}, ValueError, "dtype must be float32 or bfloat16, got 'half'"),
    ],
)
def test_numbers_that_make_no_run(changes, error, words):
    with pytest.raises(error, match=re.escape(f"[TrainConfig] {words}")):
        TrainConfig(**changes)


def test_presets_are_the_published_configurations():
    cpu, baby = (TrainConfig(**PRESETS[name]) for name in ("shakespeare-cpu", "baby-gpt"))
    shape = ("n_layer", "n_head", "n_embd", "block_size", "batch_size", "max_iters", "dropout")
    assert [getattr(cpu, name) for name in shape] == [4, 4, 128, 64, 12, 2000, 0.0]
    assert [getattr(baby, name) for name in shape] == [6, 6, 384, 256, 64, 5000, 0.2]
    for c in (cpu, baby):
        assert (c.learning_rate, c.min_lr, c.warmup_iters) == (1e-3, 1e-4, 100)
        assert (c.beta1, c.beta2, c.weight_decay, c.grad_clip) == (0.9, 0.99, 0.1, 1.0)
        assert (c.seed, c.eval_interval, c.bias, c.data) == (1337, 250, False, "shakespeare")


# ---------------------------------------------------------------- batches and steps


@pytest.mark.parametrize("kind", [np.int64, np.uint16])
def test_targets_are_the_next_tokens(kind):
    x, y = batch_at(np.arange(100, dtype=kind), np.array([0, 90, 7]), 9)
    assert x.dtype is y.dtype is tg.int64
    assert x[:, 0].tolist() == [0, 90, 7]
    assert (y - x).tolist() == np.ones((3, 9)).tolist()


def test_every_position_can_be_drawn_and_none_beyond():
    drawn = draw_offsets(np.arange(7), 5, 1000)
    assert set(drawn.tolist()) == {0, 1}  # 5 inputs and their targets need 6 of 7 tokens


def test_the_split_is_that_of_nanogpt():
    parts = split_tokens(np.arange(1_115_394), TrainConfig())
    assert {name: len(part) for name, part in parts.items()} == {"train": 1003854, "val": 111540}


def test_steps_learn_and_evaluations_change_nothing():
    c = TrainConfig(**{**TINY, "max_iters": 60})
    tokens = np.tile([3, 1, 4, 1, 5, 9, 2, 6], 300)
    first = trainer_of(c, tokens=tokens)
    before = first.evaluate()
    weights = {name: p.tolist() for name, p in first.model.named_parameters()}
    first.evaluate()
    assert weights == {name: p.tolist() for name, p in first.model.named_parameters()}
    losses = [first.update()["loss"] for _ in range(60)]
    after = first.evaluate()
    assert before["val"] > 2 and losses[0] > 2
    assert after["val"] < 0.25 and after["train"] < 0.25 and first.best == after["val"]


def test_an_interrupted_evaluation_can_be_done_again():
    trainer = trainer_of(TrainConfig(**TINY))
    start, calls = tg.default_generator.get_state(), []

    def third_time():
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.evaluate(third_time)
    assert (trainer.evaluated, trainer.best, trainer.model.training) == (-1, math.inf, True)
    assert np.array_equal(start, tg.default_generator.get_state())
    assert trainer.evaluate() == trainer_of(TrainConfig(**TINY)).evaluate()


def test_accumulated_batches_are_one_large_batch():
    """The same stream cut into 3 x 2 or 1 x 6 sequences: the mean gradient is the same."""
    found = []
    for size, parts in ((6, 1), (2, 3)):
        c = TrainConfig(**{**TINY, "batch_size": size, "gradient_accumulation_steps": parts})
        trainer = trainer_of(c)
        events = [trainer.update() for _ in range(4)]
        found.append([[e["loss"], e["grad_norm"]] for e in events])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_long_gradients_are_cut_and_reported_as_they_were():
    moved = {}
    for clip in (0.0, 1e-3):
        c = TrainConfig(**{**TINY, "grad_clip": clip, "beta1": 0.0, "beta2": 0.0})
        trainer = trainer_of(c)
        longest = []
        step = trainer.optimizer.step

        def look(trainer=trainer, longest=longest, step=step):
            total = sum((p.grad**2).sum().item() for p in trainer.model.parameters())
            longest.append(total**0.5)
            return step()

        trainer.optimizer.step = look
        norm = trainer.update()["grad_norm"]
        moved[clip] = norm, longest[0]
    assert moved[0.0][0] == pytest.approx(moved[0.0][1], rel=1e-4)
    assert moved[1e-3][0] == pytest.approx(moved[0.0][0]) and moved[1e-3][0] > 0.1
    assert moved[1e-3][1] == pytest.approx(1e-3, rel=1e-3)


GOLDEN = {0: (2.3251, 2.3195), 5: (2.2449, 2.2627), 10: (2.2262, 2.2588), 12: (2.2391, 2.2346)}


def test_a_run_in_bfloat16_learns_as_one_in_float32(config, tmp_path):
    trainer = train(config(dtype="bfloat16"))
    assert {p.dtype for p in trainer.model.parameters()} == {tg.bfloat16}
    for p, kept in trainer.optimizer.state.items():
        assert {t.dtype for t in kept.values()} == {tg.float32}
        assert bool((kept["master"].bfloat16() == p).all())
    losses = [event["val_loss"] for event in metrics(tmp_path / "run") if "val_loss" in event]
    assert losses == pytest.approx([pair[1] for pair in GOLDEN.values()], abs=0.03)
    model, tokenizer = load_gpt(tmp_path / "run", "last")
    assert generate_text(model, tokenizer, "a", 3)[0] == "a"


def test_the_losses_of_a_run_in_bfloat16_have_float32s_digits(config, monkeypatch):
    trainer = train(config(dtype="bfloat16", dropout=0.0, max_iters=1))
    x, y = trainer._batch("train", trainer.offsets)
    logits = trainer.model(x, y)[0]
    assert logits.dtype is tg.bfloat16
    want = F.cross_entropy(logits.float().flatten(0, 1), y.flatten()).item()
    assert want != tg.tensor(want).bfloat16().item()
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "_draw", lambda *_: trainer.offsets)
        patched.setitem(trainer.tokens, "val", trainer.tokens["train"])
        assert trainer.evaluate()["train"] == pytest.approx(want, rel=1e-6)
    assert trainer.update()["loss"] == pytest.approx(want, rel=1e-6)


def test_golden_losses_of_a_tiny_run(config, tmp_path):
    train(config())
    found = {e["step"]: e for e in metrics(tmp_path / "run") if "val_loss" in e}
    losses = {step: (event["train_loss"], event["val_loss"]) for step, event in found.items()}
    assert losses.keys() == GOLDEN.keys()
    for step, pair in GOLDEN.items():
        assert losses[step] == pytest.approx(pair, abs=5e-4)


# ---------------------------------------------------------------- not a number


def snapshot(trainer):
    """Weights and optimiser: what an update would change."""
    arrays, meta = trainer.state()
    weights = {n: p.detach().numpy() for n, p in trainer.model.named_parameters()}
    arrays = {n: a for n, a in arrays.items() if n.startswith("optimizer")} | weights
    return {n: a.tobytes() for n, a in arrays.items()}, meta["step"]


def break_parameter(model):
    model.transformer.h[0].mlp.c_fc.weight.data[3, 5] = math.nan


def break_output(model):
    model.transformer.h[0].mlp.c_fc.weight.data[:, 0] = 3e38  # finite; its products are not


def break_gradient(model):
    model.transformer.h[0].ln_2.weight.register_hook(lambda g: g * math.nan)


def break_norm(model):
    model.transformer.h[0].ln_2.weight.register_hook(lambda g: g * 0 + 1e30)  # the square is not


@pytest.mark.parametrize(
    "damage, words",
    [
        (break_parameter, "every loss must be finite, got nan, first in parameter transformer."),
        (break_output, "first in the output of transformer.h.0.mlp.c_fc, in batch 0; a lower"),
        (break_gradient, "every gradient must be finite, got another value, first in the gradient "
         "of transformer.h.0.ln_2.weight"),
        (break_norm, "first in the norm over all parameters"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_what_is_not_finite_stops_the_run_before_the_update(damage, words, clip):
    trainer = trainer_of(TrainConfig(**{**TINY, "grad_clip": clip}))
    trainer.update()
    damage(trainer.model)
    before = snapshot(trainer)
    with pytest.raises(NotFinite, match=re.escape("[train] step 1: ") + ".*" + re.escape(words)):
        trainer.update()
    assert snapshot(trainer) == before
    assert {float(kept["step"]) for kept in trainer.optimizer.state.values()} == {1.0}


def test_of_several_passes_the_one_that_is_not_finite_is_named():
    trainer = trainer_of(TrainConfig(**{**TINY, "gradient_accumulation_steps": 3}))
    trainer.update()
    passes = iter([False, True, False])

    def break_the_second(module, inputs, output):
        return output * math.nan if next(passes, True) else output

    trainer.model.transformer.ln_f.register_forward_hook(break_the_second)
    before = snapshot(trainer)
    with pytest.raises(NotFinite, match="every loss must be finite, got nan, first in the output"):
        trainer.update()
    assert snapshot(trainer) == before


def test_an_evaluation_stops_too():
    trainer = trainer_of(TrainConfig(**TINY))
    trainer.update()
    before = snapshot(trainer)
    break_parameter(trainer.model)
    with pytest.raises(NotFinite, match="step 1: every train loss must be finite, got nan"):
        trainer.evaluate()
    assert snapshot(trainer)[0].keys() == before[0].keys()
    assert {float(kept["step"]) for kept in trainer.optimizer.state.values()} == {1.0}


# ---------------------------------------------------------------- resuming


class Patience:
    """In place of `Signals.check`: as if Ctrl-C came when `checks` safe points have passed."""

    def __init__(self, checks):
        self.left = checks

    def __call__(self, signals):
        self.left -= 1
        if self.left < 0:
            raise Interrupted(2)


@pytest.mark.parametrize(
    "changes",
    [{}, {"dropout": 0.3, "gradient_accumulation_steps": 2}, {"dtype": "bfloat16"}],
)
def test_a_run_interrupted_again_and_again_is_the_run_that_was_not(
    config, tmp_path, monkeypatch, capsys, changes
):
    """Interruptions fall on steps and into the middle of evaluations; the global stream is spoilt
    in between, as another process would have another one."""
    train(config(out=str(tmp_path / "whole"), **changes))
    chance, sessions, done = random.Random(1), 0, False
    while not done:
        check = Patience(chance.randint(8, 12))
        monkeypatch.setattr(console.Signals, "check", lambda self, check=check: check(self))
        tg.manual_seed(sessions)
        try:
            train(config(**changes), resume=sessions > 0)
            done = True
        except Interrupted as stop:
            assert stop.exit_code == 130
        sessions += 1
    assert sessions >= 4
    assert everything(tmp_path / "run") == everything(tmp_path / "whole")
    assert "saved step" in capsys.readouterr().out


def test_a_run_may_change_its_dtype_and_keeps_its_float32_weights(config, tmp_path):
    sizes = {"max_iters": 5, "lr_decay_iters": 12}
    first = train(config(dtype="bfloat16", **sizes))
    second = train(config(dtype="float32", **sizes), resume=True)
    weights = dict(second.model.named_parameters())
    assert {p.dtype for p in weights.values()} == {tg.float32}
    for name, p in first.model.named_parameters():
        assert bool((weights[name] == first.optimizer.state[p]["master"]).all())
        assert not bool((weights[name] == p).all())
    third = train(config(dtype="float32", **{**sizes, "max_iters": 8}), resume=True)
    fourth = train(config(dtype="bfloat16", **{**sizes, "max_iters": 8}), resume=True)
    for (name, p), q in zip(third.model.named_parameters(), fourth.model.parameters()):
        assert bool((fourth.optimizer.state[q]["master"] == p).all()), name
        assert bool((q == p.bfloat16()).all())


def test_lines_after_the_checkpoint_are_cut_off(config, tmp_path):
    """A kill leaves metrics of steps that are going to be done again."""
    train(config(max_iters=10, lr_decay_iters=12))
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write('{"step": 10, "loss": 1.0}\n{"step": 11, "lo')
    train(config(max_iters=12, lr_decay_iters=12), resume=True)
    train(config(out=str(tmp_path / "whole")))
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a file that is always full")
def test_metrics_on_a_full_disk_say_so(tmp_path):
    metrics = console.Metrics(tmp_path / "metrics.jsonl", 0)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, metrics._file.fileno())
    with pytest.raises(
        OSError, match=r"\[train\] .*metrics.jsonl must be writable, got: .*--resume"
    ):
        metrics.write({"step": 1})
    metrics.close()
    os.close(full)


def test_a_finished_run_can_be_made_longer(config, tmp_path):
    train(config())
    old = saved_config(tmp_path / "run")
    assert old == config()
    trainer = train(config(max_iters=15, lr_decay_iters=12), resume=True)
    assert trainer.step == 15
    assert [e["step"] for e in metrics(tmp_path / "run") if "val_loss" in e] == [0, 5, 10, 12, 15]


def test_another_configuration_is_named_field_by_field(config):
    train(config())
    with pytest.raises(ValueError) as error:
        train(config(dropout=0.1, learning_rate=0.02, log_interval=7), resume=True)
    assert "another dropout (0.0, now 0.1), learning_rate (0.01, now 0.02);" in str(error.value)
    assert "log_interval" not in str(error.value)


def test_another_text_is_refused(config, text):
    train(config())
    text.write_text(made_text(seed=1))
    with pytest.raises(ValueError, match="must be the text the run began with"):
        train(config(), resume=True)


def test_nothing_to_resume(config):
    with pytest.raises(
        FileNotFoundError, match="must hold a checkpoint 'last', got no such folder"
    ):
        train(config(), resume=True)


def test_samples_do_not_change_the_run(config, tmp_path):
    train(config())
    train(config(sample_tokens=0, out=str(tmp_path / "silent")))
    one, other = everything(tmp_path / "run"), everything(tmp_path / "silent")
    assert one["last"] == other["last"] and one["best"] == other["best"]
    samples = [e.pop("sample", None) for e in one["metrics"]]
    assert one["metrics"] == other["metrics"] and sum(s is not None for s in samples) == 4


# ---------------------------------------------------------------- what a run leaves


def test_best_is_the_lowest_validation_loss(config, tmp_path, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 1.5])
    means = lambda self, split, between: next(losses) if split == "val" else 0.0  # noqa: E731
    monkeypatch.setattr(Trainer, "_mean_loss", means)
    assert train(config()).best == 1.0
    assert checkpoint.load_checkpoint(tmp_path / "run", "best")[1]["step"] == 5
    assert checkpoint.load_checkpoint(tmp_path / "run", "last")[1]["step"] == 12


def test_the_saved_model_writes_what_the_trained_one_writes(config, tmp_path):
    trainer = train(config())
    model, tokenizer = load_gpt(tmp_path / "run", "last")
    texts = [
        generate_text(m, tokenizer, "a", 20, generator=tg.Generator())
        for m in (trainer.model, model)
    ]
    assert texts[0] == texts[1]
    assert model.lm_head.weight is model.transformer.wte.weight


def test_the_curve_is_a_picture(config, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(run, "save_loss_curve", viz.save_loss_curve)
    train(config())
    picture = tmp_path / "run" / "loss.png"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert f"loss curve: {picture}" in capsys.readouterr().out
    size = picture.stat().st_size
    viz.save_loss_curve(tmp_path / "run" / "metrics.jsonl", picture, {0: 2.3, 12: 2.0})
    assert picture.stat().st_size != size  # the reference is drawn


def test_without_matplotlib_one_line_says_so(config, tmp_path, capsys, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(run, "save_loss_curve", viz.save_loss_curve)
    train(config())
    said = capsys.readouterr().out
    assert "no loss curve: matplotlib is not installed; pip install 'tinygrad_lm[plot]'\n" in said
    assert not (tmp_path / "run" / "loss.png").exists()


# ---------------------------------------------------------------- fine-tuning


def test_fine_tuning_starts_from_the_best_weights(config, tmp_path, text):
    train(config(max_iters=40, lr_decay_iters=40, eval_interval=40))
    more = {"init_from": str(tmp_path / "run"), "out": str(tmp_path / "more")}
    train(config(**more, block_size=8, dropout=0.2, max_iters=3))
    first = metrics(tmp_path / "more")[0]
    assert first["val_loss"] < 2.2 < math.log(10)  # where a new model starts
    tuned, _ = load_gpt(tmp_path / "more", "last")
    assert (tuned.config.block_size, tuned.config.dropout) == (8, 0.2)
    assert train(config(**more, block_size=8, dropout=0.2, max_iters=3), resume=True).step == 3


def test_fine_tuning_keeps_shape_and_vocabulary(config, tmp_path, text):
    train(config())
    more = {"init_from": str(tmp_path / "run"), "out": str(tmp_path / "more")}
    for name, value in (("n_layer", 2), ("block_size", 17), ("bias", True)):
        with pytest.raises(ValueError, match=f"{name} must be that of .*run.* got {value}"):
            train(config(**more, **{name: value}))
    other = tmp_path / "other.txt"
    other.write_text(made_text() + "Z")
    with pytest.raises(ValueError, match=re.escape("got 'Z' (U+005A)")):
        train(config(**more, data=str(other)))
    assert not (tmp_path / "more").exists()


# ---------------------------------------------------------------- bad input


def refused(config, error, words, tmp_path, **options):
    """An error in our form, before anything exists that was not there."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=words):
        train(config, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_text_that_is_too_short(config, text, tmp_path):
    text.write_text("")
    refused(config(), ValueError, "must hold text, got an empty file", tmp_path)
    text.write_text("abc\n" * 30)
    words = "the val part must be longer than block_size 16, got 12 of 120 tokens"
    refused(config(), ValueError, words, tmp_path)
    refused(config(block_size=5000), ValueError, "the train part must be longer than", tmp_path)


def test_heads_that_do_not_divide_the_width(config, tmp_path):
    refused(config(n_head=3), ValueError, "n_head must divide n_embd, got 3 and 16", tmp_path)


def test_a_prompt_of_unknown_characters(config, tmp_path):
    refused(config(sample_prompt="a?"), ValueError, "got '\\?' .* at position 1", tmp_path)


def test_a_folder_that_is_a_file(config, text, tmp_path):
    refused(config(out=str(text)), OSError, "folder must be writable", tmp_path)


def test_a_device_that_is_not_there(config, tmp_path):
    refused(config(device="tpu"), RuntimeError, "device", tmp_path)


def test_an_existing_run_is_not_clobbered(config, tmp_path):
    train(config())
    before = everything(tmp_path / "run")
    refused(config(seed=1), ValueError, "--resume continues it, --overwrite replaces", tmp_path)
    refused(config(n_head=3), ValueError, "without a run", tmp_path)
    refused(config(n_head=3), ValueError, "n_head must", tmp_path, overwrite=True)
    assert everything(tmp_path / "run") == before
    train(config(seed=1), overwrite=True)
    after = everything(tmp_path / "run")
    assert after["last"] != before["last"] and len(after["metrics"]) == len(before["metrics"])


def damage(folder, which):
    """One of the ways in which a checkpoint can be unusable."""
    (weights,) = folder.glob("last.*/arrays.safetensors")
    arrays, meta = checkpoint.load_checkpoint(folder)
    if which == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
        return
    if which == "foreign":
        arrays, meta = {"w": np.ones(3)}, {"kind": "something else"}
    elif which in ("narrower", "larger"):
        meta["gpt"] |= {"narrower": {"n_embd": 8}, "larger": {"n_layer": 10**12}}[which]
    elif which == "NaN":
        arrays["model.lm_head.weight"][3, 4] = math.nan
    elif which == "integers":
        arrays = {n: a.astype(np.int64) if n[:5] == "model" else a for n, a in arrays.items()}
    checkpoint.save_checkpoint(folder, arrays, meta)


@pytest.mark.parametrize(
    "which, words",
    [
        ("truncated", "must have {'size': .* it was cut short or changed.*'best' beside it is"),
        ("foreign", "must hold a (run of this version|GPT and its tokenizer)"),
        ("narrower", "lm_head.weight in .* must have the shape \\(10, 8\\) .* got \\(10, 16\\)"),
        ("larger", "must hold at least 3,072,000,000,[0-9,]+ weights, .* got"),
        ("NaN", "lm_head.weight in .* must be finite floats, got nan; was it"),
        ("integers", "[.]weight in .* must be finite floats, got int64; was it"),
    ],
)
def test_checkpoints_that_cannot_be_used(config, tmp_path, which, words):
    train(config())
    damage(tmp_path / "run", which)
    with pytest.raises(ValueError, match=words):
        load_gpt(tmp_path / "run", "last")
    with pytest.raises(ValueError, match=words):
        train(config(), resume=True)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda meta: meta.pop("sha256"), "sha256 is None"),
        (lambda meta: meta.pop("config"), "'config'"),
        (lambda meta: meta["config"].update(layers=3), "layers"),
        (lambda meta: meta.update(metrics="12"), "metrics is '12'"),
        (lambda meta: meta.update(seconds=None), "seconds is None"),
        (lambda meta: meta.update(trainer=None), "trainer is None"),
        (lambda meta: meta["trainer"].pop("step"), "step is None"),
        (lambda meta: meta["trainer"].update(best="low"), "best is 'low'"),
        (lambda meta: meta["trainer"].update(groups=3), "TypeError"),
        (lambda meta: meta["trainer"].update(optimizer=[]), "AttributeError"),
        (lambda meta: meta["trainer"]["optimizer"].update({"x.step": 1}), "'x'"),
    ],
)
def test_a_run_that_lacks_something_is_not_continued(config, tmp_path, change, words):
    """With checksums that are right: another version's, or somebody's own."""
    train(config())
    arrays, meta = checkpoint.load_checkpoint(tmp_path / "run")
    change(meta)
    checkpoint.save_checkpoint(tmp_path / "run", arrays, meta)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match=rf"\[resume\] .*run must hold a run of .*{words}"):
        train(config(), resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
