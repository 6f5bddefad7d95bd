"""GPT-2's weights in and out of files, without PyTorch or transformers: every dialect of names
gives the same model, a round trip changes no bit, and every wrong file is refused by name.

That transformers computes the same from these files is in `parity/test_parity_pretrained.py`; how
a model comes from the hub is in `test_hub.py`.
"""

import dataclasses
import io
import json
import os
import random
import re
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.models import pretrained
from tinygrad_lm.models.checkpoints import load_gpt
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.models.lora import add_lora, merge_lora
from tinygrad_lm.nn import Linear, init
from tinygrad_lm.saving.files import load_safetensors, save_safetensors
from tinygrad_lm.text.tokenizers import ByteTokenizer

SMALL = {"block_size": 8, "vocab_size": 11, "n_layer": 2, "n_head": 2, "n_embd": 6}
MATRICES = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def small(**changes):
    """A GPT in which every parameter is drawn: norms and biases, too."""
    model, rng = GPT(GPTConfig(**{**SMALL, **changes})), np.random.default_rng(3)
    for p in model.parameters():
        p.data = tg.tensor(rng.normal(size=tuple(p.shape)).astype(np.float32)).to(p.dtype)
    return model


def values(model):
    return {name: p.detach().numpy() for name, p in model.named_parameters()}


def assert_same(ours, other):
    assert ours.config == other.config
    a, b = values(ours), values(other)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes(), name


def edit_config(folder, **changes):
    path = folder / "config.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def edit_weights(folder, change):
    """Let `change` replace or edit the dict of arrays in the file."""
    arrays, metadata = load_safetensors(folder / "model.safetensors")
    arrays = change(arrays) or arrays
    save_safetensors(folder / "model.safetensors", arrays, metadata)


@pytest.fixture
def folder(tmp_path):
    small().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": False},
        {"activation": "gelu_new", "n_inner": 10, "layer_norm_epsilon": 1e-3},
        {"activation": "relu", "n_head": 3, "n_layer": 1},
        {"activation": "silu", "n_embd": 2, "block_size": 1, "vocab_size": 1},
    ],
)
def test_a_round_trip_changes_no_bit(changes, tmp_path):
    model = small(**changes)
    model.save_pretrained(tmp_path / "a")
    found = GPT.from_pretrained(tmp_path / "a")
    assert_same(found, model)
    assert found.lm_head.weight is found.transformer.wte.weight
    assert all(p.requires_grad and p.is_contiguous() for p in found.parameters())
    found.save_pretrained(str(tmp_path / "b"))
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_round_trip_in_16_bits_changes_no_bit_where_16_bits_are_asked_for(tmp_path):
    model = small().bfloat16()
    model.save_pretrained(tmp_path)
    assert_same(GPT.from_pretrained(tmp_path, dtype="bfloat16"), model)
    assert_same(GPT.from_pretrained(tmp_path), model.float())
    with pytest.raises(TypeError, match="dtype must be floating-point, got 'int64'"):
        GPT.from_pretrained(tmp_path, dtype="int64")


def test_what_is_written(folder):
    """The names, shapes and settings of transformers' GPT2LMHeadModel."""
    arrays, metadata = load_safetensors(folder / "model.safetensors")
    assert metadata == {"format": "pt"}
    block = "transformer.h.1."
    shapes = {n: a.shape for n, a in arrays.items() if "h.0" not in n}
    assert shapes == {
        "transformer.wte.weight": (11, 6),
        "transformer.wpe.weight": (8, 6),
        block + "ln_1.weight": (6,),
        block + "ln_1.bias": (6,),
        block + "attn.c_attn.weight": (6, 18),
        block + "attn.c_attn.bias": (18,),
        block + "attn.c_proj.weight": (6, 6),
        block + "attn.c_proj.bias": (6,),
        block + "ln_2.weight": (6,),
        block + "ln_2.bias": (6,),
        block + "mlp.c_fc.weight": (6, 24),
        block + "mlp.c_fc.bias": (24,),
        block + "mlp.c_proj.weight": (24, 6),
        block + "mlp.c_proj.bias": (6,),
        "transformer.ln_f.weight": (6,),
        "transformer.ln_f.bias": (6,),
    }
    ours = values(small())
    for name, array in arrays.items():
        wanted = ours[name].T if name.endswith(MATRICES) else ours[name]
        np.testing.assert_array_equal(array, wanted)
    assert json.loads((folder / "config.json").read_text()) == {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 6,
        "n_positions": 8,
        "n_ctx": 8,
        "n_inner": None,
        "vocab_size": 11,
        "activation_function": "gelu",
        "layer_norm_epsilon": 1e-5,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "bos_token_id": None,
        "eos_token_id": None,
        "tie_word_embeddings": True,
    }


