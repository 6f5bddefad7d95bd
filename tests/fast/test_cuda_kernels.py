"""Kernels in CUDA C++ beside the compositions they stand for, in float64 on NumPy: sizes that do
not fit, values that are no numbers, the same bits twice, few launches, no waiting for the host."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import cupy_on_cpu
import ml_dtypes
import numpy as np
import pytest

import tinygrad_lm
from tinygrad_lm.autograd import grad
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.core.tensor import wrap
from tinygrad_lm.engine.ops.index import add_rows

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("gpu")]
FOLDER = Path(tinygrad_lm.__file__).parent / "engine/kernels/cuda"
KINDS = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}  # and the error relative to the norm


def real(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def dtype_of(kind):
    return np.dtype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)


def rounded(x, kind):
    """A float array as `kind` holds it; others, and what is no array, as they are."""
    return x.astype(dtype_of(kind)) if getattr(x, "dtype", None) == np.float64 else x


def value_and_slopes(op, inputs, settings, g=None):
    """The op's value, and its gradients for an upstream g (random if None), as arrays."""
    given = [x if x is None else wrap(x).requires_grad_() for x in inputs]
    out = op(*given, **settings)
    lib = arrays.library(out.array)
    if g is None:
        g = real(*out.shape, seed=9)
    g = lib.asarray(np.asarray(g).astype(out.array.dtype))
    wanted = [x for x in given if x is not None]
    return [out.array, *(x.array for x in grad([out], wanted, [wrap(g)]))]


