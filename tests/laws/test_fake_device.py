"""The ops and a small training on a device that is not NumPy: no stray NumPy call, no hidden
transfer, bounds checked by the engine. The device itself is shown to be like CuPy: the same tests
ask both where CuPy has a GPU, real or emulated."""

import sys

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest
from fake_device import MISSING, FakeArray, fake_numpy, install
from op_laws import assert_close, pull, run, some_cases, upstream
from op_specs import SPECS, Case

import tinygrad_lm as tg
from tinygrad_lm.engine.core.op import OPS, primitive
from tinygrad_lm.engine.core.tensor import wrap


@pytest.fixture(autouse=True, scope="module")
def device():
    install()


def emulated():
    cupy_on_cpu = sys.modules.get("cupy_on_cpu")
    return cupy_on_cpu is not None and cupy_on_cpu.installed()


def there(array):
    return fake_numpy.asarray(array)


# What is read of their indices: the smallest and the largest, how often each comes.
READ_INDICES = set(
    "embedding nll_loss cross_entropy place getitem take scatter scatter_add gather "
    "take_along_axis max_pool as_strided".split()
)
# What LAPACK computes on the CPU, wherever the matrices are.
THROUGH_THE_CPU = set("inv solve det slogdet cholesky eigh qr svd pinv".split())
MAY_WAIT = READ_INDICES | THROUGH_THE_CPU


@pytest.mark.parametrize("name", [name for name in OPS if name != "copy_to"])
def test_every_op_runs_there_and_stays_there(name):
    spec = SPECS[name]
    for case in some_cases(spec, 8) + [known.case for known in spec.known]:
        want, leaves = run(OPS[name], case)
        g = upstream(want)
        gradients = pull(want, leaves, g) if want.requires_grad else []
        start, before = there(g), FakeArray.waits
        out, leaves = run(OPS[name], case, there)
        found = pull(out, leaves, start) if want.requires_grad else []
        assert FakeArray.waits == before or name in MAY_WAIT, "an op waited for a value"
        assert type(out.array) is FakeArray
        assert_close(out.array, want.array)
        for got, known in zip(found, gradients):
            assert not known.any() or type(got) is FakeArray
            if np.isfinite(known).all():
                assert_close(got, known, what="gradient")


INDEX = ["take", "gather", "take_along_axis", "scatter_add", "embedding", "nll_loss"]


@pytest.mark.parametrize("name", INDEX)
def test_indices_out_of_range_do_not_wrap_around(name):
    wrong = next(w for w in SPECS[name].wrong if w.error is IndexError)
    with pytest.raises(IndexError):
        run(OPS[name], Case(wrong.inputs, wrong.settings), there)


def test_a_training_there_follows_the_one_here():
    rng = np.random.default_rng(0)
    table, weight, bias = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), np.zeros(5)
    ids, targets = rng.integers(0, 5, (8, 3)), rng.integers(0, 5, 8)

    def losses(device):
        parameters = [
            tg.tensor(p, dtype=tg.float32, device=device, requires_grad=True)
            for p in (table, weight, bias)
        ]
        x, y = tg.tensor(ids, device=device), tg.tensor(targets, device=device)
        found = []
        for _ in range(12):
            hidden = parameters[0][x].mean(1).tanh()
            logits = hidden @ parameters[1].T + parameters[2]
            loss = OPS["cross_entropy"](logits, targets=y.array)
            for p in parameters:
                p.grad = None
            loss.backward()
            with tg.no_grad():
                for p in parameters:
                    p -= 0.5 * p.grad
            found.append(loss)
        return [loss.item() for loss in found]

    here, away = losses("cpu"), losses("fake")
    assert away[-1] < away[0] * 0.9
    np.testing.assert_allclose(away, here, rtol=1e-5)


def test_tensors_travel_and_gradients_come_back():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x.to("fake") * 2
    assert type(y.array) is FakeArray and str(y.device).startswith("fake")
    y.sum().backward()
    assert x.grad.device.type == "cpu" and x.grad.tolist() == [2.0, 2.0]
    assert y.cpu().tolist() == [2.0, 4.0]
    with pytest.raises(TypeError, match="on the cpu"):
        y.detach().numpy()


def test_two_devices_do_not_mix():
    x, y = tg.ones(2), tg.ones(2).to("fake")
    for op in (OPS["add"], OPS["matmul"]):
        with pytest.raises(RuntimeError, match="same device, got"):
            op(x.reshape(1, 2), y.reshape(2, 1))


def test_writes_there():
    x = tg.zeros(2, 3, device="fake", dtype=tg.float64)
    w = tg.ones(3, device="fake", dtype=tg.float64, requires_grad=True)
    x[0] = w * 2
    x += 1
    x[:, 1] *= 3
    (x * x).sum().backward()
    assert x.tolist() == [[3.0, 9.0, 3.0], [1.0, 3.0, 1.0]]
    assert w.grad.tolist() == [12.0, 108.0, 12.0]


# ---------------------------------------------------------------- the device itself is strict


