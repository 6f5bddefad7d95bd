"""The compiled kernels: what they add to `test_kernels.py` and the laws of the table, which run on
them too. Sizes that do not fit, NaN, threads, a fork, and the same bits where NumPy's are promised.
"""

import contextlib
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm.engine.arrays import reference_only
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.core.tensor import wrap
from tinygrad_lm.engine.kernels import c
from tinygrad_lm.engine.kernels.c import fast
from tinygrad_lm.engine.random.generator import Generator, keep_below, remainders
from tinygrad_lm.optim import Adam, AdamW

if fast is None and os.environ.get("TINYGRAD_LM_REQUIRE_COMPILED") == "1":
    raise RuntimeError("[compiled] a C compiler is promised here, and the kernels are missing")
pytestmark = pytest.mark.skipif(fast is None, reason="installed without a C compiler")

RNG = np.random.default_rng(7)


def real(*shape):
    return RNG.standard_normal(shape).astype("float32")


def norm_arguments(rows, n):
    x, w = real(rows, n), real(n)
    out, mean, scale = np.empty_like(x), np.empty(rows, "f4"), np.empty(rows, "f4")
    return [rows, n, 2, x, w, w, out, mean, scale, 1e-5]


def attention_arguments():
    q, k, v = real(2, 3, 5, 4), real(2, 3, 6, 4), real(2, 3, 6, 7)
    out, shift = np.empty((2, 3, 5, 7), "f4"), np.empty((2, 3, 5), "f4")
    return [2, 3, 5, 6, 4, 7, 2, 0.5, False, 1.0, None, q, k, v, out, shift]


def channels_arguments(shape, groups, backward):
    """Of batch norm (0 groups) and group norm."""
    w, units = real(shape[1]), groups * shape[0] or shape[1]
    made = [np.ones(units, "f4"), np.ones(units, "f4"), np.empty(shape, "f4")]
    front = [*shape, groups, 2, real(*shape), w]
    if backward:
        return [*front, None, real(*shape), *made, w.copy(), w.copy(), 1e-5]
    return [*front, w, None, *made, None, None, 1e-5]


CALLS = {
    "norm": lambda: norm_arguments(3, 5),
    "channels": lambda: channels_arguments((3, 5, 2), 0, backward=False),
    "channels, backward": lambda: channels_arguments((3, 5, 2), 0, backward=True),
    "channels, side by side": lambda: channels_arguments((3, 5, 1), 0, backward=True),
    "channels, in groups": lambda: channels_arguments((3, 6, 2), 2, backward=True),
    "map": lambda: ["silu_slope", 6, 2, real(6), real(6), np.empty(6, "f4"), 1.0, 0.0, None],
    "softmax": lambda: [2, 3, 2, real(2, 3), np.empty((2, 3), "f4"), None, False],
    "sum_rows": lambda: [2, 3, 2, real(2, 3), np.empty(3, "f4")],
    "masked": lambda: [6, 2, True, real(6), np.ones(6, bool), 2.0, np.empty(6, "f4")],
    "attention": attention_arguments,
}


