"""GPT-2's files: what is read and written, under whose names, and what is refused before a model
is made. Those of transformers are in `parity/test_parity_pretrained.py`; the hub is a server here.
"""

import hashlib
import http.server
import json
import re
import struct
import threading

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.models import hub, pretrained
from tinygrad_lm.models.checkpoints import load_gpt
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.models.lora import add_lora, merge_lora
from tinygrad_lm.saving.files import save_safetensors
from tinygrad_lm.text.tokenizers import BPETokenizer

SHAPE = {"block_size": 8, "vocab_size": 300, "n_layer": 2, "n_head": 2, "n_embd": 8}


def model(seed=0, **changes):
    tg.manual_seed(seed)
    made = GPT(GPTConfig(**{**SHAPE, "activation": "gelu_new", **changes}))
    for p in made.parameters():
        p.data = p.data + 0.1 * tg.randn(p.shape)  # biases too
    return made


@pytest.fixture
def folder(tmp_path):
    """A folder with GPT-2's files, and the model that wrote them."""
    made = model()
    made.save_pretrained(tmp_path / "gpt")
    return tmp_path / "gpt", made


def weights(gpt):
    return {name: p.detach().numpy() for name, p in gpt.named_parameters()}


def same(first, second):
    first, second = weights(first), weights(second)
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


def stored(path):
    return load_file(path / pretrained.WEIGHTS)


def change_config(path, **changes):
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# ---------------------------------------------------------------- there and back


def test_bit_for_bit_and_without_a_random_number(folder):
    path, made = folder
    stream = tg.default_generator.get_state()
    again = GPT.from_pretrained(path, dropout=0.3)
    assert np.array_equal(stream, tg.default_generator.get_state())
    assert same(again, made) and again.config == GPTConfig(**{**vars(made.config), "dropout": 0.3})
    assert again.lm_head.weight is again.transformer.wte.weight
    x = tg.randint(0, 300, (2, 8))
    assert again.eval()(x)[0].tolist() == made.eval()(x)[0].tolist()


def test_drawing_goes_on_afterwards():
    with pytest.raises(KeyError), nn.init.without_values():
        raise KeyError
    assert nn.Linear(50, 50).weight.std().item() > 0.01


def test_files_are_what_others_expect(folder):
    path, made = folder
    found, config = stored(path), json.loads((path / "config.json").read_text())
    assert found["transformer.h.0.attn.c_attn.weight"].shape == (8, 24)  # (in, out)
    assert "lm_head.weight" not in found
    header = (path / pretrained.WEIGHTS).read_bytes()
    length = struct.unpack("<Q", header[:8])[0]
    assert json.loads(header[8 : 8 + length])["__metadata__"] == {"format": "pt"}
    assert config["architectures"] == ["GPT2LMHeadModel"] and config["vocab_size"] == 300
    assert config["activation_function"] == "gelu_new" and config["n_inner"] is None


def test_a_model_without_biases_gets_zeros(tmp_path):
    made = model(bias=False)
    made.save_pretrained(tmp_path)
    assert not stored(tmp_path)["transformer.ln_f.bias"].any()
    assert same(GPT.from_pretrained(tmp_path), made)
    change_config(tmp_path, bias=True)  # as transformers reads it
    again = GPT.from_pretrained(tmp_path).eval()
    assert again.config.bias and not weights(again)["transformer.ln_f.bias"].any()
    x = tg.randint(0, 300, (2, 8))
    with tg.no_grad():
        got, want = (gpt(x)[0].numpy() for gpt in (again, made.eval()))
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_what_is_there_is_not_replaced_unasked(folder):
    path, made = folder
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(FileExistsError, match="got config.json, model.safetensors; overwrite=True"):
        model(1).save_pretrained(path)
    assert before == {file.name: file.read_bytes() for file in path.iterdir()}
    model(1).save_pretrained(path, overwrite=True)
    assert same(GPT.from_pretrained(path), model(1))


def test_what_was_added_to_a_model_is_not_lost_without_a_word(tmp_path):
    made = model()
    add_lora(made, 2)
    with pytest.raises(ValueError, match="got transformer.h.0.attn.c_attn.lora_A, .*; merge"):
        made.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    merge_lora(made)
    made.save_pretrained(tmp_path / "new")


# ---------------------------------------------------------------- names and places


