"""The commands about GPT-2 and tokens: runs of bytes, byte pairs and token files, fine-tuning of a
folder with GPT-2's files, and eval, chat and export."""

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lm as tl
from tinygrad_lm.cli import main
from tinygrad_lm.data import write_tokens
from tinygrad_lm.models.checkpoints import load_gpt, model_state
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.saving.checkpoint import load_checkpoint, save_checkpoint
from tinygrad_lm.text.chat import SPECIAL
from tinygrad_lm.text.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
from tinygrad_lm.training import TrainConfig, run, saved_config
from tinygrad_lm.training.console import Interrupted
from tinygrad_lm.training.memory import needed

TEXT = "the cat sat on the mat and the dog sat on the log. née 😀\n" * 40
SHAPE = "--n-layer 1 --n-head 2 --n-embd 16 --block-size 16".split()
SHORT = "--max-iters 3 --batch-size 2 --eval-iters 1 --sample-tokens 5".split()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(run, "save_loss_curve", lambda *files: "no picture")
    return tmp_path


def train(*flags, out="run"):
    return main(["train", "--data", "text.txt", "--out", out, *SHORT, *flags])


def printed(capsys, *flags):
    capsys.readouterr()
    assert main([*flags]) == 0
    return capsys.readouterr().out


def refused(capsys, *flags):
    capsys.readouterr()
    assert main([*flags]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


@pytest.fixture
def gpt2(here):
    """A folder with GPT-2's files."""
    tl.manual_seed(0)
    tokenizer = BPETokenizer.train(TEXT, 300)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "activation": "gelu_new"}
    GPT(GPTConfig(16, tokenizer.vocab_size, **shape)).save_pretrained("gpt2", tokenizer)
    return "gpt2"


# ---------------------------------------------------------------- what a run's tokens are


@pytest.mark.parametrize(
    ("flags", "kind", "size"),
    [
        (["--tokenizer", "byte"], ByteTokenizer, 256),
        (["--tokenizer", "bpe", "--vocab-size", "280"], BPETokenizer, 280),
        ([], CharTokenizer, len({*TEXT})),
    ],
)
def test_a_run_learns_tokens_of_any_kind(flags, kind, size, capsys):
    assert train(*SHAPE, *flags) == 0
    model, tokenizer = load_gpt("run")
    assert type(tokenizer) is kind and tokenizer.vocab_size == model.config.vocab_size == size
    assert printed(capsys, "sample", "--checkpoint", "run", "--max-new-tokens", "9")
    assert main(["train", "--out", "run", "--resume", "--max-iters", "5"]) == 0


def test_a_tokenizer_of_ones_own(capsys):
    BPETokenizer.train(TEXT, 270).save("mine.json")
    assert train(*SHAPE, "--tokenizer", "mine.json") == 0
    assert load_gpt("run")[1] == BPETokenizer.load("mine.json")


def test_a_token_file_is_a_text_that_needs_no_tokenizing(capsys):
    tokenizer = BPETokenizer.train(TEXT, 280)
    tokenizer.save("tokenizer.json")
    write_tokens("text.bin", tokenizer.encode_array(TEXT), 280)
    flags = [*SHAPE, "--tokenizer", "tokenizer.json"]
    assert train(*flags, "--data", "text.bin", out="a") == train(*flags, out="b") == 0
    losses = [
        [
            json.loads(line).get("loss")
            for line in Path(out, "metrics.jsonl").read_text().splitlines()
        ]
        for out in "ab"
    ]
    assert losses[0] == losses[1] and any(losses[0])
    assert main(["train", "--out", "a", "--resume", "--max-iters", "4"]) == 0
    write_tokens("text.bin", tokenizer.encode_array(TEXT)[::-1], 280)
    err = refused(capsys, "train", "--out", "a", "--resume", "--max-iters", "5")
    assert "must be the text the run began with" in err
    assert "must come with its tokenizer, got 'char'" in refused(
        capsys, "train", "--data", "text.bin", "--out", "c", *SHAPE
    )
    write_tokens("text.bin", np.arange(290), 290)
    flags = ["--tokenizer", "tokenizer.json", "--out", "c", *SHAPE]
    err = refused(capsys, "train", "--data", "text.bin", *flags)
    assert "must have the 290 tokens of text.bin, got 280" in err and not Path("c").exists()


