"""Which dtype comes out: every pair of dtypes, as tensors, 0-d tensors and Python numbers, against
PyTorch at run time."""

import importlib
import itertools
import operator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from parity import BOTH, numbers  # noqa: E402

import tinygrad_lm as tg  # noqa: E402

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
]
DTYPES = [name for name in DTYPES if hasattr(tg, name)]
NUMBERS = [True, 2, 3.0]
OPERATORS = {
    name: getattr(operator, name)
    for name in "add sub mul truediv floordiv mod pow eq ne lt le gt ge".split()
}


def operands(library):
    """Label -> a tensor with three elements or none, of each dtype; and Python's own numbers."""
    made = {}
    for name in DTYPES:
        kind = getattr(library, name)
        made[name] = library.tensor([1, 3, 2], dtype=kind)
        made[f"0-d {name}"] = library.tensor(2, dtype=kind)
    return made | {f"Python {x!r}": x for x in NUMBERS}


def outcome(function, *inputs):
    """(dtype, values) of a result, or that it was refused (with what type of error is tested on
    lines of code, in test_parity_ops)."""
    try:
        out = function(*inputs)
        return str(out.dtype), out
    except (RuntimeError, TypeError):
        return "refused", None


# PyTorch has odd dtypes here: True ** True is bool, but a squared bool int64; uint8's any is uint8.
ODD = [
    "pow: bool, Python True", "pow: 0-d bool, Python True", "pow_: bool, Python True",
    *(f"{name} of {zero}bool" for name in ("square", "sign") for zero in ("", "0-d ")),
    *(f"{name} of {zero}uint8" for name in ("any", "all") for zero in ("", "0-d ")),
]  # fmt: skip


def assert_same_outcome(label, want, got):
    """Where PyTorch refuses booleans (subtraction, rounding, argmax), they may count as 0 and 1."""
    if label in ODD or (want[0] == "refused" and ("bool" in label or "True" in label)):
        return
    assert want[0] == got[0], f"{label}: PyTorch gives {want[0]}, got {got[0]}"
    if want[1] is not None:
        a, b = numbers(want[1]), numbers(got[1])
        exact = str(want[1].dtype).split(".")[1] not in ("float16", "bfloat16")
        np.testing.assert_allclose(b, a, 1e-6 if exact else 1e-2, 0, err_msg=label)


def compare(name, function, labels):
    ours, theirs = operands(tg), operands(torch)
    for left, right in labels:
        label = f"{name}: {left}, {right}"
        want = outcome(function(torch), theirs[left], theirs[right])
        got = outcome(function(tg), ours[left], ours[right])
        assert_same_outcome(label, want, got)


LABELS = list(operands(tg))
PAIRS = [p for p in itertools.product(LABELS, repeat=2) if not all(x[:6] == "Python" for x in p)]


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_promote_as_pytorch_does(name):
    function = OPERATORS[name]
    compare(name, lambda library: function, PAIRS)


TENSORS = [p for p in PAIRS if not any(x[:6] == "Python" for x in p)]


@pytest.mark.parametrize(
    "name",
    "maximum minimum fmod remainder pow div floor_divide where cat stack hstack vstack list "
    "collate dot add_twice einsum".split(),
)
def test_functions_promote_as_pytorch_does(name):
    def function(library):
        if name == "where":
            return lambda a, b: library.where(library.tensor([True, False, True]), a, b)
        if name == "cat":
            return lambda a, b: library.cat([a.reshape(-1), b.reshape(-1)])
        if name == "stack":
            return lambda a, b: library.stack([a.reshape(-1)[:1], b.reshape(-1)[:1]])
        if name in ("hstack", "vstack"):
            return lambda a, b: getattr(library, name)([a[..., None], b[..., None]])
        if name == "list":
            return lambda a, b: library.tensor([a, b])
        if name == "collate":
            collate = importlib.import_module(f"{library.__name__}.utils.data").default_collate
            return lambda a, b: collate([{"x": (a, 1)}, {"x": (b, 2)}])["x"][0]
        if name == "dot":
            return lambda a, b: library.dot(a, b)
        if name == "add_twice":
            return lambda a, b: library.add(a, b, alpha=2)
        if name == "einsum":
            return lambda a, b: library.einsum("...,...->...", a, b.to(a.dtype))
        return getattr(library, name)

    pairs = TENSORS if name != "where" else PAIRS
    if name in ("list", "collate"):
        pairs = [p for p in pairs if all("0-d" in x for x in p)]
    compare(name, function, pairs)


LINES = """
L.tensor([np.float16(1), 1.5]) | L.tensor([np.float64(1), 2])
L.tensor([[1.0, 2], [np.float64(3), 4]])
L.tensor([np.int32(1), 2]) | L.tensor([np.array([1, 2], np.int32), np.array([3.0, 4.0])])
L.tensor([L.tensor(1.0).double(), 2]) | L.tensor([[L.tensor(1).int()], [True]]) | L.tensor([[], []])
L.tensor([L.tensor(1).half(), 2.5]) | L.full((2,), L.tensor(2).byte()) | L.full((2,), np.int32(2))
L.full((2,), L.tensor(2.0).double()) | L.full((2,), L.tensor(True))
L.add(L.tensor([1]), 2.5, alpha=2)
L.hstack([L.tensor(1), L.tensor([2.0])]) | L.vstack([L.tensor(1), L.tensor([2.0])])
L.cat([L.tensor([]).double(), L.tensor([1]).int()]) | L.cat([L.zeros(0, 3), L.ones(1, 3).int()])
L.tensor([2, 3]).sum(dtype=L.int32) | L.tensor([2, 3]).prod(dtype=L.uint8)
L.tensor([2]).byte().dot(L.tensor([200]).byte())
L.tensor([200, 100]).cumsum(0, dtype=L.uint8)
L.tensor(2).int().cumsum(0) | L.tensor([[2]]).sum(1, dtype=L.half)
L.manual_seed(1) and L.normal(L.tensor([1.0, 2.0]).half(), L.tensor([1.0, 1.0]).half())
L.manual_seed(1) and L.normal(0.0, L.tensor([1.0, 1.0]).double())
"""


