"""Damage of every kind in every file that is read, and command lines of odd values: what comes is
what was there before, or one clear error that names the file. Never a traceback, never other data.

The cases are numbered and always the same; `pytest tests/training/test_fuzz.py --fuzz 5000` runs
that many of each kind in place of the first 200. A failure says the number of its case.
"""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lm as tl
from tinygrad_lm import nn
from tinygrad_lm.cli import main
from tinygrad_lm.data import open_tokens, write_tokens
from tinygrad_lm.models.checkpoints import load_gpt
from tinygrad_lm.saving import checkpoint, load_checkpoint, torch_save
from tinygrad_lm.saving.files import load_safetensors, save_safetensors
from tinygrad_lm.text.tokenizers import CharTokenizer, load_tokenizer
from tinygrad_lm.training import run

CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
OURS = re.compile(r"\[\w+\] ")  # how each of our messages begins; "[Errno 2]" is the system's
CLEAR = (ValueError, RuntimeError, OSError, MemoryError)
DEEP = "a value deep in brackets"
ODD = [
    None, True, False, -1, 0, 1, 3.5, 2**70, float("nan"), float("inf"), "", "x", "0", "\x1b[2J",
    [], {}, [1], {"x": 1}, {"$tuple": 5}, {"$tuple": [1], "x": 2}, {"$float": None}, {"$what": 1},
    {"$float": "nan"}, {"$dtype": "x"}, {"$array": "99"}, {"$Tensor": []}, {"$set": [[]]}, DEEP,
    "float16", [0, 1], [2**40, 0],
]  # fmt: skip


# ---------------------------------------------------------------- what can happen to a file


def bytes_damaged(data, rng):
    """A few bits, bytes or blocks that are others, gone, twice, or in another place."""
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice([1, 2, 8, 64, 512]))
    noise = rng.randbytes(rng.choice([1, 2, 8, 64]))
    flipped = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 20])):
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return rng.choice([
        bytes(flipped), bytes(flipped), bytes(flipped), data[:at], data[:at] + data[end:],
        data[:at] + noise + data[at:], data[:at] + noise + data[at + len(noise) :], data + noise,
        data[:end] + data[at:], data[:at] + bytes(end - at) + data[end:], data[at:], noise,
        data[:at] + b"[" * 100_000 + data[at:], data[:at] + b'{"a":' * 100_000 + data[at:],
    ])  # fmt: skip


