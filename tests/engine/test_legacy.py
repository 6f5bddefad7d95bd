"""Old tensor types, small integers, a tensor's memory and the alias's names of types, by known
answers and without PyTorch."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_lm as tl
from tinygrad_lm.engine.arrays import DTYPES
from tinygrad_lm.engine.pytorch.legacy import ON_CPU, ON_GPU


def test_each_dtype_has_its_old_type():
    assert [kind.dtype for kind in ON_CPU.values()] == [kind.dtype for kind in ON_GPU.values()]
    assert {kind.dtype for kind in ON_CPU.values()} == {*DTYPES.values()}
    for name, kind in ON_CPU.items():
        x = tl.zeros(2, dtype=kind.dtype)
        assert getattr(tl, name) is kind and getattr(tl.cuda, name) is ON_GPU[name]
        assert x.type() == f"torch.{name}" and kind(2).dtype is kind.dtype
        assert [other for other in ON_CPU if isinstance(x, ON_CPU[other])] == [name]
        assert not any(isinstance(x, other) for other in ON_GPU.values())


def test_sizes_give_zeros_and_tensors_share_their_memory():
    assert tl.FloatTensor(2, 3).tolist() == [[0.0] * 3] * 2 and tl.Tensor(2).tolist() == [0, 0]
    x = tl.ones(2, requires_grad=True)
    y = tl.FloatTensor(x)
    y.sum().backward()
    assert x.grad.tolist() == [1, 1] and y.data_ptr() == x.data_ptr()


def test_without_a_gpu_its_types_say_so():
    if not tl.cuda.is_available():
        for line in (lambda: tl.cuda.FloatTensor(2), lambda: tl.ones(1).type(tl.cuda.LongTensor)):
            with pytest.raises(RuntimeError, match=r"\[device\] 'cuda' needs"):
                line()


@pytest.mark.parametrize(
    "name", ["uint16", "uint32", "uint64", "complex64", "cdouble", "float8_e5m2"]
)
def test_names_without_arithmetic_refuse_in_a_sentence(name):
    kind = getattr(tl, name)
    assert kind == kind and kind != tl.float32 and pickle.loads(pickle.dumps(kind)) is kind
    x = tl.ones(2)
    for use in (
        lambda: tl.zeros(2, dtype=kind),
        lambda: tl.tensor([1], dtype=kind),
        lambda: x.to(kind),
        lambda: x.type(kind),
        lambda: x.sum(dtype=kind),
        lambda: tl.zeros_like(x, dtype=kind),
        lambda: tl.set_default_dtype(kind),
        lambda: tl.finfo(kind),
        lambda: tl.nn.Linear(1, 1, dtype=kind),
    ):
        with pytest.raises(TypeError, match=rf"got {kind}|a floating-point dtype"):
            use()


def test_integers_of_16_bits_are_no_floats():
    x = tl.tensor([[300, -300]], dtype=tl.int16)
    assert (x @ x.T).item() == 180_000 - 3 * 2**16  # it wraps around
    assert (x @ x.T).dtype is (x + x).dtype is (x * 2).dtype is tl.int16
    assert x.sum().item() == 0 and x.exp().dtype is tl.float32


def test_what_is_resized_keeps_its_first_elements():
    x = tl.arange(6)
    view = x.view(2, 3)
    assert x.resize_(2, 2) is x and x.tolist() == [[0, 1], [2, 3]]
    x[0, 0] = 9
    assert view[0, 0] == 9 and x.resize_(6).tolist() == [9, 1, 2, 3, 4, 5]
    assert x[4:].resize_(4).tolist() == [4, 5, 0, 0] and tl.zeros(0).resize_(2).tolist() == [0, 0]
    with pytest.raises(RuntimeError, match=r"\[resize_\] .* must not require a gradient"):
        tl.ones(2, requires_grad=True).resize_(1)


def test_a_write_in_python_is_seen_by_the_graph():
    w, x = tl.ones(2, requires_grad=True), tl.ones(2)
    out = (w * x).sum()
    x.apply_(lambda value: 3.0)
    with pytest.raises(RuntimeError, match="written in place after"):
        out.backward()


def test_positions_that_do_not_fit_together_are_named():
    x = tl.arange(12).view(3, 4)
    for key in ((tl.arange(3), tl.arange(2)), (x[:, 0] > 0, tl.arange(3))):
        for use in (lambda key=key: x[key], lambda key=key: x.__setitem__(key, 0)):
            with pytest.raises(IndexError, match=r"\[index\] .* shapes that broadcast .*\(2,\)"):
                use()
    assert x[tl.arange(2)[:, None], tl.arange(3)].shape == (2, 3)


SCRIPT = """
import pickle, sys, torch
x, p = torch.ones(2), torch.nn.Parameter(torch.ones(2))
p.note = 1
print(type(x), type(p), type(torch.nn.Parameter), torch.LongTensor, torch.autograd.Variable(x))
from torch.autograd.profiler import record_function
from torch.nn.modules.linear import Linear
from torch.optim.adamw import AdamW
from torch.serialization import add_safe_globals
from torch import complex64
print(Linear is torch.nn.Linear, torch.testing.assert_close(x, p.data))
pickle.dump([x, p], open(sys.argv[1], "wb"))
"""


def test_types_print_as_pytorchs_and_their_pickles_need_no_alias(tmp_path):
    (tmp_path / "s.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "tinygrad_lm.as_torch", "s.py", "pickle"]
    env = {**os.environ, "PYTHONPATH": str(Path(tl.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "<class 'torch.Tensor'> <class 'torch.nn.parameter.Parameter'> <class 'type'> "
        "<class 'torch.LongTensor'> tensor([1., 1.])",
        "True None",
    ], done.stderr
    x, p = pickle.loads((tmp_path / "pickle").read_bytes())
    assert type(x) is tl.Tensor and type(p) is tl.nn.Parameter and p.note == 1 and p.requires_grad
