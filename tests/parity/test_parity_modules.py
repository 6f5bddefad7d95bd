"""Modules as objects, against PyTorch: hooks with their order and arguments, what is saved and
loaded, walks by name, containers. A case is a function of a library; both must return the same."""

import warnings
from collections import OrderedDict

import numpy as np
import pytest

import tinygrad_lm as tg

torch = pytest.importorskip("torch")
from parity import BOTH, numbers  # noqa: E402


def plain(value):
    """Tensors as dtype and numbers, in whatever holds them."""
    if isinstance(value, (torch.Tensor, tg.Tensor)):
        return str(value.dtype), np.round(numbers(value), 3).tolist()
    if isinstance(value, dict):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    return value


def both(case):
    """What a case gives in both libraries."""
    found = []
    for library in BOTH:
        library.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            found.append(plain(case(library)))
    return found


def logged(seen, name, returned=None):
    """A hook that notes what it is given, without the module."""

    def hook(module, *given):
        seen.append((name, type(module).__name__, *given))
        return returned(*given) if returned else None

    return hook


def net(lib):
    return lib.nn.Sequential(OrderedDict(a=lib.nn.Linear(2, 3), b=lib.nn.Tanh()))


def forward_hooks(lib):
    m, seen = lib.nn.Linear(2, 2), []
    m.register_forward_pre_hook(logged(seen, "p1", lambda args: args[0] * 2))
    m.register_forward_pre_hook(logged(seen, "p2"), prepend=True)
    m.register_forward_pre_hook(
        logged(seen, "p3", lambda args, kw: ((args[0] + 1,), kw)), with_kwargs=True
    )
    m.register_forward_hook(logged(seen, "f1", lambda args, out: out * 3))
    m.register_forward_hook(logged(seen, "f2", lambda args, kw, out: (out, 1)), with_kwargs=True)
    with m.register_forward_hook(logged(seen, "f0"), prepend=True):
        out = m(lib.ones(1, 2))
    return seen, out, m(lib.ones(1, 2)), m.register_forward_hook(print).id >= 0


def wrong_pre_hook(lib):
    m = lib.nn.Linear(2, 2)
    m.register_forward_pre_hook(lambda module, args, kw: 3, with_kwargs=True)
    return m(lib.ones(1, 2))


def always_called(lib):
    seen = []

    class Fails(lib.nn.Module):
        def forward(self, x):
            raise KeyError("x")

    m = Fails()
    m.register_forward_hook(logged(seen, "never"))
    m.register_forward_hook(logged(seen, "always"), always_call=True)
    m.register_forward_hook(logged(seen, "kw"), always_call=True, with_kwargs=True)
    with pytest.raises(KeyError):
        m(lib.ones(1))
    return seen


def full_backward(lib):
    m, seen = lib.nn.Bilinear(2, 3, 2), []
    m.register_full_backward_hook(logged(seen, "b1", lambda gi, go: tuple(g * 2 for g in gi)))
    m.register_full_backward_hook(logged(seen, "b0"), prepend=True)
    m.register_full_backward_hook(logged(seen, "b2"))
    m.register_full_backward_pre_hook(logged(seen, "p1", lambda go: (go[0] * 10,)))
    m.register_full_backward_pre_hook(logged(seen, "p0"), prepend=True)
    x, y = lib.ones(4, 2, requires_grad=True), lib.ones(4, 3, requires_grad=True)
    (m(x, y) ** 2).sum().backward()
    return seen, x.grad, y.grad, [p.grad for p in m.parameters()]


def order_of_hooks(lib):
    m, seen = net(lib), []
    for layer in m.modules():
        layer.register_forward_hook(logged(seen, "f"))
        layer.register_full_backward_hook(logged(seen, "b"))
        layer.register_full_backward_pre_hook(logged(seen, "p"))
    m(lib.ones(2, 2, requires_grad=True)).sum().backward()
    return seen


