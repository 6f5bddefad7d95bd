"""Layers for sequences against PyTorch, from its seed: transformers, attention with its options,
recurrent layers with projections and packed sequences, embeddings with theirs, bags of them."""

import numpy as np
import pytest

import tinygrad_lm as tg

torch = pytest.importorskip("torch")
from parity import BOTH, assert_same_tensor  # noqa: E402
from test_parity_nn_layers import IDS, close, inputs_of, observe, pull_back, same_place  # noqa: E402

ENCODER = {"d_model": 8, "nhead": 2, "dim_feedforward": 12}


# name -> (make, input shapes)
LAYERS = {
    "Encoder layer": (lambda nn: nn.TransformerEncoderLayer(**ENCODER), [(5, 2, 8)]),
    "Encoder layer norm first": (
        lambda nn: nn.TransformerEncoderLayer(8, 2, 12, 0.2, "gelu", 1e-3, True, True, False),
        [(2, 5, 8)],
    ),
    "Encoder layer 2-D": (
        lambda nn: nn.TransformerEncoderLayer(8, 2, 12, activation=nn.functional.silu),
        [(5, 8)],
    ),
    "Decoder layer": (
        lambda nn: nn.TransformerDecoderLayer(**ENCODER, activation=nn.GELU()),
        [(5, 2, 8), (4, 2, 8)],
    ),
    "Decoder layer norm first": (
        lambda nn: nn.TransformerDecoderLayer(8, 4, 12, norm_first=True, batch_first=True),
        [(2, 5, 8), (2, 4, 8)],
    ),
    "Encoder": (
        lambda nn: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**ENCODER), 2, nn.LayerNorm(8), enable_nested_tensor=False
        ),
        [(5, 2, 8)],
    ),
    "Decoder": (
        lambda nn: nn.TransformerDecoder(nn.TransformerDecoderLayer(**ENCODER), 2),
        [(5, 2, 8), (4, 2, 8)],
    ),
    "Transformer": (
        lambda nn: nn.Transformer(8, 2, 2, 2, 12, batch_first=True),
        [(2, 5, 8), (2, 4, 8)],
    ),
    "Transformer 2-D": (
        lambda nn: nn.Transformer(8, 2, 1, 1, 12, norm_first=True, bias=False, dropout=0.0),
        [(5, 8), (4, 8)],
    ),
    "Transformer custom": (
        lambda nn: nn.Transformer(
            8, 2, 1, 1, 12, custom_encoder=nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, 6), 1, enable_nested_tensor=False
            )
        ),
        [(5, 2, 8), (4, 2, 8)],
    ),
    "Attention biased": (
        lambda nn: nn.MultiheadAttention(8, 2, 0.2, True, True, True), [(3, 2, 8)] * 3
    ),
    "Attention zero": (
        lambda nn: nn.MultiheadAttention(
            8, 4, add_zero_attn=True, kdim=3, vdim=5, batch_first=True
        ),
        [(2, 3, 8), (2, 4, 3), (2, 4, 5)],
    ),
    "LSTM projected": (
        lambda nn: nn.LSTM(3, 5, 2, proj_size=2, bidirectional=True, dropout=0.3),
        [(4, 2, 3)],
    ),
    "LSTM projected plain": (
        lambda nn: nn.LSTM(3, 5, bias=False, batch_first=True, proj_size=2), [(2, 4, 3)]
    ),
    "RNNBase": (lambda nn: nn.GRU(3, 4, 2, True, True, 0.2, True), [(2, 5, 3)]),
    "RNN all": (lambda nn: nn.RNN(3, 4, 2, "relu", False, True, 0.2, True), [(2, 5, 3)]),
    "Bilinear": (lambda nn: nn.Bilinear(4, 3, 5), [(2, 6, 4), (2, 6, 3)]),
    "Bilinear plain": (lambda nn: nn.Bilinear(4, 3, 1, bias=False), [(4,), (3,)]),
    "Embedding all": (lambda nn: nn.Embedding(5, 4, 1, 1.5, 1.0, True), [IDS]),
    "Embedding often": (lambda nn: nn.Embedding(5, 4, scale_grad_by_freq=True), [IDS]),
    "Embedding short": (lambda nn: nn.Embedding(5, 4, max_norm=0.7), [IDS]),
    "Embedding pretrained": (
        lambda nn: nn.Embedding.from_pretrained(nn.Embedding(5, 4).weight.data, False, 2), [IDS]
    ),
    "Bag": (lambda nn: nn.EmbeddingBag(5, 4), [IDS]),
    "Bag sum": (lambda nn: nn.EmbeddingBag(5, 4, mode="sum", padding_idx=-2), [IDS]),
    "Bag max": (lambda nn: nn.EmbeddingBag(5, 4, mode="max", padding_idx=0), [IDS]),
    "Bag all": (lambda nn: nn.EmbeddingBag(5, 4, 1.0, 1.5), [IDS]),
    "Bag pretrained": (
        lambda nn: nn.EmbeddingBag.from_pretrained(
            nn.Embedding(5, 4).weight.data, freeze=False, mode="sum"
        ),
        [IDS],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, training):
    theirs, mine = (observe(library, *LAYERS[name], training) for library in BOTH)
    same_place()
    assert mine[0] == theirs[0]
    assert len(mine[2]) == len(theirs[2])
    for i, (a, b) in enumerate(zip(mine[2], theirs[2])):
        close(a, b, f"output {i}")
    for k, what in ((1, "first"), (3, "gradient of"), (4, "after")):
        assert list(mine[k]) == list(theirs[k]), what
        for key in mine[k]:
            close(mine[k][key], theirs[k][key], f"{what} {key}")


