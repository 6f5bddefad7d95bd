"""Known answers of layers above the plain ones: hooks, packed sequences, bags, weights computed
from others, what is refused."""

import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.nn.utils import parametrizations, parametrize, rnn


def test_a_packed_batch_is_step_after_step():
    x = tg.tensor([[1, 2, 3], [4, 0, 0], [5, 6, 0]])
    packed = rnn.pack_padded_sequence(x, [3, 1, 2], batch_first=True, enforce_sorted=False)
    assert packed.data.tolist() == [1, 5, 4, 2, 6, 3] and packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices.tolist() == [0, 2, 1] == packed.unsorted_indices.tolist()
    padded, lengths = rnn.pad_packed_sequence(packed, True, padding_value=9)
    assert padded.tolist() == [[1, 2, 3], [4, 9, 9], [5, 6, 9]] and lengths.tolist() == [3, 1, 2]
    with pytest.raises(RuntimeError, match=r"lengths must be in 1 ... 3 and fall, got \[4, 1, 1\]"):
        rnn.pack_padded_sequence(x, [4, 1, 1], batch_first=True)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_packed_batch_is_its_sequences_one_by_one(kind):
    layer = kind(3, 4, 2, bidirectional=True)
    several = [tg.randn(n, 3) for n in (2, 5, 1)]
    out, last = layer(rnn.pack_sequence(several, enforce_sorted=False))
    last = last[0] if isinstance(last, tuple) else last
    for i, (x, y) in enumerate(zip(several, rnn.unpack_sequence(out), strict=True)):
        alone, state = layer(x)
        state = state[0] if isinstance(state, tuple) else state
        assert tg.allclose(y, alone, atol=1e-6) and tg.allclose(last[:, i], state, atol=1e-6)


def test_the_gradient_of_a_row_is_over_the_number_of_its_ids():
    weight = tg.zeros(4, 2, requires_grad=True)
    ids = tg.tensor([1, 3, 1, 1])
    nn.functional.embedding(ids, weight, scale_grad_by_freq=True).sum().backward()
    assert weight.grad.tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]
    weight.grad = None
    bags = tg.tensor([0, 2])
    nn.functional.embedding_bag(
        ids, weight, bags, mode="sum", scale_grad_by_freq=True
    ).sum().backward()
    assert weight.grad.tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]


def test_rows_that_are_looked_up_become_short_and_no_others():
    weight = tg.tensor([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]])
    nn.functional.embedding(tg.tensor([1, 0, 0]), weight, max_norm=1.0)
    assert tg.allclose(weight, tg.tensor([[0.6, 0.8], [0.3, 0.4], [6.0, 8.0]]), atol=1e-6)


def test_the_first_of_equal_rows_takes_the_gradient_of_a_bags_maximum():
    weight = tg.ones(3, 1, requires_grad=True)
    nn.functional.embedding_bag(tg.tensor([[2, 0, 1]]), weight, mode="max").sum().backward()
    assert weight.grad.tolist() == [[0], [0], [1]]


def test_a_causal_mask_that_is_named_is_not_needed():
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True), tg.randn(2, 5, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    named = layer(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)[0]
    assert tg.allclose(named, layer(x, x, x, attn_mask=mask)[0], atol=1e-6)


def test_nothing_is_loaded_unless_a_post_hook_may_forgive_it():
    m = nn.Linear(1, 1, bias=True)
    before = m.weight.item()
    with pytest.raises(RuntimeError, match="Missing"):
        m.load_state_dict({"weight": tg.full((1, 1), before + 1)})
    assert m.weight.item() == before
    m.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    m.load_state_dict({"weight": tg.full((1, 1), before + 1)})
    assert m.weight.item() == before + 1
    m.register_load_state_dict_post_hook(lambda module, keys: keys)
    with pytest.raises(AssertionError, match="must return None"):
        m.load_state_dict({"weight": tg.zeros(1, 1), "bias": tg.zeros(1)})


def test_a_hook_that_was_taken_off_leaves_no_trace():
    m, x = nn.Linear(2, 2), tg.ones(1, 2, requires_grad=True)
    plain, seen = repr(m(x).grad_fn), []
    handle = m.register_full_backward_hook(lambda *given: seen.append(given))
    assert "BackwardHookFunction" in repr(m(x).grad_fn)
    handle.remove()
    m(x).sum().backward()
    assert repr(m(x).grad_fn) == plain and not seen


def test_compiling_changes_nothing():
    m, x = nn.Linear(2, 2), tg.ones(1, 2)
    before = m(x).tolist()
    assert m.compile(mode="max-autotune") is None and m(x).tolist() == before


def test_weights_have_the_length_and_the_norm_they_are_given():
    m = parametrizations.weight_norm(nn.Linear(3, 2))
    with tg.no_grad():
        m.parametrizations.weight.original0.fill_(2.0)
    assert tg.allclose(m.weight.norm(dim=1), tg.full((2,), 2.0))
    m = parametrizations.spectral_norm(nn.Linear(1, 4))  # of a column, its length
    assert m.weight.norm().item() == pytest.approx(1, abs=1e-6)
    copy = nn.Linear(1, 4)
    copy.weight = nn.Parameter(m.weight.detach())
    assert parametrize.remove_parametrizations(m, "weight").weight.tolist() == copy.weight.tolist()
    with pytest.raises(ValueError, match="must keep torch.float32 and"):
        parametrize.register_parametrization(m, "bias", nn.Unflatten(0, (2, 2)))


REFUSED = [
    (lambda: nn.Linear(1, 1).share_memory(), "[share_memory] the memory of a module must stay"),
    (lambda: parametrizations.orthogonal(nn.Linear(2, 2)), "[orthogonal] a weight must be kept"),
    (
        lambda: tg.utils.checkpoint.checkpoint(tg.exp, tg.ones(1), context_fn=tuple),
        "[checkpoint] nothing but inputs is kept",
    ),
]


@pytest.mark.parametrize(
    ("call", "message"), REFUSED, ids=[m.split("]")[0][1:] for _, m in REFUSED]
)
def test_what_is_refused(call, message):
    with pytest.raises(NotImplementedError) as error:
        call()
    assert str(error.value).startswith(message)
