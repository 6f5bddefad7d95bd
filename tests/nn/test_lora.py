"""LoRA: what the layers compute and learn, by formulas in NumPy; that nothing else is touched; the
files, name by name; and what is refused, before anything is changed."""

import json
import shutil

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.models import lora
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.models.lora import add_lora, load_lora, lora_state, merge_lora, save_lora
from tinygrad_lm.nn import functional as F
from tinygrad_lm.saving.files import load_safetensors, save_safetensors

SHAPE = {"block_size": 16, "vocab_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 8}
TEXT = "a quick brown fox"
BOTH = ("c_attn", "mlp.c_proj")


def small(seed=0, **changes):
    tg.manual_seed(seed)
    return GPT(GPTConfig(**{**SHAPE, **changes}))


def ids(*shape):
    return tg.tensor(np.random.default_rng(0).integers(0, 16, shape))


def logits(model):
    model.eval()
    with tg.no_grad():
        found = model(ids(2, 9), ids(2, 9))[0].float().tolist()
    model.train()
    return found


def learned(seed=0, **settings):
    """A model with LoRA whose B is no longer zero."""
    model = small(seed)
    add_lora(model, **{"rank": 3, "targets": BOTH, **settings})
    for name, p in model.named_parameters():
        if name.endswith("lora_B"):
            nn.init.normal_(p, std=0.5)
    return model


# ---------------------------------------------------------------- what a layer computes


def test_a_model_is_unchanged_at_first():
    model = small()
    before, names = logits(model), [*model.state_dict()]
    add_lora(model, rank=3, targets=BOTH)
    assert logits(model) == before
    new = {name: tuple(x.shape) for name, x in model.state_dict().items() if name not in names}
    assert [name for name in model.state_dict() if name in names] == names
    block = {
        "attn.c_attn.lora_A": (3, 8),
        "attn.c_attn.lora_B": (24, 3),
        "mlp.c_proj.lora_A": (3, 32),
        "mlp.c_proj.lora_B": (8, 3),
    }
    assert new == {f"transformer.h.{i}.{n}": shape for i in (0, 1) for n, shape in block.items()}
    assert lora_state(model).keys() == new.keys()


def test_a_starts_within_its_bound_and_b_at_zero():
    layer = nn.Sequential(nn.Linear(400, 5))
    add_lora(layer, rank=50, targets=["0"])
    A, B = (x.cpu().numpy() for x in lora_state(layer).values())
    assert 0.99 / 20 < np.abs(A).max() <= 1 / 20 and abs(A.mean()) < 1e-3 and not B.any()
    assert A.std() == pytest.approx(1 / 20 / 3**0.5, rel=0.02)  # of a uniform distribution


def layer_in_float64(**settings):
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4)).double()
    add_lora(model, rank=2, alpha=3.0, targets=["0"], **settings)
    nn.init.normal_(model[0].lora_B)
    return model[0]


def test_the_formula_and_its_gradients():
    """y = x (W + s B A)^T + b, so with G = dy: dA = s B^T G^T x, dB = s G^T x A^T."""
    layer, s = layer_in_float64(), 3.0 / 2
    x, G = tg.randn(7, 5, dtype=tg.float64, requires_grad=True), tg.randn(7, 4, dtype=tg.float64)
    y = layer(x)
    y.backward(G)
    W, b, A, B, X = (t.detach().cpu().numpy() for t in (*layer.parameters(), x))
    g = G.cpu().numpy()
    np.testing.assert_allclose(y.detach().cpu().numpy(), X @ (W + s * B @ A).T + b, 1e-12)
    np.testing.assert_allclose(layer.lora_A.grad.cpu().numpy(), s * B.T @ g.T @ X, 1e-12)
    np.testing.assert_allclose(layer.lora_B.grad.cpu().numpy(), s * g.T @ X @ A.T, 1e-12)
    np.testing.assert_allclose(x.grad.cpu().numpy(), g @ (W + s * B @ A), 1e-12)
    assert tg.gradcheck(lambda x, *_: layer(x), [x, layer.lora_A, layer.lora_B])


def test_dropout_is_for_the_input_of_a_alone():
    layer = layer_in_float64(dropout=0.5)
    x = tg.randn(7, 5, dtype=tg.float64)
    W, b, A, B = (p.detach() for p in layer.parameters())
    whole = F.linear(x, W, b)
    tg.manual_seed(1)
    y = layer(x)
    tg.manual_seed(1)
    want = whole + F.dropout(x, 0.5) @ A.T @ B.T * 1.5
    np.testing.assert_allclose(y.tolist(), want.tolist(), 1e-12)
    layer.eval()
    np.testing.assert_allclose(layer(x).tolist(), (whole + x @ A.T @ B.T * 1.5).tolist(), 1e-12)