@pytest.mark.parametrize("name", CALLS)
def test_an_array_of_another_size_or_kind_of_memory_is_refused(name):
    """An array that is too short, has gaps or may not be written: an error, no memory touched."""
    call, arguments = getattr(fast, name.partition(",")[0]), CALLS[name]()
    call(*arguments)
    places = [i for i, x in enumerate(arguments) if isinstance(x, np.ndarray)]
    for i in places:
        whole = arguments[i]
        for wrong in (whole[..., :-1], whole.astype("f8"), np.zeros((*whole.shape, 2))[..., 0]):
            with pytest.raises((ValueError, BufferError)):
                call(*arguments[:i], wrong, *arguments[i + 1 :])
    last = arguments[places[-1]]
    if name != "softmax":  # whose last array is read
        last.flags.writeable = False
        with pytest.raises((ValueError, BufferError)):
            call(*arguments)
    with pytest.raises(TypeError, match="arguments"):
        call(*arguments[:-1])


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(
    "shape", [(32, 200), (1, 7), (2000, 3, 17), (5, 40, 3000), (9999, 1), (3, 0), (0, 4)]
)
def test_a_broadcast_gradient_has_the_same_bits_for_any_threads(shape, threads, monkeypatch):
    """Also where g has gaps; and they are those of the sum, but for the rounding of a few steps."""
    tanh = OPS["tanh"].kernels[np.ndarray][0]  # of the same module
    dense = real(*shape)
    flat = dense.reshape(math.prod(shape[:-1]), shape[-1]).astype("f8")
    for g in (dense, np.repeat(dense, 2, axis=-1)[..., ::2]):
        bits = set()
        for count in (1, threads):
            monkeypatch.setattr(f"{tanh.__module__}.get_num_threads", lambda count=count: count)
            leaf = wrap(np.zeros(shape[-1], "f4")).requires_grad_()
            (leaf + wrap(np.zeros(shape, "f4"))).backward(wrap(g))
            bits.add(leaf.grad.array.tobytes())
        assert len(bits) == 1
        assert (abs(leaf.grad.array - flat.sum(0)) <= 1e-6 * abs(flat).sum(0)).all()


@pytest.mark.parametrize("lies", [lambda x: x, np.transpose])
def test_the_slope_of_tanh_has_the_bits_of_the_formula(lies):
    """And its value lies as the input does, as PyTorch's and NumPy's."""
    x, g = wrap(lies(real(37, 5))), wrap(lies(real(37, 5)))
    y = x.requires_grad_().tanh()
    assert y.stride() == x.stride()
    y.backward(g)
    assert x.grad.array.tobytes() == (g.array * (1 - y.array * y.array)).tobytes()


def test_ids_beyond_the_table_are_refused():
    table = np.zeros((4, 3), "f4")
    for wrong in (4, -5):
        with pytest.raises(IndexError, match="out of range"):
            fast.at_ids(
                "take", 1, 4, 2, 3, 1, 1, True, True, table, real(2, 3), np.array([0, wrong])
            )
    assert not table.any()
    made = np.empty((2, 2), "f4"), np.empty((), "f4"), np.empty(())
    with pytest.raises(IndexError, match="a target must be a class"):
        fast.cross_entropy(2, 3, 1, real(2, 3), np.array([0, 3]), -100, True, *made)


NAN = {
    "layer_norm": (lambda x: OPS["layer_norm"](x, None, None), (3, 70)),
    "softmax": (lambda x: OPS["softmax"](x), (3, 70)),
    "gelu": (lambda x: OPS["gelu"](x), (3, 70)),
    "gelu_tanh": (lambda x: OPS["gelu"](x, approximate="tanh"), (3, 70)),
    "attention": (
        lambda x: OPS["scaled_dot_product_attention"](x, x, x, None, causal=True),
        (1, 3, 70, 4),
    ),
}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 5, 69])
@pytest.mark.parametrize("name", NAN)
def test_nan_and_infinity_reach_the_value_and_the_gradient(name, position, bad):
    """As the composition has it, in every lane of a vector: no NaN is lost, none is made up."""
    call, shape = NAN[name]
    x = real(*shape)
    x.reshape(3, -1)[1, position] = bad
    found = []
    for kernels in (True, False):
        leaf = wrap(x if kernels else x.astype("f8")).requires_grad_()
        if kernels:
            out = call(leaf)
        else:
            with tg.reference_only():
                out = call(leaf)
        out.backward(wrap(np.ones_like(out.array)))
        found.append((np.isnan(out.array), np.isnan(leaf.grad.array)))
    assert found[0][0].any() == found[1][0].any()
    np.testing.assert_array_equal(found[0][0], found[1][0])
    if name != "attention":  # which products of 0 and infinity meet is a matter of their order
        np.testing.assert_array_equal(found[0][1], found[1][1])


def test_a_row_of_nan_makes_the_loss_nan():
    logits = real(4, 33)
    logits[2, 32] = np.nan
    assert np.isnan(OPS["cross_entropy"](wrap(logits), targets=np.zeros(4, int)).item())
    logits[2] = -np.inf
    assert np.isnan(OPS["cross_entropy"](wrap(logits), targets=np.zeros(4, int)).item())


