"""Records of the ops on windows: unfold and its mirror, strided views, convolution and max pooling.
Every definition goes window by window, or element by element, with plain loops."""

import itertools
import math

import numpy as np
from op_specs import INF, NAN, SPECS, X23, Case, Spec, Wrong, known, text

# ---------------------------------------------------------------- windows of one axis


def unfold_case(pick):
    shape = pick.shape(1)
    axis = pick.of(*range(len(shape)))
    size, dilation = pick.of(1, 2, 3), pick.of(1, 2)
    if dilation * (size - 1) >= shape[axis]:
        size = dilation = 1
    how = {"size": size, "step": pick.of(1, 2, 3)} | ({"dilation": 2} if dilation == 2 else {})
    return Case((pick.real(*shape),), {"axis": axis, **how})


def unfold_value(x, *, axis, size, step=1, dilation=1):
    x = np.moveaxis(x, axis, 0)
    starts = range(0, len(x) - dilation * (size - 1), step)
    windows = [np.stack([x[s + k * dilation] for k in range(size)], -1) for s in starts]
    return np.moveaxis(np.stack(windows), 0, axis)


def fold_case(pick):
    case = unfold_case(pick)
    how = dict(case.settings)
    length, size = case.inputs[0].shape[how["axis"]], how.pop("size")
    shape = unfold_value(case.inputs[0], **case.settings).shape
    assert shape[-1] == size
    if how["step"] == 1 and pick.of(True, False):
        del how["step"]
    return Case((pick.real(*shape),), {"length": length + pick.of(0, 1, 2), **how})


def fold_value(g, *, axis, length, step=1, dilation=1):
    g = np.moveaxis(g, axis, 0)
    out = np.zeros((length, *g.shape[1:-1]))
    for i, k in itertools.product(range(len(g)), range(g.shape[-1])):
        out[i * step + k * dilation] += g[i, ..., k]
    return np.moveaxis(out, 0, axis)


