"""Every layer from PyTorch's seed: the same first values under the same names, the same picture,
the same outputs and gradients in training and in evaluation, the generator at the same place after.

A case makes a layer from a library's `nn`, and names the shapes of its inputs (ids: 0 ... 4).
"""

from collections import OrderedDict

import numpy as np
import pytest

import tinygrad_lm as tg

torch = pytest.importorskip("torch")
BOTH = (torch, tg)
IDS = ((3, 4), "ids")  # a shape followed by "ids" draws integers in 0 ... 4

# name -> (make, input shapes)
LAYERS = {
    "Linear": (lambda nn: nn.Linear(4, 5), [(3, 4)]),
    "Linear no bias": (lambda nn: nn.Linear(4, 5, bias=False), [(2, 3, 4)]),
    "Linear 1-D": (lambda nn: nn.Linear(4, 5), [(4,)]),
    "Embedding": (lambda nn: nn.Embedding(5, 8), [IDS]),
    "Embedding small": (lambda nn: nn.Embedding(5, 3), [IDS]),
    "Embedding padding": (lambda nn: nn.Embedding(5, 4, padding_idx=-3), [IDS]),
    "LayerNorm": (lambda nn: nn.LayerNorm(6), [(2, 3, 6)]),
    "LayerNorm 2": (lambda nn: nn.LayerNorm((3, 6), bias=False), [(2, 3, 6)]),
    "LayerNorm plain": (lambda nn: nn.LayerNorm(6, 1e-2, elementwise_affine=False), [(2, 6)]),
    "RMSNorm": (lambda nn: nn.RMSNorm(6), [(2, 3, 6)]),
    "RMSNorm eps": (lambda nn: nn.RMSNorm((3, 6), eps=0.1, elementwise_affine=False), [(2, 3, 6)]),
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(4), [(6, 4)]),
    "BatchNorm1d 3-D": (lambda nn: nn.BatchNorm1d(4, momentum=None), [(3, 4, 5)]),
    "BatchNorm1d plain": (
        lambda nn: nn.BatchNorm1d(4, affine=False, track_running_stats=False),
        [(6, 4)],
    ),
    "Dropout": (lambda nn: nn.Dropout(0.3), [(5, 7)]),
    "Dropout none": (lambda nn: nn.Dropout(0.0), [(5, 7)]),
    "Dropout all": (lambda nn: nn.Dropout(1.0), [(5, 7)]),
    "Flatten": (lambda nn: nn.Flatten(), [(2, 3, 4)]),
    "Unflatten": (lambda nn: nn.Unflatten(-1, (2, 2)), [(2, 3, 4)]),
    "Identity": (lambda nn: nn.Identity(3, a=4), [(2, 3)]),
    "ReLU": (lambda nn: nn.ReLU(), [(3, 4)]),
    "Tanh": (lambda nn: nn.Tanh(), [(3, 4)]),
    "Sigmoid": (lambda nn: nn.Sigmoid(), [(3, 4)]),
    "GELU": (lambda nn: nn.GELU(), [(3, 4)]),
    "GELU tanh": (lambda nn: nn.GELU(approximate="tanh"), [(3, 4)]),
    "SiLU": (lambda nn: nn.SiLU(), [(3, 4)]),
    "LeakyReLU": (lambda nn: nn.LeakyReLU(0.2), [(3, 4)]),
    "ELU": (lambda nn: nn.ELU(0.7), [(3, 4)]),
    "Softplus": (lambda nn: nn.Softplus(2.0, 1.0), [(3, 4)]),
    "LogSigmoid": (lambda nn: nn.LogSigmoid(), [(3, 4)]),
    "Softmax": (lambda nn: nn.Softmax(dim=0), [(3, 4)]),
    "LogSoftmax": (lambda nn: nn.LogSoftmax(dim=-1), [(3, 4)]),
    "Sequential": (
        lambda nn: nn.Sequential(
            nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Sequential(nn.Linear(8, 2), nn.ReLU())
        ),
        [(3, 4)],
    ),
    "Attention": (lambda nn: nn.MultiheadAttention(8, 2), [(3, 2, 8)] * 3),
    "Attention batch_first": (
        lambda nn: nn.MultiheadAttention(8, 2, 0.4, batch_first=True),
        [(2, 3, 8), (2, 5, 8), (2, 5, 8)],
    ),
    "Attention widths": (
        lambda nn: nn.MultiheadAttention(8, 4, bias=False, kdim=3, vdim=5),
        [(3, 2, 8), (4, 2, 3), (4, 2, 5)],
    ),
    "Attention 2-D": (lambda nn: nn.MultiheadAttention(8, 2), [(3, 8), (4, 8), (4, 8)]),
    "RNN": (lambda nn: nn.RNN(3, 4), [(5, 2, 3)]),
    "RNN relu": (lambda nn: nn.RNN(3, 4, 2, "relu", bidirectional=True), [(5, 2, 3), (4, 2, 4)]),
    "RNN 2-D": (lambda nn: nn.RNN(3, 4, bias=False), [(5, 3), (1, 4)]),
    "GRU": (lambda nn: nn.GRU(3, 4, 2, dropout=0.4), [(5, 2, 3)]),
    "GRU both": (lambda nn: nn.GRU(3, 4, bidirectional=True, batch_first=True), [(2, 5, 3)]),
    "LSTM": (lambda nn: nn.LSTM(3, 4), [(5, 2, 3)]),
    "LSTM all": (
        lambda nn: nn.LSTM(3, 4, 2, batch_first=True, dropout=0.4, bidirectional=True),
        [(2, 5, 3)],
    ),
    "LSTM 2-D": (lambda nn: nn.LSTM(3, 4, bias=False), [(5, 3)]),
    "RNNCell": (lambda nn: nn.RNNCell(3, 4), [(2, 3), (2, 4)]),
    "RNNCell relu": (lambda nn: nn.RNNCell(3, 4, False, "relu"), [(3,)]),
    "GRUCell": (lambda nn: nn.GRUCell(3, 4, bias=False), [(2, 3), (2, 4)]),
    "LSTMCell": (lambda nn: nn.LSTMCell(3, 4), [(2, 3)]),
}  # fmt: skip