# ------------------------------------------------------------ masks

PADDING = np.array([[False] * 4, [False, False, True, True]])
HOLES = np.array([[False] * 4, [False, True, False, True]])
CAUSAL = np.triu(np.ones((4, 4), bool), 1)
FLOATS = np.where(CAUSAL, -np.inf, 0).astype(np.float32)
SOME = np.random.default_rng(1).random((3, 4)) < 0.3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "masks",
    [
        {"mask": CAUSAL, "is_causal": True},
        {"mask": FLOATS},
        {"src_key_padding_mask": PADDING},
        {"src_key_padding_mask": HOLES},
        {"src_key_padding_mask": np.where(PADDING, -np.inf, 0).astype(np.float32)},
        {"src_key_padding_mask": PADDING, "mask": CAUSAL, "is_causal": True},
    ],
    ids=["causal", "floats", "padding", "holes", "float padding", "both"],
)
def test_masks_of_an_encoder(masks, training, grad):
    found = []
    for library in BOTH:
        library.manual_seed(2)
        nn = library.nn
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        m = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8)).train(training)
        given = {k: v if v is True else library.tensor(v) for k, v in masks.items()}
        (x,) = inputs_of(library, [(2, 4, 8)])
        with library.set_grad_enabled(grad):
            out = m(x, **given)
        if grad:
            pull_back([out])
        found.append([out.detach(), *([p.grad for p in m.parameters()] if grad else [])])
    for theirs, mine in zip(*found):
        close(mine, theirs, tolerance=5e-6)


@pytest.mark.filterwarnings("ignore")
def test_masks_of_a_transformer():
    found = []
    for library in BOTH:
        library.manual_seed(2)
        m = library.nn.Transformer(8, 2, 1, 2, 12)
        x, y = inputs_of(library, [(4, 2, 8), (3, 2, 8)])
        padding = library.tensor(PADDING)
        out = m(
            x, y,
            src_mask=library.tensor(FLOATS),
            tgt_mask=m.generate_square_subsequent_mask(3),
            memory_mask=library.tensor(SOME),
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_key_padding_mask=padding[:, :3],
        )  # fmt: skip
        pull_back([out])
        found.append([out, x.grad, y.grad, *(p.grad for p in m.parameters())])
    for theirs, mine in zip(*found):
        close(mine, theirs, tolerance=5e-6)
    same_place()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weights", [True, False])
