"""Second derivatives of whole computations: what `higher_order` records, what it leaves alone, what
it refuses, and where the alias switches it on."""

import gc
import subprocess
import sys
import types
from pathlib import Path

import pytest

import tinygrad_lm as tl
from tinygrad_lm.autograd import grad, higher_order
from tinygrad_lm.engine.core.recording import mode
from tinygrad_lm.pages.second_derivatives import Reader, watch

ROOT = Path(__file__).parents[2]
CUBE = "import torch\ndef slope(y, x):\n    return torch.autograd.grad(y, x, {})[0]\n"
SCRIPT = """
x = torch.tensor([1.0, 2.0], requires_grad=True)
print(torch.autograd.grad(slope((x**3).sum(), x).sum(), x)[0].tolist())
"""


def leaf(*values):
    return tl.tensor(values, requires_grad=True)


def second_of_cube(x, y):
    (slope,) = grad(y.sum(), x, create_graph=True)
    return grad(slope.sum(), x)[0].tolist()


@pytest.fixture
def inside():
    with higher_order():
        yield


def test_ordinary_gradients_are_what_they_are_outside(inside):
    """Also where memory is written afterwards that an ordinary gradient does not need."""
    x = leaf(1.0, 2.0)
    h = x * 3
    y = h + x
    h.zero_()
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_what_is_written_after_its_use_has_no_second_derivative(inside):
    x = leaf(1.0, 2.0)
    h = x * 3
    y = h.exp()  # whose gradient needs y alone
    h.zero_()
    grad(y.sum(), x, retain_graph=True)
    with pytest.raises(RuntimeError, match="was written in place after it was used"):
        grad(y.sum(), x, create_graph=True)


def test_a_value_that_no_gradient_needs_may_be_written(inside):
    """As in a critic whose activations write over a convolution's output."""
    x = leaf(1.0, 2.0)
    h = x * 3
    assert second_of_cube(x, h.reshape(2) + x**3 + 0 * h.clone().relu_()) == [6.0, 12.0]
    y = x**3 + h
    h.zero_()
    assert second_of_cube(x, y) == [6.0, 12.0]
    y = x.pow(3).reshape(1, 2).relu_().sum(0)
    assert second_of_cube(x, y) == [6.0, 12.0]


def test_nor_has_what_was_replaced(inside):
    x = leaf(1.0, 2.0)
    y = x**3
    x.data = tl.ones(2)
    with pytest.raises(RuntimeError, match="the .data of one was replaced"):
        grad(y.sum(), x, create_graph=True)


def test_an_op_without_second_derivative_is_no_obstacle_elsewhere(inside):
    x = leaf(1.0, 3.0, 2.0)
    top = x.topk(2).values.sum()
    assert grad(top, x, retain_graph=True)[0].tolist() == [0.0, 1.0, 1.0]
    assert second_of_cube(x, x**3 + top.detach()) == [6.0, 18.0, 12.0]


def test_a_copy_in_another_layout_is_contiguous(inside):
    x = tl.arange(6.0).view(2, 3).requires_grad_()
    y = x.t().contiguous().view(6)
    assert y.tolist() == [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    assert second_of_cube(x, y**3) == [[0.0, 6.0, 12.0], [18.0, 24.0, 30.0]]


def test_a_recorded_forward_pass_holds_no_memory_without_the_garbage_collector(inside):
    import gc
    import weakref

    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = x.exp().tanh()
        alive = weakref.ref(y)
        del y
        assert alive() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- under the alias


def run(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "tinygrad_lm.as_torch", str(folder / "script.py")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("imported", [False, True])
def test_a_script_that_says_create_graph_needs_no_word_more(tmp_path, imported):
    cube = CUBE.format("create_graph=True")
    files = {"script": cube + SCRIPT}
    if imported:
        files = {"script": "import torch\nfrom other import slope\n" + SCRIPT, "other": cube}
    done = run(tmp_path, **files)
    assert done.stdout == "[6.0, 12.0]\n", done.stderr


def test_by_position_it_is_refused_with_a_hint(tmp_path):
    done = run(tmp_path, script=CUBE.format("None, True, True") + SCRIPT)
    assert "compute it inside `with autograd.higher_order():`" in done.stderr


@pytest.fixture
def watching(monkeypatch):
    """A watcher in this process, with the switch off before and after."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(mode, "create_graph", None)
    return Reader()


def test_the_cells_of_a_notebook_are_read(monkeypatch, watching):
    registered = {}
    shell = types.SimpleNamespace(
        user_ns={"In": ["", "install()"]},
        events=types.SimpleNamespace(register=registered.__setitem__),
    )
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    watch()
    cell = types.SimpleNamespace(raw_cell="loss.backward()")
    registered["pre_run_cell"](cell)
    assert mode.create_graph is None
    cell.raw_cell = "loss.backward(create_graph=True)"
    registered["pre_run_cell"](cell)
    x = leaf(1.0, 2.0)
    assert second_of_cube(x, x**3) == [6.0, 12.0]


def test_installed_packages_and_our_own_are_not_read(tmp_path, watching):
    package = tmp_path / "site-packages"
    package.mkdir()
    for folder in (package, tmp_path):
        (folder / "said.py").write_text("create_graph = True")
    for name in ("tinygrad_lm.autograd", "json"):
        watching.find_spec(name)
    watching.find_spec("said", [str(package)])
    assert mode.create_graph is None
    watching.find_spec("said", [str(tmp_path)])
    assert mode.create_graph is not None


def test_what_torch_func_makes_needs_no_garbage_collector():
    x = tl.ones(2, 3)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            tl.func.vmap(lambda row: row.exp())(x)
            tl.func.grad(lambda a: (a**3).sum())(x)
        assert gc.collect() == 0
    finally:
        gc.enable()
