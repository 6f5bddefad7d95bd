"""Texts made into shards: what is written is what the tokenizer says of the whole text, whoever
makes it and however often it was stopped; and nothing else passes for it.

Reading shards and training on them is in `test_shards.py`."""

import base64
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_lm.cli import main
from tinygrad_lm.data import load_text, open_shards
from tinygrad_lm.text import pieces
from tinygrad_lm.text.libraries import BYTES, PATTERNS, TiktokenTokenizer
from tinygrad_lm.text.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    load_tokenizer,
)
from tinygrad_lm.training import prepare as module
from tinygrad_lm.training.folder import Lock
from tinygrad_lm.training.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
MIB = 2**20


def made_text(size, seed=0, newline="\n"):
    """Words, numbers, signs and blanks of several alphabets, of about `size` bytes."""
    chance = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz" * 4 + "éßäжщ中文字 ́"
    words = ["".join(chance.choices(letters, k=chance.randint(1, 9))) for _ in range(3000)]
    words += ["don't", "we'll", "12345", "3.14", "...", "!?", "'S", "x²", "\t", "  ", "😀", "_a_"]
    blanks = [" "] * 12 + ["  ", newline, newline * 2, ", ", ". ", "。", "'s ", " \t "]
    text = "".join(chance.choice(words) + chance.choice(blanks) for _ in range(size // 7))
    return text


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Two files, of 2.6 MB with Windows's newlines and a mark, and of a few lines."""
    folder = tmp_path_factory.mktemp("texts")
    first = "\ufeff" + made_text(2_300_000, newline="\r\n")
    (folder / "a.txt").write_bytes(first.encode())
    (folder / "b.txt").write_text(made_text(5_000, seed=1))
    return [folder / "a.txt", folder / "b.txt"]


def folder_of(path):
    return {p.name: p.read_bytes() for p in sorted(path.iterdir())}


def written(path):
    return np.asarray(open_shards(path))


# ---------------------------------------------------------------- the law: the ids are the text's


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_shards_one_after_the_other_are_the_ids_of_the_text(kind, tmp_path, monkeypatch):
    texts = [tmp_path / "a.txt", tmp_path / "b.txt"]
    texts[0].write_bytes(("\ufeff" + made_text(400_000, newline="\r\n")).encode())
    texts[1].write_text(made_text(5_000, seed=1))
    monkeypatch.setattr(module, "MIB", pieces.CHUNK)  # of which so many are in a shard
    if kind == "bpe":
        pytest.importorskip("tokenizers")
    made = prepare(texts, tmp_path / "out", kind, 400, workers=1, shard_size=1)
    tokenizer = load_tokenizer(tmp_path / "out")
    between = [*tokenizer.special.values()]
    ids = [*tokenizer.encode(load_text(texts[0])), *between]
    ids += tokenizer.encode(load_text(texts[1]))
    assert written(tmp_path / "out").tolist() == ids
    assert len(made["shards"]) == 4 and made["tokens"] == len(ids) and made["within_words"] == 0
    whole = [load_text(path) for path in texts]
    assert made["characters"] == sum(map(len, whole))
    if kind == "bpe":
        assert tokenizer == BPETokenizer.train(whole, 400)


PARTS = [
    "a",
    "word",
    "don't",
    "'",
    "'s",
    "'LL",
    "é",
    "中",
    "ж",
    "\u0301",
    "1",
    "234",
    "²",
    "_",
    ".",
]
PARTS += [
    "!?",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " \n ",
    "\u00a0",
    "\u2028",
    "\x1c",
    "\x85",
    "😀",
    "\0",
]
SOME_TEXT = st.lists(st.sampled_from(PARTS), min_size=1, max_size=200).map("".join)


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory):
    """GPT-2's pattern by two libraries, and cl100k's; and any two bytes merge that are in one part
    by these, so that the ids show every place where a text is cut."""
    for library in ("tokenizers", "tiktoken"):
        pytest.importorskip(library)
    used = sorted({*"".join(PARTS).encode()})
    tokens = [bytes([b]) for b in range(256)] + [bytes([a, b]) for a in used for b in used]
    seen = {b: c for c, b in BYTES.items()}
    names = ["".join(seen[b] for b in token) for token in tokens]
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    (folder / "merges.txt").write_text("\n".join(" ".join(name) for name in names[256:]))
    lines = "\n".join(f"{base64.b64encode(t).decode()} {i}" for i, t in enumerate(tokens))
    tiktoken = [TiktokenTokenizer(lines, pattern) for pattern in PATTERNS.values()]
    return [BPETokenizer.from_folder(folder), *tiktoken]


@given(SOME_TEXT)
def test_no_token_goes_on_where_a_word_ends(byte_pairs, text):
    """Wherever in a text: what follows a letter or a digit and is neither begins a token, and what
    is before does not decide what comes."""
    text = plain(text)
    for tokenizer in byte_pairs:
        ids = tokenizer.encode(text)
        for end in pieces.ENDS:
            for place in [match.start() for match in end.finditer(text)]:
                parts = tokenizer.encode(text[:place]), tokenizer.encode(text[place:])
                assert parts[0] + parts[1] == ids, (tokenizer.kind, text[:place], text[place:])


@given(SOME_TEXT, st.sampled_from([64, 80, 128]), st.integers(0, 3))
@example("a" * 63 + "\r\n" + "b" * 99, 64, 3)
@example("a word " * 40, 64, 0)
def test_chunks_are_the_text_and_their_ids_its_ids(byte_pairs, tmp_path_factory, text, size, which):
    """With chunks of few bytes, which look a quarter of that ahead. Where no word ends, it is said,
    and what is between two such places has the ids of a text of its own; bytes are cut anywhere."""
    tokenizer = [*byte_pairs, ByteTokenizer()][which]
    path = tmp_path_factory.getbasetemp() / "chunked.txt"
    path.write_bytes(text.encode())
    found = chunked(path, tokenizer, size)
    assert "".join(chunk.text for chunk in found) == plain(text)
    assert sum(chunk.size for chunk in found) == len(text.encode())
    assert tokenizer.kind != "byte" or all(chunk.whole for chunk in found)
    while found:
        end = next(i for i, chunk in enumerate(found, 1) if chunk.whole is False or i == len(found))
        ids = [i for chunk in found[:end] for i in tokenizer.encode(chunk.text)]
        assert ids == tokenizer.encode("".join(chunk.text for chunk in found[:end]))
        del found[:end]


def plain(text):
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def chunked(path, tokenizer, size):
    stat = path.stat()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK", size)
        count = pieces.cut_count(stat.st_size)
        piece = pieces.Piece(str(path), stat.st_size, stat.st_mtime_ns, 0, count)
        return [*pieces.chunks(piece, tokenizer)]


# ---------------------------------------------------------------- whoever makes it, however often


def test_the_number_of_processes_changes_nothing(texts, tmp_path):
    found = {}
    for workers in (1, 3):
        prepare(texts, tmp_path / f"{workers}", "byte", workers=workers, shard_size=1)
        found[workers] = folder_of(tmp_path / f"{workers}")
    assert found[1] == found[3]
    assert [*found[1]] == ["manifest.json", "tokenizer.json", *sorted(finished(tmp_path / "1"))]
    assert len(found[1]) == 5


def test_the_manifest_says_what_is_there(texts, tmp_path):
    prepare(texts, tmp_path, "byte", workers=1, shard_size=1)
    files = folder_of(tmp_path)
    manifest = json.loads(files["manifest.json"])

    def sha256(content):
        return hashlib.sha256(content).hexdigest()

    sources = [path.read_bytes() for path in texts]
    assert [(s["bytes"], s["sha256"]) for s in manifest["sources"]] == [
        (len(content), sha256(content)) for content in sources
    ]
    assert manifest["tokenizer"]["sha256"] == sha256(files["tokenizer.json"])
    for shard in manifest["shards"]:
        content = files[shard["name"]]
        assert (shard["bytes"], shard["sha256"]) == (len(content), sha256(content))
        assert shard["tokens"] == (len(content) - 256) // 2
        assert shard["crc32"] == zlib.crc32(content[256:])
    assert manifest["tokens"] == sum(shard["tokens"] for shard in manifest["shards"])
    assert manifest["bytes"] == sum(map(len, sources))


def test_many_small_files_share_shards_and_a_file_may_come_twice(tmp_path):
    small = [tmp_path / f"{i}.txt" for i in range(300)]
    for i, path in enumerate(small):
        path.write_text(f"text {i} " * 900)
    made = prepare([*small, small[0]], tmp_path / "out", "byte", workers=1, shard_size=1)
    assert len(made["shards"]) == 3
    text = "".join(path.read_text() for path in [*small, small[0]])
    assert bytes(written(tmp_path / "out").astype(np.uint8)).decode() == text


def start(*flags, **options):
    command = [sys.executable, "-m", "tinygrad_lm", "prepare", *map(str, flags)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **{"env": ENVIRONMENT, **pipes, **options})


def children(pid):
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def finished(out):
    """Inode and time of each shard that is there under its name."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in out.glob("tokens-*.bin")}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="asks Linux for children")
def test_a_kill_at_any_moment_loses_no_shard_that_is_finished(tmp_path):
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text(made_text(2_000_000) * 12)
    command = (text, "--out", out, "--tokenizer", "byte", "--shard-size", 1)
    prepare([text], tmp_path / "whole", "byte", workers=1, shard_size=1)
    before: dict[str, tuple[int, int]] = {}
    for wanted in (0, 4):
        process = start(*command, "--workers", 2)
        wait_until(lambda: (out / "unfinished.json").exists() and len(finished(out)) >= wanted)  # noqa: B023
        workers = children(process.pid)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL and not (out / "manifest.json").exists()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))  # noqa: B023
        kept, before = before, finished(out)
        assert {name: before[name] for name in kept} == kept
    assert 4 <= len(before) < 16
    with pytest.raises(FileNotFoundError, match="if it was stopped, run the same command again"):
        open_shards(out)
    (out / f".tokens-000009.bin.{'0' * 16}.tmp").touch()  # as a kill leaves it
    prepare([text], out, "byte", workers=1, shard_size=1)
    after = finished(out)
    assert {name: after[name] for name in before} == before
    assert folder_of(out) == folder_of(tmp_path / "whole")
    prepare([text], out, "byte", workers=1, shard_size=1)  # once more: nothing is made
    assert finished(out) == after


def wait_until(holds, timeout=60):
    end = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_shard_that_is_not_whole_is_made_again(texts, tmp_path):
    prepare(texts, tmp_path, "byte", workers=1, shard_size=1)
    first, before = tmp_path / "tokens-000000.bin", folder_of(tmp_path)
    content = bytearray(before[first.name])
    content[5000] ^= 1
    first.write_bytes(content)
    (tmp_path / "tokens-000001.bin").unlink()
    prepare(texts, tmp_path, "byte", workers=1, shard_size=1)
    assert folder_of(tmp_path) == before


def test_a_killed_worker_is_an_error_and_the_command_goes_on(tmp_path):
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text(made_text(2_000_000) * 20)
    process = start(text, "--out", out, "--tokenizer", "byte", "--shard-size", 1, "--workers", 2)
    wait_until(lambda: len(finished(out)) > 2)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "Traceback" not in err
    assert re.fullmatch(r"tinygrad-lm prepare: \[prepare\] a process must not end .*\n", err)
    prepare([text], out, "byte", workers=1, shard_size=1)


def test_ctrl_c_ends_all_quietly_and_the_command_goes_on(tmp_path):
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text(made_text(2_000_000) * 20)
    process = start(text, "--out", out, "--tokenizer", "byte", "--shard-size", 1, "--workers", 2)
    wait_until(lambda: len(finished(out)) > 2)
    workers = children(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "") and process.returncode == 130
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert not (out / "manifest.json").exists() and not (out / ".tinygrad_lm.lock").exists()
    prepare([text], out, "byte", workers=1, shard_size=1)


# ---------------------------------------------------------------- memory


def most_anonymous(process):
    """The highest RssAnon of a process and of each of its children while it runs, in MB."""
    most = 0
    while process.poll() is None:
        with contextlib.suppress(OSError):
            for pid in (process.pid, *children(process.pid)):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        most = max(most, int(line.split()[1]) / 1000)
        time.sleep(0.01)
    return most


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="asks Linux for children")
def test_memory_does_not_grow_with_the_text(tmp_path):
    found = {}
    for name, times in (("small", 6), ("large", 52)):
        text, part = tmp_path / name, made_text(4_000_000)
        with open(text, "w") as file:
            for _ in range(times):
                file.write(part)
        out = tmp_path / f"{name}-out"
        process = start(text, "--out", out, "--tokenizer", "byte", "--workers", 2)
        found[name] = most_anonymous(process)
        assert process.returncode == 0, process.communicate()
        process.communicate()
    assert text.stat().st_size > 200e6
    assert found["large"] < found["small"] + 10 and found["large"] < 150


# ---------------------------------------------------------------- what is refused


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(made_text(20_000))
    return tmp_path


def only_error(capsys):
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "Traceback" not in said.err
    return said.err


def command(*flags, files=("text.txt",), out="out", kind="byte"):
    return main(["prepare", *files, "--out", out, "--tokenizer", kind, "--workers", "1", *flags])


LONG = b"abc " * 2**18  # ends where the second block begins
BAD = {
    "latin.txt": (b"caf\xe9 au lait", "must be UTF-8, got byte 0xe9 at offset 3"),
    "late.txt": (LONG + b"\xff", f"must be UTF-8, got byte 0xff at offset {2**20}"),
    "cut.txt": (LONG[:-1] + "中".encode()[:2], f"got byte 0xe4 at offset {2**20 - 1}"),
    "split.txt": (LONG[:-1] + b"\xe4x", f"got byte 0xe4 at offset {2**20 - 1}"),
    "windows.txt": ("a\n".encode("utf-16"), "must be UTF-8, got UTF-16; re-encode"),
    "half.txt": (b"a \xed\xa0\x80 b", "must be UTF-8, got byte 0xed at offset 2"),
    "empty.txt": (b"", "must hold text, got an empty file"),
    "mark.txt": (b"\xef\xbb\xbf", "must hold text, got an empty file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_text_is_one_line_and_leaves_nothing(name, here, capsys):
    content, words = BAD[name]
    Path(name).write_bytes(content)
    assert command(files=["text.txt", name]) == 2
    error = only_error(capsys)
    assert words in error and name in error
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"files": ["nowhere.txt"]}, "a text must be a file, got nothing at 'nowhere.txt'"),
        ({"files": ["text.txt", "."]}, "a text must be a file, got a folder or device at '.'"),
        ({"files": ["/dev/zero"]}, "got a folder or device at '/dev/zero'"),
        ({"out": "text.txt"}, "the folder must be writable, got 'text.txt'"),
        ({"out": "full"}, "the folder must be empty or made by this command, got ['mine']"),
        ({"out": "foreign"}, "must be of a folder of shards, got another file"),
        ({"kind": "nowhere"}, "a file must exist at 'nowhere', got none"),
        ({"kind": "known.json"}, "every character must be one of 'abc'"),
    ],
)
def test_what_cannot_be_done_is_one_line(flags, words, here, capsys):
    Path("full").mkdir()
    Path("full/mine").touch()
    Path("foreign").mkdir()
    Path("foreign/manifest.json").write_text('{"manifest_version": 3}')
    CharTokenizer("abc").save("known.json")
    assert command(**flags) == 2
    assert words in only_error(capsys)
    assert not list(Path().glob("*/tokens-*")) and not list(Path().glob("*/.*"))


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--workers", "0"], "workers must be in 1 ... 2**20 - 1, got 0"),
        (["--shard-size", "0"], "shard_size must be in 1 ... 2**20 - 1, got 0"),
        (["--tokenizer", "bpe", "--vocab-size", "9"], "vocab_size must be >= 257"),
        (["--vocab-size", "99999999999"], "vocab_size must be in 1 ... 2**20 - 1, got 99999999999"),
    ],
)
def test_numbers_out_of_range(flags, words, here, capsys):
    assert command(*flags) == 2
    assert words in only_error(capsys)


@pytest.mark.parametrize("whole", [False, True])
def test_another_command_or_text_is_refused_and_nothing_changes(whole, here, capsys):
    Path("other.txt").write_text("abc")
    CharTokenizer.from_text(Path("text.txt").read_text()).save("char.json")
    assert command() == 0
    if not whole:  # as if it had been stopped
        Path("out/manifest.json").rename("out/unfinished.json")
    before = folder_of(here / "out")
    capsys.readouterr()
    for flags, words in (
        ({"kind": "char"}, "another: tokenizer (was 'byte "),
        ({"kind": "char.json"}, "another: tokenizer (was 'byte "),
        ({"files": ["text.txt", "other.txt"]}, "another: texts (was 1, now 2)"),
        ({"files": ["other.txt"]}, "the text 'other.txt' has changed"),
    ):
        assert command(**flags) == 2
        assert words in only_error(capsys)
    assert command("--shard-size", "2") == 2
    assert "shard_size (was 16, now 2)" in only_error(capsys)
    assert folder_of(here / "out") == before


def test_where_nothing_is_made_yet_another_command_may_come(here, capsys):
    CharTokenizer("abc").save("known.json")
    assert command(kind="known.json") == 2
    assert command(kind="char") == 0
    assert command(kind="byte") == 2


def test_a_text_that_changes_meanwhile_is_refused(here):
    stat = os.stat("text.txt")
    piece = pieces.Piece("text.txt", stat.st_size, stat.st_mtime_ns - 1, 0, 1)
    with pytest.raises(OSError, match="must stay as it is while it is read, got it changed"):
        list(pieces.chunks(piece, ByteTokenizer()))


def test_another_tokenizer_in_the_folder_is_refused(here, capsys):
    assert command(kind="char") == 0
    CharTokenizer("".join(sorted(set(Path("text.txt").read_text()), reverse=True))).save(
        "out/tokenizer.json"
    )
    capsys.readouterr()
    assert command(kind="char") == 2
    assert "tokenizer.json' must have the sha256" in only_error(capsys)


def test_a_second_command_in_the_folder_waits_for_nobody(here, capsys):
    Path("out").mkdir()
    lock = Lock(Path("out"))
    assert command() == 2
    assert f"must not be in use by another run, got process {os.getpid()}" in only_error(capsys)
    lock.release()
    assert command() == 0


def test_a_full_disk_is_one_line_and_leaves_no_half_of_a_shard(here):
    Path("text.txt").write_text("long " * 400_000)

    def little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))

    flags = ("text.txt", "--out", "out", "--tokenizer", "byte", "--shard-size", "1")
    for workers in (1, 2):
        process = start(*flags, "--workers", workers, preexec_fn=little)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert re.fullmatch(
            r"tinygrad-lm prepare: \[prepare\] the texts must be .*File too.*\n", err
        )
        assert sorted(os.listdir("out")) == ["tokenizer.json", "unfinished.json"]
    assert command("--shard-size", "1") == 0


def test_a_text_without_words_is_cut_and_it_is_said(here, capsys):
    pytest.importorskip("tokenizers")
    BPETokenizer.train(Path("text.txt").read_text(), 400).save("bpe.json")
    text = "acgt" * 100_000
    Path("text.txt").write_text(text)
    assert command(kind="bpe.json") == 0
    assert "2 times no word ended for long: there" in capsys.readouterr().out
    assert load_tokenizer("out").decode(written(here / "out")) == text