def test_without_biases_zeros_are_written_which_compute_the_same(tmp_path):
    model, ids = small(bias=False), tg.tensor([[1, 2, 3]])
    model.save_pretrained(tmp_path)
    arrays, _ = load_safetensors(tmp_path / "model.safetensors")
    biases = [name for name in arrays if name.endswith(".bias")]
    assert len(biases) == 13 and not any(arrays[name].any() for name in biases)
    edit_config(tmp_path, bias=...)  # as transformers sees it
    with_zeros = GPT.from_pretrained(tmp_path)
    assert with_zeros.config.bias
    np.testing.assert_array_equal(with_zeros(ids, ids)[0].detach(), model(ids, ids)[0].detach())
    edit_config(tmp_path, bias=False)
    edit_weights(tmp_path, lambda a: a["transformer.ln_f.bias"].__setitem__(2, 1))
    with pytest.raises(ValueError, match="got others in transformer.ln_f.bias"):
        GPT.from_pretrained(tmp_path)


def test_dropout_is_the_callers(tmp_path):
    small(dropout=0.25).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["resid_pdrop"] == 0.25
    assert GPT.from_pretrained(tmp_path).config.dropout == 0.0
    model = GPT.from_pretrained(tmp_path, dropout=0.1)
    assert model.config.dropout == model.transformer.drop.p == 0.1


def test_nothing_is_drawn_and_the_stream_of_random_numbers_stays(folder):
    wanted = tg.manual_seed(5) and tg.rand(3).tolist()
    tg.manual_seed(5)
    GPT.from_pretrained(folder)
    assert tg.rand(3).tolist() == wanted
    layer = Linear(3, 3)
    before = layer.weight.tolist()
    with pytest.raises(KeyError), init.without_values():
        with init.without_values():
            assert init.normal_(layer.weight) is layer.weight
        layer.reset_parameters()
        raise KeyError
    assert layer.weight.tolist() == before
    layer.reset_parameters()
    assert layer.weight.tolist() != before


def test_peak_memory_is_the_weights_and_one_shard(tmp_path):
    """The model's own memory is not written to, and takes up nothing until it is replaced."""
    model = small(n_layer=6, n_embd=64)
    model.save_pretrained(tmp_path)
    arrays, _ = load_safetensors(tmp_path / "model.safetensors")
    split_into_shards(tmp_path, arrays, 6)
    sizes = [sum(a.nbytes for a in part) for part in parts(list(arrays.values()), 6)]
    total, largest = sum(sizes), max(sizes)
    config = dataclasses.asdict(model.config)
    tracemalloc.start()
    found = pretrained.read_weights(tmp_path, config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == sum(a.nbytes for a in found.values())
    assert total <= peak < 1.1 * (total + largest)


# ---------------------------------------------------------------- names and forms of others


def parts(items, count):
    return [items[i::count] for i in range(count)]


def split_into_shards(folder, arrays, count):
    """The weights of a folder in several files with an index."""
    (folder / "model.safetensors").unlink()
    placed = {}
    for i, names in enumerate(parts(list(arrays), count)):
        file = f"model-{i + 1:05}-of-{count:05}.safetensors"
        save_safetensors(folder / file, {name: arrays[name] for name in names}, {"format": "pt"})
        placed |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 1}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def without_prefix(arrays):
    """As the hub's gpt2: no "transformer.", and the masks as buffers."""
    mask = np.tril(np.ones((1, 1, 8, 8), np.float32))
    found = {name.removeprefix("transformer."): a for name, a in arrays.items()}
    return {**found, "h.0.attn.bias": mask, "h.1.attn.masked_bias": np.float32(-1e4).reshape(())}


def with_head(arrays):
    return {**arrays, "lm_head.weight": arrays["transformer.wte.weight"].copy()}


def nanogpt(arrays):
    return with_head({n: a.T if n.endswith(MATRICES) else a for n, a in arrays.items()})


def compiled_nanogpt(arrays):
    return {"_orig_mod." + name: a for name, a in nanogpt(arrays).items()}