def backward_without_inputs(lib):
    m, seen = lib.nn.Linear(2, 2), []
    m.register_full_backward_hook(logged(seen, "b"))
    with pytest.warns(UserWarning):
        m(lib.ones(1, 2)).sum().backward()
    with lib.no_grad():
        m(lib.ones(1, 2))
    return seen, m.weight.grad


def several_outputs(lib):
    seen = []

    class Two(lib.nn.Module):
        def forward(self, x, n):
            return x * n, lib.arange(2), x.exp()

    m = Two()
    m.register_full_backward_hook(logged(seen, "b"))
    m.register_full_backward_pre_hook(logged(seen, "p"))
    x = lib.ones(2, requires_grad=True)
    out = m(x, 3)
    out[0].sum().backward()
    return seen, x.grad, [o.detach() for o in out]


def side_path(lib):
    """A gradient that reaches the input past the output calls nothing."""
    seen = []

    class Aside(lib.nn.Module):
        def forward(self, x):
            self.aside = x * 3
            return x * 2

    m, x = Aside(), lib.ones(2, requires_grad=True)
    m.register_full_backward_hook(logged(seen, "b"))
    m(x).sum().backward(retain_graph=True)
    m.aside.sum().backward()
    return seen, x.grad


def wrong_number(lib):
    m = lib.nn.Linear(2, 2)
    m.register_full_backward_hook(lambda module, gi, go: (gi[0], gi[0]))
    m(lib.ones(1, 2, requires_grad=True)).sum().backward()


def everywhere(lib):
    where = torch.nn.modules.module if lib is torch else tg.nn.module
    m, seen = net(lib), []
    handles = [
        where.register_module_forward_pre_hook(logged(seen, "p")),
        where.register_module_forward_hook(logged(seen, "f"), with_kwargs=True),
        where.register_module_full_backward_pre_hook(logged(seen, "bp")),
        where.register_module_full_backward_hook(logged(seen, "b")),
    ]
    m.b.register_forward_pre_hook(logged(seen, "own"))
    m(lib.ones(1, 2, requires_grad=True)).sum().backward()
    for handle in handles:
        handle.remove()
    n = len(seen)
    m(lib.ones(1, 2))
    return seen, len(seen) - n


def old_backward_hook(lib):
    m, seen = lib.nn.Tanh(), []
    m.register_backward_hook(logged(seen, "b"))
    x = lib.ones(2, requires_grad=True)
    m(x).sum().backward()
    return seen


