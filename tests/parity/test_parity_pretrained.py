"""GPT-2's files beside transformers: models of five shapes that either makes and the other reads
compute the same, learn the same and write the same."""

import json
import math

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.models.gpt2_files import is_matrix
from tinygrad_lm.saving.files import load_safetensors

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHAPES = {
    "GPT-2's own settings": {
        "block_size": 24, "vocab_size": 257, "n_layer": 3, "n_head": 4, "n_embd": 64,
        "activation": "gelu_new",
    },
    "an exact GELU, an odd vocabulary": {
        "block_size": 16, "vocab_size": 97, "n_layer": 2, "n_head": 2, "n_embd": 32,
        "activation": "gelu",
    },
    "ReLU, an MLP of 1.5 widths": {
        "block_size": 20, "vocab_size": 53, "n_layer": 2, "n_head": 3, "n_embd": 24,
        "activation": "relu", "n_inner": 36,
    },
    "SiLU, five heads, an epsilon of 0.01": {
        "block_size": 12, "vocab_size": 31, "n_layer": 4, "n_head": 5, "n_embd": 20,
        "activation": "silu", "layer_norm_epsilon": 1e-2,
    },
    "one head, an MLP of one width": {
        "block_size": 7, "vocab_size": 11, "n_layer": 1, "n_head": 1, "n_embd": 10,
        "activation": "gelu_new", "n_inner": 10, "layer_norm_epsilon": 1e-12,
    },
}  # fmt: skip
INTO, OUT = "theirs, read by us", "ours, read by them"
STEPS, RATE, BATCH = 10, 1e-2, 3


def made_by_transformers(shape):
    """Their model, of the weights that they begin with, each a little changed: none is 0 or 1."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=shape["vocab_size"],
        n_positions=shape["block_size"],
        **{name: shape[name] for name in ("n_layer", "n_head", "n_embd")},
        n_inner=shape.get("n_inner"),
        activation_function=shape["activation"],
        layer_norm_epsilon=shape.get("layer_norm_epsilon", 1e-5),
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        **dict.fromkeys(("bos_token_id", "eos_token_id")),
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p) / 5
    return model


def made_by_us(shape):
    tg.manual_seed(0)
    model = GPT(GPTConfig(**shape))
    with tg.no_grad():
        for p in model.parameters():
            p += tg.randn_like(p) / 5
    return model


def both(shape, direction, folder):
    """Our model and theirs, with the same weights."""
    if direction == INTO:
        theirs = made_by_transformers(shape)
        theirs.save_pretrained(folder)
        return GPT.from_pretrained(folder), theirs
    ours = made_by_us(shape)
    ours.save_pretrained(folder)
    return ours, transformers.GPT2LMHeadModel.from_pretrained(folder).eval()


def batch(shape):
    """Inputs and targets (B, T), T = block_size."""
    size = (BATCH, shape["block_size"] + 1)
    ids = np.random.default_rng(0).integers(0, shape["vocab_size"], size)
    return ids[:, :-1], ids[:, 1:]


def their_loss(model, x, y):
    logits = model(torch.tensor(x)).logits
    return logits, torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.tensor(y).flatten()
    )


def gradients(ours, theirs):
    """Of every tensor, by name: ours, and theirs in our orientation."""
    other = dict(theirs.named_parameters())
    mine = dict(ours.named_parameters())
    assert mine.keys() == other.keys()
    for name, p in mine.items():
        theirs_too = other[name].grad.numpy()
        yield name, p.grad.numpy(), theirs_too.T if is_matrix(name) else theirs_too


def text_perplexities(ours, theirs, shape):
    """Of ids that follow one another by a rule, in windows of block_size."""
    T, V = shape["block_size"], shape["vocab_size"]
    ids = np.cumsum(np.arange(5 * T + 3) % 7) % V
    nats = [0.0, 0.0]
    with torch.no_grad(), tg.no_grad():
        for a in range(0, len(ids) - 1, T):
            x, y = ids[None, a : a + T][:, : len(ids) - 1 - a], ids[None, a + 1 : a + T + 1]
            nats[0] += ours(tg.tensor(x), tg.tensor(y))[1].item() * y.size
            nats[1] += their_loss(theirs, x, y)[1].item() * y.size
    mine, other = (math.exp(total / (len(ids) - 1)) for total in nats)
    return mine, other


def continuations(ours, theirs, shape):
    """What each writes after three prompts of two tokens, up to the longest context."""
    start, more = batch(shape)[0][:, :2], shape["block_size"] - 2
    written = theirs.generate(
        torch.tensor(start),
        attention_mask=torch.ones(start.shape),
        do_sample=False,
        max_new_tokens=more,
        pad_token_id=0,
    )
    return ours.generate(tg.tensor(start), more, greedy=True).tolist(), written.tolist()


def losses(ours, theirs, shape):
    """Of ten steps of AdamW on one batch; both models are others afterwards."""
    x, y = batch(shape)
    found = ([], [])
    mine = tg.optim.AdamW(ours.parameters(), lr=RATE)
    other = torch.optim.AdamW(theirs.parameters(), lr=RATE)
    for _ in range(STEPS):
        steps = (
            (mine, ours(tg.tensor(x), tg.tensor(y))[1], found[0]),
            (other, their_loss(theirs, x, y)[1], found[1]),
        )
        for optimizer, loss, kept in steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            kept.append(loss.item())
    return found


@pytest.fixture(autouse=True, scope="module")
def quiet():
    """No progress bars from transformers."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


@pytest.fixture(params=list(SHAPES.values()), ids=list(SHAPES))
def shape(request):
    return request.param


@pytest.mark.parametrize("direction", (INTO, OUT))
def test_logits_and_gradients(shape, direction, tmp_path):
    ours, theirs = both(shape, direction, tmp_path)
    x, y = batch(shape)
    logits, loss = ours(tg.tensor(x), tg.tensor(y))
    wanted, other_loss = their_loss(theirs, x, y)
    np.testing.assert_allclose(logits.detach().numpy(), wanted.detach().numpy(), rtol=0, atol=1e-4)
    assert np.ptp(logits.detach().numpy()) > 1  # it is no model that says the same of everything
    loss.backward()
    other_loss.backward()
    for name, mine, other in gradients(ours, theirs):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5, err_msg=name)
        assert np.abs(mine).max() > 1e-4
    last = ours(tg.tensor(x))[0][:, 0].detach().numpy()
    np.testing.assert_allclose(last, wanted[:, -1].detach().numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("direction", (INTO, OUT))
def test_text_and_perplexity(shape, direction, tmp_path):
    ours, theirs = both(shape, direction, tmp_path)
    mine, other = continuations(ours, theirs, shape)
    assert mine == other and len(mine[0]) == shape["block_size"]
    mine, other = text_perplexities(ours, theirs, shape)
    assert mine == pytest.approx(other, rel=1e-5)


def test_ten_steps_of_adamw(shape, tmp_path):
    mine, other = losses(*both(shape, INTO, tmp_path), shape)
    np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4)
    assert mine[0] - mine[-1] > 0.1


def test_their_file_comes_back_bit_for_bit(shape, tmp_path):
    ours, _ = both(shape, INTO, tmp_path / "theirs")
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
    theirs = made_by_transformers(SHAPES["GPT-2's own settings"]).bfloat16()
    theirs.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    ours = GPT.from_pretrained(tmp_path)
    other = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        want = other[name].detach().float().numpy()
        want = want.T if is_matrix(name) else want
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