def both(name, inputs, settings, kind, gpu, g=None):
    """(what the GPU gives for inputs of this dtype, what the composition gives in float64)."""
    op = OPS[name]
    inputs = [x if x is None else rounded(x, kind) for x in inputs]
    there = {k: gpu.asarray(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    on_gpu = [x if x is None else gpu.asarray(x) for x in inputs]
    if g is None:  # the upstream gradient as the smaller dtype holds it, in both
        out = op(*[x if x is None else wrap(x) for x in on_gpu], **there)
        g = real(*out.shape, seed=9).astype(dtype_of(kind)).astype("float64")
    found = value_and_slopes(op, on_gpu, there, g)
    with arrays.reference_only():
        wide = [x if x is None else x.astype("float64") for x in inputs]
        want = value_and_slopes(op, wide, settings, g)
    return found, want


def assert_near(found, want, kind):
    for got, known in zip(found, want, strict=True):
        assert got.dtype == dtype_of(kind) and got.shape == known.shape
        got = arrays.to_numpy(got).astype("float64")
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(known))
        here = np.isfinite(known)
        error = np.linalg.norm((got - known)[here])
        assert error <= KINDS[kind] * max(np.linalg.norm(known[here]), 1e-3)


CASES = {
    "gelu": lambda: ([3 * real(7, 531)], {}),
    "gelu even": lambda: ([3 * real(16, 512)], {}),
    "gelu strided": lambda: ([3 * real(40, 9).T], {"approximate": "tanh"}),
    "gelu tanh": lambda: ([np.linspace(-90, 90, 4097)], {"approximate": "tanh"}),
    "add": lambda: ([real(7, 531), real(7, 531)], {}),
    "add even": lambda: ([real(4, 512), real(4, 512)], {}),
    "silu": lambda: ([np.linspace(-99, 99, 1001)], {}),
    "softmax": lambda: ([3 * real(3, 7, 65)], {}),
    "softmax wide": lambda: ([3 * real(3, 2560)], {"axis": 1}),
    "softmax one": lambda: ([3 * real(9, 1)], {}),
    "log_softmax": lambda: ([3 * real(11, 72)], {}),
    "log_softmax wide": lambda: ([3 * real(2, 1027)], {}),
    "cross_entropy": lambda: ([3 * real(19, 65), None], {"targets": np.arange(19) ** 2 % 65}),
    "cross_entropy sum": lambda: (
        [3 * real(5, 1304), None],
        {"targets": np.arange(5) * 300, "reduction": "sum", "ignore_index": 300},
    ),
    "cross_entropy none": lambda: (
        [3 * real(40, 72).T, None],
        {"targets": np.arange(72) % 40, "reduction": "none", "ignore_index": 7},
    ),
    "layer_norm": lambda: ([real(3, 7, 768) + 2, real(768), real(768)], {}),
    "layer_norm odd": lambda: ([real(21, 65) + 2, real(65), None], {"eps": 0.1}),
    "layer_norm bare": lambda: ([real(300, 9).T + 2, None, None], {}),
    "layer_norm wide": lambda: ([real(3, 2100) + 2, real(2100), real(2100)], {}),
    "layer_norm axes": lambda: ([real(5, 20, 16) + 2, None, real(20, 16)], {"axes": 2}),
    "rms_norm": lambda: ([real(9, 100) + 2, real(100)], {}),
    "rms_norm bare": lambda: ([real(2, 1032)], {}),
    "embedding": lambda: ([real(65, 48)], {"ids": np.arange(7 * 30).reshape(7, 30) ** 2 % 65}),
    "embedding odd": lambda: ([real(9, 301)], {"ids": np.array([3, -1, 3, 8, 3])}),
    "embedding of positions": lambda: ([real(70, 40)], {"ids": np.arange(65)}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_a_kernel_gives_what_the_composition_gives(case, kind, gpu):
    (name, *_), (inputs, settings) = case.split(), CASES[case]()
    found, want = both(name, inputs, settings, kind, gpu)
    assert_near(found[:1], want[:1], "float32" if name == "cross_entropy" else kind)
    assert_near(found[1:], want[1:], kind)


@pytest.mark.parametrize("case", CASES)
def test_a_second_run_gives_the_same_bits(case, gpu):
    inputs, settings = CASES[case]()
    runs = [both(case.split()[0], inputs, settings, "float32", gpu)[0] for _ in range(2)]
    for first, second in zip(*runs):
        assert arrays.to_numpy(first).tobytes() == arrays.to_numpy(second).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_a_residual_stream_is_added_where_it_is_made(kind, gpu):
    sizes = ((9, 65), (65,), (65,))
    stream, weight, bias = (rounded(real(*size, seed=size[0]), kind) for size in sizes)

    def slopes(change):
        x, w, b = (wrap(change(a)).requires_grad_() for a in (stream, weight, bias))
        y = x * 2  # so that the stream is no leaf
        for _ in range(2):  # weight and bias are used twice
            y = y + OPS["layer_norm"](y, w, b)
        (y * y).sum().backward()
        return [a.grad.array for a in (x, w, b)]

    found = slopes(gpu.asarray)
    with arrays.reference_only():
        assert_near(found, slopes(lambda a: a.astype("float64")), kind)


ODD = np.array([np.inf, -np.inf, np.nan, 1e30, -1e30, 0.0, 1.0, -1.0, 88.0, -0.0, 2.0])


def odd_rows():
    """Rows with one unusual value each, one of -inf alone, and one of usual values."""
    rows = np.tile(np.arange(9.0), (9, 1))
    rows[:4, 3] = np.inf, -np.inf, np.nan, 80.0
    rows[4], rows[5, 1:] = -np.inf, -np.inf
    return rows


@pytest.mark.parametrize(
    ("name", "inputs", "settings"),
    [
        ("gelu", [ODD], {}),
        ("gelu", [ODD[3:]], {"approximate": "tanh"}),
        ("silu", [ODD], {}),
        ("softmax", [odd_rows()], {}),
        ("log_softmax", [odd_rows()], {}),
        ("cross_entropy", [odd_rows(), None], {"targets": np.arange(9), "reduction": "none"}),
        ("layer_norm", [odd_rows(), np.arange(9.0), np.ones(9)], {}),
    ],
)
def test_what_is_no_number_stays_so(name, inputs, settings, gpu):
    found, want = both(name, inputs, settings, "float32", gpu)
    got, known = arrays.to_numpy(found[0]).astype("float64"), want[0]
    np.testing.assert_allclose(got, known, rtol=1e-5, atol=1e-6)


def test_an_ignored_row_may_hold_anything(gpu):
    logits = real(6, 40)
    logits[2], logits[4] = np.nan, np.inf
    targets = np.array([1, 2, -100, 3, -100, 39])
    found, _ = both("cross_entropy", [logits, None], {"targets": targets}, "float32", gpu)
    kept = targets != -100
    settings = {"targets": targets[kept]}
    want = both("cross_entropy", [logits[kept], None], settings, "float32", gpu)[1]
    np.testing.assert_allclose(float(found[0]), want[0], rtol=1e-5)
    slope = arrays.to_numpy(found[1])
    assert not slope[~kept].any()
    np.testing.assert_allclose(slope[kept], want[1], rtol=1e-4, atol=1e-6)


def test_the_mean_of_no_loss_is_nan_and_its_gradient_zero(gpu):
    settings = {"targets": np.full(5, -1), "ignore_index": -1}
    found, _ = both("cross_entropy", [real(5, 12), None], settings, "float32", gpu)
    assert np.isnan(float(found[0])) and not arrays.to_numpy(found[1]).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "width", "ids"),
    [
        (65, 48, np.minimum(np.arange(3000) ** 2 % 131, 64)),  # one id in a third of the rows
        (70_000, 8, np.arange(1000) ** 3 % 70_000),
        (3, 300, np.zeros(1025, int)),
        (40, 33, np.arange(40)),
        (1, 1, np.zeros(1, int)),
    ],
)
def test_rows_at_equal_ids_add_up(rows, width, ids, kind, gpu):
    g = rounded(real(len(ids), width), kind)
    start = rounded(real(rows, width, seed=1), kind)
    want = start.astype("float64")
    np.add.at(want, ids, g.astype("float64"))
    totals = []
    for _ in range(2):
        totals.append(gpu.asarray(start))
        add_rows(totals[-1], gpu.asarray(ids), gpu.asarray(g))
    assert_near(totals[:1], [want], kind)
    assert arrays.to_numpy(totals[0]).tobytes() == arrays.to_numpy(totals[1]).tobytes()


def test_rows_longer_than_a_grid_is_wide_are_left_to_cupy(gpu):
    from tinygrad_lm.engine.kernels.cuda import rows

    total, g = (gpu.empty((1, (1 << 24) + 8), "float16") for _ in range(2))
    assert rows.add_rows(total, gpu.asarray([0]), g) is NotImplemented


def test_rows_are_added_by_a_graph_at_new_ids(gpu):
    ids, g = gpu.arange(100) % 7, gpu.asarray(real(100, 16).astype("float32"))
    total, stream = gpu.zeros((9, 16), "float32"), gpu.cuda.Stream(non_blocking=True)
    add_rows(total, ids, g)  # the kernels compile
    with stream:
        stream.begin_capture()
        add_rows(total, ids, g)
        graph = stream.end_capture()
    total[...], ids[...] = 0, gpu.arange(100) ** 2 % 9
    gpu.cuda.Device().synchronize()
    graph.launch(stream)
    stream.synchronize()
    want = gpu.zeros((9, 16), "float32")
    add_rows(want, ids, g)
    assert arrays.to_numpy(total).tobytes() == arrays.to_numpy(want).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3000, 40), (5, 60, 301), (65, 1), (64, 7, 600), (200, 2, 3)])