def test_masks_beside_keys_that_are_added(weights):
    found = []
    for library in BOTH:
        library.manual_seed(3)
        layer = library.nn.MultiheadAttention(8, 2, 0.1, True, True, True)
        q, k = inputs_of(library, [(3, 2, 8), (4, 2, 8)])
        out, seen = layer(q, k, k, library.tensor(PADDING), weights, library.tensor(SOME))
        pull_back([out] if seen is None else [out, seen])
        found.append([out, *([] if seen is None else [seen]), q.grad, layer.bias_k.grad])
    for theirs, mine in zip(*found):
        close(mine, theirs)


# ------------------------------------------------------------ packed sequences

LENGTHS = {"sorted": ([6, 4, 4, 1], True), "not sorted": ([2, 5, 1, 5], False)}
RECURRENT = {
    "RNN": ("RNN", {}),
    "RNN both ways": ("RNN", {"bidirectional": True, "nonlinearity": "relu"}),
    "GRU": ("GRU", {"num_layers": 2, "dropout": 0.4, "batch_first": True}),
    "LSTM": ("LSTM", {"num_layers": 2, "dropout": 0.4, "bidirectional": True}),
    "LSTM projected": ("LSTM", {"proj_size": 2, "bias": False, "bidirectional": True}),
}


def packed_run(library, kind, options, lengths, is_sorted, with_state):
    """Everything that comes of a packed batch: the parts of it, outputs, states, gradients."""
    library.manual_seed(3)
    rnn = library.nn.utils.rnn
    m = getattr(library.nn, kind)(3, 5, **options)
    first = options.get("batch_first", False)
    (x,) = inputs_of(library, [(4, 6, 3) if first else (6, 4, 3)])
    packed = rnn.pack_padded_sequence(x, lengths, first, is_sorted)
    rows = (1 + options.get("bidirectional", False)) * options.get("num_layers", 1)
    h = inputs_of(library, [(rows, 4, options.get("proj_size", 5)), (rows, 4, 5)], 7)
    state = (tuple(h) if kind == "LSTM" else h[0]) if with_state else None
    out, last = m(packed, state)
    assert type(out).__name__ == "PackedSequence"
    padded, sizes = rnn.pad_packed_sequence(out, first, -1.5, 7)
    last = last if isinstance(last, tuple) else (last,)
    pull_back([padded, *last])
    found = [*packed, *out, padded, sizes, *last, x.grad, *(p.grad for p in m.parameters())]
    return found + [h[0].grad]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_take_packed_sequences(name, lengths, with_state):
    found = [packed_run(lib, *RECURRENT[name], *LENGTHS[lengths], with_state) for lib in BOTH]
    same_place()
    for i, (theirs, mine) in enumerate(zip(*found, strict=True)):
        assert (theirs is None) == (mine is None), i
        if theirs is not None:
            close(mine, theirs, f"{i}")