def places(tree):
    """Every (container, key) in a JSON value."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(pairs):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from places(value)


def json_damaged(text, rng, only=lambda key: True):
    """A value that is another, a name that is gone, renamed or there twice."""
    tree = json.loads(text)
    found = [(container, key) for container, key in places(tree) if only(key)]
    container, key = rng.choice(found)
    action = rng.choice(["value", "value", "gone", "twice", "renamed", "moved"])
    if action == "value" or not isinstance(container, dict):
        container[key] = rng.choice(ODD)
    elif action == "gone":
        del container[key]
    elif action == "renamed":
        container[rng.choice(["x", "$tuple", key + "s", ""])] = container.pop(key)
    elif action == "moved":
        other, name = rng.choice(found)
        container[key] = json.loads(json.dumps(other[name]))
    done = json.dumps(tree)
    if action == "twice":
        again = f"{json.dumps(key)}: {json.dumps(rng.choice([container[key], *ODD]))}, "
        done = done.replace(f"{json.dumps(key)}:", again + f"{json.dumps(key)}:", 1)
    depth = rng.choice([400, 1000, 100_000])
    return done.replace(json.dumps(DEEP), "[" * depth + "]" * depth).encode()


def header_replaced(data, replace):
    """A safetensors file with another header, of which its length is right."""
    length = int.from_bytes(data[:8], "little")
    header = replace(data[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def header_damaged(data, rng):
    return header_replaced(data, lambda header: json_damaged(header, rng))


def dtype_changed(data, rng):
    """An array of another dtype of the same size; NumPy has not all of those of the format."""
    size, kinds = rng.choice([(b"F32", b"I32 U32"), (b"U8", b"BOOL I8 F8_E4M3"), (b"I64", b"C64")])
    new = rng.choice(kinds.split())
    return header_replaced(data, lambda header: header.replace(b'"%s"' % size, b'"%s"' % new))


def start_damaged(data, rng):
    """The JSON in the first 256 bytes of a token file."""
    return json_damaged(data[:256], rng).ljust(255) + b"\n" + data[256:]


# ---------------------------------------------------------------- the files, and who reads them


def same_arrays(arrays):
    return {n: (a.dtype.name, a.shape, a.tobytes()) for n, a in arrays.items()}


def read_checkpoint(path):
    folder = path.parent if path.name == "last.json" else path.parent.parent
    arrays, meta = load_checkpoint(folder)
    return same_arrays(arrays), repr(meta)


def read_model(path):
    model, tokenizer = load_gpt(path.parent.parent, "last")
    return {n: t.tolist() for n, t in model.state_dict().items()}, tokenizer


def read_saved(path):
    """What comes, as `save` would write it: its arrays and the tree around them."""
    again = path.with_name("again.pt")
    tl.save(tl.load(path), again)
    arrays, metadata = load_safetensors(again)
    return same_arrays(arrays), metadata["tree"]


def read_tokens(path):
    tokens = open_tokens(path)
    return tokens.dtype.name, tokens.tolist()


def meta_changed(path, rng):
    """Another meta.json, and its checksum in the pointer, as its author would write it."""
    path.write_bytes(json_damaged(path.read_bytes(), rng))
    sign(path)


def sign(path):
    pointer = path.parent.parent / "last.json"
    content = {**json.loads(pointer.read_text()), "meta": checkpoint._size_and_sha256(path)}
    pointer.write_text(json.dumps(content))


def tree_changed(path, rng):
    """Another tree in a file of `save`, with the checksum of what it is now."""
    arrays, metadata = load_safetensors(path)
    metadata["tree"] = json_damaged(metadata["tree"], rng).decode()
    metadata["sha256"] = torch_save._sha256(arrays, metadata["tree"])
    save_safetensors(path, arrays, metadata)


def header_changed(path, rng):
    """Safetensors without a checksum of ours."""
    damage = rng.choice([dtype_changed, header_damaged, bytes_damaged])
    path.write_bytes(damage(path.read_bytes(), rng))


FLAGS = (
    "--n-layer 1 --n-head 1 --n-embd 8 --block-size 8 --batch-size 2 --max-iters 2 "
    "--warmup-iters 1 --eval-interval 2 --eval-iters 1 --sample-tokens 2"
).split()


@pytest.fixture
def good(tmp_path, monkeypatch, capsys):
    """A folder, of an evil name, with one whole file of each kind; name -> path."""
    tmp_path /= "\x1b]0;owned\a"
    tmp_path.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "save_loss_curve", lambda *files: "no picture")
    Path("text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 8)
    assert main(["train", "--data", "text.txt", "--out", "run", *FLAGS]) == 0
    Path("run/best.json").unlink()  # only one, so that the way out is not read each time
    w = nn.Parameter(tl.tensor([1.5, -2.0]))
    data = {"w": w, "t": (1, [2.5, w.detach()]), 3: {4, 5}, "k": tl.float32, "b": b"\0"}
    tl.save({**data, "n": np.arange(300.0)}, "saved.pt")
    write_tokens("tokens.bin", np.arange(150) % 50, 70)
    CharTokenizer("abcé\n").save("tokenizer.json")
    capsys.readouterr()
    (folder,) = tmp_path.glob("run/last.*/")
    found = {name: folder / name for name in ("meta.json", "arrays.safetensors")}
    found |= {path.name: path for path in tmp_path.iterdir() if path.is_file()}
    return {**found, "last.json": tmp_path / "run/last.json"}


def outcome(read, path, whole, must_be_same):
    """What is wrong with what `read` does, or nothing."""
    try:
        found = read(path)
    except CLEAR as error:
        if not OURS.match(str(error)):
            return f"unclear: {error!r:.200}"
        if CONTROLS.search(str(error)):
            return f"control characters: {error!r:.200}"
        if not any(part.name in str(error) for part in (path, path.parent, path.parent.parent)):
            return f"does not name {path.name}: {error!r:.200}"
        return ""
    except BaseException as error:  # the library has one that is no Exception
        return f"a traceback: {error!r:.200}"
    return "" if found == whole or not must_be_same else "other data, in silence"


def complain(wrong, count):
    kinds = {text.split(":")[1] for text in wrong}
    assert not wrong, f"{len(wrong)} of {count}, {kinds}\n" + "\n".join(wrong[:12])


FILES = {
    "last.json": (read_checkpoint, [bytes_damaged, json_damaged]),
    "meta.json": (read_checkpoint, [bytes_damaged, json_damaged]),
    "arrays.safetensors": (read_checkpoint, [bytes_damaged, header_damaged]),
    "saved.pt": (read_saved, [bytes_damaged, header_damaged]),
    "tokens.bin": (read_tokens, [bytes_damaged, start_damaged]),
    "tokenizer.json": (load_tokenizer, [bytes_damaged, json_damaged]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_the_same_or_refused(name, good, request):
    (read, damages), path, count = FILES[name], good[name], request.config.getoption("--fuzz")
    data, whole, wrong = path.read_bytes(), read(path), []
    for i in range(count):
        rng = random.Random(f"{name} {i}")
        path.write_bytes(rng.choice(damages)(data, rng))
        if fault := outcome(read, path, whole, True):
            wrong.append(f"case {i}: {fault}")
    complain(wrong, count)


CHANGES = {
    "meta.json": (read_model, meta_changed),
    "saved.pt": (tl.load, tree_changed),
    "arrays.safetensors": (load_safetensors, header_changed),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_its_author_changed_is_read_or_refused(name, good, request):
    """The checksum is right, or there is none, and what is in the file may be anything."""
    (read, change), path, count = CHANGES[name], good[name], request.config.getoption("--fuzz")
    data, wrong = path.read_bytes(), []
    for i in range(count):
        path.write_bytes(data)
        change(path, random.Random(f"author of {name} {i}"))
        if fault := outcome(read, path, None, False):
            wrong.append(f"case {i}: {fault}")
    complain(wrong, count)


# ---------------------------------------------------------------- command lines


def command_fault(capsys, words):
    """What is wrong with what a command does, or nothing."""
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    except BaseException as error:
        return f"a traceback: {error!r:.200} of {words}"
    said = capsys.readouterr().err
    line = re.fullmatch(r"tinygrad-lm[ a-z]*: [^\n\x00-\x1f\x7f-\x9f]+\n", said)
    if code not in (0, 2) or (code == 2 and not line):
        return f"an unclear end: exit {code} and {said!r:.200} of {words}"
    return ""


@pytest.mark.parametrize("command", ["sample", "resume"])
def test_a_damaged_checkpoint_is_one_line_on_the_command_line(command, good, capsys, request):
    """Also one that its author changed. The configuration is left alone: it may say a long run."""
    count, wrong = max(1, request.config.getoption("--fuzz") // 3), []
    files = {name: good[name].read_bytes() for name in ("last.json", "meta.json")}
    keys = {*json.loads(files["meta.json"])["meta"]["config"]}
    words = ["train", "--out", "run", "--resume"]
    if command == "sample":
        words = "sample --checkpoint run --which last --max-new-tokens 2".split()
    for i in range(count):
        rng = random.Random(f"{command} {i}")
        for name, data in files.items():
            good[name].write_bytes(data)
        name = rng.choice([*files])
        good[name].write_bytes(json_damaged(files[name], rng, lambda key: key not in keys))
        if name == "meta.json" and rng.random() < 0.8:
            sign(good[name])
        if fault := command_fault(capsys, words):
            wrong.append(f"case {i}: {fault}")
    complain(wrong, count)


NUMBERS = "-1 0 1 2 3.5 nan inf -inf 1e400 1e-400 x 0x1 ٣ 1_0".split() + [""]
TEXTS = ". text.txt run no/thing text.txt/x run/last.json the - -- --out cuda cuda:x cpu float16"
TEXTS = [*TEXTS.split(), "", "\x1b]0;x\a", "\x9b", "\udcff", "ÿ" * 300]


def a_command(rng):
    """Flags of a small run or of a sample, of which a few have odd values."""
    if rng.random() < 0.5:
        words = ["sample", "--checkpoint", "run", "--which", "last", "--max-new-tokens", "3"]
        texts = "checkpoint prompt stop which device".split()
        numbers = "num-samples max-new-tokens temperature top-k top-p seed".split()
    else:
        words = ["train", "--data", "text.txt", "--out", "new", "--overwrite", *FLAGS]
        texts = "data out init-from device dtype sample-prompt preset".split()
        fields = vars(run.TrainConfig())
        numbers = [n.replace("_", "-") for n in fields if n not in ("threads", "bias")]
        numbers = [n for n in numbers if n not in texts and n != "n-head"]
    for _ in range(rng.choice([1, 1, 2, 3])):
        flag, value = rng.choice(numbers), rng.choice(NUMBERS)
        if rng.random() < 0.4:
            flag, value = rng.choice(texts), rng.choice(TEXTS)
        odd = [f"--{flag}={value}"] if rng.random() < 0.8 else [f"--{flag}", value]
        words += rng.choice([odd, odd, odd, [value], [f"--{flag}"], ["--n-head", "9" * 14]])
    return words


def test_a_command_line_of_odd_values_works_or_is_one_line(good, capsys, request):
    count, wrong = request.config.getoption("--fuzz"), []
    for i in range(count):
        if fault := command_fault(capsys, a_command(random.Random(f"command {i}"))):
            wrong.append(f"case {i}: {fault}")
    complain(wrong, count)