def test_columns_add_up(shape, kind, gpu):
    g = rounded(real(*shape) + 1, kind)
    lead = 2 if shape[0] == 5 else 1
    found = [arrays.sum_rows(gpu.asarray(g), lead) for _ in range(2)]
    assert_near(found[:1], [g.astype("float64").sum(tuple(range(lead)))], kind)
    assert arrays.to_numpy(found[0]).tobytes() == arrays.to_numpy(found[1]).tobytes()


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_threads_does_not_matter(case, gpu, emulated_gpu):
    inputs, settings = CASES[case]()
    first = both(case.split()[0], inputs, settings, "bfloat16", gpu)[0]
    with emulated_gpu.backwards(), emulated_gpu.without_pool():
        overruns = emulated_gpu.counts()["overruns"]
        second = both(case.split()[0], inputs, settings, "bfloat16", gpu)[0]
    assert emulated_gpu.counts()["overruns"] == overruns
    for one, other in zip(first, second, strict=True):
        assert arrays.to_numpy(one).tobytes() == arrays.to_numpy(other).tobytes()


def stepped(kind, gpu, **settings):
    p = tinygrad_lm.nn.Parameter(wrap(gpu.asarray(real(7, 900).astype("float32"))))
    p.grad = wrap(gpu.asarray(real(7, 900, seed=1).astype("float32")))
    optimizer = getattr(tinygrad_lm.optim, kind)([p], lr=0.1, **settings)
    norm = tinygrad_lm.nn.utils.clip_grad_norm_([p], 1.0)
    for _ in range(2):
        optimizer.step()
    return [p.array, p.grad.array, norm.array]