# ---------------------------------------------------------------- training


def train(model, steps=30, text=TEXT):
    """Losses over a text that is learned by heart, and the optimiser."""
    letters = sorted({*text})
    text = tg.tensor([[letters.index(c) for c in text]])
    optimizer = model.configure_optimizers(0.0, 3e-2, (0.9, 0.99))
    losses = []
    for _ in range(steps):
        loss = model(text[:, :-1].contiguous(), text[:, 1:].contiguous())[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, optimizer


def test_only_a_and_b_learn():
    model = small()
    train(model, text=TEXT[::-1])
    model.zero_grad()
    before = {name: x.tolist() for name, x in model.state_dict().items()}
    add_lora(model, rank=4, targets=("c_attn", "c_fc", "c_proj"))
    losses, optimizer = train(model)
    assert losses[-1] < losses[0] / 2
    after = {name: x.tolist() for name, x in model.state_dict().items()}
    assert all(after[name] == value for name, value in before.items())
    trained = {n for n, p in model.named_parameters() if p.grad is not None}
    assert trained == {*lora_state(model)} == after.keys() - before.keys()
    assert (
        len(optimizer.state)
        == len(trained)
        == sum(len(group["params"]) for group in optimizer.param_groups)
    )


def test_with_checkpointing_it_learns_the_same():
    runs = []
    for again in (False, True):
        model = small(dropout=0.1)
        add_lora(model, rank=2, targets=BOTH, dropout=0.2)
        model.gradient_checkpointing = again
        runs.append(train(model, 5)[0])
    assert runs[0] == runs[1]


def test_in_16_bits():
    model = learned().bfloat16()
    assert {p.dtype for p in model.parameters()} == {tg.bfloat16}
    losses, _ = train(model, 10)
    assert losses[-1] < losses[0]
    near = np.array(logits(model))
    np.testing.assert_allclose(np.array(logits(model.float())), near, atol=0.05)


def test_text_is_written_with_a_cache_as_without():
    model = learned().eval()
    start = ids(1, 3)
    tokens = model.generate(start, 8, greedy=True).tolist()[0]
    for end in range(3, 11):
        assert model(tg.tensor([tokens[:end]]))[0].argmax().item() == tokens[end]


# ---------------------------------------------------------------- merging


def test_merged_it_computes_the_same():
    model = learned()
    layer, names = model.transformer.h[0].attn.c_attn, [*small().state_dict()]
    before = logits(model)
    merge_lora(model)
    np.testing.assert_allclose(logits(model), before, atol=1e-6)
    assert np.abs(np.array(before) - logits(small())).max() > 0.01
    assert [*model.state_dict()] == names and type(layer) is nn.Linear
    assert model.transformer.h[0].attn.c_attn is layer and repr(model) == repr(small())
    assert all(p.requires_grad for p in model.parameters())
    add_lora(model)  # and again


def test_what_was_frozen_before_stays_so():
    model = small()
    model.transformer.wpe.requires_grad_(False)
    add_lora(model)
    merge_lora(model)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["transformer.wpe.weight"]


def test_16_bit_weights_are_rounded_once():
    layer = nn.Sequential(nn.Linear(64, 64, bias=False)).bfloat16()
    add_lora(layer, rank=1, alpha=1.0, targets=["0"])
    for p in layer.parameters():
        nn.init.normal_(p)
    W, A, B = (p.detach().float().cpu().numpy() for p in layer.parameters())
    merge_lora(layer)
    assert layer[0].weight.float().tolist() == tg.tensor(W + B @ A).bfloat16().float().tolist()


# ---------------------------------------------------------------- files


def test_a_round_trip(tmp_path):
    model = learned(alpha=5.5, dropout=0.25)
    save_lora(model, tmp_path / "new" / "folder")
    plain, stream = small(), tg.rand(1).item()
    small()
    load_lora(plain, tmp_path / "new" / "folder")
    assert tg.rand(1).item() == stream  # nothing was drawn
    assert logits(plain) == logits(model)
    assert plain.transformer.h[0].attn.c_attn.lora == model.transformer.h[0].attn.c_attn.lora
    assert [p.requires_grad for p in plain.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]
    other = small()
    add_lora(other, rank=3, alpha=5.5, targets=("attn.c_attn", "mlp.c_proj"))  # the same layers
    parameters = [*other.parameters()]
    load_lora(other, tmp_path / "new" / "folder")
    assert logits(other) == logits(model)
    assert all(p is q for p, q in zip(parameters, other.parameters(), strict=True))
    plain.load_state_dict(lora_state(other), strict=False)


def test_the_files_are_pefts(tmp_path):
    save_lora(learned().bfloat16(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [lora.CONFIG, lora.WEIGHTS]
    arrays, metadata = load_safetensors(tmp_path / lora.WEIGHTS)
    name = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
    assert len(arrays) == 8 and arrays[name].shape == (3, 8) and metadata["format"] == "pt"
    assert arrays[name].dtype.name == "bfloat16"
    assert json.loads((tmp_path / lora.CONFIG).read_text()) == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": 3,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "target_modules": [*BOTH],
        "fan_in_fan_out": True,
        "bias": "none",
        "inference_mode": True,
    }


def as_peft_writes(folder, **changes):
    """The folder without what PEFT does not write, and with other settings."""
    arrays, _ = load_safetensors(folder / lora.WEIGHTS)
    save_safetensors(folder / lora.WEIGHTS, arrays, {"format": "pt"})
    said = json.loads((folder / lora.CONFIG).read_text())
    (folder / lora.CONFIG).write_text(json.dumps({**said, **changes}))
    return arrays


def test_pefts_own_files_are_read(tmp_path):
    model = learned()
    save_lora(model, tmp_path)
    as_peft_writes(tmp_path, use_rslora=False, alpha_pattern={}, peft_version="0.21.2")
    load_lora(plain := small(), tmp_path)
    assert logits(plain) == logits(model)


def test_a_save_that_is_cut_short_leaves_one_whole_adapter(tmp_path, monkeypatch):
    old, new = learned(alpha=1.0), learned(alpha=2.0)
    save_lora(old, tmp_path)
    shutil.copy(tmp_path / lora.CONFIG, tmp_path / "old.json")

    def full(*args):
        raise OSError("[save_safetensors] no space")

    with monkeypatch.context() as patch:
        patch.setattr(lora, "save_safetensors", full)
        with pytest.raises(OSError, match="no space"):
            save_lora(new, tmp_path)
    load_lora(plain := small(), tmp_path)
    assert logits(plain) == logits(old) and len([*tmp_path.iterdir()]) == 3
    assert (tmp_path / lora.CONFIG).read_text() == (tmp_path / "old.json").read_text()
    save_lora(new, tmp_path)
    (tmp_path / "old.json").replace(tmp_path / lora.CONFIG)  # killed between the two renames
    load_lora(plain := small(), tmp_path)
    assert logits(plain) == logits(new) != logits(old)


# ---------------------------------------------------------------- refused

ADDED = [
    ({"rank": 0}, ValueError, r"rank must be a whole number >= 1, got 0"),
    ({"rank": 2.0}, ValueError, r"rank must be a whole number >= 1, got 2\.0"),
    ({"rank": True}, ValueError, r"rank must be"),
    ({"alpha": 0}, ValueError, r"alpha must be a number above 0, got 0"),
    ({"alpha": float("nan")}, ValueError, r"alpha must be"),
    ({"dropout": 1.0}, ValueError, r"dropout must be in \[0, 1\), got 1\.0"),
    ({"dropout": "no"}, ValueError, r"dropout must be"),
    ({"targets": "c_attn"}, TypeError, r"targets must be a list of names, got the text"),
    ({"targets": ()}, ValueError, r"targets must be names"),
    ({"targets": [1]}, ValueError, r"targets must be names"),
    ({"targets": ["c_attn", "q_proj"]}, ValueError, r"got 'q_proj'; one of c_attn, c_fc, c_proj"),
    ({"targets": ["attn"]}, ValueError, r"every target must be the name of a linear layer"),
    ({"targets": ["roj"]}, ValueError, r"every target must be the name of a linear layer"),
    ({"targets": ["wte"]}, ValueError, r"every target must be the name of a linear layer"),
    ({"targets": ["lm_head"]}, ValueError, r"must belong to it alone, got lm_head\.weight"),
]


@pytest.mark.parametrize(("settings", "kind", "message"), ADDED)
def test_refused_before_anything_is_changed(settings, kind, message):
    model = small()
    with pytest.raises(kind, match=r"^\[lora\] .*" + message):
        add_lora(model, **settings)
    assert repr(model) == repr(small()) and all(p.requires_grad for p in model.parameters())


def test_a_second_time_and_without():
    model = learned()
    with pytest.raises(ValueError, match=r"^\[lora\] the model must have no LoRA yet"):
        add_lora(model, targets=("c_fc",))
    for op in (merge_lora, lora_state, lambda m: save_lora(m, "nowhere")):
        with pytest.raises(ValueError, match=r"must have LoRA, got one without"):
            op(small())


def damage(change):
    def act(folder):
        arrays = as_peft_writes(folder)
        change(arrays, next(name for name in arrays if "lora_A" in name))
        save_safetensors(folder / lora.WEIGHTS, arrays)

    return act


def changed(**settings):
    return lambda folder: as_peft_writes(folder, **settings)


DAMAGED = [
    (lambda folder: (folder / lora.WEIGHTS).unlink(), r"must be a folder with adapter_model"),
    (lambda f: (as_peft_writes(f), (f / lora.CONFIG).unlink()), r"must hold adapter_config.json"),
    (lambda f: (as_peft_writes(f), (f / lora.CONFIG).write_text("{")), r"must describe a LoRA"),
    (lambda f: (as_peft_writes(f), (f / lora.CONFIG).write_text("[]")), r"must describe a LoRA"),
    (lambda f: (as_peft_writes(f), (f / lora.CONFIG).write_text("{}")), r"got no 'peft_type'"),
    (changed(peft_type="IA3"), r"got the peft_type 'IA3'"),
    (changed(use_rslora=True), r"use_rslora = True, which is not supported"),
    (changed(alpha_pattern={"c_attn": 2}), r"alpha_pattern = .* is not supported"),
    (changed(target_modules=["c_attn"]), r"mlp.c_proj.lora_A .* shape none, got .*other targets"),
    (changed(target_modules=["q_proj"]), r"every target must be .* got 'q_proj'"),
    (changed(r=4), r"lora_A in .* must have the shape \(4, 8\), got \(3, 8\)"),
    (changed(r="x"), r"rank must be a whole number"),
    (lambda f: (f / lora.WEIGHTS).write_bytes(b"x"), r"must be a whole safetensors file"),
    (damage(lambda arrays, name: arrays.pop(name)), r"must have the shape \(3, 8\), got none"),
    (damage(lambda arrays, name: arrays[name].fill(np.nan)), r"must be finite, got others"),
    (
        damage(lambda arrays, name: arrays.update({name: arrays[name].astype(np.int64)})),
        r"must be floats, got int64",
    ),
]


@pytest.mark.parametrize(("act", "message"), DAMAGED)
def test_a_damaged_adapter_changes_nothing(act, message, tmp_path):
    save_lora(learned(), tmp_path)
    act(tmp_path)
    plain = small()
    with pytest.raises((ValueError, FileNotFoundError), match=r"^\[\w+\] .*" + message):
        load_lora(plain, tmp_path)
    assert repr(plain) == repr(small()) and all(p.requires_grad for p in plain.parameters())


def test_nor_does_it_where_lora_is(tmp_path):
    save_lora(learned(), tmp_path)
    damage(lambda arrays, name: arrays[max(arrays)].fill(np.nan))(tmp_path)
    model = learned(seed=1)
    before = logits(model)
    with pytest.raises(ValueError, match=r"must be finite"):
        load_lora(model, tmp_path)
    assert logits(model) == before


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: small(n_embd=16), r"must have the shape \(3, 16\), got \(3, 8\); .*another model"),
        (lambda: small(n_layer=1), r"h\.1\..* must have the shape none, got \(3, 8\)"),
        (lambda: small(n_layer=3), r"h\.2\..* must have the shape \(3, 8\), got none"),
        (lambda: nn.Sequential(nn.Linear(2, 2)), r"every target must be .*; one of 0\?"),
        (lambda: learned(rank=2), r"the model's rank 2, got 3"),
        (lambda: learned(alpha=2.0), r"the model's alpha 2\.0, got 16"),
        (lambda: learned(targets=("c_fc",)), r"must have the shape none, got .*other targets"),
    ],
)
def test_an_adapter_of_another_model_is_refused(model, message, tmp_path):
    save_lora(learned(), tmp_path)
    with pytest.raises(ValueError, match=r"^\[\w+\] .*" + message):
        load_lora(model(), tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^\[check_writable\] the folder must be writable"):
        save_lora(learned(), tmp_path / "file")
