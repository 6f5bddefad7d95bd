"""Walking back for chosen inputs, functions of one's own, NumPy's functions of a tensor and copies,
against PyTorch at run time. A case is a function of the library that returns what both must agree
on; one that fails must fail in both, here with a message of the house form."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from parity import BOTH  # noqa: E402

import tinygrad_lm as tg  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array")  # PyTorch's protocol is NumPy 1's


def plain(value):
    """Tensors as (dtype, numbers), whatever holds them."""
    if isinstance(value, (torch.Tensor, tg.Tensor)):
        return str(value.dtype), value.tolist()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.tolist()
    return [plain(x) for x in value] if isinstance(value, (list, tuple)) else value


def outcome(case, library):
    try:
        return plain(case(library))
    except Exception as error:
        return error


def assert_agree(case):
    want, got = (outcome(case, library) for library in BOTH)
    if isinstance(want, Exception) or isinstance(got, Exception):
        assert isinstance(got, type(want)), f"{want!r}, got {got!r}"
        assert str(got).startswith("["), got
    else:
        assert got == want


def leaves(L):
    return [L.tensor([v, 2.0], requires_grad=True) for v in (1.0, 3.0)]


def grads(*tensors):
    return [x.grad for x in tensors]


def through_all(L, out, inputs):
    L.autograd.backward([out, out * 2], [None, L.tensor(0.5)], inputs=inputs)


def chosen(pick, walk=lambda L, out, inputs: out.backward(inputs=inputs)):
    """Gradients after a walk for some of the inputs of an expression."""

    def case(L):
        x, y = leaves(L)
        z = x * y
        walk(L, (z * z + x).sum(), pick(x, y, z))
        return x.grad, y.grad, z.grad

    return case


def twice(L):
    x, y = leaves(L)
    out = (x * y).sum()
    out.backward(inputs=[x], retain_graph=True)
    out.backward(inputs=[x, y])
    return x.grad, y.grad


def unused(L):
    x, y = leaves(L)
    (x * 2).sum().backward(inputs=[x, y])
    return x.grad, y.grad


WALKS = {
    "one leaf": chosen(lambda x, y, z: [x]),
    "a tuple": chosen(lambda x, y, z: (y, x)),
    "a tensor alone": chosen(lambda x, y, z: y),
    "one twice": chosen(lambda x, y, z: [x, x]),
    "in the middle": chosen(lambda x, y, z: [z]),
    "in the middle and a leaf": chosen(lambda x, y, z: [z, x]),
    "of several": chosen(lambda x, y, z: [y], through_all),
    "none": chosen(lambda x, y, z: []),
    "no gradient wanted": chosen(lambda x, y, z: [x.detach()]),
    "none of several": chosen(lambda x, y, z: [], through_all),
    "twice": twice,
    "unused": unused,
    "of a tensor, not a list": lambda L: [
        (x := leaves(L)[0]),
        L.autograd.backward((x * 2).sum(), inputs=x),
        x.grad,
    ],
    "no inputs of grad": lambda L: L.autograd.grad(leaves(L)[0].sum(), []),
}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("name", WALKS)
def test_a_walk_for_chosen_inputs(name):
    assert_agree(WALKS[name])


# ---------------------------------------------------------------- functions of one's own


def own(forward, backward):
    """A case's Function of one library: forward(L, ctx, x, y), backward(L, ctx, *gradients)."""

    def make(L):
        class Own(L.autograd.Function):
            seen: list = []

            @staticmethod
            def forward(ctx, *args):
                return forward(L, ctx, *args)

            @staticmethod
            def backward(ctx, *gradients):
                Own.seen.append(plain(gradients))
                return backward(L, ctx, *gradients)

        return Own

    return make


def pair(L, ctx, x, y):
    ctx.save_for_backward(x, y)
    return x * y, x + y


def pair_back(L, ctx, a, b):
    x, y = ctx.saved_tensors
    return a * y + b, a * x + b if ctx.needs_input_grad[1] else None


def saw(Own, *results):
    return [*results, Own.seen]


def used(which, weights=(1.0, 10.0), forward=pair, backward=pair_back, constant=False, walks=1):
    """Both gradients after a walk from a weighted sum of some of the outputs."""

    def case(L):
        Own = own(forward, backward)(L)
        x, y = leaves(L)
        y = y.detach() if constant else y
        outs = Own.apply(x, y)
        out = sum((outs[i] * weights[i]).sum() for i in which)
        for _ in range(walks):
            out.backward(retain_graph=True)
        return saw(Own, x.grad, y.grad, [o.requires_grad for o in outs if not isinstance(o, str)])

    return case


def marked(L, ctx, x, y):
    order = x.argsort()
    floor = x.floor()
    ctx.mark_non_differentiable(floor)
    return x * y, order, floor, "no tensor"


def marked_back(L, ctx, a, order, floor, text):
    return a * 2, a * 3


def unmaterialized(L, ctx, x, y):
    ctx.set_materialize_grads(False)
    return x * y, x + y


def only_first(L, ctx, a, b):
    return (a if b is None else b) * 2, None


def wide(L, ctx, x, y):
    return x.double(), y.sum()


def wide_back(L, ctx, a, b):
    return a.float(), b.expand(2)


def through_grad(L):
    Own = own(pair, pair_back)(L)
    x, y = leaves(L)
    a, b = Own.apply(x, y)
    return saw(Own, L.autograd.grad((a * b).sum(), [a, b, x, y]))


def hooks_of_outputs(L):
    Own = own(pair, pair_back)(L)
    x, y = leaves(L)
    a, b = Own.apply(x, y)
    a.register_hook(lambda g: g * 3)
    b.retain_grad()
    (a.sum() + (b * b).sum()).backward()
    return saw(Own, x.grad, y.grad, b.grad)


