"""GPT-2's weights in and out, beside transformers: the same logits, gradients, texts and losses,
for models of several shapes whose weights transformers has drawn."""

import json
import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinygrad_lm as tg
from tinygrad_lm.models import pretrained
from tinygrad_lm.models.gpt import GPT, GPTConfig

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHAPES = {
    "plain": {},
    "odd vocabulary": {"vocab_size": 101, "n_layer": 3},
    "narrow mlp, erf": {"n_inner": 40, "activation_function": "gelu"},
    "many heads, relu": {"n_head": 8, "n_embd": 64, "activation_function": "relu"},
    "large epsilon, silu": {"layer_norm_epsilon": 1e-2, "activation_function": "silu"},
}
B, T = 3, 16


@pytest.fixture(params=list(SHAPES), scope="module")
def both(request, tmp_path_factory):
    """(theirs, ours, the folder that theirs has written)."""
    shape = {"vocab_size": 96, "n_positions": T, "n_layer": 2, "n_head": 2, "n_embd": 32}
    shape |= SHAPES[request.param] | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = transformers.GPT2Config(**shape, bos_token_id=0, eos_token_id=0)
        theirs = transformers.GPT2LMHeadModel(config).eval()
        for p in theirs.parameters():  # its own are so small that all logits are nearly equal
            p.data += 0.2 * torch.randn(p.shape)
        folder = tmp_path_factory.mktemp("theirs")
        theirs.save_pretrained(folder)
    return theirs, GPT.from_pretrained(folder).eval(), folder


def ids(vocabulary, seed=0, shape=(B, T)):
    return np.random.default_rng(seed).integers(0, vocabulary, shape)


def test_logits_and_gradients(both):
    theirs, ours, _ = both
    x = ids(ours.config.vocab_size)
    want = theirs(torch.tensor(x), labels=torch.tensor(x))
    logits = ours(tg.tensor(x), tg.tensor(x))[0]
    np.testing.assert_allclose(logits.detach().numpy(), want.logits.detach().numpy(), atol=1e-4)
    y = np.concatenate([x[:, 1:], np.full((B, 1), -1)], 1)  # labels are shifted there
    loss = ours(tg.tensor(x), tg.tensor(y))[1]
    assert loss.item() == pytest.approx(want.loss.item(), abs=1e-4)
    ours.zero_grad(), theirs.zero_grad()
    loss.backward(), want.loss.backward()
    grads = {pretrained.canonical(n): p.grad.numpy() for n, p in theirs.named_parameters()}
    found = {n: p.grad.numpy() for n, p in ours.named_parameters()}
    assert grads.keys() - {"lm_head.weight"} == found.keys()
    for name, grad in found.items():
        want = grads[name].T if pretrained.TURNED.search(name) else grads[name]
        np.testing.assert_allclose(grad, want, atol=1e-4, err_msg=name)


def test_the_likeliest_continuation_token_for_token(both):
    theirs, ours, _ = both
    x = ids(ours.config.vocab_size, 1, (1, 4))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = theirs.generate(
            torch.tensor(x),
            max_new_tokens=T - 4,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    assert ours.generate(tg.tensor(x), T - 4, greedy=True).tolist() == want.tolist()


def test_ten_steps_of_adamw_follow_the_losses(both):
    theirs, _, folder = both
    ours, x = GPT.from_pretrained(folder), ids(theirs.config.vocab_size, 2)
    again = type(theirs)(theirs.config)
    again.load_state_dict(theirs.state_dict())
    steps = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
    theirs_, ours_ = (
        torch.optim.AdamW(again.parameters(), **steps),
        tg.optim.AdamW(ours.parameters(), **steps),
    )
    losses = []
    for _ in range(10):
        want = again(torch.tensor(x), labels=torch.tensor(x)).loss
        loss = ours(tg.tensor(x[:, :-1]), tg.tensor(x[:, 1:]))[1]
        losses.append((loss.item(), want.item()))
        for optimizer, value in ((theirs_, want), (ours_, loss)):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    for loss, want in losses:
        assert loss == pytest.approx(want, abs=1e-4)
    assert losses[-1][0] < losses[0][0] - 0.1


def test_there_and_back_bit_for_bit(both, tmp_path):
    """Theirs, ours, and a folder that is again what they wrote, tensor for tensor."""
    theirs, ours, folder = both
    ours.save_pretrained(tmp_path / "ours")
    before, after = (load_file(f / pretrained.WEIGHTS) for f in (folder, tmp_path / "ours"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    again = GPT.from_pretrained(tmp_path / "ours")
    for (name, p), (_, q) in zip(ours.named_parameters(), again.named_parameters(), strict=True):
        assert np.array_equal(p.detach().numpy(), q.detach().numpy()), name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded, how = transformers.GPT2LMHeadModel.from_pretrained(
            tmp_path / "ours", output_loading_info=True
        )
    assert not how["missing_keys"] and not how["unexpected_keys"]
    x = torch.tensor(ids(ours.config.vocab_size))
    with torch.no_grad():
        assert torch.equal(loaded.eval()(x).logits, theirs(x).logits)


def test_a_model_of_ours_is_read_by_transformers(tmp_path):
    """nanoGPT's shape: erf, no biases, a padded vocabulary."""
    tg.manual_seed(1)
    ours = GPT(GPTConfig(T, 128, 2, 2, 32, bias=False)).eval()
    tokenizer = type("Tokenizer", (), {"vocab_size": 101, "special": {"<|endoftext|>": 100}})
    ours.save_pretrained(tmp_path, tokenizer)
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    x = ids(101)
    with torch.no_grad():
        want = theirs(torch.tensor(x)).logits.numpy()
    got = ours(tg.tensor(x), tg.tensor(x))[0].detach().numpy()[:, :, :101]
    np.testing.assert_allclose(got, want, atol=1e-4)