@primitive
def stray(x):
    """An op with the mistake this device is for."""
    return np.exp(x), (lambda g: g,)


def test_a_stray_numpy_call_fails():
    assert stray(tg.ones(2)).tolist() == pytest.approx([np.e, np.e])
    with pytest.raises(TypeError):
        stray(tg.ones(2).to("fake"))


@primitive
def mixed(x):
    """An op that makes a NumPy array on its way."""
    return x * np.arange(2.0), (lambda g: g,)


def test_mixing_in_a_numpy_array_fails():
    with pytest.raises(TypeError, match="implicit conversion"):
        mixed(tg.ones(2).to("fake"))


@pytest.fixture(params=["fake", pytest.param("cupy", marks=pytest.mark.cuda)])
def lib(request):
    """The fake library, and CuPy where it has a GPU: what is said of one holds for the other."""
    if request.param == "fake":
        return fake_numpy
    cupy = pytest.importorskip("cupy")
    if not cupy.is_available():
        pytest.skip("CuPy finds no GPU")
    return cupy


@pytest.mark.parametrize(
    "attempt",
    [
        lambda lib, x: np.asarray(x),
        lambda lib, x: np.ones(2) + x,
        lambda lib, x: x + np.ones(2),
        lambda lib, x: x + [1.0, 2.0],
        lambda lib, x: lib.add(x, [1.0, 2.0]),
        lambda lib, x: x.__setitem__(0, np.ones(2)[:1]),
        lambda lib, x: lib.where(np.array([True, False]), x, x),
        lambda lib, x: hash(x),
        lambda lib, x: [10, 20, 30][lib.asarray(np.array(1))],
        lambda lib, x: lib.sum(x, where=x > 0),
        lambda lib, x: lib.max(x, initial=0.0),
        lambda lib, x: x.sum(initial=0.0),
        lambda lib, x: lib.take(x, lib.asarray(np.array([0])), mode="clip"),
        lambda lib, x: lib.argsort(x, stable=True),
    ],
)
def test_the_device_refuses(lib, attempt):
    with pytest.raises((TypeError, ValueError)):
        attempt(lib, lib.asarray(np.ones(2)))


def test_numpy_functions_know_nothing_of_it():
    """CuPy answers `np.add(x, 1)` through a protocol; here that is a stray NumPy call."""
    with pytest.raises(TypeError):
        np.add(there(np.ones(2)), 1)


def test_the_device_is_like_cupy(lib):
    x = lib.asarray(np.arange(3.0))
    kind = type(x)
    assert type(x.sum()) is kind and x.sum().shape == ()
    assert x[lib.asarray(np.array([4]))].get().tolist() == [1.0]
    assert not hasattr(x.flags, "writeable") and hasattr(lib.add, "reduceat")
    assert not any(hasattr(x, name) for name in ("ctypes", "setflags", "__array_interface__"))
    assert x[1:].base is x and x[1:][1:].base is x and x.copy().base is None
    assert lib.lib.stride_tricks.as_strided(x, (2,), (8,)).base is None
    diagonal = lib.ones((2, 2)).diagonal()
    diagonal += 1  # it may be written
    assert diagonal.tolist() == [2, 2] and diagonal.base is not None
    product = square = lib.ones((2, 2))
    product @= square
    assert product is not square
    total = lib.zeros(2)
    lib.add.at(total, lib.asarray(np.array([1, 1, 0])), lib.asarray(np.arange(3.0)))
    assert total.tolist() == [2, 1]
    if lib is fake_numpy:
        assert wrap(x).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "action, waits, uploads",
    [
        (lambda lib, x: x * 2, 0, 0),
        (lambda lib, x: x.get(), 1, 0),
        (lambda lib, x: x.tolist(), 1, 0),
        (lambda lib, x: x[0].item(), 1, 0),
        (lambda lib, x: int(x[0]), 1, 0),
        (lambda lib, x: float(x[0]), 1, 0),
        (lambda lib, x: bool(x[0]), 1, 0),
        (lambda lib, x: lib.asarray(np.ones(3)), 0, 1),
        (lambda lib, x: lib.asarray(x), 0, 0),
    ],
)
def test_waits_and_uploads_are_counted(lib, action, waits, uploads):
    def counted():
        if lib is fake_numpy:
            return np.array([FakeArray.waits, FakeArray.uploads])
        counts = pytest.importorskip("cupy_on_cpu").counts()
        return np.array([counts["waits"], counts["uploads"]])

    if lib is not fake_numpy and not emulated():
        pytest.skip("a real GPU counts nothing")
    x = lib.asarray(np.arange(3.0))
    action(lib, x)
    before = counted()
    action(lib, x)
    assert (counted() - before).tolist() == [waits, uploads]


def test_what_is_missing_is_what_cupy_lacks():
    cupy = pytest.importorskip("cupy")
    lacking = {
        name
        for name, value in vars(np).items()
        if callable(value) and not isinstance(value, type) and name[0] != "_"
        if not hasattr(cupy, name)
    }
    assert lacking == MISSING
    for name in MISSING:
        assert not hasattr(fake_numpy, name)