def drawn(gpu):
    generator = tinygrad_lm.Generator("cuda").manual_seed(5)
    return [tinygrad_lm.rand(n, device="cuda", generator=generator).array for n in (5003, 70)]


ORDERS = {
    "sums of columns": lambda gpu: [
        arrays.sum_rows(gpu.asarray(rounded(real(3000, 301), k)), 1) for k in KINDS
    ],
    "adamw": lambda gpu: stepped("AdamW", gpu, amsgrad=True),
    "sgd": lambda gpu: stepped("SGD", gpu, momentum=0.9),
    "random numbers": drawn,
}


@pytest.mark.parametrize("name", ORDERS)
def test_the_order_of_threads_does_not_matter_to_what_is_no_op(name, gpu, emulated_gpu):
    first = ORDERS[name](gpu)
    with emulated_gpu.backwards(), emulated_gpu.without_pool():
        second = ORDERS[name](gpu)
    for one, other in zip(first, second, strict=True):
        assert arrays.to_numpy(one).tobytes() == arrays.to_numpy(other).tobytes()


# Launches forward and backward: may only go down.
LAUNCHES = {
    "gelu": (1, 1),
    "silu": (1, 1),
    "softmax": (1, 1),
    "log_softmax": (1, 1),
    "cross_entropy": (2, 1),
    "layer_norm": (1, 2),
    "rms_norm": (1, 2),
    "embedding": (1, 4),  # and the sort
}