def test_large_logits_lose_no_digits():
    """ln(1 + e^-1) whatever is added to both logits, and its slope."""
    for added in (0.0, 1024.0, -4096.0):
        x = wrap(np.array([[1.0, 0.0]], "f4") + np.float32(added)).requires_grad_()
        loss = OPS["cross_entropy"](x, targets=np.array([0]))
        loss.backward()
        np.testing.assert_allclose(loss.item(), np.log1p(np.exp(-1.0)), rtol=3e-7)
        np.testing.assert_allclose(x.grad.array, [[-0.26894142, 0.26894142]], rtol=1e-6)


def test_exponentials_hold_over_the_whole_range():
    """softmax of (x, 0) is the logistic function of x, to a few units in the last place."""
    x = np.concatenate([np.linspace(-110, 110, 4001), [-1e30, 1e30, -0.0]]).astype("f4")
    got = OPS["softmax"](wrap(np.stack([x, np.zeros_like(x)], axis=1))).array[:, 0]
    exact = 1 / (1 + np.exp(-x.astype("f8").clip(-700, 700)))
    np.testing.assert_allclose(got, exact, rtol=4e-7, atol=float(np.finfo("f4").tiny))


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize("settings", [{}, {"amsgrad": True}, {"maximize": True, "weight_decay": 0}])
def test_adam_gives_the_bits_of_the_numpy_rule(kind, settings, monkeypatch):
    results = []
    for ways in (Adam.update.kernels, {}):
        monkeypatch.setattr(Adam.update, "kernels", ways)
        rng = np.random.default_rng(3)
        tensors = [wrap(rng.standard_normal(s).astype("f4")) for s in ((70, 300), (5,), ())]
        optimizer = kind(tensors, lr=0.1, **settings)
        for _ in range(4):
            for p in tensors:
                p.grad = wrap(np.asarray(rng.standard_normal(p.shape), "f4"))
            optimizer.step()
        results.append([p.array.tobytes() for p in tensors])
    assert results[0] == results[1]


def test_kernels_switched_off_and_on_between_steps_reach_the_optimizer(monkeypatch):
    way, used = Adam.update.kernels[np.ndarray][0], []
    watched = [lambda *a: used.append(a[2]) or way(*a)]
    monkeypatch.setitem(Adam.update.kernels, np.ndarray, watched)
    found = []
    for off in ((), (2, 3)):
        p, rng = wrap(np.ones(7, "f4")), np.random.default_rng(0)
        optimizer, used[:] = AdamW([p], lr=0.1), []
        for step in range(1, 5):
            p.grad = wrap(rng.standard_normal(7).astype("f4"))
            with reference_only() if step in off else contextlib.nullcontext():
                optimizer.step()
        assert {2, 3} & set(used) == {2, 3} - set(off) and 4 in used
        found.append([p.tolist(), *(kept.tolist() for kept in optimizer.state[p].values())])
    assert found[0] == found[1]