def nested(L):
    Own = own(pair, pair_back)(L)
    x, y = leaves(L)
    a, b = Own.apply(*Own.apply(x, y))
    (a * 2 + b).sum().backward()
    return saw(Own, x.grad, y.grad)


def an_argument_comes_back(L):
    Own = own(lambda L, ctx, x, y: (x, x * y), lambda L, ctx, a, b: (a * 5, b * 7))(L)
    x, y = leaves(L)
    a, b = Own.apply(x, y)
    (a + b).sum().backward()
    return saw(Own, x.grad, y.grad, a is x)


def after_a_failed_walk(L):
    """What reached the function in a walk that failed is forgotten in the next."""
    Own = own(pair, pair_back)(L)
    x, y = leaves(L)
    a, b = Own.apply(x, y)
    handle = a.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        (b + a).sum().backward(retain_graph=True)
    handle.remove()
    a.sum().backward()
    return saw(Own, x.grad, y.grad)


FUNCTIONS = {
    "both": used([0, 1]),
    "the first": used([0]),
    "the second": used([1]),
    "one twice": used([1, 1]),
    "walked twice": used([0, 1], walks=2),
    "one argument": used([0, 1], constant=True),
    "what is marked or no tensor": used([0], forward=marked, backward=marked_back),
    "None for what is not used": used([1], forward=unmaterialized, backward=only_first),
    "None for the other": used([0], forward=unmaterialized, backward=only_first),
    "two dtypes": used([0, 1], forward=wide, backward=wide_back),
    "a tuple of one": used([0], forward=lambda L, ctx, x, y: (x * y,),
                           backward=lambda L, ctx, a: (a, a * 2)),
    "a None too many": used([0], backward=lambda L, ctx, a, b: (a, b, None)),
    "a gradient too many": used([0], backward=lambda L, ctx, a, b: (a, b, a)),
    "too few gradients": used([0], backward=lambda L, ctx, a, b: a),
    "grad": through_grad,
    "hooks": hooks_of_outputs,
    "nested": nested,
    "an argument comes back": an_argument_comes_back,
    "after a failed walk": after_a_failed_walk,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_ones_own_with_several_outputs(name):
    assert_agree(FUNCTIONS[name])


# ---------------------------------------------------------------- NumPy's functions, copies

NUMPY = """
np.sqrt(t) | np.add(t, 1) | np.add(np.ones(2), t) | np.sqrt(t[1]) | np.exp(t.double()) | np.modf(t)
np.maximum(t, 2) | np.sin(L.arange(3)) | np.add.reduce(t) | np.sqrt(t, out=np.ones(2, "f4"))
np.sqrt(t.requires_grad_()) | np.abs(t) | np.round(t) | np.clip(t, 0, 2) | np.square(t).sum()
np.float64(2) * t | np.float32(2) * t | np.int64(2) * t | np.isnan(t).all().item()
np.where(t > 2, 1, 0) | np.concatenate([t, t]) | np.dot(np.ones((2, 2), "f4"), t) | np.isclose(t, 4)
np.cumsum(t) | np.transpose(t[None]) | np.reshape(t, (2, 1)) | np.argmax(t)
bool(np.allclose(t, t))
"""


@pytest.mark.parametrize("line", [p for r in NUMPY.strip().split("\n") for p in r.split(" | ")])
def test_a_function_of_numpy_gives_what_pytorch_gives(line):
    assert_agree(lambda L: eval(line, {"L": L, "np": np, "t": L.tensor([1.0, 4.0])}))


@pytest.mark.parametrize("operation", ["+", "-", "*", "/", "**", "%", "@", "<", "==", ">="])
def test_a_numpy_array_before_a_tensor_is_a_tensor_that_is_recorded(operation):
    t = tg.tensor([1.0, 4.0], dtype=tg.float64, requires_grad=True)
    array = np.array([3.0, 5.0])
    got = eval(f"array {operation} t")
    assert type(got) is tg.Tensor
    assert (
        got.tolist()
        == eval(
            f"array {operation} values", {"array": array, "values": t.detach().numpy()}
        ).tolist()
    )
    assert got.requires_grad == (operation in "+-*/**%@")


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_keeps_what_was_set_on_a_tensor(how):
    def case(L):
        found = []
        for x in (L.tensor([1.0, 2.0]), L.ones(2, requires_grad=True)):
            x.note, x.kept = "kept", [1, 2]
            twin = how(x)
            x.kept.append(3)
            found += [type(twin) is type(x), twin.note, twin.kept, twin, twin.requires_grad]
            x.data.fill_(7)
            found.append(twin)
        return found

    assert_agree(case)
    weight = tg.nn.Parameter(tg.ones(2))  # PyTorch's forgets in a deepcopy
    weight.no_decay = True
    assert how(weight).no_decay and type(how(weight)) is tg.nn.Parameter


@pytest.mark.parametrize("name", ["exp", "add", "tanh", "matmul", "where", "nn.functional.softmax"])
def test_functions_are_pickled_by_name(name):
    function = eval(f"L.{name}", {"L": tg})
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy([function])[0] is copy.copy(function) is function


def test_closeness_of_nan():
    def case(L):
        a, b = L.tensor([L.nan, 1.0, L.inf]), L.tensor([L.nan, 1.0, L.inf])
        return [
            f(a, b, equal_nan=flag)
            for f in (L.allclose, L.isclose, L.Tensor.allclose, L.Tensor.isclose)
            for flag in (False, True)
        ] + [
            L.allclose(a, b, 1e-5, 1e-8, True),
            L.isclose(a, L.tensor([1.0, L.nan, L.nan]), equal_nan=True),
        ]

    assert_agree(case)