def strided_case(pick):
    x = pick.real(*pick.shape())
    shape, strides, left = [], [], x.size
    for _ in range(pick.of(0, 1, 2, 3)):
        shape.append(pick.of(1, 2, 3) if left > 1 else 1)
        strides.append(pick.of(*range(1 + (left - 1) // max(shape[-1] - 1, 1))) if left else 0)
        left -= (shape[-1] - 1) * strides[-1]
    settings = {
        "shape": tuple(shape) if left else (0,),
        "strides": tuple(strides) if left else (1,),
    }
    offset = pick.of(*range(max(left, 1)))
    return Case((x,), settings | ({"offset": offset} if offset else {}))


def strided_value(x, *, shape, strides, offset=0):
    flat, out = x.reshape(-1), np.zeros(shape)
    for at in np.ndindex(*shape):
        out[at] = flat[offset + sum(i * s for i, s in zip(at, strides))]
    return out


def window_sums_case(pick):
    shape = pick.shape(1)
    axis = pick.of(*range(len(shape)))
    n = shape[axis]
    even = [(i, i + min(2, n)) for i in range(0, max(n - 1, 1), pick.of(1, 2))]
    uneven = [(i * n // 3, -(-(i + 1) * n // 3)) for i in range(3)]
    return Case((pick.real(*shape),), {"axis": axis, "bounds": pick.of(even, uneven)})


def window_sums_value(x, *, axis, bounds):
    x = np.moveaxis(x, axis, 0)
    return np.moveaxis(np.stack([x[a:b].sum(0) for a, b in bounds]), 0, axis)


def window_spread_case(pick):
    case = window_sums_case(pick)
    shape = window_sums_value(case.inputs[0], **case.settings).shape
    length = case.inputs[0].shape[case.settings["axis"]]
    return Case((pick.real(*shape),), {"length": length, **case.settings})


def window_spread_value(g, *, axis, bounds, length):
    g = np.moveaxis(g, axis, 0)
    out = np.zeros((length, *g.shape[1:]))
    for (a, b), each in zip(bounds, g):
        out[a:b] += each
    return np.moveaxis(out, 0, axis)


# ---------------------------------------------------------------- convolution


def window_settings(pick, axes):
    """kernel, stride, padding, dilation with as many numbers as there are axes."""
    kernel = tuple(pick.of(1, 2, 3) for _ in range(axes))
    stride = tuple(pick.of(1, 2) for _ in range(axes))
    padding = tuple(pick.of(0, 1) for _ in range(axes))
    dilation = tuple(pick.of(1, 2) for _ in range(axes))
    return kernel, stride, padding, dilation


def convolution_case(pick, transposed=False):
    axes, groups = pick.of(1, 2), pick.of(1, 2)
    kernel, stride, padding, dilation = window_settings(pick, axes)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    least = [2 * p + 1 if transposed else max(s - 2 * p, 1) for s, p in zip(spans, padding)]
    sizes = [n + pick.of(0, 1, 2) for n in least]
    inner, outer = groups * pick.of(1, 2), groups * pick.of(1, 2)
    x = pick.real(pick.of(*pick.sizes), inner, *sizes)
    channels = (inner, outer // groups) if transposed else (outer, inner // groups)
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    if transposed:
        most = [max(pair) - 1 for pair in zip(stride, dilation)]
        settings["output_padding"] = tuple(pick.of(0, 1) if n else 0 for n in most)
    if groups > 1:
        settings["groups"] = groups
    bias = pick.of(None, pick.real(outer))
    return Case((x, pick.real(*channels, *kernel), bias), settings)


def convolution_value(x, weight, bias=None, *, stride, padding, dilation, groups=1):
    """One window at a time."""
    wide = np.pad(x, [(0, 0)] * 2 + [(p, p) for p in padding])
    spans = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation)]
    counts = [(n - m) // s + 1 for n, m, s in zip(wide.shape[2:], spans, stride)]
    out = np.zeros((len(x), len(weight), *counts))
    share, part = weight.shape[1], len(weight) // groups
    for o, *at in itertools.product(range(len(weight)), *map(range, counts)):
        there = [slice(i * s, i * s + m, d) for i, s, m, d in zip(at, stride, spans, dilation)]
        first = o // part * share
        window = wide[(slice(None), slice(first, first + share), *there)]
        out[(slice(None), o, *at)] = (
            (window * weight[o]).reshape(len(x), share * weight[o, 0].size).sum(1)
        )
    return out if bias is None else out + bias.reshape(-1, *[1] * len(counts))


def conv_transpose_value(
    x, weight, bias=None, *, stride, padding, output_padding, dilation, groups=1
):
    """Every element of x adds its multiple of the weight."""
    kernel = weight.shape[2:]
    wide = [
        (n - 1) * s + d * (k - 1) + 1 + more
        for n, s, d, k, more in zip(x.shape[2:], stride, dilation, kernel, output_padding)
    ]
    outer, share = weight.shape[1], x.shape[1] // groups
    out = np.zeros((len(x), outer * groups, *wide))
    for c, *at in itertools.product(range(x.shape[1]), *map(range, x.shape[2:])):
        first = c // share * outer
        for k in itertools.product(*map(range, kernel)):
            there = [i * s + j * d for i, s, j, d in zip(at, stride, k, dilation)]
            one = x[(slice(None), c, *at)][:, None] * weight[(c, slice(None), *k)]
            out[(slice(None), slice(first, first + outer), *there)] += one
    out = out[(..., *[slice(p, n - p) for p, n in zip(padding, wide)])]
    return out if bias is None else out + bias.reshape(-1, *[1] * len(kernel))


# ---------------------------------------------------------------- max pooling


def pool_windows(pick, dilated):
    """Per axis a size, and ranges of positions for windows: regular ones, or as equal as can be."""
    for _ in range(pick.of(1, 2)):
        size, step, dilation = pick.of(1, 2, 3), pick.of(1, 2), pick.of(1, 2) if dilated else 1
        span = dilation * (size - 1) + 1
        n, padding = span + pick.of(0, 1, 2), pick.of(0, min(1, span // 2))
        ends = (n, n + dilation * padding)[pick.of(0, 1)]  # the last window may be cut off
        starts = range(-padding, ends - span + 1, step)
        regular = [range(max(a, a % dilation), min(a + span, n), dilation) for a in starts]
        bins = [range(i * n // size, -(-(i + 1) * n // size)) for i in range(size)]
        yield n, tuple(pick.of(regular, bins))


def max_pool_case(pick):
    sizes, windows = zip(*pool_windows(pick, True))
    lead = [pick.of(*pick.sizes) for _ in range(pick.of(0, 1, 2))]
    return Case((pick.distinct(*lead, *sizes),), {"windows": windows})


def avg_pool_case(pick):
    sizes, windows = zip(*pool_windows(pick, False))
    lead = [pick.of(*pick.sizes) for _ in range(pick.of(0, 1, 2))]
    divisors = tuple([tuple([pick.of(1, 2, 3) for _ in ranges]) for ranges in windows])
    return Case((pick.real(*lead, *sizes),), {"windows": windows, "divisors": divisors})


def pooled(x, windows, of_window):
    out = np.zeros((*x.shape[: -len(windows)], *map(len, windows)))
    for at in np.ndindex(*map(len, windows)):
        seen = np.ix_(*[ranges[i] for i, ranges in zip(at, windows)])
        out[(..., *at)] = of_window(x[(..., *seen)], at)
    return out


def max_pool_value(x, *, windows):
    last = tuple(range(-len(windows), 0))
    return pooled(x, windows, lambda seen, at: seen.max(last))


def avg_pool_value(x, *, windows, divisors):
    last = tuple(range(-len(windows), 0))

    def mean(seen, at):
        return seen.sum(last) / math.prod([each[i] for i, each in zip(at, divisors)])

    return pooled(x, windows, mean)


X145, W223 = np.ones((1, 4, 5)), np.ones((2, 2, 3))
CONV = {"stride": (1,), "padding": (0,), "dilation": (1,)}
BACK = CONV | {"output_padding": (0,)}
POOL = {"windows": ((range(2), range(2, 4)),)}
OVER = {"windows": ((range(2), range(3), range(1, 3)),)}
APART = {"windows": ((range(1, 3, 2), range(0, 3, 2), range(1, 2)),)}
SQUARE = {"windows": ((range(2),), (range(2),))}

SPECS |= {
    "unfold": Spec(
        unfold_case,
        unfold_value,
        (
            text(axis=0, size=1),
            Wrong((X23,), {"axis": 0, "size": 3}, RuntimeError, "3 elements over 3 of 2"),
            Wrong((X23,), {"axis": 1, "size": 3, "dilation": 2}, RuntimeError, "over 5 of 3"),
            Wrong((X23,), {"axis": 0, "size": -1}, RuntimeError, "got -1 elements"),
            Wrong((X23,), {"axis": 0, "size": 2, "step": 0}, RuntimeError, "and step 0"),
        ),
        known=(known([[1.0, 2.0]], np.zeros((3, 0)), [0, 0], axis=0, size=0),),
        empty=False,
    ),
    "fold": Spec(
        fold_case,
        fold_value,
        (
            text(axis=0, length=1),
            *[
                Wrong((X23,), {"axis": 0, **how}, RuntimeError, "hold all windows, got 2 of 3")
                for how in (
                    {"length": 3},
                    {"length": 5, "dilation": 2},
                    {"length": 5, "step": 3},
                )
            ],
        ),
        empty=False,
    ),
    "as_strided": Spec(
        strided_case,
        strided_value,
        (
            text(shape=(1,), strides=(1,)),
            Wrong((X23,), {"shape": (3, 2), "strides": (2, 2)}, RuntimeError, "own 6 elements"),
            Wrong(
                (X23,),
                {"shape": (2,), "strides": (-1,), "offset": 3},
                RuntimeError,
                "strides (-1,)",
            ),
            Wrong((X23,), {"shape": (-1,), "strides": (1,)}, RuntimeError, "shape (-1,)"),
            Wrong((X23,), {"shape": (1,), "strides": (1,), "offset": -1}, RuntimeError, "from -1"),
            Wrong((X23,), {"shape": (1,), "strides": (1,), "offset": 6}, RuntimeError, "from 6 on"),
            Wrong((X23,), {"shape": (3,), "strides": (1,), "offset": 4}, RuntimeError, "from 4 on"),
        ),
        known=(
            known([[1.0, 2.0]], [[1, 2], [1, 2]], [2, 2], shape=(2, 2), strides=(0, 1)),
            known([[1.0, 2.0]], np.zeros(0), [0, 0], shape=(0,), strides=(1,), offset=5),
        ),
    ),
    "window_sums": Spec(
        window_sums_case,
        window_sums_value,
        (
            text(axis=0, bounds=[(0, 2)]),
            Wrong((X23,), {"axis": 1, "bounds": [(2, 4)]}, RuntimeError, "got [(2, 4)]"),
            Wrong((X23,), {"axis": 1, "bounds": [(2, 2)]}, RuntimeError, "got [(2, 2)]"),
            Wrong((X23,), {"axis": 1, "bounds": [(-1, 2)]}, RuntimeError, "0 ... 2"),
        ),
        empty=False,
    ),
    "window_spread": Spec(
        window_spread_case,
        window_spread_value,
        (
            text(axis=0, bounds=[(0, 2)], length=2),
            Wrong(
                (X23,), {"axis": 1, "bounds": [(0, 2)] * 2, "length": 3}, RuntimeError, "3 windows"
            ),
        ),
        empty=False,
    ),
    "convolution": Spec(
        convolution_case,
        convolution_value,
        (
            text(W223, **CONV),
            Wrong((X145, W223), CONV, RuntimeError, "got (1, 4, 5)"),
            Wrong((X145, W223[:1]), CONV | {"groups": 2}, RuntimeError, "in 2 group(s)"),
            Wrong((X145[None], np.ones((2, 4, 3))), CONV, RuntimeError, "got (1, 1, 4, 5)"),
            Wrong((X145[:, :2], W223, np.ones(1)), CONV, RuntimeError, "bias must be (2,)"),
            Wrong((X145[:, :2, :2], W223), CONV, RuntimeError, "3 elements over 3 of 2"),
        ),
        empty=False,
    ),
    "conv_transpose": Spec(
        lambda pick: convolution_case(pick, transposed=True),
        conv_transpose_value,
        (
            text(W223, **BACK),
            Wrong((X145, W223), BACK, RuntimeError, "got (1, 4, 5)"),
            Wrong(
                (X145[:, :3], np.ones((3, 2, 3))), BACK | {"groups": 2}, RuntimeError, "2 group(s)"
            ),
            Wrong((X145[None], np.ones((4, 2, 3))), BACK, RuntimeError, "got (1, 1, 4, 5)"),
            Wrong((X145[:, :2], W223, np.ones(1)), BACK, RuntimeError, "bias must be (2,)"),
        ),
        empty=False,
    ),
    "max_pool": Spec(
        max_pool_case,
        max_pool_value,
        (text(**POOL),),
        known=(
            known([[1.0, 1.0, 2.0, 3.0]], [1, 3], [1, 0, 0, 1], **POOL),
            known([[NAN, 5.0, NAN, NAN]], [NAN, NAN], [1, 0, 0, 1], **POOL),
            known([[-INF, -INF, INF, INF]], [-INF, INF], [1, 0, 1, 0], **POOL),
            known([[-0.0, 0.0, 0.0, -0.0]], [0, 0], [1, 0, 1, 0], **POOL),
            known([[-INF, -INF, -INF]], [-INF] * 3, [2, 1, 0], **OVER),
            known([[1.0, 1.0, 0.0]], [1, 1, 1], [2, 1, 0], **OVER),
            known([[1.0, 3.0, 2.0]], [3, 2, 3], [0, 2, 1], **APART),
            known([[[1.0, 2.0], [2.0, 1.0]]], [[2]], [[0, 1], [0, 0]], **SQUARE),
            known([[[NAN, 2.0], [NAN, 3.0]]], [[NAN]], [[0, 0], [1, 0]], **SQUARE),
        ),
        empty=False,
    ),
    "avg_pool": Spec(
        avg_pool_case,
        avg_pool_value,
        (text(**POOL, divisors=((2, 2),)),),
        known=(
            known([[1.0, 3.0, 4.0, 6.0]], [2, 5], [0.5] * 4, **POOL, divisors=((2, 2),)),
            known([[NAN, 3.0, INF, 6.0]], [NAN, INF], [0.5] * 4, **POOL, divisors=((2, 2),)),
        ),
        empty=False,
    ),
}
