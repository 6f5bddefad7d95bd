"""Shards as one array, the order in which windows are visited, and training on both: the same bits
as on one token file, exact resuming, a set larger than the memory there may be."""

import json
import os
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_prepare import ROOT, made_text, only_error

from tinygrad_lm.cli import main
from tinygrad_lm.data import open_shards, write_tokens
from tinygrad_lm.data.shards import Shards
from tinygrad_lm.data.windows import permuted, window_offsets
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.saving import checkpoint
from tinygrad_lm.text.tokenizers import ByteTokenizer, CharTokenizer
from tinygrad_lm.training import TrainConfig, Trainer, batch_at, run, split_tokens, train
from tinygrad_lm.training.evaluation import perplexity
from tinygrad_lm.training.prepare import prepare

TINY = {
    "n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 8, "batch_size": 3, "dropout": 0.1,
    "gradient_accumulation_steps": 2, "warmup_iters": 2, "eval_iters": 2, "eval_interval": 4,
    "sample_tokens": 3, "max_iters": 8, "log_interval": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    monkeypatch.setattr(run, "save_loss_curve", lambda *files: "no picture")


# ---------------------------------------------------------------- many arrays as one


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_shards_are_their_concatenation(lengths, data):
    whole = np.random.default_rng(sum(lengths)).integers(0, 999, sum(lengths)).astype(np.uint16)
    shards, n = Shards(np.split(whole, np.cumsum(lengths)[:-1])), len(whole)
    assert (len(shards), shards.shape, shards.dtype) == (n, (n,), whole.dtype)
    assert (shards.min(), shards.max()) == (whole.min(), whole.max())
    places = data.draw(st.lists(st.integers(-n, n - 1), max_size=12))
    for index in (np.array(places, np.int64), np.array(places, np.int64).reshape(-1, 1) + 0):
        found = shards[index]
        assert found.dtype == whole.dtype and np.array_equal(found, whole[index])
    a, b = data.draw(st.tuples(*[st.one_of(st.none(), st.integers(-n - 2, n + 2))] * 2))
    part = shards[a:b]
    assert np.array_equal(np.asarray(part), whole[a:b]) and len(part) == len(whole[a:b])
    assert np.asarray(part, np.int64).dtype == np.int64
    assert shards[n - 1] == whole[n - 1]
    for outside in (n, -n - 1, [0, n]):
        with pytest.raises(IndexError, match=f"must be below {n}"):
            shards[outside]


def test_a_batch_may_cross_shards():
    whole = np.arange(1000, dtype=np.uint16)
    shards = Shards(np.split(whole, [3, 10, 11, 500]))
    offsets = np.array([0, 2, 8, 495, 900])
    for found, wanted in zip(batch_at(shards, offsets, 20), batch_at(whole, offsets, 20)):
        assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    "index", [0.5, np.array([True] * 5), slice(0, 5, 2), slice(None, None, -1)]
)
def test_other_indices_are_refused(index):
    with pytest.raises((TypeError, ValueError), match=r"\[Shards\]"):
        Shards([np.arange(5)])[index]


# ---------------------------------------------------------------- in which order


def test_every_number_has_its_permutation():
    for n in range(1, 2001):
        assert np.array_equal(np.sort(permuted(np.arange(n), n, (n, 0))), np.arange(n)), n


def test_places_are_evenly_taken_and_keys_matter():
    """Over 4,000 keys each of ten places gets each of ten items about 400 times: a chi-square of
    90 degrees of freedom is below 150 in all but one of 10,000 cases."""
    found = np.array([permuted(np.arange(10), 10, (seed, 0)) for seed in range(4000)])
    counts = np.array([np.bincount(column, minlength=10) for column in found.T])
    assert ((counts - 400) ** 2 / 400).sum() < 150
    large = [permuted(np.arange(10_000), 10_000, key) for key in ((1, 0), (1, 1), (2, 0))]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (large[a] == large[b]).sum() < 10
        assert abs(np.corrcoef(large[a], large[b])[0, 1]) < 0.05
    assert abs(np.corrcoef(large[0], np.arange(10_000))[0, 1]) < 0.05


