"""The settings of `generate` beside transformers' own, on the same logits."""

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.text.sampling import Sampling, penalised

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def processors(settings):
    """transformers' list for these settings, in its order."""
    from transformers.generation import logits_process as theirs

    made = {
        "temperature": theirs.TemperatureLogitsWarper,
        "top_k": theirs.TopKLogitsWarper,
        "top_p": theirs.TopPLogitsWarper,
        "min_p": theirs.MinPLogitsWarper,
    }
    first = settings.get("repetition_penalty")
    found = [theirs.RepetitionPenaltyLogitsProcessor(first)] if first else []
    return found + [make(settings[name]) for name, make in made.items() if name in settings]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_k": 500},
        {"top_p": 0.8},
        {"min_p": 0.1},
        {"repetition_penalty": 1.3},
        {"repetition_penalty": 1.3, "temperature": 0.6, "top_k": 40, "top_p": 0.9, "min_p": 0.02},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(5))
def test_the_same_tokens_stay_with_the_same_logits(settings, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (4, 300)).astype(np.float32)
    context = rng.integers(0, 300, (4, 9))
    want = torch.tensor(logits)
    for process in processors(settings):
        want = process(torch.tensor(context), want)
    ours = tg.tensor(logits)
    if penalty := settings.get("repetition_penalty"):
        ours = penalised(ours, tg.tensor(context), penalty)
    sampling = Sampling(**settings)
    got = sampling.narrowed(ours / sampling.temperature)
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-6, atol=1e-6)
