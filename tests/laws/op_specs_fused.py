"""Records of the fused ops, in the same form as those of `op_specs`: the definition in the paper or
in PyTorch's documentation, in plain NumPy, without any care for overflow or speed."""

import math

import numpy as np
from op_specs import INF, SPECS, X23, X45, Case, Spec, Wrong, binary, known, text


def exp_over_sum(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def axis_case(pick):
    shape = pick.shape(1)
    return Case((pick.real(*shape),), {"axis": pick.axis(len(shape))})


def linear_case(pick):
    *lead, c = pick.shape(1)
    d = pick.of(*pick.sizes)
    bias = pick.of(None, pick.real(d))
    return Case((pick.real(*lead, c), pick.real(d, c), bias))


def embedding_case(pick):
    v, c = pick.of(1, 3, 5), pick.of(1, 2, 4)
    return Case((pick.real(v, c),), {"ids": pick.integers(v, *pick.shape())})


def loss_case(pick, smoothing=(), domain="real"):
    n, v = pick.of(*pick.sizes), pick.of(1, 3, 5)
    targets = pick.integers(v, n)
    settings = {"reduction": pick.of("mean", "sum", "none")}
    ignored = pick.of(None, -100, 0)
    if ignored is not None and n > 1:
        settings["ignore_index"] = ignored
        targets[0] = ignored
        if ignored == 0 and v > 1:
            targets[1:] = 1 + targets[1:] % (v - 1)
    if smoothing:
        settings["label_smoothing"] = pick.of(*smoothing)
    weight = pick.of(None, pick.positive(v))
    return Case((pick.real(n, v), weight), {"targets": targets, **settings})


def nll_value(logp, weight=None, *, targets, ignore_index=-100, reduction="mean"):
    return smoothed_value(logp, weight, targets, ignore_index, reduction, 0.0)


def smoothed_value(logp, weight, targets, ignore_index, reduction, e):
    """Row by row, as PyTorch's documentation of cross_entropy has it."""
    n, v = logp.shape
    w = np.ones(v) if weight is None else weight
    losses, total = np.zeros(n), 0.0
    for i, t in enumerate(targets):
        if t != ignore_index:
            losses[i] = -(1 - e) * w[t] * logp[i, t] - e / v * (w * logp[i]).sum()
            total += w[t]
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else np.float64(losses.sum()) / total


def cross_entropy_value(
    logits, weight=None, *, targets, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    logp = np.log(exp_over_sum(logits))
    return smoothed_value(logp, weight, targets, ignore_index, reduction, label_smoothing)


def pair_case(first="real", second="real"):
    def make(pick):
        shape = pick.shape()
        x, y = getattr(pick, first)(*shape), getattr(pick, second)(*shape)
        return Case((x, y), {"reduction": pick.of("mean", "sum", "none")})

    return make


def reduced(losses, reduction):
    return (
        losses if reduction == "none" else losses.sum() / (1 if reduction == "sum" else losses.size)
    )


def bce_value(x, y, reduction="mean"):
    s = 1 / (1 + np.exp(-x))
    return reduced(-(y * np.log(s) + (1 - y) * np.log(1 - s)), reduction)


LOGITS_WITHOUT_END = (  # x, y, the loss and its slope, as PyTorch has them
    (INF, 0.0, INF, 1),
    (INF, 0.5, INF, 0.5),
    (INF, 1.0, math.nan, 0),
    (-INF, 0.0, math.nan, 0),
    (-INF, 0.5, math.nan, -0.5),
    (-INF, 1.0, math.nan, -1),
)


def normed_case(pick):
    *lead, c = pick.shape(1)
    axes = pick.of(*range(1, min(len(lead) + 1, 2) + 1))
    shape = (*lead, c + 1)[-axes:]
    affine = pick.of("both", "weight", "none")
    weight = None if affine == "none" else pick.real(*shape)
    bias = pick.real(*shape) if affine == "both" else None
    return Case((pick.real(*lead, c + 1), weight, bias), {"axes": axes, "eps": pick.of(1e-5, 0.1)})


def rms_case(pick):
    case = normed_case(pick)
    return Case(case.inputs[:2], case.settings)


def layer_norm_value(x, weight=None, bias=None, *, axes=1, eps=1e-5):
    over = tuple(range(-axes, 0))
    mean = x.mean(axis=over, keepdims=True)
    out = (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=over, keepdims=True) + eps)
    return out * (1 if weight is None else weight) + (0 if bias is None else bias)


def rms_norm_value(x, weight=None, *, axes=1, eps=1e-6):
    root = np.sqrt((x * x).mean(axis=tuple(range(-axes, 0)), keepdims=True) + eps)
    return x / root * (1 if weight is None else weight)


def batch_norm_case(pick):
    n, c = pick.of(*pick.sizes) + 1, pick.of(1, 2, 3)
    rest = pick.of((), (2,), (3,))
    settings = {"eps": pick.of(1e-5, 0.1)}
    if pick.of(False, True):
        settings |= {"mean": pick.real(c), "var": pick.positive(c)}
    weight, bias = pick.of((pick.real(c), pick.real(c)), (None, None))
    return Case((pick.real(n, c, *rest), weight, bias), settings)


def batch_norm_value(x, weight=None, bias=None, *, mean=None, var=None, eps=1e-5):
    rows = np.moveaxis(x, 1, -1)
    over = tuple(range(rows.ndim - 1))
    mean = rows.mean(axis=over) if mean is None else mean
    var = ((rows - mean) ** 2).mean(axis=over) if var is None else var
    out = (rows - mean) / np.sqrt(var + eps)
    out = out * (1 if weight is None else weight) + (0 if bias is None else bias)
    return np.moveaxis(out, -1, 1)


def group_norm_case(pick):
    groups, each = pick.of(1, 2, 3), pick.of(1, 2)
    shape = pick.of(1, 2), groups * each, *pick.of((), (2,), (3, 2))
    each = pick.of((pick.real(shape[1]), pick.real(shape[1])), (None, None))
    return Case((pick.distinct(*shape), *each), {"groups": groups, "eps": pick.of(1e-5, 0.1)})


def group_norm_value(x, weight=None, bias=None, *, groups, eps=1e-5):
    out = layer_norm_value(x.reshape(len(x), groups, -1), eps=eps).reshape(x.shape)
    along = (-1, *[1] * (x.ndim - 2))
    weight, bias = (d if p is None else p.reshape(along) for p, d in ((weight, 1), (bias, 0)))
    return out * weight + bias


def dropout_case(pick):
    shape = pick.shape()
    return Case((pick.real(*shape),), {"keep": pick.mask(*shape), "p": pick.of(0.0, 0.25, 0.5)})


def attention_case(pick):
    lead = pick.of((), (2,), (2, 1))
    t, s, d = pick.of(*pick.sizes), pick.of(*pick.sizes), pick.of(1, 2, 4)
    settings, mask = {}, None
    kind = pick.of("plain", "causal", "boolean", "added", "dropout", "scale")
    if kind == "causal":
        settings["causal"] = True
    elif kind == "boolean":
        mask = pick.mask(t, s)
    elif kind == "added":
        mask = pick.real(t, s)
    elif kind == "dropout":
        settings |= {"keep": pick.mask(*lead, t, s), "p": 0.5, "causal": pick.of(False, True)}
    elif kind == "scale":
        settings["scale"] = 0.3
    arrays = (pick.real(*lead, t, d), pick.real(*lead, s, d), pick.real(*lead, s, d))
    return Case((*arrays, mask), settings)


def attention_value(q, k, v, mask=None, *, causal=False, scale=None, keep=None, p=0.0):
    """One query and one key at a time."""
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = np.einsum("...td,...sd->...ts", q, k) * scale
    t, s = scores.shape[-2:]
    sees = np.ones(scores.shape, bool)
    if causal:
        sees &= np.arange(s)[None, :] <= np.arange(t)[:, None]
    if mask is not None and mask.dtype == bool:
        sees &= mask
    elif mask is not None:
        scores = scores + mask
        sees &= scores > -INF
    weights = np.where(sees, np.exp(scores), 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    weights = np.where(total > 0, weights / np.where(total > 0, total, 1), 0.0)
    if keep is not None:
        weights = weights * keep / (1 - p)
    return np.einsum("...ts,...sd->...td", weights, v)


IDS = np.array([0, 2])
FAR = np.array([0, 9])
LOSS = (
    text(targets=IDS),
    Wrong((X23,), {"targets": FAR}, IndexError, "got 9"),
    Wrong((X23,), {"targets": np.array([0, 1, 2])}, RuntimeError, "one target per row"),
    Wrong((X23,), {"targets": IDS, "reduction": "no"}, ValueError, "'mean', 'sum' or 'none'"),
)
PAIR = (text(X23), Wrong((X23, X45), {}, RuntimeError, "got (2, 3) and (4, 5)"))
NORM = (text(), Wrong((X23, np.ones(5)), {}, RuntimeError, "got"))
ROWS = np.log([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
UNIT = np.float64([-1, 1]) / math.sqrt(1 + 1e-5)
NEG = [[-INF, -INF]]

SPECS |= {
    "linear": Spec(
        linear_case,
        lambda x, w, b=None: (x[..., None, :] * w).sum(axis=-1) + (0 if b is None else b),
        (text(X23), Wrong((X23, X45), {}, RuntimeError, "(2, 3)")),
    ),
    "embedding": Spec(
        embedding_case,
        lambda weight, ids: np.stack([weight[i] for i in ids.reshape(-1)]).reshape(*ids.shape, -1),
        (text(ids=IDS), Wrong((X23,), {"ids": FAR}, IndexError, "9 is out of bounds")),
        known=(
            known(
                [np.float64([[1.0], [2.0]])], [[2], [2], [1]], [[1], [2]], ids=np.array([1, 1, 0])
            ),
        ),
        empty=False,
    ),
    "softmax": Spec(
        axis_case,
        exp_over_sum,
        (text(), Wrong((X23,), {"axis": 5}, IndexError, "must be in -2 ... 1, got 5")),
        known=(
            known([[1000.0, 1000.0]], [0.5, 0.5], [0, 0]),
            known([[1000.0, -1000.0]], [1, 0], [0, 0]),
            known([[-INF, 0.0]], [0, 1], [0, 0]),
            known(NEG, [math.nan, math.nan]),
        ),
        empty=False,
    ),
    "log_softmax": Spec(
        axis_case,
        lambda x, axis=-1: np.log(exp_over_sum(x, axis)),
        (text(), Wrong((X23,), {"axis": 5}, IndexError, "must be in -2 ... 1, got 5")),
        known=(known([[1000.0, -1000.0]], [0, -2000], [-1, 1]), known([[-INF, 0.0]], [-INF, 0])),
        empty=False,
    ),
    "nll_loss": Spec(
        loss_case,
        nll_value,
        LOSS,
        known=(
            known([ROWS], math.log(4), [[0, 0, 0], [0, 0, -1]], targets=np.array([-100, 2])),
            known([ROWS], math.nan, targets=np.array([-100, -100])),
            known(
                [ROWS], [0, 0], np.zeros((2, 3)), targets=np.array([-100, -100]), reduction="none"
            ),
            known(
                [np.array([[-INF, 0.0], [0.0, 1.0]])],
                -1,
                [[0, 0], [0, -1]],
                targets=np.array([-100, 1]),
            ),
        ),
        empty=False,
    ),
    "cross_entropy": Spec(
        lambda pick: loss_case(pick, smoothing=(0.0, 0.2)),
        cross_entropy_value,
        LOSS,
        known=(
            known([np.array([[1000.0, -1000.0]])], 0, [[0, 0]], targets=np.array([0])),
            known([np.array([[1000.0, -1000.0]])], 2000, [[1, -1]], targets=np.array([1])),
            known([np.array([[-INF, 0.0]])], 0, [[0, 0]], targets=np.array([1])),
            known(
                [ROWS, np.array([1.0, 2.0, 3.0])],
                (0.5 * 3 * math.log(4) + 0.5 / 3 * (math.log(2) + 5 * math.log(4))) / 3,
                targets=np.array([-100, 2]),
                label_smoothing=0.5,
            ),
            known([ROWS], math.nan, targets=np.array([-100, -100])),
        ),
        empty=False,
    ),
    "mse_loss": Spec(
        pair_case(),
        lambda x, y, reduction="mean": reduced((x - y) ** 2, reduction),
        (
            *PAIR,
            Wrong((X23, X23), {"reduction": "no"}, ValueError, "'mean', 'sum' or 'none'"),
        ),
    ),
    "binary_cross_entropy_with_logits": Spec(
        pair_case("apart", "positive"),
        bce_value,
        (*PAIR, Wrong((X23, X23), {"reduction": "no"}, ValueError, "'mean', 'sum' or 'none'")),
        known=(
            known(
                ([1000.0, -1000.0], [1.0, 1.0]), [0, 1000], [0, -1], [-1000, 1000], reduction="none"
            ),
            known(([0.0], [1.0]), math.log(2), [-0.5], [0]),
            *(
                known(([x], [y]), loss, [dx], [-x], reduction="mean")
                for x, y, loss, dx in LOGITS_WITHOUT_END
            ),
        ),
    ),
    "logit_loss": binary(
        lambda x, y: bce_value(x, y, "none"),
        "apart",
        "positive",
        known=(
            known(([1000.0, -1000.0], [1.0, 1.0]), [0, 1000], [0, -1], [-1000, 1000]),
            *(known(([x], [y]), [loss], [dx], [-x]) for x, y, loss, dx in LOGITS_WITHOUT_END),
        ),
    ),
    "layer_norm": Spec(
        normed_case,
        layer_norm_value,
        NORM,
        known=(known([[2.0, 2.0]], [0, 0], [0, 0]), known([[1.0, 3.0]], UNIT)),
        empty=False,
    ),
    "rms_norm": Spec(
        rms_case,
        rms_norm_value,
        NORM,
        known=(known([[0.0, 0.0]], [0, 0], [1e3, 1e3]),),
        empty=False,
    ),
    "batch_norm": Spec(
        batch_norm_case,
        batch_norm_value,
        (text(), Wrong((X23, np.ones(5)), {}, RuntimeError, "got")),
        known=(
            known([np.float64([[2.0], [2.0]])], [[0], [0]], [[0], [0]]),
            known([np.float64([[1.0], [3.0]])], UNIT[:, None]),
        ),
        empty=False,
    ),
    "group_norm": Spec(
        group_norm_case,
        group_norm_value,
        (
            text(groups=1),
            Wrong((X23,), {"groups": 2}, RuntimeError, "C a multiple of 2, got (2, 3)"),
        ),
        known=(known([np.float64([[1.0, 3.0, 2.0, 2.0]])], [[*UNIT, 0, 0]], groups=2),),
        empty=False,
    ),
    "dropout": Spec(
        dropout_case,
        lambda x, keep, p: np.where(keep, x / (1 - p), 0.0),
        (
            text(keep=X23 > 0, p=0.5),
            Wrong((X23,), {"keep": X45 > 0, "p": 0.5}, RuntimeError, "(2, 3)"),
        ),
        known=(known([[2.0, 2.0]], [0, 0], [0, 0], keep=np.array([False, True]), p=1.0),),
    ),
    "scaled_dot_product_attention": Spec(
        attention_case,
        attention_value,
        (text(X23, X23), Wrong((X23, X45, X45), {}, RuntimeError, "(2, 3)")),
        known=(
            known(
                (np.ones((2, 1)), np.ones((2, 1)), np.float64([[1], [3]])), [[1], [2]], causal=True
            ),
            known((X23, X23, X23, np.zeros((2, 2), bool)), 0 * X23, 0 * X23, 0 * X23, 0 * X23),
            known(
                (X23, X23, X23, np.full((2, 2), -INF)),
                0 * X23,
                0 * X23,
                0 * X23,
                0 * X23,
                np.zeros((2, 2)),
            ),
        ),
        empty=False,
    ),
}