def test_each_window_once_per_epoch_whatever_the_batches():
    length, T = 1003, 8  # 125 windows: the last target is token 1000
    epochs = {}
    for B in (1, 7, 50):
        batches = [window_offsets(length, T, B, k, seed=3) for k in range(3 * 125 // B + 1)]
        offsets = np.concatenate(batches)[: 3 * 125].reshape(3, 125)
        assert all(np.array_equal(np.sort(row), np.arange(125) * T) for row in offsets)
        epochs[B] = offsets.tolist()
    assert epochs[1] == epochs[7] == epochs[50]
    assert epochs[1][0] != epochs[1][1] != epochs[1][2]
    assert window_offsets(9, 8, 4, 0, seed=3).tolist() == [0] * 4  # one window, four epochs


def test_the_order_of_a_quadrillion_windows_takes_no_memory():
    tracemalloc.start()
    try:
        offsets = window_offsets(2**60, 64, 12, 10**12, seed=2**64 - 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000 and len({*offsets.tolist()}) == 12
    assert offsets.min() >= 0 and offsets.max() < 2**60 - 64 and not (offsets % 64).any()


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of three shards, and beside it the same as one token file and as a text."""
    place = tmp_path_factory.mktemp("data")
    (place / "text.txt").write_text(made_text(3_200_000))
    prepare([place / "text.txt"], place / "shards", "char", workers=1, shard_size=1)
    shards = open_shards(place / "shards")
    assert len(shards.parts) == 3
    tokenizer = place / "shards/tokenizer.json"
    (place / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    write_tokens(place / "one.bin", shards.parts, json.loads(
        (place / "shards/manifest.json").read_text())["tokenizer"]["vocab_size"])  # fmt: skip
    return place


def config(out, **changes):
    return TrainConfig(**{**TINY, "out": str(out), **changes})


def result(out):
    arrays, meta = checkpoint.load_checkpoint(out)
    return {name: array.tobytes() for name, array in arrays.items()}, meta["trainer"]


def test_shards_train_as_one_file_and_as_the_text(folder, tmp_path):
    tokenizer = str(folder / "tokenizer.json")
    train(config(tmp_path / "a", data=str(folder / "shards")))
    train(config(tmp_path / "b", data=str(folder / "one.bin"), tokenizer=tokenizer))
    train(config(tmp_path / "c", data=str(folder / "text.txt")))
    assert result(tmp_path / "a") == result(tmp_path / "b") == result(tmp_path / "c")


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_run_on_shards_resumes_exactly(shuffle, folder, tmp_path):
    given = {"data": str(folder / "shards"), "shuffle": shuffle}
    train(config(tmp_path / "whole", **given, max_iters=8, lr_decay_iters=8))
    train(config(tmp_path / "parts", **given, max_iters=4, lr_decay_iters=8))
    train(config(tmp_path / "parts", **given, max_iters=8, lr_decay_iters=8), resume=True)
    assert result(tmp_path / "whole") == result(tmp_path / "parts")


def test_a_shuffled_run_sees_each_window_once(monkeypatch):
    """Of micro-batches, over steps and a save and load in between."""
    c = TrainConfig(**{**TINY, "shuffle": True, "dropout": 0.0})
    tokens = split_tokens(np.arange(300) % 10, c)  # 270 to train on: 33 windows, 11 batches
    seen = []

    def trainer():
        return Trainer(GPT(GPTConfig(8, 10, 1, 1, 8)), tokens, c)

    first = trainer()
    batch = Trainer._batch
    monkeypatch.setattr(
        Trainer, "_batch", lambda self, s, o: seen.append((s, o.tolist())) or batch(self, s, o)
    )
    first.update()
    first.evaluate()  # draws at random, and changes nothing of the order
    first.update()
    arrays, meta = first.state()
    second = trainer()
    second.load_state(arrays, json.loads(json.dumps(meta)))
    for _ in range(20):
        second.update()
    assert {s for s, _ in seen} == {"train", "val"}
    parts = [o for s, o in seen if s == "train"]
    del parts[2:4]  # of the evaluation
    epochs = np.array(parts).reshape(-1, 33)
    assert len(epochs) == 4 and (np.sort(epochs) == np.arange(33) * 8).all()
    assert len({*map(tuple, epochs.tolist())}) == 4


def test_other_shards_do_not_resume(folder, tmp_path, capsys):
    prepare([folder / "text.txt"], tmp_path / "x", "char", workers=1, shard_size=2)
    (tmp_path / "y").mkdir()
    (tmp_path / "y/t.txt").write_text(made_text(20_000, seed=5))
    prepare([tmp_path / "y/t.txt"], tmp_path / "z", "char", workers=1)
    train(config(tmp_path / "run", data=str(folder / "shards")))
    for other in ("x", "z"):
        assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--data",
                     str(tmp_path / other)]) == 2  # fmt: skip
        assert "must be the text the run began with" in capsys.readouterr().err


def test_perplexity_of_shards_is_that_of_the_file(folder, tmp_path):
    trainer = train(config(tmp_path / "run", data=str(folder / "shards")))
    shards = open_shards(folder / "shards")
    end = shards._ends[0]
    part = shards[end - 300 : end + 300]  # across two
    assert len(part.parts) == 2
    tokenizer = CharTokenizer.load(folder / "tokenizer.json")
    found = [perplexity(trainer.model, tokenizer, ids) for ids in (part, np.asarray(part))]
    assert found[0] == found[1] and found[0].characters == 599


# ---------------------------------------------------------------- what is refused


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(made_text(20_000))
    prepare(["text.txt"], "shards", "byte", workers=1)
    return tmp_path


def damage(name, change):
    path = Path("shards", name)
    content = change(json.loads(path.read_text()) if name == "manifest.json" else path.read_bytes())
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def entry(**changes):
    return lambda m: {**m, "shards": [{**m["shards"][0], **changes}]}


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("manifest.json", lambda m: {**m, "format_version": 2}, "must be of format 1, got 2"),
        (
            "manifest.json",
            lambda m: {**m, "format": "x"},
            "must be a manifest of tinygrad_lm shards",
        ),
        ("manifest.json", lambda m: b"{", "must be a manifest of tinygrad_lm shards"),
        ("manifest.json", lambda m: [m], "must be a manifest of tinygrad_lm shards"),
        ("manifest.json", lambda m: {**m, "shards": []}, "must name shards and a tokenizer"),
        ("manifest.json", lambda m: {**m, "shards": [3]}, "must name shards and a tokenizer"),
        ("manifest.json", lambda m: {**m, "tokenizer": {}}, "must name shards and a tokenizer"),
        ("manifest.json", entry(name="../text.txt"), "must name shards and a tokenizer"),
        ("manifest.json", entry(tokens=None), "must name shards and a tokenizer"),
        ("manifest.json", entry(name="tokens-000001.bin"), "a file must exist at"),
        ("manifest.json", entry(tokens=9), "must have 9 as its tokens by manifest.json, got"),
        ("manifest.json", entry(crc32=9), "must have 9 as its crc32 by manifest.json, got"),
        ("tokens-000000.bin", lambda b: b[:-2], "bytes, got"),
        ("tokens-000000.bin", lambda b: b[:999] + b"\0\0" + b[1001:], "must have the CRC-32"),
        (
            "tokens-000000.bin",
            lambda b: b"x" + b[1:],
            "must begin with a tinygrad_lm tokens header",
        ),
        ("tokenizer.json", lambda b: b[:-1], "tokenizer.json' must have the sha256"),
    ],
)
def test_damage_is_one_line_and_nothing_begins(name, change, words, small, capsys):
    damage(name, change)
    assert main(["train", "--data", "shards", "--max-iters", "1"]) == 2
    assert words in only_error(capsys)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--data", "empty"], "the folder must hold manifest.json, got 'empty' without"),
        (["--tokenizer", "bpe"], "the tokenizer must be the one in shards, got 'bpe'"),
        (["--block-size", "99999"], "must be longer than block_size 99999"),
        (["--init-from", "other"], "must have the tokens of that in shards, got another"),
    ],
)
def test_what_does_not_go_with_shards(flags, words, small, capsys):
    Path("empty").mkdir()
    train(TrainConfig(**{**TINY, "data": "text.txt", "out": "other"}))
    capsys.readouterr()
    assert main(["train", "--data", "shards", *flags]) == 2
    assert words in only_error(capsys)


def test_each_of_several_processes_may_check_its_own(folder, tmp_path, monkeypatch):
    for name in ("manifest.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / "shards" / name).read_bytes())
    for number in range(3):
        name = f"tokens-{number:06}.bin"
        content = bytearray((folder / "shards" / name).read_bytes())
        content[500] ^= number == 1
        (tmp_path / name).write_bytes(content)
    assert len(open_shards(tmp_path, slice(0, None, 2))) == len(open_shards(folder / "shards"))
    with pytest.raises(ValueError, match="tokens-000001.bin' must have the CRC-32"):
        open_shards(tmp_path, slice(1, None, 2))


# ---------------------------------------------------------------- larger than memory


def sparse_shards(folder, count, tokens):
    """Shards of nothing but zeros, which take no room on the disk."""
    ByteTokenizer().save(folder / "tokenizer.json")
    (folder / "text.txt").write_text("abc")
    made = prepare([folder / "text.txt"], folder / "made", "byte", workers=1)
    first = folder / "made/tokens-000000.bin"
    write_tokens(first, np.zeros(tokens, np.uint16), 256)
    with open(first, "r+b") as file:  # the same with a hole
        file.truncate(256)
        file.truncate(256 + 2 * tokens)
    names = [f"tokens-{number:06}.bin" for number in range(count)]
    for name in names[1:]:
        os.link(first, folder / "made" / name)
    crc32 = zlib.crc32(bytes(2 * tokens))
    shard = {**made["shards"][0], "tokens": tokens, "crc32": crc32}
    made["shards"] = [{**shard, "name": name} for name in names]
    (folder / "made/manifest.json").write_text(json.dumps(made))
    return folder / "made"


TRAIN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (600 * 10**6,) * 2)
from tinygrad_lm.cli import main
try:
    bytearray(600 * 10**6)
    sys.exit("the limit is none")
except MemoryError:
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for memory")
def test_a_set_larger_than_the_memory_there_may_be(tmp_path):
    """1.07 GB of tokens in 16 shards, 600 MB of memory."""
    data = sparse_shards(tmp_path, 16, 2**25)
    flags = ["--n-layer", "1", "--n-head", "1", "--n-embd", "16", "--block-size", "64", "--shuffle"]
    flags += ["--max-iters", "300", "--eval-interval", "300", "--eval-iters", "3"]
    flags += ["--sample-tokens", "0", "--out", "run", "--log-interval", "10"]
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, "train", "--data", str(data), *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found = []  # (lines of metrics, RssAnon in MB)
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            steps = (tmp_path / "run/metrics.jsonl").read_text().count("\n")
            found.append((steps, int(status.split("RssAnon:")[1].split()[0]) / 1000))
        except (OSError, IndexError):
            pass
        time.sleep(0.01)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert "536,870,912 tokens" in said
    early = max(mb for steps, mb in found if 5 < steps < 15)
    late = max(mb for steps, mb in found if 15 <= steps < 30)
    assert late < early + 5 and late < 300