def openai(arrays):
    found = {}
    for name, array in arrays.items():
        name = name.removeprefix("transformer.").replace("h.0.", "h0/").replace("h.1.", "h1/")
        norm = name.replace("/", ".").split(".")[-2].startswith("ln_")
        name = name.replace(".weight", "/g" if norm else "/w").replace(".bias", "/b")
        name = name.replace("wte/w", "wte").replace("wpe/w", "wpe").replace(".", "/")
        found["model/" + name] = array[None] if name.endswith("/w") else array
    assert "model/h0/attn/c_attn/w" in found and "model/wte" in found and "model/ln_f/g" in found
    return found


DIALECTS = [without_prefix, with_head, nanogpt, compiled_nanogpt, openai]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_of_names_gives_the_same_model(dialect, folder):
    edit_weights(folder, dialect)
    assert_same(GPT.from_pretrained(folder), small())


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("count", [1, 3])
def test_so_it_does_in_shards(dialect, count, folder):
    arrays, _ = load_safetensors(folder / "model.safetensors")
    split_into_shards(folder, dialect(arrays), count)
    assert_same(GPT.from_pretrained(folder), small())


def test_arrays_of_openai_in_an_npz_file(folder):
    arrays, _ = load_safetensors(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "config.json").unlink()
    sizes = {"n_vocab": 11, "n_ctx": 8, "n_embd": 6, "n_head": 2, "n_layer": 2}
    (folder / "hparams.json").write_text(json.dumps(sizes))
    np.savez(folder / "model.npz", **openai(arrays))
    assert_same(GPT.from_pretrained(folder), small(activation="gelu_new"))  # OpenAI's
    whole = (folder / "model.npz").read_bytes()
    for at in range(0, len(whole), len(whole) // 20):
        (folder / "model.npz").write_bytes(whole[:at])
        with pytest.raises(ValueError, match=r"^\[from_pretrained\] '.*' must be a whole .npz"):
            GPT.from_pretrained(folder)
    np.savez(folder / "model.npz", **{"model/wte": np.array([{}])})  # a pickle inside
    with pytest.raises(ValueError, match="must be a whole .npz file of plain arrays"):
        GPT.from_pretrained(folder)
    (folder / "other.npz").write_bytes(whole)
    with pytest.raises(FileNotFoundError, match="got hparams.json, model.npz, other.npz"):
        GPT.from_pretrained(folder)


def npz(folder, **files):
    """A folder with an .npz file of these contents in place of its weights."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    with zipfile.ZipFile(folder / "model.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_npy", ".npy"), content)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(shape, dtype="<f4"):
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"wte_npy": b""},
        {"wte_npy": b"garbage" * 99},
        {"wte_npy": npy_header((10**6, 10**5))},
        {"wte_npy": npy_header((10**30,))},
        {"wte_npy": npy_header((10**6, 10**5)) + bytes(4 * 10**6)},
        {"wte_npy": npy_header((-1, -6)) + bytes(24)},
        {"wte_npy": npy_header((2,), "|O") + bytes(16)},
        {"wte_npy": npy_header((2,)).replace(b"descr", b"desc") + bytes(8)},
        {"wte_npy": npy_header((2,)).replace(b"(2,)", b"(2, ") + bytes(8)},
        {"wte_npy": npy_header((2,)).replace(b"\x01\x00", b"\x09\x00", 1) + bytes(8)},
        {"wte_npy": npy(np.zeros((11, 6), np.float32))[:-1]},
        {"wte_npy": npy(np.zeros((11, 6), np.float32)) + b"x"},
        {"wte": npy(np.zeros((11, 6), np.float32))},
        {"wte_npy": npy(np.array(["x"]))},
        {"wte_npy": npy(np.zeros(2, [("a", "<f4")]))},
    ],
)
def test_an_npz_file_of_anything_else_is_refused_without_being_read(files, folder):
    npz(folder, **files)
    tracemalloc.start()
    with pytest.raises(
        ValueError, match=r"^\[from_pretrained\] '.*' must (be a whole .npz|hold the)"
    ):
        GPT.from_pretrained(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04" * 99, npy(np.zeros(999))])
def test_an_npz_file_that_is_none(content, folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"^\[from_pretrained\] '.*' must be a whole .npz"):
        GPT.from_pretrained(folder)


def test_damaged_bytes_in_an_npz_file_are_one_error(folder):
    arrays, _ = load_safetensors(folder / "model.safetensors")
    npz(folder, **{name + ".npy": npy(array) for name, array in arrays.items()})
    assert_same(GPT.from_pretrained(folder), small())
    whole, rng = (folder / "model.npz").read_bytes(), random.Random(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 9, 99])):
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
        (folder / "model.npz").write_bytes(damaged)
        try:
            found = GPT.from_pretrained(folder)
        except ValueError as error:
            assert str(error).startswith("[from_pretrained] ")
        else:
            assert_same(found, small())  # where it did not matter


def test_an_npz_file_with_a_name_twice(folder):
    npz(folder, wte_npy=npy(np.zeros(2)))
    with zipfile.ZipFile(folder / "model.npz", "a") as archive, pytest.warns(UserWarning):
        archive.writestr("wte.npy", npy(np.zeros(2)))
    with pytest.raises(ValueError, match="must be a whole .npz file .*two arrays of one name"):
        GPT.from_pretrained(folder)


def test_a_nanogpt_without_biases(tmp_path):
    small(bias=False).save_pretrained(tmp_path)
    edit_weights(
        tmp_path, lambda a: nanogpt({n: x for n, x in a.items() if not n.endswith(".bias")})
    )
    assert_same(GPT.from_pretrained(tmp_path), small(bias=False))
    edit_config(tmp_path, bias=...)
    with pytest.raises(ValueError, match='missing: transformer.*ln_f.bias; .* needs "bias": false'):
        GPT.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_are_read_as_float32(kind, folder):
    edit_weights(folder, lambda a: {name: x.astype(kind) for name, x in a.items()})
    for name, found in values(GPT.from_pretrained(folder)).items():
        wanted = values(small())[name].astype(kind).astype(np.float32)
        assert found.dtype == np.float32 and found.tobytes() == wanted.tobytes(), name


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("gelu_new", "gelu_new"),
        ("gelu_pytorch_tanh", "gelu_new"),
        ("gelu_fast", "gelu_new"),
        ("gelu", "gelu"),
        ("relu", "relu"),
        ("silu", "silu"),
        ("swish", "silu"),
        (..., "gelu_new"),  # transformers' default
    ],
)
def test_activations_by_their_names(theirs, ours, folder):
    edit_config(folder, activation_function=theirs)
    assert GPT.from_pretrained(folder).config.activation == ours


def test_what_changes_only_rounding_or_nothing_is_accepted(folder):
    edit_config(folder, reorder_and_upcast_attn=True, use_cache=False, n_inner=24, n_positions=...)
    assert_same(GPT.from_pretrained(folder), small(n_inner=24))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gptj"}, "model_type in .* must be 'gpt2', .*; got 'gptj'"),
        ({"scale_attn_weights": False}, "scale_attn_weights in .* must be True, as attention"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx in .* must"),
        ({"add_cross_attention": True}, "add_cross_attention in .* must be False, as there is no"),
        ({"tie_word_embeddings": False}, "must hold lm_head.weight, as its config.json has tie_wo"),
        ({"activation_function": "quick_gelu"}, "activation_function .* one of gelu, gelu_new, re"),
        ({"activation_function": ["gelu"]}, "activation_function in .*, got \\['gelu'\\]"),
        ({"n_embd": "6"}, "n_embd in .*config.json' must be a whole number >= 1, got '6'"),
        ({"n_embd": 6.0}, "n_embd in .* must be a whole number >= 1, got 6.0"),
        ({"n_layer": True}, "n_layer in .* must be a whole number >= 1, got True"),
        ({"vocab_size": -5}, "vocab_size in .* must be a whole number >= 1, got -5"),
        ({"n_head": None}, "n_head in .* must be a whole number >= 1, got None"),
        ({"n_positions": ..., "n_ctx": ...}, "n_ctx in .* must be a whole number >= 1, got None"),
        ({"n_inner": 0}, "n_inner in .* must be a whole number >= 1, got 0"),
        ({"layer_norm_epsilon": "1e-5"}, "layer_norm_epsilon in .* must be a number above 0, got"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon in .* must be a number above 0, got 0"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon in .* above 0, got nan"),
        ({"bias": 0}, "bias in .* must be true or false, got 0"),
        ({"n_head": 4}, "n_head must divide n_embd, got 4 and 6"),
        ({"n_layer": 10**12}, "must hold the 1000000000000 layers of its config.json, got 28 tens"),
        ({"n_layer": 3}, "missing: transformer.h.2.ln_1.weight, .*transformer.h.2.mlp.c_proj.bias"),
        ({"n_layer": 1}, "unexpected: .*'transformer.h.1.attn.c_attn.weight'"),
        ({"vocab_size": 12}, r"another shape: transformer.wte.weight \(11, 6\) in place of \(12, "),
        ({"n_positions": 9}, r"another shape: transformer.wpe.weight \(8, 6\) in place of \(9, 6"),
        ({"n_inner": 10}, r"h.0.mlp.c_fc.weight \(6, 24\) in place of \(6, 10\)"),
    ],
)
def test_a_config_that_we_cannot_compute_is_refused_by_name(changes, message, folder, monkeypatch):
    """... and before a tensor is read."""
    monkeypatch.setattr(pretrained, "arrays_of", None)
    edit_config(folder, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        GPT.from_pretrained(folder)
    assert re.match(r"\[(from_pretrained|GPTConfig)\] ", str(caught.value))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"n_embd": 6, "n_embd": 7}', "[" * 100_000, "\xff"]
)
def test_a_config_that_is_none(text, folder):
    (folder / "config.json").write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=r"\[from_pretrained\] '.*config.json' must"):
        GPT.from_pretrained(folder)


def test_wrong_tensors_are_named_all_at_once_before_one_is_read(folder, monkeypatch):
    def damage(arrays):
        del arrays["transformer.wpe.weight"], arrays["transformer.h.0.ln_1.bias"]
        arrays["score.weight"] = arrays["transformer.h.2.x"] = np.zeros(3, np.float32)
        arrays["transformer.ln_f.bias"] = np.zeros(7, np.float32)
        c_attn = "transformer.h.1.attn.c_attn.weight"
        arrays[c_attn] = arrays[c_attn].T.copy()
        arrays["transformer.ln_f.weight"] = np.zeros(6, np.int64)

    edit_weights(folder, damage)
    monkeypatch.setattr(pretrained, "arrays_of", None)
    with pytest.raises(ValueError) as caught:
        GPT.from_pretrained(folder)
    for part in (
        "missing: transformer.wpe.weight, transformer.h.0.ln_1.bias; unexpected: 'score.weight', "
        "'transformer.h.2.x'; of another shape: ",
        "transformer.ln_f.bias (7,) in place of (6,)",
        "transformer.h.1.attn.c_attn.weight (18, 6) in place of (6, 18)",
        "no floats: transformer.ln_f.weight (int64)",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["score.weight", "transformer.h.0.attn.bias"])
def test_an_extra_tensor_of_two_gigabytes_is_refused_by_name_unread(name, folder):
    """In a sparse file, which takes no room on the disk; one is named as a mask."""
    file = folder / "model.safetensors"
    data, size = file.read_bytes(), 2**31
    length = int.from_bytes(data[:8], "little")
    header, end = json.loads(data[8 : 8 + length]), len(data) - 8 - length
    extra = {"dtype": "F32", "shape": [size // 4], "data_offsets": [end, end + size]}
    changed = json.dumps({**header, name: extra}).encode()
    with open(file, "wb") as out:
        out.write(len(changed).to_bytes(8, "little") + changed + data[8 + length :])
        out.truncate(out.tell() + size)
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"unexpected: '{name}';"):
        GPT.from_pretrained(folder)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["transformer.h.1.mlp.c_proj.weight", "transformer.ln_f.bias"])
def test_what_is_no_finite_number_is_refused_by_name(name, value, folder):
    edit_weights(folder, lambda a: a[name].reshape(-1).__setitem__(-1, value))
    with pytest.raises(ValueError, match=f"'{name}' in .* must hold finite numbers, got {value}"):
        GPT.from_pretrained(folder)


def test_what_does_not_fit_into_the_dtype_is_refused_by_name(folder):
    edit_weights(folder, lambda a: a["transformer.ln_f.bias"].__setitem__(0, 1e6))
    assert GPT.from_pretrained(folder).transformer.ln_f.bias[0].item() == 1e6
    with pytest.raises(ValueError, match=r"transformer.ln_f.bias' in .*, got inf as float16"):
        GPT.from_pretrained(folder, dtype="float16")


def test_a_head_of_its_own_is_refused(folder):
    edit_config(folder, tie_word_embeddings=False)
    edit_weights(folder, with_head)
    assert_same(GPT.from_pretrained(folder), small())  # equal, whatever the config says
    edit_weights(folder, lambda a: a["lm_head.weight"].reshape(-1).__setitem__(0, 9))
    with pytest.raises(ValueError, match="lm_head.weight in .* must equal transformer.wte.weight"):
        GPT.from_pretrained(folder)
    edit_config(folder, tie_word_embeddings=True)
    with pytest.raises(ValueError, match="lm_head.weight in .* must equal transformer.wte.weight"):
        GPT.from_pretrained(folder)


def test_one_tensor_under_two_names(folder):
    edit_weights(folder, lambda a: {**a, "wte.weight": a["transformer.wte.weight"].copy()})
    with pytest.raises(ValueError, match="each tensor once, got '.*wte.weight' and '.*wte.weight'"):
        GPT.from_pretrained(folder)


def test_names_that_are_swapped(folder):
    """Two of one shape cannot be told from each other; all others are named."""
    whole, _ = load_safetensors(folder / "model.safetensors")
    rng = random.Random(0)
    for _ in range(40):
        a, b = rng.sample(sorted(whole), 2)
        edit_weights(folder, lambda _, a=a, b=b: {**whole, a: whole[b], b: whole[a]})
        if whole[a].shape == whole[b].shape:
            found = values(GPT.from_pretrained(folder))
            wanted = whole[b].T if a.endswith(MATRICES) else whole[b]
            np.testing.assert_array_equal(found[a], wanted)
        else:
            with pytest.raises(ValueError, match="of another shape") as caught:
                GPT.from_pretrained(folder)
            if not {a, b} & {"transformer.h.0.attn.c_attn.weight"}:  # it says how all others lie
                assert f"{a} {whole[b].shape} in" in str(caught.value)
                assert f"{b} {whole[a].shape} in" in str(caught.value)


@pytest.mark.parametrize("count", [1, 3])
def test_a_file_that_ends_early_is_refused(count, folder):
    arrays, _ = load_safetensors(folder / "model.safetensors")
    split_into_shards(folder, arrays, count)
    file = sorted(folder.glob("*.safetensors"))[-1]
    whole = file.read_bytes()
    for at in [*range(20), *range(20, len(whole), len(whole) // 20), len(whole) - 1]:
        file.write_bytes(whole[:at])
        with pytest.raises(ValueError, match="must be a whole safetensors file, got"):
            GPT.from_pretrained(folder)
    file.write_bytes(whole)
    assert_same(GPT.from_pretrained(folder), small())


def test_tensors_that_overlap_are_refused(folder):
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    one, two = header["transformer.h.0.ln_1.bias"], header["transformer.h.1.ln_1.bias"]
    one["data_offsets"] = two["data_offsets"]
    changed = json.dumps(header).encode()
    file.write_bytes(len(changed).to_bytes(8, "little") + changed + data[8 + length :])
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize(
    "name",
    ["../x.safetensors", "/x.safetensors", "a/x.safetensors", "a\\x.safetensors", "..", "x.bin",
     ".safetensors", "", None, 3, ["x.safetensors"], "C:x.safetensors"],
)  # fmt: skip
def test_an_index_that_leads_elsewhere_is_refused(name, folder):
    (folder.parent / "x.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    arrays, _ = load_safetensors(folder / "model.safetensors")
    split_into_shards(folder, arrays, 1)
    index = {"weight_map": dict.fromkeys(arrays, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="must give names of safetensors files, got"):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["x"]}])
def test_an_index_of_nothing_is_refused(index, folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="must give names of safetensors files, got None"):
        GPT.from_pretrained(folder)


def test_missing_shards_are_named(folder):
    arrays, _ = load_safetensors(folder / "model.safetensors")
    split_into_shards(folder, arrays, 4)
    for i in (2, 4):
        (folder / f"model-{i:05}-of-00004.safetensors").unlink()
    missing = "model-00002-of-00004.safetensors, model-00004-of-00004.safetensors"
    with pytest.raises(FileNotFoundError, match=f"every shard of its index, got no {missing};"):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "ckpt.pt", "model.ckpt", "x.pth"])
def test_a_pickle_is_refused_unless_there_is_safetensors_beside_it(name, folder):
    (folder / name).write_bytes(b"\x80\x04")
    assert_same(GPT.from_pretrained(folder), small())
    (folder / "model.safetensors").unlink()
    why = f"got '{name}', .* a pickle runs whatever code is in it; .*save_pretrained"
    with pytest.raises(ValueError, match=why):
        GPT.from_pretrained(folder)
    with pytest.raises(ValueError, match="must be a folder, got a file, .* a pickle runs whatever"):
        GPT.from_pretrained(folder / name)


def test_a_folder_without_a_model(folder, tmp_path):
    with pytest.raises(ValueError, match="must be a folder, got a file; name the folder that"):
        GPT.from_pretrained(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="must hold model.safetensors, got config.json;"):
        GPT.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="must hold config.json, got nothing"):
        GPT.from_pretrained(folder)


# ---------------------------------------------------------------- saving


class Words:
    """A tokenizer as far as saving asks."""

    vocab_size, special = 9, {"<|endoftext|>": 8}

    def __init__(self, kind="bpe"):
        self.kind = kind

    def save(self, path):
        path.write_text("the tokenizer")


def test_a_padded_vocabulary_is_cut_to_that_of_the_tokenizer(tmp_path):
    model, ids = small(), tg.tensor([[1, 2, 3]])
    model.save_pretrained(tmp_path, Words())
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["vocab_size"], config["bos_token_id"], config["eos_token_id"]) == (9, 8, 8)
    assert (tmp_path / "tokenizer.json").read_text() == "the tokenizer"
    found = GPT.from_pretrained(tmp_path)
    assert found.config.vocab_size == found.lm_head.weight.shape[0] == 9
    np.testing.assert_array_equal(found(ids)[0].detach(), model(ids)[0][..., :9].detach())
    model.save_pretrained(tmp_path, Words("char"), vocab_size=10, overwrite=True)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["vocab_size"], config["eos_token_id"]) == (10, 8)
    model.save_pretrained(
        tmp_path, SimpleNamespace(vocab_size=3), overwrite=True
    )  # one of your own
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] is None


def test_only_byte_level_bpe_is_written_where_transformers_would_read_it(tmp_path):
    small().save_pretrained(tmp_path, Words("char"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("options", "range"),
    [
        ({"vocab_size": 12}, "1..11"),
        ({"vocab_size": 0}, "1..11"),
        ({"vocab_size": 3.0}, "1..11"),
        ({"vocab_size": True}, "1..11"),
        ({"vocab_size": 8, "tokenizer": Words()}, "9..11"),
        ({"tokenizer": SimpleNamespace(vocab_size=12)}, "12..11"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(options, range, tmp_path):
    with pytest.raises(ValueError, match=rf"\[save_pretrained\] vocab_size must be in {range}"):
        small().save_pretrained(tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("tokenizer", [None, Words()])
@pytest.mark.parametrize(
    "name",
    ["config.json", "hparams.json", "model.safetensors", "tokenizer.json", "vocab.json",
     "merges.txt"],
)  # fmt: skip
def test_files_that_are_there_are_not_replaced_unless_asked(name, tokenizer, tmp_path):
    (tmp_path / name).write_text("{}")
    with pytest.raises(FileExistsError, match=f"got {name}; overwrite=True replaces them"):
        small().save_pretrained(tmp_path, tokenizer)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    small().save_pretrained(tmp_path, Words(), overwrite=True)
    small(n_layer=1).save_pretrained(tmp_path, overwrite=True)
    assert_same(GPT.from_pretrained(tmp_path), small(n_layer=1))


@pytest.mark.parametrize(
    ("tokenizer", "kept"), [(None, []), (Words("char"), []), (Words(), ["tokenizer.json"])]
)
def test_another_models_tokenizer_goes_with_it(tokenizer, kept, tmp_path):
    small().save_pretrained(tmp_path)
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "hparams.json", "notes.txt"):
        (tmp_path / name).write_text("another model's")
    small().save_pretrained(tmp_path, tokenizer, overwrite=True)
    names = ["config.json", "model.safetensors", "notes.txt", *kept]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert not kept or (tmp_path / "tokenizer.json").read_text() == "the tokenizer"


def test_killed_while_replacing_a_model_it_is_the_old_one_or_none(folder, monkeypatch):
    """Killed after each change of the folder in turn. The shapes of both models agree: new weights
    under the old config.json would be read, and compute something else."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    new = small(n_head=3, activation="relu")
    new.transformer.wte.weight.data *= 2
    tokenizer = Words()
    tokenizer.vocab_size = 11

    class Killed(BaseException):
        pass

    def killed_at(count):
        left = iter(range(count))

        def dying(change):
            def changed(path, *args, **options):
                if "probe" not in str(path) and next(left, None) is None:
                    raise Killed  # what follows it in this process does nothing, either
                return change(path, *args, **options)

            return changed

        monkeypatch.setattr(os, "replace", dying(os.replace))
        monkeypatch.setattr(Path, "unlink", dying(Path.unlink))
        try:
            new.save_pretrained(folder, tokenizer, overwrite=True)
        except Killed:
            return True
        finally:
            monkeypatch.undo()
        return False

    seen, count = [], 0
    while killed_at(count):
        count += 1
        try:
            found = GPT.from_pretrained(folder)
        except FileNotFoundError as error:
            assert "must hold config.json" in str(error)
            seen.append("none")
        else:
            old = found.config.activation == "gelu"
            assert_same(found, small() if old else new)
            seen.append("old" if old else "new")
        for path in folder.iterdir():
            path.unlink()
        for name, content in before.items():
            (folder / name).write_bytes(content)
    assert seen[0] == "old" and "none" in seen and seen == sorted(seen, key="old none new".find)
    assert_same(GPT.from_pretrained(folder), new)


def test_what_a_killed_process_left_goes(folder):
    for name in (".model.safetensors.0a.tmp", "..config.json.0a.tmp.1b.tmp", ".mine.tmp"):
        (folder / name).write_text("half")
    small().save_pretrained(folder, overwrite=True)
    names = [".mine.tmp", "config.json", "model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_a_model_in_shards_is_replaced_by_one_file(folder):
    arrays, _ = load_safetensors(folder / "model.safetensors")
    split_into_shards(folder, arrays, 2)
    (folder / "config.json").unlink()
    with pytest.raises(FileExistsError, match="got model.safetensors.index.json; overwrite=True"):
        small().save_pretrained(folder)
    small(n_layer=1).save_pretrained(folder, overwrite=True)
    assert_same(GPT.from_pretrained(folder), small(n_layer=1))
    assert not (folder / "model.safetensors.index.json").exists()


def test_a_crash_leaves_whole_files(folder, monkeypatch):
    before = (folder / "config.json").read_bytes()

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinygrad_lm.saving.files.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        small(n_layer=1).save_pretrained(folder, overwrite=True)
    assert (folder / "config.json").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert_same(GPT.from_pretrained(folder), small())


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    """As in the cache of the hub's library."""
    (tmp_path / "blob").write_text("theirs")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").symlink_to(tmp_path / "blob")
    with pytest.raises(FileExistsError):
        small().save_pretrained(tmp_path / "model")
    small().save_pretrained(tmp_path / "model", overwrite=True)
    assert (tmp_path / "blob").read_text() == "theirs"
    assert_same(GPT.from_pretrained(tmp_path / "model"), small())


def test_what_was_added_to_a_model_is_not_lost_without_a_word(tmp_path):
    model = small()
    add_lora(model, 2)
    with pytest.raises(
        ValueError, match=r"GPT-2's parameters .* in transformer.*\.lora_A.*; merge"
    ):
        model.save_pretrained(tmp_path / "x")
    assert not (tmp_path / "x").exists()
    merge_lora(model)
    model.save_pretrained(tmp_path / "x")
    assert_same(GPT.from_pretrained(tmp_path / "x"), model)


def test_load_gpt_takes_such_a_folder_with_its_tokenizer(tmp_path):
    model = small(vocab_size=256)
    model.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="tokenizer"):
        load_gpt(tmp_path)
    ByteTokenizer().save(tmp_path / "tokenizer.json")
    again, tokenizer = load_gpt(tmp_path, dropout=0.1)
    assert again.config.dropout == 0.1 and tokenizer == ByteTokenizer()
    assert_same(load_gpt(tmp_path)[0], model)
    ByteTokenizer(["<|endoftext|>"]).save(tmp_path / "tokenizer.json")
    with pytest.raises(ValueError, match="at most 256 tokens, as the model, got 257"):
        load_gpt(tmp_path)


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"\[check_writable\] the folder must be writable"):
        small().save_pretrained(tmp_path / "file")


@pytest.mark.parametrize("place", ["", "\0", "a\0b"])
def test_a_place_that_is_none(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"\[save_pretrained\] it must be a folder's path, got"):
        small().save_pretrained(place)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["a" * 300, "a/" * 3000])
def test_a_place_with_too_long_a_name(place, tmp_path):
    with pytest.raises(OSError, match=r"\[check_writable\] the folder must be writable, got"):
        small().save_pretrained(tmp_path / place)