@pytest.mark.parametrize("name", LAUNCHES)
def test_few_launches_and_no_waiting(name, gpu, emulated_gpu):
    counts = emulated_gpu.counts
    inputs, settings = CASES[name]()
    given = [x if x is None else wrap(gpu.asarray(rounded(x, "bfloat16"))) for x in inputs]
    settings = {k: gpu.asarray(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    for x in given:
        if x is not None:
            x.requires_grad_()
    out = OPS[name](*given, **settings)
    g = wrap(gpu.ones(out.shape, out.array.dtype))
    before = counts()
    out = OPS[name](*given, **settings)
    between = counts()
    out.backward(g)
    after = counts()
    launches = [b["launches"] - a["launches"] for a, b in ((before, between), (between, after))]
    assert tuple(launches) == LAUNCHES[name]
    for what in ("waits", "uploads", "downloads"):
        assert after[what] == before[what], what


def test_a_block_costs_the_residual_stream_no_launch_of_its_own(gpu, emulated_gpu):
    counts = emulated_gpu.counts
    x, w, b = (wrap(gpu.ones(size, "float32")).requires_grad_() for size in ((9, 64), 64, 64))
    y = OPS["add"](x, x)  # so that the stream is no leaf
    for _ in range(3):
        y = OPS["add"](y, OPS["gelu"](OPS["layer_norm"](y, w, b)))
    g = wrap(gpu.ones(y.shape, "float32"))
    before = counts()["launches"]
    y.backward(g)
    # A block takes one for GELU and two for the norm. Besides: a copy of g, which is ours here, the
    # sums of what weight and bias got from three blocks, and x + x.
    assert counts()["launches"] - before == 3 * 3 + 1 + 2 * 2 + 1


def test_cross_entropy_keeps_the_logits_and_makes_one_more_array_of_that_size(gpu):
    pool = gpu.get_default_memory_pool()
    logits = wrap(gpu.asarray(rounded(real(64, 5040), "bfloat16"))).requires_grad_()
    targets = gpu.arange(64)
    pool.free_all_blocks()
    before, size = pool.total_bytes(), logits.array.nbytes
    out = OPS["cross_entropy"](logits, targets=targets)
    forward = pool.total_bytes() - before
    out.backward()
    assert logits.grad.array.nbytes == size
    assert forward < 0.02 * size and pool.total_bytes() - before < 1.02 * size


# The forms of attention are many: those of a dtype apart.
FILES = [(file.stem, kind) for file in sorted(FOLDER.glob("*.cu"))
         for kind in (("__nv_bfloat16", "__half", "float", "Tf32")
                      if file.stem.startswith("attention") else ("",))]  # fmt: skip


@pytest.mark.skipif(not shutil.which("nvcc"), reason="needs nvcc")
@pytest.mark.parametrize(("name", "kind"), FILES)
def test_a_kernel_compiles_for_a_gpu_and_spills_no_registers(name, kind, tmp_path, gpu):
    from tinygrad_lm.engine.kernels.cuda.source import Source

    texts = [text for source in Source.every if source.name == name for text in source.texts()]
    texts = [text for text in texts if not kind or f"#define T {kind}\n" in text]
    assert texts, "a file that no Source reads"
    # All in one file, each in a namespace of its own: CUDA's headers take longer than a kernel.
    includes = sorted({line for text in texts for line in re.findall(r"#include <.*>\n", text)})
    file = tmp_path / f"{name}.cu"
    with file.open("w") as out:
        out.writelines(includes)
        for i, text in enumerate(texts):
            bare = re.sub(r"#include <.*>\n", "", text).replace('extern "C"', "")
            out.write(f"namespace form_{i} {{\n{bare}\n}}\n")
            out.writelines(f"#undef {macro}\n" for macro in re.findall(r"#define (\w+)", text))
    log = compiled(file)
    bytes_of = r"entry function '(\w+)'.*\n.*\n.* ([0-9]+) bytes spill stores, ([0-9]+) bytes"
    found = re.findall(bytes_of, log)
    assert len(found) == log.count("Compiling entry function") >= len(texts), log
    spilled = [(entry, *n) for entry, *n in found if n != ["0", "0"]]
    forms = [text[: text.index("//")] for text in texts]
    assert not spilled, (spilled, dict(enumerate(forms)))


def compiled(file):
    """What nvcc says of a file; of one that it has compiled, what it said then, where the emulated
    GPU keeps what is compiled."""
    command = "nvcc -std=c++17 -arch=sm_90 -Xptxas -v -cubin -o /dev/null".split()
    version = subprocess.run(["nvcc", "--version"], capture_output=True, check=True).stdout
    said = None
    if cupy_on_cpu.installed():
        key = hashlib.sha1(file.read_bytes() + version + repr(command).encode()).hexdigest()
        said = cupy_on_cpu.build.kernels() / f"{key}.log"
        if said.exists():
            return said.read_text()
    done = subprocess.run([*command, file], capture_output=True, text=True)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    if said:
        unfinished = said.with_suffix(f".{os.getpid()}")
        unfinished.write_text(log)
        unfinished.rename(said)
    return log


@pytest.mark.parametrize("name", ["gelu", "silu", "dropout", "softmax"])
def test_what_has_no_axes_gets_none(name, gpu):
    F = tinygrad_lm.nn.functional
    call = {"dropout": lambda x: F.dropout(x, 1.0), "softmax": lambda x: x.softmax(0)}
    for dtype in (tinygrad_lm.float32, tinygrad_lm.bfloat16):
        x = tinygrad_lm.tensor(2.0, dtype=dtype, device="cuda", requires_grad=True)
        y = call.get(name, getattr(F, name))(x)
        y.backward()
        assert y.shape == x.grad.shape == ()