def extra_state(lib):
    class Counting(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.n = 0

        def get_extra_state(self):
            return {"n": self.n}

        def set_extra_state(self, state):
            self.n = state["n"]

    m, other = (lib.nn.Sequential(Counting(), lib.nn.Linear(1, 1)) for _ in range(2))
    m[0].n = 5
    saved = m.state_dict()
    found = other.load_state_dict(saved)
    del saved["0._extra_state"]
    return list(m.state_dict()), other[0].n, repr(found), other.load_state_dict(saved, False)


def state_hooks(lib):
    m, seen = net(lib), []

    def rename(module, state, prefix, *rest):
        seen.append((prefix, *rest[1:]))
        for key in list(state):
            state[key.replace("old", "a")] = state.pop(key)

    def forgive(module, keys):
        seen.append((list(keys.missing_keys), list(keys.unexpected_keys)))
        keys.missing_keys.clear()

    m.a.register_state_dict_pre_hook(lambda *given: seen.append(given[1:]))
    m.a.register_state_dict_post_hook(lambda module, s, prefix, meta: s.update(y=1))
    saved = m.state_dict(prefix="x.")
    m.register_load_state_dict_pre_hook(rename)
    m._register_load_state_dict_pre_hook(lambda state, prefix, *rest: seen.append(prefix))
    handle = m.register_load_state_dict_post_hook(forgive)
    found = m.load_state_dict({"old.weight": lib.zeros(3, 2)})
    handle.remove()
    return list(saved), seen, found, m.a.weight, m.load_state_dict({"q": lib.ones(1)}, False)


def assigned(lib):
    m = lib.nn.BatchNorm1d(2)
    m.weight.requires_grad_(False)
    new = {key: (x + 1).double() for key, x in m.state_dict().items()}
    found = m.load_state_dict(new, assign=True)
    same = [m.weight.data_ptr() == new["weight"].data_ptr(), m.running_mean is new["running_mean"]]
    return (
        found,
        same,
        m.weight.requires_grad,
        m.bias.requires_grad,
        m.state_dict(),
        len(m._buffers),
    )


def old_scalar(lib):
    m = lib.nn.BatchNorm1d(1)
    m.load_state_dict({"num_batches_tracked": lib.tensor([7])}, strict=False)
    return m.num_batches_tracked


def overridden(lib):
    class Renamed(lib.nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *rest):
            state_dict[prefix + "weight"] = state_dict.pop(prefix + "w")
            super()._load_from_state_dict(state_dict, prefix, *rest)

        def _save_to_state_dict(self, destination, prefix, keep_vars):
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination[prefix + "more"] = lib.ones(1)

    m = lib.nn.Sequential(Renamed(1, 1, bias=False))
    m.load_state_dict({"0.w": lib.full((1, 1), 8.0)})
    return m[0].weight, list(m.state_dict()), list(m.state_dict(destination={"z": 1}))


def walks(lib):
    m = net(lib)
    m.a.register_buffer("stat", lib.ones(1), persistent=False)
    m.again = m.a
    m.set_submodule("b", lib.nn.ReLU())
    m.register_module("c", None)
    names = (
        [n for n, _ in m.named_modules(remove_duplicate=False)],
        [n for n, _ in m.named_modules()],
    )
    return (
        names, [n for n, _ in m.named_parameters(remove_duplicate=False)],
        [n for n, _ in m.named_buffers(prefix="x")], m.get_buffer("a.stat"),
        m.get_parameter("a.bias"), m.get_submodule("again") is m.a, m._get_name(), repr(m),
        len(list(m.buffers(recurse=False))), [n for n, _ in m.named_children()],
    )  # fmt: skip


def converted(lib):
    m = net(lib)
    m.register_buffer("n", lib.arange(2))
    seen = []
    m.b._apply = lambda fn: seen.append("b")
    kinds = [(p.dtype, m.n.dtype) for _ in [m.double()] for p in m.parameters()]
    m.type(lib.float16)
    assert m.n.dtype == lib.float16 and m.to_empty(device="cpu").a.weight.shape == (3, 2)
    m.float()
    return (
        str(kinds),
        str([p.dtype for p in m.parameters()]),
        seen,
        m.requires_grad_(False).training,
    )


def buffers(lib):
    m = lib.nn.Module()
    m.kept = lib.nn.Buffer(lib.ones(2))
    m.lost = lib.nn.Buffer(lib.zeros(1), persistent=False)
    m.kept = lib.nn.Parameter(lib.ones(1))
    return [list(m.state_dict()), [*dict(m.named_buffers())], [*dict(m.named_parameters())]]


def lists(lib):
    m = lib.nn.ParameterList([lib.ones(2), lib.nn.Parameter(lib.zeros(1, 3)), 3])
    m += [lib.ones(1)]
    m[1] = lib.full((2,), 5.0)
    first = repr(m)
    return (
        first,
        list(m),
        m[-1],
        repr(m[1:3]),
        len(m),
        list(m.state_dict()),
        repr(lib.nn.ParameterList()),
    )


def dicts(lib):
    m = lib.nn.ParameterDict({"b": lib.ones(2), "a": lib.zeros(1)})
    m["c"] = lib.nn.Parameter(lib.ones(1))
    m |= lib.nn.ParameterDict([("d", lib.ones(1)), ("e", "text")])
    more = m | lib.nn.ParameterDict({"f": lib.ones(1)})
    found = [
        list(m),
        repr(m),
        list(more),
        m.get("q", 4),
        m.setdefault("g", lib.ones(1)),
        m.pop("a"),
    ]
    found += [
        m.popitem(),
        "b" in m,
        len(m),
        list(reversed(m)),
        list(m.state_dict()),
        list(m.items()),
    ]
    found += [list(m.copy()), list(m.fromkeys(["u", "v"], 1).values()), list(m.keys())]
    m.clear()
    return found, list(m), list(m.state_dict())


def sequences(lib):
    nn = lib.nn
    m = nn.Sequential(nn.ReLU(), nn.Tanh())
    m += nn.Sequential(nn.Sigmoid())
    m.insert(-1, nn.Identity())
    both = m + nn.Sequential(nn.ReLU())
    twice = 2 * both
    m.pop(0)
    twice *= 2
    several = nn.ModuleList([nn.ReLU()]).extend([nn.Tanh()]) + [nn.Sigmoid()]
    several.insert(1, nn.Identity())
    del several[-1]
    held = nn.ModuleDict([("x", nn.ReLU())])
    held.update({"y": nn.Tanh()})
    del held["x"]
    return repr(m), repr(both), len(twice), repr(several), repr(held), list(held.keys())


def lazy(lib):
    """A Linear whose input is not known yet: called, loaded, or asked too early."""
    first = [lib.nn.LazyLinear(3), lib.nn.LazyLinear(3, bias=False)]
    before = repr(first), type(first[0].weight).__name__, repr(first[0].weight)
    out = first[0](lib.ones(2, 4)), first[1](lib.ones(5))
    second = lib.nn.Sequential(lib.nn.LazyLinear(3))
    found = second.load_state_dict({"0.weight": lib.ones(3, 2), "0.bias": lib.zeros(3)})
    p = lib.nn.UninitializedParameter()
    p.materialize((2, 3))
    values = [x for m in (*first, second) for x in m.state_dict().values()]
    names = repr(first), type(first[0].weight).__name__, type(p).__name__, tuple(p.shape)
    return before, out, repr(found), values, names, second(lib.ones(1, 2)), repr(second)


CASES = [
    forward_hooks, always_called, full_backward, order_of_hooks,
    backward_without_inputs, several_outputs, side_path, everywhere, old_backward_hook,
    extra_state, state_hooks, assigned, old_scalar, overridden, walks, converted, buffers, lists,
    dicts, sequences, lazy,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_both_libraries_do_the_same(case):
    want, got = both(case)
    assert got == want


ERRORS = {
    "a hook that must return two": wrong_pre_hook,
    "a hook that returns too many": wrong_number,
    "a call without forward": lambda lib: lib.nn.Module()(1),
    "a list is called": lambda lib: lib.nn.ParameterList()(1),
    "a dict is called": lambda lib: lib.nn.ParameterDict()(1),
    "a name that is no text": lambda lib: lib.nn.ParameterDict().__setitem__(3, 1),
    "a position too far": lambda lib: lib.nn.ParameterList([lib.ones(1)])[1],
    "one tensor for a list": lambda lib: lib.nn.ParameterList(lib.ones(2)),
    "Sequential and a list": lambda lib: lib.nn.Sequential() + [lib.nn.ReLU()],
    "no such module": lambda lib: net(lib).get_submodule("a.q"),
    "no such buffer": lambda lib: net(lib).get_buffer("a.weight"),
    "no such parameter": lambda lib: net(lib).get_parameter("a.q"),
    "a module nowhere": lambda lib: net(lib).set_submodule("", lib.nn.ReLU()),
    "no module in its place": lambda lib: net(lib).set_submodule("a.q", lib.nn.ReLU(), strict=True),
    "in the place of a parameter": lambda lib: net(lib).set_submodule("a.bias", lib.nn.ReLU()),
    "no extra state": lambda lib: net(lib).get_extra_state(),
    "no extra state to load": lambda lib: net(lib).set_extra_state({}),
    "no mapping": lambda lib: net(lib).load_state_dict([1]),
    "missing": lambda lib: net(lib).load_state_dict({}),
    "a state that has no place": lambda lib: net(lib).load_state_dict({"a._extra_state": 1}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_the_same_kind_of_error(name):
    with pytest.raises(Exception) as want:
        ERRORS[name](torch)
    with pytest.raises(want.type, match=r"\["):
        ERRORS[name](tg)