# `r` is nn.utils.rnn; `s` three sequences (3, 2), (1, 2), (2, 2), `d` the same, longest first; `x`
# is (4, 2, 3), `n` whole numbers (4, 2).
LINES = """
r.pad_sequence(s) | r.pad_sequence(s, True) | r.pad_sequence(s, True, 9.0)
r.pad_sequence(s, padding_side="left") | r.pad_sequence(s, True, -1, "left") | r.pad_sequence(d[:1])
r.pack_sequence(d) | r.pack_sequence(s, enforce_sorted=False) | r.pack_padded_sequence(x, [4, 2])
r.pack_padded_sequence(n, torch.tensor([3, 3]), batch_first=False)
r.pack_padded_sequence(x, [2, 2, 1, 1], True) | r.pack_padded_sequence(x, [2, 4], False, False)
r.pack_padded_sequence(x, (1, 2, 1, 2), batch_first=True, enforce_sorted=False)
r.pad_packed_sequence(r.pack_sequence(d)) | r.pad_packed_sequence(r.pack_sequence(d), True)
r.pad_packed_sequence(r.pack_sequence(s, False), True, 2.0, 5)
r.pad_packed_sequence(r.pack_padded_sequence(n, [4, 1]), padding_value=7)
r.unpack_sequence(r.pack_sequence(s, False)) | r.pack_sequence(d).double()
r.pack_sequence(d).to(torch.float64)
r.unpad_sequence(r.pad_sequence(s, True), torch.tensor([3, 1, 2]), batch_first=True)
r.PackedSequence(x[0], torch.tensor([2])) | r.pack_sequence(d).is_cuda
len(r.pack_sequence(s, False))
"""
WRONG = """
r.pack_padded_sequence(x, [2, 4]) | r.pack_padded_sequence(x, [4, 0])
r.pack_padded_sequence(x, [4]) | r.pack_sequence(s) | r.pad_sequence([]) | r.pad_sequence(3)
r.pad_packed_sequence(r.pack_sequence(d), total_length=2) | r.pad_sequence(s, padding_side="up")
r.pad_sequence([x, n]) | r.pack_padded_sequence(x[:0], [])
torch.nn.RNN(3, 4)(x[0, 0]) | torch.nn.LSTM(3, 4)(x[None]) | torch.nn.GRU(4, 4)(x)
torch.nn.GRU(3, 4)(x, torch.zeros(1, 3, 4)) | torch.nn.LSTM(3, 4, proj_size=4) | torch.nn.GRU(3, 0)
torch.nn.LSTM(3, 4, proj_size=-1) | torch.nn.GRU(3, 4, proj_size=2)
torch.nn.RNN(3, 4, dropout=1.5)
torch.nn.RNN(3, 4, num_layers=0) | torch.nn.RNN(3, 4, bias=1) | torch.nn.LSTM(3.0, 4)
torch.nn.RNNBase("XYZ", 3, 4) | torch.nn.RNN(3, 4, nonlinearity="sin") | torch.nn.GRUCell(3, 4)(x)
torch.nn.LSTM(3, 4, proj_size=2)(x, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)))
torch.nn.TransformerEncoderLayer(8, 2, activation="tanh") | torch.nn.MultiheadAttention(8, 3)
torch.nn.MultiheadAttention(0, 3) | torch.nn.Transformer(8, 2, 1, 1, 4)(x, x)
torch.nn.Transformer(3, 1, 1, 1, 4)(x, x[:, :1]) | torch.nn.Embedding(3, 2, padding_idx=3)
torch.nn.MultiheadAttention(3, 1)(x, x, x, attn_mask=torch.ones(4, 4, dtype=torch.int64))
torch.nn.Embedding.from_pretrained(x) | torch.nn.Embedding(3, 2, _weight=x[0])
torch.nn.EmbeddingBag(5, 2)(n[0]) | torch.nn.EmbeddingBag(5, 2)(n, n[0]) | f.embedding_bag(n, x)
torch.nn.EmbeddingBag(5, 2, mode="med")(n) | f.embedding_bag(n, x[0], mode="max", sparse=True)
f.embedding_bag(n, x[0], per_sample_weights=x[0]) | f.bilinear(x, x, x) | torch.nn.Bilinear(0, 1, 1)
f.embedding_bag(n, n[:1] + x[:1, 0, :1], per_sample_weights=n * 1.0, mode="mean")
"""


def lines_of(table):
    return [line for row in table.strip().split("\n") for line in row.split(" | ")]


def result(library, line):
    rng = np.random.default_rng(0)
    s = [library.tensor(rng.normal(size=(k, 2)).astype(np.float32)) for k in (3, 1, 2)]
    (x,) = inputs_of(library, [(4, 2, 3)])
    names = {"torch": library, "r": library.nn.utils.rnn, "f": library.nn.functional, "x": x}
    names |= {"s": s, "d": [s[0], s[2], s[1]], "n": library.tensor(rng.integers(0, 5, (4, 2)))}
    return eval(line, names), x


