"""The GPT by itself: its size by arithmetic, causality, tying, what decays, what it refuses.

That it computes what PyTorch does is in `parity/test_parity_gpt.py`; nothing here needs PyTorch.
"""

import math
import re

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.models.gpt import GPT, GPTConfig

SMALL = {"block_size": 8, "vocab_size": 11, "n_layer": 2, "n_head": 2, "n_embd": 8}


def small(**changes):
    return GPT(GPTConfig(**{**SMALL, **changes}))


def ids(*shape, seed=0, vocab=11):
    return tg.tensor(np.random.default_rng(seed).integers(0, vocab, shape))


def size(V, T, L, C, bias):
    """Parameters by arithmetic: embeddings, 12 C^2 and biases and norms per block, last norm."""
    return V * C + T * C + L * (12 * C * C + (13 if bias else 2) * C) + (2 if bias else 1) * C


def test_the_arithmetic_gives_the_published_size_of_gpt2():
    assert size(50257, 1024, 12, 768, True) == 124_439_808


@pytest.mark.parametrize("bias", [True, False])
def test_the_number_of_parameters_follows_the_arithmetic(bias):
    model = small(bias=bias)
    assert model.get_num_params(non_embedding=False) == size(11, 8, 2, 8, bias)
    assert model.get_num_params() == size(11, 8, 2, 8, bias) - 8 * 8


def test_names_and_shapes_are_those_of_gpt2():
    shapes = {name: tuple(p.shape) for name, p in small(n_layer=1).named_parameters()}
    block = "transformer.h.0."
    assert shapes == {
        "transformer.wte.weight": (11, 8),
        "transformer.wpe.weight": (8, 8),
        block + "ln_1.weight": (8,),
        block + "ln_1.bias": (8,),
        block + "attn.c_attn.weight": (24, 8),
        block + "attn.c_attn.bias": (24,),
        block + "attn.c_proj.weight": (8, 8),
        block + "attn.c_proj.bias": (8,),
        block + "ln_2.weight": (8,),
        block + "ln_2.bias": (8,),
        block + "mlp.c_fc.weight": (32, 8),
        block + "mlp.c_fc.bias": (32,),
        block + "mlp.c_proj.weight": (8, 32),
        block + "mlp.c_proj.bias": (8,),
        "transformer.ln_f.weight": (8,),
        "transformer.ln_f.bias": (8,),
    }


def test_the_first_loss_is_that_of_knowing_nothing():
    model = small(vocab_size=65, n_embd=64)
    _, loss = model(ids(16, 8, vocab=65), ids(16, 8, seed=1, vocab=65))
    assert loss.item() == pytest.approx(math.log(65), abs=0.05)


def test_initial_spread():
    """0.02, and 0.02 / sqrt(2 n_layer) where a projection adds to the stream; biases zero."""
    for name, p in small(n_embd=64, n_layer=8, vocab_size=300).named_parameters():
        if p.dim() == 2:
            expected = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02
            assert p.std().item() == pytest.approx(expected, rel=0.1), name
        else:
            assert p.tolist() == [1.0 if name.endswith("weight") else 0.0] * len(p), name


def test_no_position_sees_what_comes_after_it():
    model, x = small(), ids(1, 8)
    before = model(x, x)[0].detach().numpy()
    for t in range(7):
        changed = x.numpy().copy()
        changed[0, t + 1] = (changed[0, t + 1] + 1) % 11
        after = model(tg.tensor(changed), x)[0].detach().numpy()
        assert np.array_equal(before[0, : t + 1], after[0, : t + 1])
        assert not np.array_equal(before[0, t + 1], after[0, t + 1])


def test_without_targets_only_the_last_position_is_computed():
    model, x = small(), ids(3, 5)
    full, (last, loss) = model(x, x)[0], model(x)
    assert last.shape == (3, 1, 11) and loss is None
    np.testing.assert_allclose(last[:, 0].detach().numpy(), full[:, -1].detach(), atol=1e-6)


def test_targets_of_minus_one_do_not_count():
    model, x = small(), ids(2, 8)
    y = ids(2, 8, seed=1).numpy().copy()
    y[:, 3:] = -1
    short = model(x[:, :3], tg.tensor(y[:, :3].copy()))[1].item()
    assert model(x, tg.tensor(y))[1].item() == pytest.approx(short, abs=1e-6)