@pytest.mark.filterwarnings("ignore:Creating a tensor from a list of numpy")
@pytest.mark.parametrize("line", LINES.strip().replace("\n", " | ").split(" | "))
def test_numpys_own_promotion_does_not_show(line):
    want, got = (eval(line, {"L": library, "np": np}) for library in BOTH)
    assert repr(want) == repr(got) and str(want.dtype) == str(got.dtype)


@pytest.mark.parametrize("name", "and_ or_ xor".split())
def test_bitwise_operators_promote_as_pytorch_does(name):
    whole = [x for x in LABELS if "float" not in x and "3.0" not in x]
    function = getattr(operator, name)
    pairs = [p for p in PAIRS if p[0] in whole and p[1] in whole]
    compare(name, lambda library: function, pairs)


UNARY = (
    "neg abs exp log sqrt rsqrt square reciprocal sin tanh sigmoid relu sign floor ceil round "
    "trunc isfinite logical_not sum mean prod max min amax argmax var:0 std:0 any all cumsum:0 "
    "norm softmax:0 clamp:1 sort:0 float double half long int bool bitwise_not logsumexp:0 exp2 "
    "log1p expm1 erf"
).split()


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor_give_pytorchs_dtype(name):
    method, _, argument = name.partition(":")
    arguments = [int(argument)] if argument else []
    for kind, zero in itertools.product(DTYPES, ("", "0-d ")):

        def call(x):
            out = getattr(x, method)(*arguments)
            return out[0] if isinstance(out, tuple) else out

        if zero and arguments:
            continue
        want, got = (outcome(call, operands(library)[zero + kind]) for library in BOTH)
        assert_same_outcome(f"{name} of {zero}{kind}", want, got)


IN_PLACE = (
    "add_ sub_ mul_ div_ pow_ remainder_ copy_ fill_ __iadd__ __itruediv__ __ifloordiv__".split()
)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_keeps_the_dtype_or_refuses_as_pytorch_does(name):
    def function(library):
        def call(a, b):
            a = a.clone()
            getattr(a, name)(b)
            return a

        return call

    pairs = [p for p in PAIRS if p[0] in DTYPES]
    if name == "fill_":
        pairs = [p for p in pairs if p[1] not in DTYPES]
    compare(name, function, pairs)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_the_default_dtype_decides_what_python_floats_become(dtype):
    lines = [
        "L.tensor(1.5)", "L.tensor([1, 2.5])", "L.zeros(2)", "L.tensor([1, 2]) / 2",
        "L.tensor([1]) * 2.5", "L.tensor([4]).sqrt()", "L.arange(0, 2, 0.5)", "L.linspace(0, 1, 3)",
        "L.tensor([True]) + 0.5", "L.full((2,), 1.5)", "L.tensor([1], dtype=L.float32) * 2.5",
        "L.tensor([1, 2]).to(float)", "L.eye(2)", "L.Tensor([1.0])", "L.empty(2)", "L.tensor([])",
        "L.ones(1) + 1", "L.tensor(np.float32(2))",
    ]  # fmt: skip
    for library in BOTH:
        library.set_default_dtype(getattr(library, dtype))
    try:
        for line in lines:
            want, got = (eval(line, {"L": library, "np": np}) for library in BOTH)
            assert str(want.dtype) == str(got.dtype), line
            assert "empty" in line or repr(want) == repr(got), line
            assert str(torch.get_default_dtype()) == str(tg.get_default_dtype())
    finally:
        torch.set_default_dtype(torch.float32)


def test_promote_types_is_pytorchs_table():
    for a, b in itertools.product(DTYPES, repeat=2):
        want = torch.promote_types(getattr(torch, a), getattr(torch, b))
        assert str(want) == str(tg.promote_types(getattr(tg, a), getattr(tg, b)))


def test_result_type_of_tensors_and_numbers_is_pytorchs():
    ours, theirs = operands(tg), operands(torch)
    for a, b in PAIRS:
        want, got = torch.result_type(theirs[a], theirs[b]), tg.result_type(ours[a], ours[b])
        assert str(want) == str(got), (a, b)


def test_gradients_come_back_in_the_dtype_of_their_leaf():
    def gradients(library):
        a = library.tensor([1.0, 2.0], dtype=library.float32, requires_grad=True)
        b = library.tensor([3.0, 4.0], dtype=library.float64, requires_grad=True)
        c = library.tensor(2.0, dtype=library.float16, requires_grad=True)
        n = library.tensor([1, 2])
        (a * b * c + n * a).sum().backward()
        return [repr(x.grad) for x in (a, b, c)]

    assert gradients(torch) == gradients(tg)