@pytest.mark.parametrize("line", lines_of(LINES))
def test_a_line_about_sequences(line):
    (want, their_x), (got, our_x) = (result(library, line) for library in BOTH)
    if not isinstance(want, (tuple, list)):
        want, got = [want], [got]
    assert len(want) == len(got)
    for a, b in zip(want, got):
        if isinstance(a, torch.Tensor):
            assert_same_tensor(a, b, line, ones=False)
            if a.requires_grad:
                pull_back([a])
                pull_back([b])
                close(our_x.grad, their_x.grad, line)
        else:
            assert a == b


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("line", lines_of(WRONG))
def test_a_line_that_fails(line):
    with pytest.raises(Exception) as want:
        result(torch, line)
    with pytest.raises(want.type, match=r"^\["):
        result(tg, line)


# ------------------------------------------------------------ bags and other details

BAGS = {
    "one by one": ([1, 2, 3, 4, 4, 2], [0, 2, 2, 5], {}),
    "max": ([1, 2, 3, 4, 4, 2], [0, 2, 2, 5], {"mode": "max"}),
    "sum": ([1, 2, 3, 4, 4, 2], [0, 2, 2, 5, 6], {"mode": "sum", "include_last_offset": True}),
    "all padding": ([1, 1, 3], [0, 2], {"padding_idx": 1}),
    "max of padding": ([1, 1, 3], [0, 2], {"padding_idx": 1, "mode": "max"}),
    "none": ([], [0, 0], {"mode": "sum"}),
    "max of none": ([], [0, 0], {"mode": "max"}),
    "norm": ([1, 1, 3], [0, 2], {"max_norm": 1.0}),
}


@pytest.mark.parametrize("name", BAGS)
def test_bags_that_begin_at_offsets(name):
    ids, offsets, options = BAGS[name]
    found = []
    for library in BOTH:
        (weight,) = inputs_of(library, [(5, 3)])
        given = library.tensor(ids, dtype=library.int64), weight, library.tensor(offsets)
        out = library.nn.functional.embedding_bag(*given, **options)
        pull_back([out])
        found.append([out, weight.grad, weight])
    for theirs, mine in zip(*found):
        close(mine, theirs)


def test_factors_of_the_rows_of_a_bag():
    found = []
    for library in BOTH:
        weight, factors = inputs_of(library, [(5, 3), (4, 2)])
        ids = library.tensor([[0, 1], [1, 1], [2, 4], [3, 3]])
        out = library.nn.functional.embedding_bag(
            ids, weight, mode="sum", per_sample_weights=factors
        )
        pull_back([out])
        found.append([out, weight.grad, factors.grad])
    for theirs, mine in zip(*found):
        close(mine, theirs)


def test_all_weights_and_other_attributes():
    for library in BOTH:
        m = library.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2)
        assert [len(w) for w in m.all_weights] == [5] * 4 and m.mode == "LSTM"
        assert m.all_weights[3][4] is m.weight_hr_l1_reverse and m.flatten_parameters() is None
        assert library.nn.RNN(3, 4, nonlinearity="relu").mode == "RNN_RELU"
        assert isinstance(m, library.nn.RNNBase)
        table = library.nn.Embedding.from_pretrained(library.ones(3, 2))
        assert not table.weight.requires_grad and table.max_norm is None
        assert library.nn.Transformer.generate_square_subsequent_mask(2).tolist() == [
            [0.0, -np.inf], [0.0, 0.0],
        ]  # fmt: skip


def test_a_copy_of_a_layer_begins_with_its_values():
    for library in BOTH:
        layer = library.nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        m = library.nn.TransformerEncoder(layer, 3)
        first, last = m.layers[0].linear1.weight, m.layers[2].linear1.weight
        assert first is not last and first is not layer.linear1.weight
        assert first.tolist() == last.tolist() == layer.linear1.weight.tolist()