@pytest.mark.parametrize("before", [0, 1, 2, 623, 624, 1300])
def test_dropout_draws_the_words_of_the_stream(before, monkeypatch):
    found = []
    for ways in (keep_below.kernels, {}):
        monkeypatch.setattr(keep_below, "kernels", ways)
        generator = Generator().manual_seed(11)
        generator.integers(0, 7, (before,))
        kept = [generator.bernoulli(p, (5001,)) for p in (0.8, 0.3, 1.0, 0.0)]
        found.append((np.stack(kept).tobytes(), generator.integers(0, 10**6, (3,)).tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("shape", [(), (0,), (32,), (3, 700)])
@pytest.mark.parametrize("low, high", [(0, 200_000), (-3, 2**28 - 4), (-(2**63), 9 - 2**63)])
def test_integers_are_the_words_of_the_stream(shape, low, high, monkeypatch):
    found = []
    for ways in (remainders.kernels, {}):
        monkeypatch.setattr(remainders, "kernels", ways)
        generator = Generator().manual_seed(11)
        drawn = generator.integers(low, high, shape)
        assert drawn.shape == shape and drawn.dtype == np.int64
        found.append((drawn.tobytes(), generator.get_state().tobytes()))
    assert found[0] == found[1]
    with pytest.raises(ValueError, match="width"):
        fast.integers(1, 0, 0, Generator()._bits.capsule, np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="bytes"):
        fast.integers(2, 9, 0, Generator()._bits.capsule, np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="PyCapsule"):
        fast.integers(1, 9, 0, None, np.zeros(1, np.int64))


def test_draws_of_several_threads_are_one_stream(monkeypatch):
    """What one thread draws while another has the state out would be drawn twice."""
    slow = SimpleNamespace(keep_below=lambda *a: (time.sleep(0.01), fast.keep_below(*a))[1])
    monkeypatch.setattr(c.random, "fast", slow)
    generator, masks = Generator().manual_seed(5), []

    def draw():
        masks.append(generator.bernoulli(0.5, (5000,)).tobytes())

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = Generator().manual_seed(5)
    assert sorted(masks) == sorted(alone.bernoulli(0.5, (5000,)).tobytes() for _ in range(4))


@pytest.mark.parametrize(
    "read", [lambda w, ids: w[ids], lambda w, ids: OPS["embedding"](w, ids=ids.array)]
)
def test_ids_below_zero_count_from_the_end(read):
    weight, ids = wrap(real(5, 3)).requires_grad_(), tg.tensor([[-1, 0], [4, -5]])
    out, g = read(weight, ids), wrap(real(2, 2, 3))
    assert (out.array == weight.array[ids.array]).all()
    out.backward(g)
    want = np.zeros((5, 3), "f4")
    np.add.at(want, ids.array, g.array)
    assert (weight.grad.array == want).all()
    with pytest.raises(IndexError, match="5"):
        read(weight, tg.tensor([0, 5]))


def test_a_table_without_columns():
    weight = tg.zeros(5, 0).requires_grad_()
    tg.nn.functional.embedding(tg.tensor([0, 1]), weight).sum().backward()
    assert weight.grad.shape == (5, 0)


def test_a_table_may_be_written_after_it_was_read():
    """Its gradient needs the ids alone, so PyTorch lets it happen too."""
    weight = tg.randn(5, 3).requires_grad_()
    out = tg.nn.functional.embedding(tg.tensor([0, 1]), weight)
    with tg.no_grad():
        weight.add_(1.0)
    out.sum().backward()
    assert weight.grad[:, 0].tolist() == [1, 1, 0, 0, 0]


def test_targets_overwritten_since_forward_are_an_error():
    targets = np.array([0, 1])
    x = wrap(real(2, 3)).requires_grad_()
    loss = OPS["cross_entropy"](x, targets=targets)
    targets[1] = 9
    with pytest.raises(IndexError, match="overwritten"):
        loss.backward()


@pytest.mark.parametrize(
    "gradient",
    [
        lambda: tg.ones(4, 2)[:, 0],
        lambda: tg.ones(1).expand(4),
    ],
    ids=["strided", "expanded"],
)
def test_adam_takes_gradients_with_gaps(gradient):
    p, q = (wrap(np.zeros(4, "f4")).requires_grad_() for _ in range(2))
    p.grad, q.grad = gradient(), tg.ones(4)
    for parameter in (p, q):
        Adam([parameter], lr=0.5).step()
    assert p.tolist() == q.tolist() != [0] * 4


def test_a_rule_of_ones_own_on_top_of_adam_is_used():
    class Still(Adam):
        def update(self, group, step, number):
            return lambda lib, p, g, kept, scratch: None

    p = wrap(np.ones(4, "f4")).requires_grad_()
    p.grad = tg.ones(4)
    Still([p], lr=0.5).step()
    assert p.tolist() == [1] * 4


@pytest.mark.parametrize("settings", [{"weight_decay": 0}, {"amsgrad": True}])
def test_adam_treats_infinity_and_nan_as_the_numpy_rule(settings, monkeypatch):
    results = []
    for ways in (Adam.update.kernels, {}):
        monkeypatch.setattr(Adam.update, "kernels", ways)
        p = wrap(np.array([np.inf, 1, 2, 3], "f4"))
        optimizer = Adam([p], lr=0.1, **settings)
        for g in ([1, np.nan, 1, np.inf], [1, 1, 1, 1]):
            p.grad = wrap(np.array(g, "f4"))
            optimizer.step()
        kept = [v.array for v in optimizer.state[p].values()]
        results.append([p.array, *kept])
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_attention_of_unaligned_rows_copies_them():
    packed = np.zeros((1, 1, 3, 10), "u1")
    q = np.lib.stride_tricks.as_strided(packed.view(np.uint8), (1, 1, 2, 8), (20, 20, 10, 1))
    q = np.ascontiguousarray(real(1, 1, 2, 2)).view(np.uint8).reshape(1, 1, 2, 8)
    packed[:, :, :2, :8] = q
    rows = np.lib.stride_tricks.as_strided(
        packed.reshape(-1)[:16].view("f4"), (1, 1, 2, 2), (20, 20, 10, 4)
    )
    k = real(1, 1, 3, 2)
    attention = OPS["scaled_dot_product_attention"]
    got, want = (attention(wrap(x), wrap(k), wrap(k), None).array for x in (rows, rows.copy()))
    np.testing.assert_array_equal(got, want)


def test_scratch_goes_with_its_thread():
    """Each thread that ran attention keeps memory for it, until it ends."""
    code = """
import contextlib
import math
import threading
import numpy as np
from tinygrad_lm.engine.arrays import reference_only
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.core.tensor import wrap
import tinygrad_lm
q = wrap(np.ones((1, 1, 2048, 64), "f4"))
def rss():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS"))
def run():
    thread = threading.Thread(target=lambda: OPS["scaled_dot_product_attention"](q, q, q, None))
    thread.start(); thread.join()
run()
before = rss()
for _ in range(30):
    run()
print(rss() - before < 10_000)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    assert run_python(code) == "True\n"


@pytest.mark.parametrize("name, places", [("norm", (6, 7, 8)), ("matmul", (8,))])
def test_many_python_threads_at_once(name, places):
    """places: of the arrays that are written, the result first."""
    call, arguments = getattr(fast, name), norm_arguments(3000, 70)
    if name == "matmul":
        arguments = [200, 400, 300, 2, real(200, 300), real(300, 400), None, None, real(200, 400)]
    call(*arguments)
    want, wrong = arguments[places[0]].copy(), []

    def work():
        mine = [np.empty_like(x) if i in places else x for i, x in enumerate(arguments)]
        for _ in range(30):
            mine[places[0]][...] = 0
            call(*mine)
            if not (mine[places[0]] == want).all():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def run_python(code, error="", **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (error and error in done.stderr) or done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_starts_threads_of_its_own():
    code = """
import os, warnings
import numpy as np
from tinygrad_lm.engine.kernels.c import fast
x = np.ones(10**6, "f4")
double = lambda: fast.map("scale", x.size, 2, x, None, x, 2.0, 0.0, None)
double()  # the parent's worker starts here
warnings.simplefilter("ignore")
child = os.fork()
if not child:
    double()
    os._exit(0 if (x == 4).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python(code) == "0\n"


def test_the_switch_leaves_only_the_numpy_kernels():
    code = """
import tinygrad_lm as tg
from tinygrad_lm.engine.arrays import reference_only
from tinygrad_lm.engine.core.op import OPS
kernels = [f for op in OPS.values() for several in op.kernels.values() for f in several]
print(any(".kernels.c." in f.__module__ for f in kernels))
tg.manual_seed(1)
x = tg.randn(9, 40, requires_grad=True)
y = tg.nn.functional.layer_norm(x, (40,)).softmax(-1).square().sum()
y.backward()
print(*[f"{v:.5f}" for v in (y.item(), x.grad.abs().sum().item())])
"""
    with_, without = run_python(code), run_python(code, TINYGRAD_LM_COMPILED="0")
    assert with_.startswith("True") and without.startswith("False")
    assert with_.split()[1:] == without.split()[1:]


RUNS = c.load("_isa").FORMS.split() if fast else []  # the forms that this processor runs


@pytest.mark.parametrize("form", ["", *RUNS])
def test_each_form_that_the_processor_runs_can_be_asked_for(form):
    code = """
import tinygrad_lm as tg
from tinygrad_lm.engine.kernels.c import fast
tg.manual_seed(1)
x = tg.randn(9, 40, requires_grad=True)
y = tg.nn.functional.layer_norm(x @ x.T, (9,)).softmax(-1).square().sum()
y.backward()
print(fast.ISA, *[f"{v:.4f}" for v in (y.item(), x.grad.abs().sum().item())])
"""
    best = os.environ.get("TINYGRAD_LM_ISA") or RUNS[0]
    plain = code.replace("fast.ISA", "fast")
    want = run_python(plain, TINYGRAD_LM_COMPILED="0", TINYGRAD_LM_ISA="v9").split()[1:]
    chosen = {"TINYGRAD_LM_ISA": form} if form else {}
    assert run_python(code, **chosen).split() == [form or best, *want]


@pytest.mark.parametrize(
    "runs, built, wanted, got",
    [
        ("v4 v3 v2", "v4 v3 v2", "", "v4"),
        ("v4 v3 v2", "v3 v2", "", "v3"),  # the compiler did not know v4
        ("v2", "v4 v3 v2", "", "v2"),  # a wheel from another machine
        ("", "v4 v3 v2", "", None),
        ("base", "base", "", "base"),
        (None, "", "", None),  # no compiler
        ("v4 v3 v2", "v4 v3 v2", "v2", "v2"),
        ("v3 v2", "v4 v3 v2", "v4", "(v3, v2), got 'v4'"),
        ("v4 v3 v2", "v4 v2", "v3", "(v4, v2), got 'v3'"),
        (None, "", "v2", "(none), got 'v2'"),
    ],
)
def test_the_best_form_is_loaded_and_no_form_that_the_processor_lacks(
    runs, built, wanted, got, monkeypatch
):
    """On processors and builds that are not at hand; what they lack must not even be opened."""

    def load(name):
        if name == "_isa":
            return None if runs is None else SimpleNamespace(FORMS=runs)
        form = name.removeprefix("_fast_")
        assert runs and form in runs.split()
        return SimpleNamespace(ISA=form) if form in built.split() else None

    monkeypatch.setattr(c, "load", load)
    monkeypatch.setenv("TINYGRAD_LM_ISA", wanted)
    if got and "got" in got:
        with pytest.raises(ImportError, match=re.escape(got)):
            c.load_best()
    else:
        assert getattr(c.load_best(), "ISA", None) == got


def test_a_form_that_is_not_there_is_refused_in_a_sentence():
    said = "TINYGRAD_LM_ISA must name a form of the C kernels"
    assert run_python("import tinygrad_lm", said, TINYGRAD_LM_ISA="v9") == ""


VEX = r"\tv(?!err|erw)\w+"  # how the names of AVX's instructions begin
WIDE = r"%zmm|%k[1-7]|%[xy]mm(1[6-9]|2\d|3[01])"  # registers of AVX-512
ABSENT = {"_isa": VEX, "_recorder": VEX, "_fast_v2": VEX, "_fast_v3": WIDE}
PRESENT = {"_fast_v3": r"%ymm", "_fast_v4": r"%zmm"}


@pytest.mark.skipif(RUNS in ([], ["base"]), reason="forms are made for x86-64")
@pytest.mark.skipif(not shutil.which("objdump"), reason="reads machine code with objdump")
@pytest.mark.parametrize("name", ["_isa", "_recorder", "_fast_v2", "_fast_v3", "_fast_v4"])
def test_a_form_has_no_instructions_of_the_next(name):
    found = next(Path(c.__file__).parent.glob(f"{name}.*.so"), None)
    if found is None:
        pytest.skip("not in this build")
    code = subprocess.run(["objdump", "-d", found], capture_output=True, text=True).stdout
    assert code.count("\n") > 20
    assert not re.search(ABSENT.get(name, "$^"), code)
    assert re.search(PRESENT.get(name, ""), code)