def renamed(how, arrays):
    """The arrays of a folder as somebody else has them."""
    if how == "bare":
        return {n.removeprefix("transformer."): a for n, a in arrays.items()}
    if how == "with buffers and a head":
        mask = np.tril(np.ones((1, 1, 8, 8), np.float32))
        more = {f"transformer.h.{i}.attn.bias": mask for i in range(2)}
        more |= {f"transformer.h.{i}.attn.masked_bias": np.float32([-1e4]) for i in range(2)}
        return {**arrays, **more, "lm_head.weight": arrays["transformer.wte.weight"]}
    if how == "nanoGPT":
        turned = {n: a.T if pretrained.TURNED.search(n) else a for n, a in arrays.items()}
        turned["lm_head.weight"] = turned["transformer.wte.weight"]
        return {f"_orig_mod.{n}": np.ascontiguousarray(a) for n, a in turned.items()}
    found = {}  # OpenAI
    for name, array in arrays.items():
        parts = name.removeprefix("transformer.").replace("h.", "h", 1).split(".")
        norm = parts[-2].startswith("ln_")
        last = {"weight": "g" if norm else "w", "bias": "b"}[parts.pop()]
        turned = array[None] if array.ndim == 2 and parts[0][0] == "h" else array
        found["/".join(["model", *parts, *([] if parts[0] in ("wte", "wpe") else [last])])] = turned
    return found


@pytest.mark.parametrize("how", ["bare", "with buffers and a head", "nanoGPT", "OpenAI"])
def test_other_peoples_names(folder, how):
    path, made = folder
    save_file(renamed(how, stored(path)), path / pretrained.WEIGHTS)
    assert same(GPT.from_pretrained(path), made)


def test_openais_names():
    names = {
        "model/wte": "transformer.wte.weight",
        "model/h11/attn/c_attn/w": "transformer.h.11.attn.c_attn.weight",
        "model/h0/ln_1/g": "transformer.h.0.ln_1.weight",
        "model/ln_f/b": "transformer.ln_f.bias",
    }
    assert {theirs: pretrained.canonical(theirs) for theirs in names} == names


def test_plain_arrays_of_numpy(folder):
    path, made = folder
    np.savez(path / "weights.npz", **renamed("OpenAI", stored(path)))
    (path / pretrained.WEIGHTS).unlink()
    assert same(GPT.from_pretrained(path), made)


def shard(path):
    """The weights in two files with an index."""
    arrays, names = stored(path), sorted(stored(path))
    files = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in files.items():
        save_file({n: arrays[n] for n in part}, path / file)
    index = {"weight_map": {n: file for file, part in files.items() for n in part}}
    (path / pretrained.INDEX).write_text(json.dumps(index))
    (path / pretrained.WEIGHTS).unlink()
    return index


def test_shards(folder):
    path, made = folder
    shard(path)
    assert same(GPT.from_pretrained(path), made)


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16])
def test_16_bit_weights_become_float32(folder, dtype):
    path, made = folder
    save_safetensors(
        path / pretrained.WEIGHTS,
        {n: tg.tensor(a).to(dtype).numpy() for n, a in stored(path).items()},
    )
    again = GPT.from_pretrained(path)
    want = {n: tg.tensor(a).to(dtype).float().numpy() for n, a in weights(made).items()}
    assert all(np.array_equal(weights(again)[n], want[n]) for n in want)


# ---------------------------------------------------------------- what is refused


def drop(name):
    return lambda arrays: arrays.pop(name)