def test_the_head_is_the_embedding():
    model, x = small(), ids(2, 8)
    assert model.lm_head.weight is model.transformer.wte.weight
    model(x, x)[1].backward()
    used = np.unique(x.numpy())
    unused = np.setdiff1d(np.arange(11), used)
    assert len(unused)  # rows that no input asks for: their gradient comes through the head alone
    assert np.abs(model.lm_head.weight.grad.numpy()[unused]).sum() > 0
    model.lm_head.weight.data = model.lm_head.weight.data * 0
    assert model(x)[0].abs().sum().item() == 0


def test_dropout_is_drawn_in_training_only():
    model, x = small(dropout=0.5), ids(2, 8)
    first, second = model(x)[0].tolist(), model(x)[0].tolist()
    assert first != second
    model.eval()
    stream = tg.default_generator.get_state()
    assert model(x)[0].tolist() == model(x)[0].tolist()
    assert np.array_equal(stream, tg.default_generator.get_state())


def test_a_shorter_context_gives_the_same_logits_and_still_learns():
    model, x = small(), ids(2, 4)
    before = model(x)[0].tolist()
    model.crop_block_size(4)
    assert model(x)[0].tolist() == before
    assert model.config.block_size == 4 and model.transformer.wpe.weight.shape == (4, 8)
    model(x, x)[1].backward()
    assert model.transformer.wpe.weight.grad.abs().sum().item() > 0
    with pytest.raises(ValueError, match=re.escape("1..4, got 8")):
        model.crop_block_size(8)


def test_a_config_belongs_to_one_model():
    config = GPTConfig(**SMALL)
    GPT(config).crop_block_size(2)
    assert config.block_size == 8


def test_decay_is_for_matrices_only():
    model = small()
    decayed, others = model.configure_optimizers(0.3, 1e-3, (0.9, 0.95), "cpu").param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert {p.dim() for p in decayed["params"]} == {2} and {p.dim() for p in others["params"]} == {
        1
    }
    count = sum(p.numel() for group in (decayed, others) for p in group["params"])
    assert count == model.get_num_params(False)
    model.transformer.wpe.weight.requires_grad_(False)
    groups = model.configure_optimizers(0.3, 1e-3, (0.9, 0.95)).param_groups
    assert count - sum(p.numel() for g in groups for p in g["params"]) == 64


@pytest.mark.parametrize(
    "shape, batch, gflop",
    [((4, 4, 128, 64), 12, 3.97), ((6, 6, 384, 256), 64, 1163)],  # the CPU and the baby GPT
)
def test_operations_per_step(shape, batch, gflop):
    layers, heads, width, block = shape
    config = GPTConfig(block, 65, layers, heads, width, bias=False)
    found = GPT(config).estimate_mfu(batch, dt=2.0, flops_promised=1e9)
    assert 2 * found == pytest.approx(gflop, rel=2e-3)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"n_head": 3}, "n_head must divide n_embd, got 3 and 8; try 2 heads, or 6 channels"),
        ({"n_head": 10**12}, "got 1000000000000 and 8; try 8 heads"),
        ({"n_layer": 0}, "n_layer must be a whole number >= 1, got 0"),
        ({"block_size": 8.0}, "block_size must be a whole number >= 1, got 8.0"),
        ({"vocab_size": None}, "vocab_size must be a whole number >= 1, got None"),
        ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0"),
        ({"dropout": -0.1}, "dropout must be in [0, 1), got -0.1"),
    ],
)
def test_numbers_that_make_no_model(changes, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        GPTConfig(**{**SMALL, **changes})


@pytest.mark.parametrize("shape", [(2, 9), (5,), (2, 0), (1, 2, 3)])
def test_contexts_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=re.escape(f"1 <= T <= 8, got {shape}")):
        small()(ids(*shape))


def test_targets_that_do_not_fit():
    model = small()
    idx = tg.zeros(2, 5, dtype=tg.int64)
    with pytest.raises(ValueError, match=re.escape("the shape of idx, (2, 5), got (2, 4)")):
        model(idx, idx[:, 1:])


def test_an_id_beyond_the_vocabulary_is_an_error():
    with pytest.raises(IndexError):
        repr(small()(tg.tensor([[11]])))  # a GPU tells of it at the next read
