"""GPT-2's files beside transformers: models of five shapes that either makes and the other reads
compute the same, learn the same and write the same. The shapes and what is compared are those of
`benchmarks/parity_gpt2.py`, which prints the differences."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.saving.files import load_safetensors

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import parity_gpt2 as parity  # noqa: E402

BOTH = (parity.INTO, parity.OUT)


@pytest.fixture(autouse=True, scope="module")
def quiet():
    parity.quiet()


@pytest.fixture(params=list(parity.SHAPES.values()), ids=list(parity.SHAPES))
def shape(request):
    return request.param


@pytest.mark.parametrize("direction", BOTH)
def test_logits_and_gradients(shape, direction, tmp_path):
    ours, theirs = parity.both(shape, direction, tmp_path)
    x, y = parity.batch(shape)
    logits, loss = ours(tg.tensor(x), tg.tensor(y))
    their_logits, their_loss = parity.their_loss(theirs, x, y)
    np.testing.assert_allclose(
        logits.detach().numpy(), their_logits.detach().numpy(), rtol=0, atol=1e-4
    )
    assert np.ptp(logits.detach().numpy()) > 1  # it is no model that says the same of everything
    loss.backward()
    their_loss.backward()
    for name, mine, other in parity.gradients(ours, theirs):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5, err_msg=name)
        assert np.abs(mine).max() > 1e-4
    last = ours(tg.tensor(x))[0][:, 0].detach().numpy()
    np.testing.assert_allclose(last, their_logits[:, -1].detach().numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("direction", BOTH)
def test_text_and_perplexity(shape, direction, tmp_path):
    ours, theirs = parity.both(shape, direction, tmp_path)
    mine, other = parity.continuations(ours, theirs, shape)
    assert mine == other and len(mine[0]) == shape["block_size"]
    mine, other = parity.text_perplexities(ours, theirs, shape)
    assert mine == pytest.approx(other, rel=1e-5)


def test_ten_steps_of_adamw(shape, tmp_path):
    mine, other = parity.losses(*parity.both(shape, parity.INTO, tmp_path), shape)
    np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4)
    assert mine[0] - mine[-1] > 0.1


def test_their_file_comes_back_bit_for_bit(shape, tmp_path):
    ours, _ = parity.both(shape, parity.INTO, tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    theirs, metadata = load_safetensors(tmp_path / "theirs" / "model.safetensors")
    mine, metadata_too = load_safetensors(tmp_path / "ours" / "model.safetensors")
    assert mine.keys() == theirs.keys() and metadata == metadata_too == {"format": "pt"}
    for name, array in theirs.items():
        assert mine[name].tobytes() == array.tobytes() and mine[name].shape == array.shape, name
    given, written = (
        json.loads((tmp_path / who / "config.json").read_text()) for who in ("theirs", "ours")
    )
    for name in written.keys() - {"n_ctx", "tie_word_embeddings", "architectures"}:
        assert written[name] == given[name], name


def test_shards_and_16_bits_of_transformers(tmp_path):
    theirs = parity.made_by_transformers(parity.SHAPES["GPT-2's own settings"]).bfloat16()
    theirs.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    ours = GPT.from_pretrained(tmp_path)
    other = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        want = other[name].detach().float().numpy()
        want = want.T if parity.is_matrix(name) else want
        np.testing.assert_array_equal(p.detach().numpy(), want, name)


def test_a_model_without_biases_is_the_same_in_transformers(tmp_path):
    config = GPTConfig(block_size=8, vocab_size=13, n_layer=2, n_head=2, n_embd=8, bias=False)
    ours = GPT(config)
    ours.save_pretrained(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    x = np.random.default_rng(0).integers(0, 13, (2, 8))
    mine = ours(tg.tensor(x), tg.tensor(x))[0].detach().numpy()
    with torch.no_grad():
        want = theirs(torch.tensor(x)).logits.numpy()
    np.testing.assert_allclose(mine, want, rtol=0, atol=1e-5)


def test_a_padded_vocabulary_and_the_ids_of_a_tokenizer(tmp_path):
    class Tokenizer:
        kind, vocab_size, special = "byte", 11, {"<|endoftext|>": 10}

    ours = GPT(GPTConfig(block_size=8, vocab_size=16, n_layer=1, n_head=1, n_embd=8))
    ours.save_pretrained(tmp_path, Tokenizer())
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert theirs.config.vocab_size == 11 and theirs.lm_head.weight.shape == (11, 8)
    assert theirs.config.eos_token_id == theirs.config.bos_token_id == 10
    with torch.no_grad():
        want = theirs(torch.tensor([[1, 2, 3]])).logits[:, -1].numpy()
    mine = ours(tg.tensor([[1, 2, 3]]))[0][:, -1, :11].detach().numpy()
    np.testing.assert_allclose(mine, want, rtol=0, atol=1e-5)