BROKEN = {
    "missing": (drop("transformer.h.1.ln_2.bias"), "1 missing: transformer.h.1.ln_2.bias"),
    "unexpected": (
        lambda a: a.update({"transformer.h.2.ln_1.weight": np.ones(8, "f4")}),
        "1 unexpected: transformer.h.2.ln_1.weight",
    ),
    "shape": (
        lambda a: a.update({"transformer.wpe.weight": np.ones((9, 8), "f4")}),
        "transformer.wpe.weight (9, 8), not (8, 8)",
    ),
    "orientation": (
        lambda a: a.update({"transformer.h.0.attn.c_attn.weight": np.ones((8, 8), "f4")}),
        "have (8, 24) or (24, 8) as that shape",
    ),
    "nan": (lambda a: a["transformer.wte.weight"].__setitem__((0, 0), np.nan), "finite numbers"),
    "integers": (
        lambda a: a.update({"transformer.ln_f.bias": np.ones(8, "i4")}),
        "floats as 'transformer.ln_f.bias', got int32",
    ),
    "twice": (
        lambda a: a.update({"ln_f.bias": np.ones(8, "f4")}),
        "have a tensor once",
    ),
    "a bias": (lambda a: a["transformer.ln_f.bias"].fill(1), "no biases but 0"),
    "head": (
        lambda a: a.update({"lm_head.weight": np.ones((300, 8), "f4")}),
        "an lm_head.weight that is not wte.weight",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_wrong_tensors_are_named(folder, what, monkeypatch):
    path, _ = folder
    arrays, (damage, words) = stored(path), BROKEN[what]
    damage(arrays)
    save_file(arrays, path / pretrained.WEIGHTS)
    if what == "a bias":
        change_config(path, bias=False)
    monkeypatch.setattr(GPT, "__init__", None)  # before a model is made
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        GPT.from_pretrained(path)
    assert str(path) in str(refused.value) and str(refused.value).startswith("[from_pretrained]")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "llama"}, "have model_type 'gpt2', got model_type 'llama'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx False"),
        ({"scale_attn_weights": False}, "have scale_attn_weights True"),
        ({"add_cross_attention": True}, "have add_cross_attention False"),
        ({"n_layer": "2"}, "say n_layer, a number >= 1, got '2'"),
        ({"n_embd": 0}, "say n_embd, a number >= 1, got 0"),
        ({"n_inner": "x"}, "numbers as n_inner and layer_norm_epsilon"),
        ({"activation_function": "mish"}, "activation must be one of gelu"),
        ({"activation_function": None}, "activation must be one of gelu"),
        ({"n_head": 3}, "n_head must divide n_embd, got 3 and 8"),
        ({"n_layer": 3}, "12 missing: transformer.h.2.attn.c_attn.bias, "),
        ({"n_embd": 16}, "as that shape, got transformer.h.0.attn.c_attn.weight (8, 24)"),
        ({"layer_norm_epsilon": 2}, "layer_norm_epsilon must be above 0 and below 1"),
    ],
)
def test_configurations_that_are_refused(folder, changes, words):
    path, _ = folder
    change_config(path, **changes)
    with pytest.raises(ValueError, match=re.escape(words)):
        GPT.from_pretrained(path)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("gelu_fast", "gelu_new"), ("gelu_pytorch_tanh", "gelu_new"), ("swish", "silu")],
)
def test_activations_by_other_names(folder, theirs, ours):
    path, _ = folder
    change_config(path, activation_function=theirs)
    assert GPT.from_pretrained(path).config.activation == ours


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"x"', b"\xff"])
def test_a_config_that_is_no_object(folder, content):
    path, _ = folder
    (path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match="config.json' must be "):
        GPT.from_pretrained(path)


def test_a_file_that_is_cut_anywhere(folder):
    path, _ = folder
    whole = (path / pretrained.WEIGHTS).read_bytes()
    for length in np.linspace(0, len(whole) - 1, 20).astype(int):
        (path / pretrained.WEIGHTS).write_bytes(whole[:length])
        with pytest.raises(ValueError, match="must be a whole safetensors file"):
            GPT.from_pretrained(path)


def test_tensors_that_overlap(folder):
    path, _ = folder
    whole = (path / pretrained.WEIGHTS).read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    first, second = (header[f"transformer.h.{i}.ln_1.bias"] for i in range(2))
    first["data_offsets"] = second["data_offsets"]
    text = json.dumps(header).encode()
    (path / pretrained.WEIGHTS).write_bytes(
        struct.pack("<Q", len(text)) + text + whole[8 + length :]
    )
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        GPT.from_pretrained(path)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"weight_map": {"x": "../a.safetensors"}}, "the file '../a.safetensors'"),
        ({"weight_map": {"x": "/etc/passwd"}}, "the file '/etc/passwd'"),
        ({"weight_map": {"x": "c.safetensors"}}, "no c.safetensors"),
        ({"weight_map": ["x"]}, "map names to files beside it"),
        ({}, "KeyError('weight_map')"),
        ({"weight_map": {"x": "a.safetensors"}}, "none of x"),
    ],
)
def test_an_index_that_is_wrong(folder, index, words):
    path, _ = folder
    shard(path)
    (path / pretrained.INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=re.escape(words)):
        GPT.from_pretrained(path)


def test_a_pickle_is_not_opened(folder):
    path, _ = folder
    (path / pretrained.WEIGHTS).rename(path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="a pickle runs code of whoever made it"):
        GPT.from_pretrained(path)
    (path / "pytorch_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors.index.json, got neither"):
        GPT.from_pretrained(path)
    (path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="there must be a file .*config.json"):
        GPT.from_pretrained(path)


def test_load_gpt_takes_such_a_folder_with_its_tokenizer(folder):
    path, made = folder
    with pytest.raises(FileNotFoundError, match="tokenizer"):
        load_gpt(path)
    BPETokenizer.train("hello, world " * 9, 270).save(path / "tokenizer.json")
    again, tokenizer = load_gpt(path, dropout=0.1)
    assert same(again, made) and again.config.dropout == 0.1
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello"
    BPETokenizer.train([f"{i} {i * i}" for i in range(999)], 400).save(path / "tokenizer.json")
    with pytest.raises(ValueError, match="at most 300 tokens, as the model, got "):
        load_gpt(path)