# ---------------------------------------------------------------- fine-tuning GPT-2's files


def test_gpt2s_files_are_fine_tuned(gpt2, capsys):
    flags = ["--init", gpt2, "--gradient-accumulation-steps", "2", "--gradient-checkpointing"]
    assert train(*flags) == 0
    config = saved_config("run")
    assert (config.n_layer, config.n_embd, config.block_size, config.bias) == (2, 16, 16, True)
    model, tokenizer = load_gpt("run", "last")
    assert model.config.activation == "gelu_new" and tokenizer == load_gpt(gpt2)[1]
    before = load_gpt(gpt2)[0].state_dict()
    assert any(not tl.equal(before[name], p) for name, p in model.state_dict().items())
    assert train(*flags[:-1], out="plain") == 0  # checkpointing changes memory, and no number
    plain = load_gpt("plain", "last")[0].state_dict()
    assert all(tl.equal(plain[name], p) for name, p in model.state_dict().items())
    err = refused(
        capsys, "train", "--init", gpt2, "--data", "text.txt", "--out", "x", "--n-embd", "8"
    )
    assert "n_embd must be that of gpt2, 16, got 8" in err
    assert "must hold a checkpoint 'best'" in refused(
        capsys, "train", "--init", "nowhere", "--data", "text.txt", "--out", "x"
    )


