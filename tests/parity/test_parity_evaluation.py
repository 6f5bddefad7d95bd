"""Evaluation beside PyTorch: the perplexity of transformers' GPT-2 on the same windows, and the
log-probabilities of endings, with the same weights in both models.
"""

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.tokenizers import CharTokenizer
from tinygrad_lm.training import evaluation
from tinygrad_lm.training.evaluation import perplexity, score_completions

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

T, V = 12, 31


@pytest.fixture(scope="module")
def both():
    """transformers' GPT-2 with random weights that are not small, and ours with the same."""
    torch.manual_seed(1337)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": V}
    config = transformers.GPT2Config(
        **shape, n_positions=T, activation_function="gelu_new", bos_token_id=0, eos_token_id=0
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    ours = GPT(GPTConfig(**shape, block_size=T, activation="gelu_new"))
    state = {}
    for name, value in theirs.state_dict().items():
        # its layers of a block are Conv1D, which hold (in, out)
        inside = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        state[name] = tg.from_numpy((value.T if inside else value).contiguous().numpy())
    ours.load_state_dict(state)
    return theirs, ours


IDS = np.random.default_rng(0).integers(0, V, 100)


@pytest.mark.parametrize("n", [8, T + 1, 50, 100])
@pytest.mark.parametrize("stride", [1, 5, T // 2, T])
def test_perplexity_with_sliding_windows(both, n, stride):
    """As transformers' documentation computes it, the labels of what a window before has scored
    being -100. Its windows count their last target: they have T + 1 tokens, T of which are read."""
    theirs, ours = both
    ids = torch.from_numpy(IDS[:n])
    total, count, before = 0.0, 0, 0
    for begin in range(0, n, stride):
        end = min(begin + T + 1, n)
        labels = ids[begin:end].clone()
        labels[: -(end - before)] = -100
        with torch.no_grad():
            logits = theirs(ids[None, begin : end - 1]).logits[0]
        scored = int((labels[1:] != -100).sum())
        nats = torch.nn.functional.cross_entropy(logits, labels[1:], reduction="sum")
        total, count, before = total + nats.item(), count + scored, end
        if end == n:
            break
    found = perplexity(ours, None, IDS[:n], stride, batch_size=3)
    assert found.tokens == count == n - 1
    assert found.loss == pytest.approx(total / count, rel=1e-5)
    assert found.perplexity == pytest.approx(np.exp(total / count), rel=1e-4)


def test_a_text_that_fits_is_the_loss_that_transformers_computes(both):
    theirs, ours = both
    ids = torch.from_numpy(IDS[None, :T])
    with torch.no_grad():
        loss = theirs(ids, labels=ids).loss.item()
    assert perplexity(ours, None, IDS[:T]).loss == pytest.approx(loss, rel=1e-5)


def test_preferred_endings(both):
    """Each ending by itself through PyTorch, without a batch and without padding."""
    theirs, ours = both
    tokenizer = CharTokenizer("".join(chr(ord("A") + i) for i in range(V - 1)) + " ")
    rng = np.random.default_rng(3)

    def words(most):
        return "".join(rng.choice([*tokenizer.characters[:-1]], rng.integers(1, most)))

    rows, right = [], np.zeros(3)
    for _ in range(40):
        row = {
            "ctx": words(20),
            "endings": [words(T) for _ in range(4)],
            "label": int(rng.integers(4)),
        }
        sums = []
        for ending in row["endings"]:
            end = tokenizer.encode(" " + ending)
            ids = torch.tensor([*tokenizer.encode(row["ctx"]), *end][-T - 1 :])
            with torch.no_grad():
                logprobs = theirs(ids[None, :-1]).logits[0].log_softmax(-1)
            sums.append(logprobs.gather(1, ids[1:, None])[-len(end) :].sum().item())
        question = evaluation._question(ours, tokenizer, row, "it")
        with tg.no_grad():
            assert evaluation._nats(ours, question.rows) == pytest.approx(-np.array(sums), rel=1e-5)
        sizes = np.array([len(ending) for ending in row["endings"]])
        for i, mean in enumerate((np.array(sums), sums / (sizes + 1), sums / sizes)):
            right[i] += mean.argmax() == row["label"]
        rows.append(row)
    found = score_completions(ours, tokenizer, rows)
    assert found[:4] == (40, *(right / 40))