def values(x):
    return x.detach().double().numpy() if x.is_floating_point() else x.detach().numpy()


def close(mine, theirs, what="", tolerance=2e-6):
    assert tuple(mine.shape) == tuple(theirs.shape), what
    assert str(mine.dtype) == str(theirs.dtype), what
    np.testing.assert_allclose(
        values(mine), values(theirs), rtol=tolerance * 10, atol=tolerance, err_msg=what
    )


def tensors(value):
    """All tensors in nested tuples, None left out."""
    if isinstance(value, (tuple, list)):
        return [t for part in value for t in tensors(part)]
    return [] if value is None else [value]


def inputs_of(library, shapes, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for shape in shapes:
        if shape[-1] == "ids":
            made.append(library.tensor(rng.integers(0, 5, shape[0])))
        else:
            x = library.tensor(rng.normal(size=shape).astype(np.float32))
            made.append(x.requires_grad_())
    return made


def pull_back(outputs, seed=1):
    """Backward with a random upstream gradient for every output."""
    rng = np.random.default_rng(seed)
    total = 0
    for out in outputs:
        library = tg if isinstance(out, tg.Tensor) else torch
        total = total + (out * library.tensor(rng.normal(size=out.shape).astype(np.float32))).sum()
    total.backward()


def same_place():
    assert tg.rand(3).tolist() == torch.rand(3).tolist()


def observe(library, make, shapes, training):
    """All that can be seen of a layer: first values, picture, outputs, gradients, buffers."""
    library.manual_seed(11)
    layer = make(library.nn).train(training)
    first = {name: x.clone() for name, x in layer.state_dict().items()}
    inputs = inputs_of(library, shapes)
    outputs = tensors(layer(*inputs))
    pull_back([out for out in outputs if out.requires_grad])
    gradients = {name: p.grad for name, p in layer.named_parameters()}
    gradients |= {str(i): x.grad for i, x in enumerate(inputs) if x.is_floating_point()}
    return repr(layer), first, outputs, gradients, dict(layer.state_dict())


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


def test_batch_norm_statistics_over_batches():
    layers = [library.nn.BatchNorm1d(4, momentum=m) for library in BOTH for m in (0.3, None)]
    for seed in range(4):
        for i, layer in enumerate(layers):
            layer(inputs_of(BOTH[i // 2], [(5, 4)], seed)[0])
    for theirs, mine in zip(layers[:2], layers[2:]):
        for key, x in theirs.state_dict().items():
            close(mine.state_dict()[key], x, key)
        x = inputs_of(torch, [(5, 4)], 9)[0]
        y = inputs_of(tg, [(5, 4)], 9)[0]
        close(mine.eval()(y), theirs.eval()(x))


MASKS = {
    "causal": {"attn_mask": np.triu(np.ones((4, 4), bool), 1), "is_causal": True},
    "floats": {"attn_mask": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)},
    "heads": {"attn_mask": np.random.default_rng(1).random((4, 4, 4)) < 0.3},
    "padding": {"key_padding_mask": np.array([[False] * 4, [False, False, True, True]])},
    "both": {
        "attn_mask": np.triu(np.ones((4, 4), bool), 1),
        "key_padding_mask": np.array([[False, True, False, True], [False] * 4]),
    },
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weights", [{"need_weights": False}, {"average_attn_weights": False}, {}])
@pytest.mark.parametrize("mask", MASKS)
def test_attention_masks(mask, weights):
    found = []
    for library in BOTH:
        library.manual_seed(3)
        layer = library.nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)
        given = {k: v if k == "is_causal" else library.tensor(v) for k, v in MASKS[mask].items()}
        (x,) = inputs_of(library, [(2, 4, 8)])
        outputs = tensors(layer(x, x, x, **given, **weights))
        pull_back(outputs)
        found.append([*outputs, x.grad, *(p.grad for p in layer.parameters())])
    assert len(found[0]) == len(found[1])
    for theirs, mine in zip(*found):
        close(mine, theirs)
    same_place()


def test_lstm_takes_and_gives_both_states():
    found = []
    for library in BOTH:
        library.manual_seed(5)
        layer = library.nn.LSTM(3, 4, 2)
        x, h, c = inputs_of(library, [(5, 2, 3), (2, 2, 4), (2, 2, 4)])
        outputs = tensors(layer(x, (h, c)))
        pull_back(outputs)
        found.append([*outputs, x.grad, h.grad, c.grad])
    for theirs, mine in zip(*found):
        close(mine, theirs)


def test_dropout_draws_in_the_order_of_memory():
    for shape, axes in (((3, 4), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (1, 0, 2))):
        found = []
        for library in BOTH:
            library.manual_seed(0)
            x = library.ones(shape).permute(axes)
            found.append(library.nn.functional.dropout(x, 0.5))
        close(found[1], found[0])


FIRST_VALUES = {  # name (a second case has a space behind it) -> arguments
    "uniform_": (-2, 3), "normal_": (1, 2), "constant_": (3,), "ones_": (), "zeros_": (),
    "eye_": (), "xavier_uniform_": (2,), "xavier_normal_": (2,), "kaiming_uniform_": (0.3,),
    "kaiming_normal_": (0, "fan_out", "relu"), "trunc_normal_": (0.5, 0.4, 0.0, 1.2),
    "orthogonal_": (1.5,), "trunc_normal_ ": (0.0, 0.5, 0.6, 2.0),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 7), (40, 9), (6, 6)])
@pytest.mark.parametrize("name", FIRST_VALUES)
def test_first_values(name, shape):
    found = []
    for library in BOTH:
        library.manual_seed(4)
        x = library.empty(shape)
        assert getattr(library.nn.init, name.strip())(x, *FIRST_VALUES[name]) is x
        found.append(x)
    close(found[1], found[0], name, 3e-6)
    same_place()


def test_gains():
    for name in ("linear", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        ours, theirs = (library.nn.init.calculate_gain(name) for library in BOTH)
        assert ours == theirs
    ours, theirs = (library.nn.init.calculate_gain("leaky_relu", 0.3) for library in BOTH)
    assert ours == theirs


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_by_norm(norm_type, max_norm):
    found = []
    for library in BOTH:
        inputs = inputs_of(library, [(4, 5), (7,), (3, 2)])
        (inputs[0].t() * 3).sum().backward()
        (inputs[1] * inputs[1]).sum().backward()
        norm = library.nn.utils.clip_grad_norm_(iter(inputs), max_norm, norm_type)
        found.append([norm, inputs[0].grad, inputs[1].grad])
        assert inputs[2].grad is None
    for theirs, mine in zip(*found):
        close(mine, theirs)


def test_clipping_by_value_and_vectors():
    found = []
    for library in BOTH:
        inputs = inputs_of(library, [(4, 5), (7,)])
        pull_back(inputs)
        library.nn.utils.clip_grad_value_(inputs, 0.4)
        flat = library.nn.utils.parameters_to_vector(inputs)
        library.nn.utils.vector_to_parameters(flat.detach() * 2, inputs)
        found.append([inputs[0].grad, inputs[1].grad, flat, *inputs])
    for theirs, mine in zip(*found):
        close(mine, theirs)


# Rows of modules treated as lists; s and t are Sequentials, n has names, l is a ModuleList.
ROWS = """
s + t | s * 2 | 2 * s | s.extend(t) | s.append(nn.Tanh()) | s.insert(0, nn.Tanh()) | n + s | n * 2
s.insert(1, nn.Tanh()) | s.insert(-1, nn.Tanh()) | s.insert(2, nn.Tanh()) | l + l | l + [nn.Tanh()]
n[0:1] | n.append(nn.Tanh()) | s[1:] + t | (s + t) * 2 | (s + t)[2] | len(s + t) | l + s
s.pop(0) | l.pop(1) | (s + t).pop(-1)
"""
CHANGES = """
s += t | s *= 3 | l += [nn.Tanh()] | l.insert(0, nn.Tanh()); l | l.insert(9, nn.Tanh()); l
del s[0] | del s[0:1] | del n[0] | del l[0:2] | s[0] = nn.Tanh() | l.extend(t) | s += n | n += s
"""
REFUSED = """
s * 0 | s * 1.5 | s + [1] | s.insert(5, nn.Tanh()) | s.insert(-9, nn.Tanh()) | s.pop(7) | s[5]
s.extend(5) | s.append(3) | l + 5 | l.append(3)
"""


def a_row(library, line):
    nn = library.nn
    named = OrderedDict(a=nn.ReLU(), b=nn.GELU())
    rows = {
        "nn": nn,
        "s": nn.Sequential(nn.ReLU(), nn.GELU()),
        "t": nn.Sequential(nn.Sigmoid()),
        "n": nn.Sequential(named),
        "l": nn.ModuleList([nn.ReLU(), nn.GELU(), nn.Sigmoid()]),
    }
    try:
        return eval(line, rows)
    except SyntaxError:
        exec(line, rows)
        return [rows[name] for name in "snl"]


def lines_of(*tables):
    return [
        line for table in tables for row in table.strip().split("\n") for line in row.split(" | ")
    ]


@pytest.mark.parametrize("line", lines_of(ROWS, CHANGES))
def test_rows_of_modules_are_lists(line):
    theirs, ours = (a_row(library, line) for library in BOTH)
    assert repr(ours) == repr(theirs)


def test_a_sum_of_sequentials_holds_the_modules_themselves():
    for library in BOTH:
        first, second = (library.nn.Sequential(library.nn.Linear(2, 2)) for _ in range(2))
        both = first + second * 2
        assert both[0] is first[0] and both[1] is second[0] is both[2]
        assert len(list(both.parameters())) == 4 and len(first) == 1
        first *= 2
        assert first[1] is first[0]
        x = library.ones(1, 2)
        assert library.equal(both(x), second(second(first[0](x))))


@pytest.mark.parametrize("line", lines_of(REFUSED))
def test_rows_of_modules_refuse_what_pytorch_refuses(line):
    for library in BOTH:
        with pytest.raises((TypeError, ValueError, IndexError)):
            a_row(library, line)
