"""Convolution, pooling, resizing and their layers beside PyTorch's: drawn shapes and settings,
values and gradients in float64 and float32, first values from the same seed, pictures, running
statistics, errors, and a small network trained to the same losses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_parity_nn_layers import BOTH, close, observe, same_place, tensors

import tinygrad_lm as tg

torch = pytest.importorskip("torch")

IMAGE, LINE, BOX = [(2, 4, 6, 5)], [(2, 4, 7)], [(2, 4, 3, 5, 4)]
ONE = [(4, 6, 5)]
LAYERS = {
    "Conv1d": (lambda nn: nn.Conv1d(4, 6, 3), LINE),
    "Conv1d all": (
        lambda nn: nn.Conv1d(4, 6, (2,), 2, 1, 2, 2, False, "circular"),
        LINE,
    ),
    "Conv2d": (lambda nn: nn.Conv2d(4, 3, 3), IMAGE),
    "Conv2d one image": (lambda nn: nn.Conv2d(4, 3, 3, padding=1), ONE),
    "Conv2d all": (
        lambda nn: nn.Conv2d(4, 8, (3, 2), (2, 1), (1, 0), (1, 2), 4, bias=False),
        IMAGE,
    ),
    "Conv2d same": (lambda nn: nn.Conv2d(4, 3, (4, 2), padding="same", dilation=(1, 2)), IMAGE),
    "Conv2d same reflect": (
        lambda nn: nn.Conv2d(4, 3, (3, 2), padding="same", padding_mode="reflect"),
        IMAGE,
    ),
    "Conv2d valid": (lambda nn: nn.Conv2d(4, 3, 1, padding="valid", stride=2), IMAGE),
    "Conv2d replicate": (lambda nn: nn.Conv2d(4, 3, 3, padding=2, padding_mode="replicate"), IMAGE),
    "Conv2d depthwise": (lambda nn: nn.Conv2d(4, 4, 3, padding=1, groups=4), IMAGE),
    "Conv3d": (lambda nn: nn.Conv3d(4, 2, (1, 3, 2), padding=(1, 0, 1)), BOX),
    "ConvTranspose1d": (lambda nn: nn.ConvTranspose1d(4, 6, 3, 2, 1, 1), LINE),
    "ConvTranspose2d": (lambda nn: nn.ConvTranspose2d(4, 3, 3), IMAGE),
    "ConvTranspose2d all": (
        lambda nn: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (0, 1), (1, 2), 2, False, (2, 1)),
        IMAGE,
    ),
    "ConvTranspose2d one image": (lambda nn: nn.ConvTranspose2d(4, 3, 4, 2, 1), ONE),
    "ConvTranspose3d": (lambda nn: nn.ConvTranspose3d(4, 2, 2, 2), BOX),
    "Unfold": (lambda nn: nn.Unfold((2, 3), padding=1, stride=(1, 2)), IMAGE),
    "Fold": (lambda nn: nn.Fold((5, 4), 2, dilation=2), [(2, 8, 6)]),
    "Fold one image": (lambda nn: nn.Fold(4, (2, 1), padding=(1, 0)), [(6, 20)]),
    "MaxPool1d": (lambda nn: nn.MaxPool1d(3, 2, 1), LINE),
    "MaxPool2d": (lambda nn: nn.MaxPool2d(2), IMAGE),
    "MaxPool2d where": (lambda nn: nn.MaxPool2d((2, 3), return_indices=True), IMAGE),
    "MaxPool2d all": (
        lambda nn: nn.MaxPool2d((3, 2), (2, 1), (1, 0), (1, 2), ceil_mode=True),
        IMAGE,
    ),
    "MaxPool2d one image": (lambda nn: nn.MaxPool2d(2, ceil_mode=True), ONE),
    "MaxPool3d": (lambda nn: nn.MaxPool3d((1, 2, 2), padding=(0, 1, 0)), BOX),
    "AvgPool1d": (lambda nn: nn.AvgPool1d(2), LINE),
    "AvgPool2d": (lambda nn: nn.AvgPool2d(2), IMAGE),
    "AvgPool2d all": (lambda nn: nn.AvgPool2d((3, 2), 2, (1, 0), True, False), IMAGE),
    "AvgPool2d sum": (lambda nn: nn.AvgPool2d(2, 1, divisor_override=1), IMAGE),
    "AvgPool3d": (lambda nn: nn.AvgPool3d((1, 2, 2)), BOX),
    "AdaptiveAvgPool1d": (lambda nn: nn.AdaptiveAvgPool1d(3), LINE),
    "AdaptiveAvgPool2d": (lambda nn: nn.AdaptiveAvgPool2d((4, None)), IMAGE),
    "AdaptiveAvgPool2d one": (lambda nn: nn.AdaptiveAvgPool2d(1), ONE),
    "AdaptiveAvgPool3d": (lambda nn: nn.AdaptiveAvgPool3d((1, 2, 3)), BOX),
    "AdaptiveMaxPool1d": (lambda nn: nn.AdaptiveMaxPool1d(3), LINE),
    "AdaptiveMaxPool2d": (lambda nn: nn.AdaptiveMaxPool2d((4, 3), return_indices=True), IMAGE),
    "AdaptiveMaxPool3d": (lambda nn: nn.AdaptiveMaxPool3d(2), BOX),
    "BatchNorm2d": (lambda nn: nn.BatchNorm2d(4), IMAGE),
    "BatchNorm2d all": (lambda nn: nn.BatchNorm2d(4, 1e-3, None, False), IMAGE),
    "BatchNorm3d": (lambda nn: nn.BatchNorm3d(4, affine=False, track_running_stats=False), BOX),
    "InstanceNorm1d": (lambda nn: nn.InstanceNorm1d(4), LINE),
    "InstanceNorm2d": (
        lambda nn: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        IMAGE,
    ),
    "InstanceNorm2d one": (lambda nn: nn.InstanceNorm2d(4, eps=0.1), ONE),
    "InstanceNorm3d": (lambda nn: nn.InstanceNorm3d(4, track_running_stats=True), BOX),
    "GroupNorm": (lambda nn: nn.GroupNorm(2, 4), IMAGE),
    "GroupNorm plain": (lambda nn: nn.GroupNorm(1, 4, 0.1, affine=False), [(3, 4)]),
    "LocalResponseNorm": (lambda nn: nn.LocalResponseNorm(3, 0.5, 0.6, 2.0), IMAGE),
    "LocalResponseNorm even": (lambda nn: nn.LocalResponseNorm(2), LINE),
    "Dropout1d": (lambda nn: nn.Dropout1d(0.4), LINE),
    "Dropout1d one": (lambda nn: nn.Dropout1d(0.4), [(9, 2)]),
    "Dropout2d": (lambda nn: nn.Dropout2d(0.4), [(5, 6, 2, 3)]),
    "Dropout2d 3-D": (lambda nn: nn.Dropout2d(0.4), [(5, 6, 2)]),
    "Dropout3d": (lambda nn: nn.Dropout3d(0.4), [(5, 6, 1, 2, 3)]),
    "Dropout3d one": (lambda nn: nn.Dropout3d(0.4), [(9, 1, 2, 3)]),
    "ZeroPad1d": (lambda nn: nn.ZeroPad1d(1), LINE),
    "ZeroPad2d": (lambda nn: nn.ZeroPad2d((1, -1, 0, 2)), IMAGE),
    "ConstantPad1d": (lambda nn: nn.ConstantPad1d((2, 1), 3.5), LINE),
    "ConstantPad2d": (lambda nn: nn.ConstantPad2d(1, -1.0), IMAGE),
    "ConstantPad3d": (lambda nn: nn.ConstantPad3d(1, 2.0), BOX),
    "ReflectionPad1d": (lambda nn: nn.ReflectionPad1d((3, 0)), LINE),
    "ReflectionPad2d": (lambda nn: nn.ReflectionPad2d((1, 2, 3, 0)), IMAGE),
    "ReflectionPad3d": (lambda nn: nn.ReflectionPad3d(1), BOX),
    "ReplicationPad1d": (lambda nn: nn.ReplicationPad1d(9), LINE),
    "ReplicationPad2d": (lambda nn: nn.ReplicationPad2d((1, 2, -1, 0)), ONE),
    "ReplicationPad3d": (lambda nn: nn.ReplicationPad3d(2), BOX),
    "CircularPad1d": (lambda nn: nn.CircularPad1d(4), LINE),
    "CircularPad2d": (lambda nn: nn.CircularPad2d((5, 1, 0, 2)), IMAGE),
    "CircularPad3d": (lambda nn: nn.CircularPad3d(1), BOX),
    "Upsample": (lambda nn: nn.Upsample(scale_factor=2), IMAGE),
    "Upsample size": (lambda nn: nn.Upsample((4, 9), mode="bilinear"), IMAGE),
    "Upsample factors": (
        lambda nn: nn.Upsample(scale_factor=(1.7, 0.6), mode="bicubic", align_corners=True),
        IMAGE,
    ),
    "UpsamplingNearest2d": (lambda nn: nn.UpsamplingNearest2d(3), IMAGE),
    "UpsamplingBilinear2d": (lambda nn: nn.UpsamplingBilinear2d(scale_factor=3), IMAGE),
    "PixelShuffle": (lambda nn: nn.PixelShuffle(2), IMAGE),
    "PixelUnshuffle": (lambda nn: nn.PixelUnshuffle(2), [(3, 4, 6)]),
    "ChannelShuffle": (lambda nn: nn.ChannelShuffle(2), IMAGE),
    "Softmax2d": (lambda nn: nn.Softmax2d(), IMAGE),
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


def both_ways(call, shapes, dtype, seed=0, values=None):
    """call(F, *inputs) in both libraries: outputs and gradients."""
    found = []
    for library in BOTH:
        rng = np.random.default_rng(seed)
        make = values or (lambda shape, rng=rng: rng.normal(size=shape))
        inputs = [library.tensor(make(s).astype(dtype), requires_grad=True) for s in shapes]
        outputs = tensors(call(library.nn.functional, *inputs))
        for out in outputs:
            if out.requires_grad:
                out.backward(library.tensor(rng.normal(size=tuple(out.shape)).astype(dtype)))
        found.append([*outputs, *[x.grad for x in inputs]])
    for theirs, mine in zip(*found, strict=True):
        close(mine, theirs, tolerance=1e-11 if dtype == "float64" else 4e-6)


def each(draw, axes, low, high):
    return tuple(draw(st.integers(low, high)) for _ in range(axes))


DTYPES = st.sampled_from(["float64", "float32"])


@st.composite
def convolutions(draw):
    """(axes, transposed, shapes of input, weight and bias, settings)."""
    axes, transposed, groups = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.integers(1, 3))
    kernel, stride = each(draw, axes, 1, 4), each(draw, axes, 1, 3)
    padding, dilation = each(draw, axes, 0, 2), each(draw, axes, 1, 2)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    extra = each(draw, axes, 0, 4 if axes < 3 else 2)
    least = [2 * p + 1 if transposed else max(m - 2 * p, 1) for m, p in zip(spans, padding)]
    sizes = [n + e for n, e in zip(least, extra)]
    inner, outer = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    channels = (inner, outer // groups) if transposed else (outer, inner // groups)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if transposed:
        how["output_padding"] = tuple(draw(st.integers(0, s - 1)) for s in stride)
    shapes = [(draw(st.integers(1, 3)), inner, *sizes), (*channels, *kernel), (outer,)]
    return axes, transposed, shapes, how


@settings(max_examples=60)
@given(case=convolutions(), dtype=DTYPES)
def test_convolutions(case, dtype):
    axes, transposed, shapes, how = case
    name = f"conv{'_transpose' * transposed}{axes}d"
    both_ways(lambda F, x, w, b: getattr(F, name)(x, w, b, **how), shapes, dtype)


@st.composite
def poolings(draw):
    axes = draw(st.integers(1, 3))
    size, step = each(draw, axes, 1, 4), each(draw, axes, 1, 3)
    padding = tuple(draw(st.integers(0, k // 2)) for k in size)
    sizes = [k + e for k, e in zip(size, each(draw, axes, 0, 5 if axes < 3 else 2))]
    lead = each(draw, draw(st.integers(1, 2)), 1, 3)
    return axes, (*lead, *sizes), {"kernel_size": size, "stride": step, "padding": padding}


# Few different numbers, so that many tie.
TIES = {"": None, "ties": lambda shape: np.random.default_rng(3).integers(0, 3, shape) * 1.0}


@settings(max_examples=50)
@given(case=poolings(), dtype=DTYPES, ceil=st.booleans(), where=st.booleans(), data=st.data())
def test_max_pooling(case, dtype, ceil, where, data):
    axes, shape, how = case
    dilation = each(data.draw, axes, 1, 2)
    if any(n <= d * (k - 1) for n, k, d in zip(shape[-axes:], how["kernel_size"], dilation)):
        dilation = (1,) * axes
    how = {**how, "dilation": dilation, "ceil_mode": ceil, "return_indices": where}
    name = f"max_pool{axes}d"
    values = TIES[data.draw(st.sampled_from(list(TIES)))]
    both_ways(lambda F, x: getattr(F, name)(x, **how), [shape], dtype, values=values)


@settings(max_examples=40)
@given(case=poolings(), dtype=DTYPES, ceil=st.booleans(), counted=st.booleans())
def test_mean_pooling(case, dtype, ceil, counted):
    axes, shape, how = case
    how = {**how, "ceil_mode": ceil, "count_include_pad": counted}
    name = f"avg_pool{axes}d"
    both_ways(lambda F, x: getattr(F, name)(x, **how), [shape], dtype)


@settings(max_examples=30)
@given(axes=st.integers(1, 3), data=st.data(), dtype=DTYPES)
def test_adaptive_pooling(axes, data, dtype):
    shape, wanted = (2, *each(data.draw, axes, 1, 6)), each(data.draw, axes, 1, 7)
    for name in (f"adaptive_avg_pool{axes}d", f"adaptive_max_pool{axes}d"):
        both_ways(lambda F, x, name=name: getattr(F, name)(x, wanted), [shape], dtype)


@pytest.mark.parametrize("name", ["avg", "max"])
@pytest.mark.parametrize("wanted", [(0,), (0, 2), (2, 0), (0, 0), (2, 0, 3)])
def test_adaptive_pooling_to_no_windows(name, wanted):
    found = []
    for lib in (tg, torch):
        pool, how = getattr(lib.nn.functional, f"adaptive_{name}_pool{len(wanted)}d"), {}
        if name == "max":
            how["return_indices"] = True
        out = pool(lib.ones(2, 3, *[4] * len(wanted)), wanted, **how)
        found.append([(tuple(x.shape), str(x.dtype)) for x in (out if how else (out,))])
    assert found[0] == found[1]


MODES = [
    ("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 1), ("nearest-exact", 2),
    ("linear", 1), ("bilinear", 2), ("trilinear", 3), ("bicubic", 2), ("area", 1), ("area", 2),
]  # fmt: skip


@settings(max_examples=60)
@given(mode=st.sampled_from(MODES), data=st.data(), dtype=DTYPES)
def test_interpolation(mode, data, dtype):
    name, axes = mode
    shape = (2, 2, *each(data.draw, axes, 1, 5))
    how = {"mode": name}
    if data.draw(st.booleans()):
        how["size"] = each(data.draw, axes, 1, 8)
    else:
        factors = st.sampled_from([1.0, 1.3, 1.5, 2.0, 2.7, 3.0])
        how["scale_factor"] = tuple(data.draw(factors) for _ in range(axes))
        how["recompute_scale_factor"] = data.draw(st.sampled_from([None, True]))
    if "linear" in name or "cubic" in name:
        how["align_corners"] = data.draw(st.booleans())
    both_ways(lambda F, x: F.interpolate(x, **how), [shape], dtype)


@settings(max_examples=40)
@given(mode=st.sampled_from(["reflect", "replicate", "circular"]), data=st.data(), dtype=DTYPES)
def test_borders(mode, data, dtype):
    axes, lead = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    sizes = each(data.draw, axes, 2, 5)
    most = {"reflect": 1, "replicate": -2, "circular": 0}[mode]
    pad = [data.draw(st.integers(0, n - most)) for n in reversed(sizes) for _ in (0, 1)]
    both_ways(lambda F, x: F.pad(x, pad, mode=mode), [(2, 3)[:lead] + sizes], dtype)


def test_nan_and_ties_in_max_pooling():
    nan, inf = np.nan, np.inf
    rows = [[nan, 1, nan, 0], [1, nan, 2, 2], [-inf, -inf, inf, inf], [3, 3, 3, 3]]
    both = [library.tensor([[rows]], requires_grad=True) for library in BOTH]
    for how in ({}, {"stride": 1}, {"padding": 1}, {"return_indices": True, "stride": 1}):
        found = []
        for library, x in zip(BOTH, both):
            x.grad = None
            outputs = tensors(library.nn.functional.max_pool2d(x, 2, **how))
            outputs[0].sum().backward()
            found.append([*outputs, x.grad])
        for theirs, mine in zip(*found):
            assert np.array_equal(mine.detach().numpy(), theirs.detach().numpy(), equal_nan=True)


# ---------------------------------------------------------------- views of memory

VIEWS = """
x.unfold(0, 3, 1) | x.unfold(-1, 2, 2) | x.t().unfold(1, 4, 1) | x.unfold(0, 6, 3)
x[1:, ::2].unfold(0, 2, 1)
x.unfold(0, 0, 1) | s.unfold(0, 1, 1) | x.unfold(0, 2, 1).unfold(1, 2, 3) | x.unfold(0, 2, 1)[1:, 2]
torch.as_strided(x, (2, 3), (5, 1)) | x.as_strided((4, 2), (3, 1), 2)
x.t().as_strided((3, 3), (1, 1))
x.as_strided((2,), (0,), 4) | x.as_strided((), (), 7) | x.as_strided((0, 3), (1, 1))
x[2:].as_strided((2, 2), (5, 2))
x[2:].as_strided((2, 2), (5, 2), 12) | x.as_strided((5, 6), (1, 5))
(x * 2).as_strided((9,), (3,)).sum()
F.unfold(y, 2) | F.unfold(y[0], (2, 3), padding=1) | F.fold(F.unfold(y, 2), (4, 5), 2)
""".strip()
WRONG_VIEWS = """
x.unfold(0, 7, 1) | x.unfold(2, 1, 1) | x.unfold(0, 1, 0) | x.unfold(0, -1, 1)
x.as_strided((2, 2), (1,))
x.as_strided((31,), (1,)) | x.as_strided((2,), (-1,), 5) | F.fold(x, 4, 2)
""".strip()


def lines_of(table):
    return [line for row in table.split("\n") for line in row.split(" | ")]


def evaluated(library, line):
    rng = np.random.default_rng(0)
    made = {"x": rng.normal(size=(6, 5)), "y": rng.normal(size=(2, 3, 4, 5)), "s": rng.normal()}
    made = {k: library.tensor(v, requires_grad=True) for k, v in made.items()}
    space = {"torch": library, "F": library.nn.functional, **made}
    return eval(line, space), made


@pytest.mark.parametrize("line", lines_of(VIEWS))
def test_views(line):
    found = []
    for library in BOTH:
        out, leaves = evaluated(library, line)
        g = np.random.default_rng(1).normal(size=tuple(out.shape))
        out.backward(library.tensor(g))
        found.append((out, [x.grad for x in leaves.values()], str(out.grad_fn).split("B")[0][1:]))
    (theirs, grads, name), (mine, found_grads, my_name) = found
    close(mine, theirs)
    assert my_name == name
    assert mine.stride() == theirs.stride() or not mine.numel()
    for a, b in zip(grads, found_grads):
        assert (a is None) == (b is None)
        if a is not None:
            close(b, a)


@pytest.mark.parametrize("line", lines_of(WRONG_VIEWS))
def test_wrong_views(line):
    with pytest.raises(Exception) as theirs:
        evaluated(torch, line)
    with pytest.raises(theirs.type, match=r"^\["):
        evaluated(tg, line)


def test_a_view_follows_its_memory():
    """Windows and expanded axes show what is written later, and its gradient counts every time an
    element is seen."""
    found = []
    for library in BOTH:
        w = library.ones(6, requires_grad=True)
        x = library.zeros(6)
        windows, thrice = x.unfold(0, 3, 1), x[:1].expand(3)
        x.add_(w * library.arange(6.0))
        (windows * library.arange(12.0).view(4, 3)).sum().backward(retain_graph=True)
        first = w.grad.clone()
        (thrice * library.arange(3.0)).sum().backward()
        found.append([windows, thrice, first, w.grad])
        apart = library.zeros(6).unfold(0, 2, 2)
        apart[1] = 5.0
        found[-1].append(apart)
    for theirs, mine in zip(*found):
        close(mine, theirs)


# ---------------------------------------------------------------- errors

ERRORS = """
F.conv2d(ones(1, 3, 4, 4), ones(2, 2, 3, 3)) | F.conv2d(ones(4, 4), ones(2, 2, 3, 3))
F.conv2d(ones(1, 2, 2, 2), ones(2, 2, 3, 3)) | F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), ones(3))
F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3)) | F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), stride=0)
F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), padding=-1)
F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), dilation=0)
F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), stride=(1, 2, 3))
F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), groups=0)
F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), padding="same", stride=2)
F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), padding="no")
F.conv2d(ones(1, 2, 5, 5), ones(3, 1, 3, 3), groups=2)
F.conv1d(ones(1, 2, 5).double(), ones(2, 2, 3))
F.conv2d(ones(1, 2, 5, 5), ones(2, 2, 3, 3), stride=1.5)
F.conv_transpose2d(ones(1, 2, 3, 3), ones(3, 2, 3, 3))
F.conv_transpose2d(ones(1, 2, 3, 3), ones(2, 2, 3, 3), output_padding=1)
F.conv_transpose1d(ones(1, 2, 3), ones(2, 2, 3), ones(3))
F.max_pool2d(ones(1, 4, 4), 3, 2, 2) | F.max_pool2d(ones(4, 4), 2)
F.max_pool2d(ones(1, 1, 2, 2), 3)
F.max_pool2d(ones(1, 4, 4), (1, 2, 3)) | F.max_pool2d(ones(1, 4, 4), 0)
F.max_pool1d(ones(1, 4), 2, 0)
F.avg_pool2d(ones(1, 4, 4), 3, 2, 2) | F.avg_pool2d(ones(1, 1, 2, 2), 3)
F.avg_pool2d(ones(1, 4, 4), 2, divisor_override=0)
F.adaptive_avg_pool2d(ones(4, 4), 2) | F.adaptive_avg_pool2d(ones(1, 1, 4, 4), (1, 2, 3))
F.adaptive_max_pool1d(ones(1, 0), 2)
F.interpolate(ones(1, 1, 4, 4)) | F.interpolate(ones(1, 1, 4, 4), 2, 2.0)
F.interpolate(ones(1, 1, 4, 4), (2, 2, 2))
F.interpolate(ones(1, 1, 4, 4), 2, mode="linear")
F.interpolate(ones(1, 1, 4, 4), 2, align_corners=True) | F.interpolate(ones(1, 1, 4, 4), 0)
F.pad(ones(1, 4), (4, 0), mode="reflect") | F.pad(ones(1, 4), (5, 0), mode="circular")
F.pad(ones(4), (1, 1), mode="reflect")
F.pad(ones(1, 4), (1, 1), mode="no") | F.pad(ones(1, 1, 4), (1, 1, 1, 1, 1, 1), mode="replicate")
F.pad(ones(1, 4), (-2, -2), mode="replicate")
F.group_norm(ones(2, 4), 3) | F.group_norm(ones(1, 2), 2) | F.instance_norm(ones(2, 3, 1))
F.local_response_norm(ones(2, 3), 2)
F.pixel_shuffle(ones(1, 3, 2, 2), 2) | F.pixel_unshuffle(ones(1, 3, 3, 2), 2)
F.channel_shuffle(ones(1, 3, 2, 2), 2)
F.dropout1d(ones(3)) | F.dropout2d(ones(1, 2, 3, 4), 1.5) | nn.Dropout2d(-1.0) | nn.GroupNorm(3, 4)
nn.Conv2d(3, 4, 3, groups=2) | nn.Conv2d(2, 4, 3, groups=0) | nn.Conv2d(2, 4, 3, padding="no")
nn.Conv2d(2, 4, 3, 2, "same")
nn.Conv2d(2, 4, 3, padding_mode="no") | nn.ConvTranspose2d(2, 4, 3, padding_mode="circular")
nn.Conv2d(2, 4, 3)(ones(1, 3, 9, 9))
nn.ConvTranspose2d(2, 4, 3, 2)(ones(1, 2, 3, 3), (9, 9))
nn.ConvTranspose2d(2, 4, 3, 2)(ones(1, 2, 3, 3), (1, 2, 3, 4, 5))
nn.BatchNorm2d(3)(ones(2, 3, 4)) | nn.BatchNorm2d(3)(ones(1, 3, 1, 1))
nn.InstanceNorm2d(3, affine=True)(ones(2, 4, 5, 5)) | nn.InstanceNorm2d(3)(ones(2, 4))
nn.Softmax2d()(ones(2, 3)) | nn.init.dirac_(ones(2, 2)) | nn.init.dirac_(ones(3, 2, 2), 2)
nn.init._calculate_fan_in_and_fan_out(ones(3))
""".strip()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("line", lines_of(ERRORS))
def test_errors(line):
    def run(library):
        names = {"nn": library.nn, "F": library.nn.functional, "ones": library.ones}
        return eval(line, names)

    with pytest.raises(Exception) as theirs:
        run(torch)
    with pytest.raises(theirs.type, match=r"^\["):
        run(tg)


# ---------------------------------------------------------------- what is left

NAMES = """
F.conv1d(a, ones(2, 2, 3)) | F.conv2d(b, ones(2, 2, 3, 3)) | F.conv2d(b[0], ones(2, 2, 3, 3))
F.conv_transpose2d(b, ones(2, 2, 3, 3))
F.conv2d(b, ones(2, 2, 1, 1)) | F.max_pool1d(a, 2) | F.max_pool2d(b, 2)
F.max_pool2d(b, 2, return_indices=True)[0] | F.avg_pool1d(a, 2)
F.avg_pool2d(b, 2) | F.adaptive_avg_pool1d(a, 2) | F.adaptive_avg_pool2d(b, 2)
F.adaptive_avg_pool2d(b, 1) | F.adaptive_max_pool2d(b, 2)
F.unfold(b, 2) | F.interpolate(a, 9, mode="linear") | F.interpolate(b, 9)
F.interpolate(b, 9, mode="bicubic") | F.interpolate(b, 9, mode="nearest-exact")
F.pad(a, (1, 1), mode="reflect") | F.pad(b, (1, 1, 1, 1), mode="replicate")
F.pixel_shuffle(b.view(1, 4, 2, -1), 2) | F.pixel_unshuffle(b, 2)
F.group_norm(b, 2) | F.instance_norm(b) | F.dropout2d(b)
""".strip()


@pytest.mark.parametrize("line", lines_of(NAMES))
def test_names_in_the_graph(line):
    found = []
    for library in BOTH:
        a = library.ones(1, 2, 8, requires_grad=True)
        b = library.ones(1, 2, 8, 8, requires_grad=True)
        names = {"F": library.nn.functional, "ones": library.ones, "a": a, "b": b}
        found.append(str(eval(line, names).grad_fn).split(" ")[0].rstrip(">"))
    assert found[1] == found[0]


def test_running_statistics_over_batches():
    makes = [
        lambda nn: nn.BatchNorm2d(3),
        lambda nn: nn.BatchNorm2d(3, momentum=None),
        lambda nn: nn.InstanceNorm2d(3, momentum=0.3, track_running_stats=True),
    ]
    for make in makes:
        theirs, mine = (make(library.nn) for library in BOTH)
        for seed in range(4):
            x = np.random.default_rng(seed).normal(1, 2, (3, 3, 4, 5)).astype("f4")
            theirs(torch.tensor(x)), mine(tg.tensor(x))
        for key, value in theirs.state_dict().items():
            close(mine.state_dict()[key], value, key)
        close(mine.eval()(tg.tensor(x)), theirs.eval()(torch.tensor(x)))


FIRST = {  # of a weight (8, 4, 3, 3)
    "kaiming_normal_": {"mode": "fan_out", "nonlinearity": "relu"}, "xavier_uniform_": {},
    "kaiming_uniform_": {"a": 0.2}, "dirac_": {}, "dirac_ ": {"groups": 2}, "orthogonal_": {},
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST)
def test_first_values_of_a_convolution(name):
    found = []
    for library in BOTH:
        library.manual_seed(4)
        layer = library.nn.Conv2d(4, 8, 3)
        getattr(library.nn.init, name.strip())(layer.weight, **FIRST[name])
        found.append(layer.weight)
        assert library.nn.init._calculate_fan_in_and_fan_out(layer.weight) == (36, 72)
    close(found[1], found[0], tolerance=3e-6)
    same_place()


def test_output_size_of_a_transposed_convolution():
    found = []
    for library in BOTH:
        library.manual_seed(0)
        layer = library.nn.ConvTranspose2d(2, 3, 3, (2, 3), 1)
        x = library.ones(2, 2, 4, 3)
        found.append([layer(x, (8, 9)), layer(x, [2, 3, 7, 8]), layer(x[0], (8, 7))])
    for theirs, mine in zip(*found):
        close(mine, theirs)


def test_memory_formats_are_accepted():
    for library in BOTH:
        x = library.ones(2, 3, 4, 5)
        for form in (library.channels_last, library.contiguous_format):
            assert x.to(memory_format=form).shape == x.shape
            assert x.contiguous(memory_format=form).sum().item() == 120
        assert not x.is_contiguous(memory_format=library.channels_last)
        assert x.permute(0, 3, 1, 2).is_contiguous(memory_format=library.channels_last)
        model = library.nn.Conv2d(3, 1, 1).to(memory_format=library.channels_last)
        assert model(x).shape == (2, 1, 4, 5)
        assert str(library.channels_last) == "torch.channels_last"
        assert library.conv2d(x, library.ones(1, 3, 1, 1)).tolist() == [[[[3.0] * 5] * 4]] * 2


def a_network(nn):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, bias=False),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.Dropout2d(0.25),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 4),
    )


def test_a_small_network_trains_to_the_same_losses():
    """Bright quarters of noisy images: 12 steps, losses equal to five digits, and learnt."""
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(64, 1, 12, 12)).astype("f4"), rng.integers(0, 4, 64)
    for image, t in zip(images, targets):
        image[0, t // 2 * 6 : t // 2 * 6 + 6, t % 2 * 6 : t % 2 * 6 + 6] += 1.5
    losses = []
    for library in BOTH:
        library.manual_seed(7)
        model = a_network(library.nn)
        optimizer = library.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        x, y, found = library.tensor(images), library.tensor(targets), []
        for step in range(12):
            batch = slice(step % 2 * 32, step % 2 * 32 + 32)
            loss = library.nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        losses.append(found)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert losses[0][-1] < 0.5 * losses[0][0]