# ---------------------------------------------------------------- the hub


class Hub(http.server.BaseHTTPRequestHandler):
    """Files by their names, as the hub of Hugging Face answers: the checksum of a large file comes
    with a redirect to where that lies."""

    files: dict[str, bytes] = {}
    asked: list[str] = []
    cut: dict[str, int] = {}  # name -> bytes after which the connection ends, once
    lies: set[str] = set()

    def do_HEAD(self):
        self.do_GET(head=True)

    def do_GET(self, head=False):
        name = self.path.split("/")[-1]
        content = self.files.get(name)
        if content is None:
            return self.send_error(404)
        large = name.endswith(".safetensors")
        etag = hashlib.sha256(content).hexdigest()
        if not large:
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        if name in self.lies:
            etag = "0" * len(etag)
        if large and "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("X-Linked-ETag", f'"{etag}"')
            self.send_header("Location", f"/elsewhere/{name}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if not head:
            self.asked.append(f"{name} from {start}")
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'W/"{etag}"')
        self.end_headers()
        if not head:
            end = self.cut.pop(name, len(content))
            self.wfile.write(content[start:end])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(folder, tmp_path, monkeypatch):
    """A hub with one model, and an empty cache."""
    path, made = folder
    BPETokenizer.train("hello, world " * 9, 270).save(path / "tokenizer.json")
    Hub.files = {file.name: file.read_bytes() for file in path.iterdir()}
    Hub.asked, Hub.cut, Hub.lies = [], {}, set()
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_port}")
    monkeypatch.setenv("TINYGRAD_LM_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    yield made
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_model_is_fetched_once(server, capsys):
    assert same(GPT.from_pretrained("gpt2"), server)
    said = capsys.readouterr().err
    assert "openai-community/gpt2/resolve/main/model.safetensors" in said
    first = [*Hub.asked]
    assert [a.split()[0] for a in first] == ["model.safetensors", "tokenizer.json", "config.json"]
    assert same(load_gpt("gpt2")[0], server) and Hub.asked == first
    assert same(GPT.from_pretrained("owner/name"), server)


def test_a_connection_that_ends_is_taken_up_again(server):
    Hub.cut = {"model.safetensors": 1000}
    with pytest.raises(OSError, match="put model.safetensors, tokenizer.json and config.json into"):
        GPT.from_pretrained("gpt2")
    assert same(GPT.from_pretrained("gpt2"), server)
    assert Hub.asked[:2] == ["model.safetensors from 0", "model.safetensors from 1000"]


def test_a_part_that_is_all_there_is(server, tmp_path):
    place = tmp_path / "cache" / "models" / "openai-community--gpt2"
    place.mkdir(parents=True)
    (place / "config.json.part").write_bytes(Hub.files["config.json"])
    assert same(GPT.from_pretrained("gpt2"), server)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_another_checksum_is_refused_and_nothing_kept(server, name, tmp_path):
    Hub.lies = {name}
    with pytest.raises(ValueError, match="must have the checksum 0000"):
        GPT.from_pretrained("gpt2")
    place = tmp_path / "cache" / "models" / "openai-community--gpt2"
    assert not (place / name).exists() and not (place / f"{name}.part").exists()
    Hub.lies = set()
    assert same(GPT.from_pretrained("gpt2"), server)


def test_shards_and_the_older_tokenizer_files_are_fetched(server, folder):
    path, _ = folder
    shard(path)
    tokenizer = json.loads((path / "tokenizer.json").read_text())["model"]
    (path / "vocab.json").write_text(json.dumps(tokenizer["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["merges"]]
    (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (path / "tokenizer.json").unlink()
    Hub.files = {file.name: file.read_bytes() for file in path.iterdir()}
    assert same(load_gpt("gpt2-medium")[0], server)


def test_without_a_network_it_says_what_to_put_where(server, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"or pass a folder that has them") as refused:
        GPT.from_pretrained("gpt2")
    assert str(tmp_path / "cache" / "models" / "openai-community--gpt2") in str(refused.value)


def test_what_other_tools_have_fetched_serves(server, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    place = tmp_path / "hf" / "hub" / "models--gpt2" / "snapshots" / "607a30d7"
    place.parent.mkdir(parents=True)
    folder[0].rename(place)
    assert same(GPT.from_pretrained("gpt2"), server)


@pytest.mark.parametrize("name", ["gpt3", "a/b/c", "/etc", "..", "../..", "", "a/.."])
def test_names_that_are_none(server, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=r"\[from_pretrained\]"):
        GPT.from_pretrained(name)
    assert not Hub.asked


def test_the_names_of_openai_are_known():
    assert {*hub.OPENAI} == {"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2"}