def test_low_rank_additions_are_trained_resumed_saved_apart_and_merged(gpt2, capsys):
    assert train("--init", gpt2, "--lora-rank", "2", "--learning-rate", "0.1") == 0
    start, _ = load_gpt(gpt2)
    arrays, meta = load_checkpoint("run", "last")
    assert meta["lora"]["rank"] == 2
    for name, p in start.named_parameters():  # what is not trained is what it was
        assert np.array_equal(arrays[f"model.{name}"], p.detach().numpy()), name
    assert any(name.endswith("lora_B") and arrays[name].any() for name in arrays)
    assert main(["train", "--out", "run", "--resume", "--max-iters", "5"]) == 0
    merged, _ = load_gpt("run", "last")
    changed = [n for n, p in merged.named_parameters() if not tl.equal(p, start.state_dict()[n])]
    assert changed == [f"transformer.h.{i}.attn.c_attn.weight" for i in range(2)]
    assert {f.name for f in Path("run", "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_memory_that_is_needed():
    """GPT-2 124M at T = 1024: AdamW's four numbers per weight; kept activations are few with
    checkpointing."""
    shape = {"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1024, "batch_size": 1}
    plain, again, lora = (
        needed(TrainConfig(**shape, **more), 50257)
        for more in ({}, {"gradient_checkpointing": True}, {"lora_rank": 8})
    )
    assert plain[0] == again[0] == 16 * (12 * 12 * 768**2 + (50257 + 1024) * 768)
    assert again[1] < plain[1] / 1.4
    assert lora[0] == plain[0] / 4 + 16 * 8 * 12 * (768 + 3 * 768)
    assert sum(again) < 3e9


def test_a_model_with_a_narrow_mlp_is_fine_tuned_and_read_again(here, capsys):
    tokenizer = BPETokenizer.train(TEXT, 270)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_inner": 8}
    GPT(GPTConfig(16, tokenizer.vocab_size, **shape)).save_pretrained("narrow", tokenizer)
    assert train("--init", "narrow") == 0
    assert load_gpt("run")[0].config.n_inner == 8
    assert main(["train", "--out", "run", "--resume", "--max-iters", "4"]) == 0


# ---------------------------------------------------------------- nothing is lost


def files(folder):
    return {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "flags",
    [
        ["--sample-prompt", "the cat sat on a mat and the dog ran"],
        ["--init", "gpt2", "--lora-rank", "2", "--lora-alpha", "1e300"],  # NaN, when evaluated
        ["--init", "run"],
        ["--init", "gpt2", "--lora-rank", "2000000000"],
        ["--lora-rank", "2"],  # to weights that have learned nothing
        ["--threads", "1" + 400 * "0"],
        ["--tokenizer", "bpe", "--vocab-size", "1" + 400 * "0"],
    ],
    ids=str,
)
def test_a_run_that_does_not_work_replaces_none(gpt2, flags, capsys):
    assert train(*SHAPE) == 0
    before = files("run")
    shape = [] if "--init" in flags else SHAPE
    try:
        code = train(*shape, "--overwrite", *flags)
    except ArithmeticError:
        code = 2
    assert code == 2 and files("run") == before
    assert main(["train", "--out", "run", "--resume", "--max-iters", "5"]) == 0
    try:
        code = train(*shape, *flags, out="new")
    except ArithmeticError:
        code = 2
    if flags != ["--init", "run"]:
        assert code == 2 and not files("new")
        assert train(*SHAPE, out="new") == 0


def test_a_run_that_is_stopped_before_it_knows_anything_leaves_the_former(capsys, monkeypatch):
    assert train(*SHAPE) == 0
    before = files("run")

    def stop(self, between):
        raise Interrupted(2)

    monkeypatch.setattr("tinygrad_lm.training.trainer.Trainer.evaluate", stop)
    assert train(*SHAPE, "--overwrite", "--seed", "3") == 130
    assert files("run") == before
    assert "nothing saved; the former run in run is as it was" in capsys.readouterr().out
    assert train(*SHAPE, out="new") == 130 and Path("new", "last.json").exists()


def test_somebody_elses_adapter_is_left_alone_and_an_old_one_goes(gpt2, capsys):
    Path("run/adapter").mkdir(parents=True)
    Path("run/adapter/adapter_model.safetensors").write_text("mine")
    assert train("--init", gpt2, "--lora-rank", "2") == 2
    assert (
        "files of others under a run's names, got ['adapter/adapter_model"
        in capsys.readouterr().err
    )
    assert Path("run/adapter/adapter_model.safetensors").read_text() == "mine"
    assert train("--init", gpt2, "--lora-rank", "2", "--overwrite") == 0
    assert train("--init", gpt2, "--overwrite") == 0
    assert not files("run/adapter")
    Path("file").mkdir()
    Path("file/adapter").touch()
    assert train("--init", gpt2, "--lora-rank", "2", out="file") == 2
    assert {*files("file")} == {Path("file/adapter")}


def test_additions_to_float32_weights_do_not_go_on_in_16_bits(gpt2, capsys):
    assert train("--init", gpt2, "--lora-rank", "2") == 0
    err = refused(capsys, "train", "--out", "run", "--resume", "--dtype", "bfloat16")
    assert "another dtype ('float32', now 'bfloat16')" in err
    assert "tokenizer must be that of gpt2, got 'byte'" in refused(
        capsys, "train", "--init", gpt2, "--data", "text.txt", "--out", "x", "--tokenizer", "byte"
    )


@pytest.mark.parametrize("lora", [{"rank": 10**12}, {"rank": 3}, {}, [1], {"rank": 2, "x": 1}])
def test_settings_of_additions_that_cannot_be(gpt2, lora):
    assert train("--init", gpt2, "--lora-rank", "2") == 0
    arrays, meta = load_checkpoint("run", "last")
    save_checkpoint("run", arrays, {**meta, "lora": lora}, "last")
    with pytest.raises(ValueError, match="must say how its low-rank additions were made"):
        load_gpt("run", "last")


# ---------------------------------------------------------------- eval, chat, export


def test_eval_prints_what_the_loss_is_worth(gpt2, capsys):
    out = printed(capsys, "eval", "--checkpoint", gpt2, "--data", "text.txt")
    count, loss = re.search(r"^([\d,]+) tokens: loss ([\d.]+) nats per token$", out, re.M).groups()
    perplexity, bits = re.search(
        r"^perplexity ([\d.]+)\nbits per byte ([\d.]+)$", out, re.M
    ).groups()
    tokens, loss = int(count.replace(",", "")), float(loss)
    assert float(perplexity) == pytest.approx(math.exp(loss), rel=1e-3)
    assert float(bits) == pytest.approx(loss * tokens / math.log(2) / len(TEXT.encode()), rel=1e-3)
    assert tokens == len(BPETokenizer.load("gpt2/tokenizer.json").encode(TEXT))
    stored = printed(
        capsys, "eval", "--checkpoint", gpt2, "--data", "text.txt", "--weights", "bfloat16"
    )
    assert float(re.search(r"loss ([\d.]+)", stored)[1]) == pytest.approx(loss, rel=1e-2)
    rows = [{"ctx": "the cat", "endings": ["sat", "log"], "label": i} for i in (0, 1)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = printed(capsys, "eval", "--checkpoint", gpt2, "--completions", "rows.jsonl")
    assert "accuracy as a whole 50.00% +- 35.36% of 2 rows\n" in out
    err = refused(capsys, "eval", "--checkpoint", gpt2)
    assert "there must be --data or --completions, got neither" in err
    err = refused(capsys, "eval", "--checkpoint", gpt2, "--data", "text.txt", "--stride", "17")
    assert "stride must be in 1..16" in err


def test_chat_answers_line_by_line(capsys, monkeypatch):
    tl.manual_seed(0)
    tokenizer = ByteTokenizer(SPECIAL)
    model = GPT(GPTConfig(64, tokenizer.vocab_size, 1, 1, 16))
    save_checkpoint("talk", *model_state(model, tokenizer), "best")
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n\nhow are you?\n"))
    flags = ["--checkpoint", "talk", "--max-new-tokens", "5", "--greedy"]
    answers = printed(capsys, "chat", *flags)
    assert answers.count("\n") >= 2
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    assert answers.startswith(printed(capsys, "chat", *flags)[:-1])
    assert train(*SHAPE) == 0
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("x" * 99 + "\nhello\n"))
    assert main(["chat", *flags]) == 0  # one that is too long, and it goes on
    out, err = capsys.readouterr()
    assert "the last message must have at most" in err and out == answers.split("\n")[0] + "\n"
    for wrong in ("--temperature=0", "--top-p=9", "--max-new-tokens=-5", "--max-new-tokens=64"):
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert "must" in refused(capsys, "chat", "--checkpoint", "talk", wrong)
    monkeypatch.setattr("sys.stdin", io.StringIO("hi\n"))
    assert printed(capsys, "chat", "--checkpoint", "talk")  # as long as the context allows
    err = refused(capsys, "chat", "--checkpoint", "run")
    assert "special tokens <|user|>, <|assistant|>, <|end|>" in err


def test_export_hands_a_run_on(gpt2, capsys):
    assert train("--init", gpt2) == 0
    out = printed(capsys, "export", "--checkpoint", "run", "--out", "theirs")
    assert "written to theirs; GPT2LMHeadModel.from_pretrained reads it" in out
    ours, theirs = (load_gpt(place) for place in ("run", "theirs"))
    assert ours[1] == theirs[1]
    for name, p in ours[0].state_dict().items():
        assert tl.equal(p, theirs[0].state_dict()[name])
    err = refused(capsys, "export", "--checkpoint", "run", "--out", "theirs")
    assert "--overwrite" in err
    assert main(["export", "--checkpoint", "run", "--out", "theirs", "--overwrite"]) == 0


def test_sample_takes_every_setting(gpt2, capsys):
    flags = "--max-new-tokens 30 --min-p 0.1 --repetition-penalty 1.3 --top-p 0.9 --top-k 9".split()
    first = printed(capsys, "sample", "--checkpoint", gpt2, "--prompt", "the", *flags)
    assert first.startswith("the") and first.endswith("\n---------------\n")
    text = first.removesuffix("\n---------------\n")
    stop, other = text[10:12], text[20:22]
    flags += ["--stop", other, "--stop", stop]
    again = printed(capsys, "sample", "--checkpoint", gpt2, "--prompt", "the", *flags)
    found = min(at for s in (stop, other) if (at := text.find(s, 3)) >= 0)
    assert again == f"{text[:found]}\n---------------\n"
    printed(
        capsys, "sample", "--checkpoint", gpt2, "--weights", "bfloat16", "--max-new-tokens", "3"
    )
